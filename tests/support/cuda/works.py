"""How long whole works take on one H200, before and now, and what was aimed at: a calculation.

    python works.py

From the instructions and bytes of the kernels' main loops (budget.py), and for small steps from
what they wait for (waits.py). No GPU was there to measure on.
"""

from dataclasses import dataclass

import budget
import nvrtc
import sass
import waits
from budget import as_markdown, evaluate

from softstep.bench.studies.roofline import GPUS
from softstep.kernels.integers import ceil_div

ARCHITECTURE = 90
GPU = GPUS[ARCHITECTURE]
# What `mma.sync` is reported to reach of the tensor cores' rate on Hopper: Luo et al. 2024,
# arXiv:2402.13499.
REACHED = 0.63


@dataclass(frozen=True)
class Work:
    """A kernel in a work: products (rows, depth) x (depth, columns), or a pass over rows x columns
    if the depth is 1, and the bytes that it moves. loop: the name of the kernel's in the table of
    loops; of a kernel that is not there the bytes alone count.
    """

    name: str
    kernel: str
    loop: str
    rows: int
    depth: int
    columns: int
    size: int

    def cost(self, loop):
        """That of its loop, or of a kernel that is not in the table."""
        elements = self.rows * self.depth * self.columns
        if loop is None:
            return budget.Cost(0, 0, 0, self.size)
        return loop.cost(ARCHITECTURE, elements, self.size)


STEP = "a step: 52 x 1000 classes, 1024 rows of 1024, float16"
WIDE = "evaluate: 50000 x 1024 -> 52 x 1000, float16"
NARROW = "evaluate: 60000 x 784 -> 52 x 10, uint8"


def works():
    """Steps and evaluations of 52 heads of 1000 classes, and evaluations of 52 of 10."""
    heads, c, d, batch, n, half = 52, 1000, 1024, 1024, 50_000, "float16"
    columns = heads * c
    W, X, V = 4 * d * columns, 2 * batch * d, 4 * batch * columns
    yield Work(STEP, "train_logits", f"{half}, 64 x 64", batch, d, columns, X + W + V)
    yield Work(STEP, "train_rows", "", batch, 1, columns, 2 * V)
    yield Work(STEP, "train_update", f"{half}, 64 x 64", d, batch, columns, X + V + 2 * W)
    X, V = 2 * n * d, 4 * n * columns
    launches = ceil_div(n, evaluate.MOST_BYTES // (4 * columns * evaluate.CHUNK) * evaluate.CHUNK)
    yield Work(WIDE, "linear_forward", half, n, d, columns, X + launches * W + V)
    yield Work(WIDE, "evaluate_rows", "", n, 1, columns, V)
    n, d, columns = 60_000, 784, 520
    X, W, V = n * d, 4 * d * columns, 4 * n * columns
    yield Work(NARROW, "linear_forward", "uint8", n, d, columns, X + W + V)
    yield Work(NARROW, "evaluate_rows", "10 classes", n, 1, columns, V)


def ways(work):
    """(limit, seconds) without tensor cores, with them, and with them at what is reported."""
    found = {(loop.kernel, loop.name): loop for loop in budget.loops()}
    usual = found.get((work.kernel, work.loop))
    tensor = found.get((f"{work.kernel}_tensor", work.loop.partition(",")[0])) or usual
    for loop, rate in ((usual, 1.0), (tensor, 1.0), (tensor, REACHED)):
        yield work.cost(loop).limit(GPU, rate)


def table():
    """Markdown: milliseconds of each kernel and work, without tensor cores and with them."""
    lines = [["work", "kernel", "float32, ms", "limit", "tensor cores, ms", "limit",
              f"at {REACHED:.0%} of their rate, ms"],
             ["---", "---", "--:", "---", "--:", "---", "--:"]]  # fmt: skip
    for work in works():
        (old_limit, old), (limit, new), (_, slower) = ways(work)
        cells = [f"{1e3 * old:.2f}", old_limit, f"{1e3 * new:.2f}", limit, f"{1e3 * slower:.2f}"]
        lines.append([work.name, f"`{work.kernel}`", *cells])
    for name, times in sums().items():
        old, new, slower = (f"{1e3 * time:.2f}" for time in times)
        lines.append([name, "all", old, "", new, "", slower])
    return as_markdown(lines)


def sums():
    """Of each work the seconds of all its kernels, in the three ways."""
    found = {}
    for work in works():
        before = found.get(work.name, (0, 0, 0))
        times = (seconds for _, seconds in ways(work))
        found[work.name] = tuple(a + b for a, b in zip(before, times, strict=True))
    return found


# ---- before, now, and what was aimed at

# Instructions of an element of softmax_forward, those on the float32 lanes, before rows shared
# warps and exponentials a scale: counted in the same way in the parent of revision bbd04cb.
BEFORE = {10: (1290, 426), 100: (244, 104), 1000: (112, 60.8), 30_000: (192, 109)}
SHARES = {10: "40%", 100: "over 70%", 1000: "over 70%", 30_000: "over 70%"}  # aimed at


def aims():
    """Rows of the table: a work, before, now, at what mma.sync is reported to reach, aimed at."""
    (recipe, of_recipe), _, (deep, of_deep), _ = waits.lines()
    for name, times, aim in ((recipe, of_recipe, "3 to 4"), (deep, of_deep, "25")):
        before, now = times(GPU)
        yield name, f"{before:.1f}", f"{now:.1f}", "", aim
    for name, aim in ((STEP, "1.5"), (WIDE, "25"), (NARROW, "1.2")):
        before, *now = sums()[name]
        if name == NARROW:
            before += alone() - next(ways(list(works())[-1]))[1]
        yield f"{name}, ms", *(f"{1e3 * time:.3g}" for time in (before, *now)), aim
    for loop in budget.loops():
        if loop.kernel == "softmax_forward":
            c = int(loop.name.split()[0])
            cost = budget.Cost(*BEFORE[c], 0, 32 * loop.size), loop.cost(90, 32, 32 * loop.size)
            before, now = (f"{each.share_of_memory(GPU):.0%}" for each in cost)
            yield f"softmax of {loop.name}: share of the memory's speed", before, now, "", SHARES[c]


def alone():
    """Seconds of rows of 10 classes of which each had a warp to itself."""
    *_, rows = works()
    return rows.cost(budget.row_alone()).limit(GPU)[1]


def table_of_aims():
    """Markdown: a line for each of them."""
    lines = [["work", "before", "now", f"at {REACHED:.0%} of the tensor cores' rate", "aimed at"],
             ["---", "--:", "--:", "--:", "--:"]]  # fmt: skip
    return as_markdown([*lines, *map(list, aims())])


if __name__ == "__main__":
    if reason := sass.missing():
        raise SystemExit(reason)
    print(f"NVRTC {nvrtc.version()}, one {GPU.name}:\n")
    print(table_of_aims(), table(), sep="\n\n")

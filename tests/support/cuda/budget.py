"""What the kernels cost as they are compiled, and what that allows: the roofline of docs/gpu.md.

    python budget.py           # a table of loops, and one of whole works

For the main loop of a kernel: the instructions that a warp issues for 32 elements (an element is a
logit, or a multiply-add of a product), and the bytes that an element needs from memory. A GPU
issues four instructions a clock in each multiprocessor, float32 arithmetic half as fast where it
has 64 lanes; its tensor cores multiply so many numbers in a clock, its memory moves so many bytes.
What takes longest is the limit: a calculation, in which latencies, bank conflicts and caches do not
occur. No GPU was there to measure on. A launch moves every matrix once.
"""

import importlib
from dataclasses import dataclass, field

import numpy as np
import nvrtc
import sass
from variants import KINDS

from softstep.bench.studies.roofline import GPUS
from softstep.kernels._cupy import linear
from softstep.kernels._cupy.kernel import options, source
from softstep.kernels._cupy.launch import row_defines
from softstep.kernels._cupy.losses import DEFINES
from softstep.kernels._cupy.training import shapes as train_shapes
from softstep.kernels._cupy.training.call import types_of
from softstep.kernels.integers import ceil_div

# The module: `evaluate` of the package is the op.
evaluate = importlib.import_module("softstep.kernels._cupy.evaluate")

FLOAT = np.dtype(np.float32)
ARITHMETIC = ("FADD", "FMUL", "FFMA", "FMNMX", "FSETP", "FSEL", "FSET")  # on the float32 lanes
PRODUCTS = 16 * 8 * 8  # of an instruction of the tensor cores


@dataclass(frozen=True)
class Cost:
    """Instructions that warps issue, those on the float32 lanes, products on the tensor cores,
    bytes.
    """

    issued: float
    arithmetic: float
    products: float
    size: float

    def seconds(self, gpu):
        """By what may be the limit, each as if all else took no time."""
        return {
            "instructions": self.issued / 4 / gpu.clocks,
            "float32 lanes": self.arithmetic * 32 / gpu.lanes / gpu.clocks,
            "tensor cores": self.products / max(gpu.products, 1) / gpu.clocks,
            "memory": self.size / gpu.bandwidth / 1e12,
        }


@dataclass(frozen=True)
class Loop:
    """The main loop of a kernel.

    elements: of a pass of a warp. size: bytes of an element. usual: what is compiled in place of
    conditions that tell the usual path from another one. passes: how many loops go over all
    elements, as over rows of several tiles.
    """

    name: str
    file: str
    kernel: str
    defines: dict
    elements: float
    size: float
    usual: dict = field(default_factory=dict)
    passes: int = 1

    def code(self, architecture):
        """Its instructions: those of the loops that multiply most."""
        text = source(self.file)
        for old, new in self.usual.items():
            assert old in text
            text = text.replace(old, new)
        opts = options(self.defines)
        code = sass.instructions(text, self.file, self.kernel, opts, architecture)
        most = sorted(sass.loops(code), key=_products_in)[-self.passes :]
        return [instruction for loop in most for instruction in loop]

    def cost(self, architecture, elements, size):
        """Of so many elements, and bytes of them all."""
        counts = sass.counts(self.code(architecture))
        passes = elements / self.elements
        return Cost(
            issued=passes * sum(counts.values()),
            arithmetic=passes * sum(counts[name] for name in ARITHMETIC),
            products=passes * counts["HMMA"] * PRODUCTS,
            size=size,
        )


def _products_in(code):
    counts = sass.counts(code)
    return counts["FFMA"] + 100 * counts["HMMA"]


ONE_SCALE = {"if (is_power(s)) {": "if (true) {"}


def _rows():
    for kernel, file, size, defines in (
        ("softmax_forward", "softmax.cu", 8, {}),
        ("softmax_backward", "softmax.cu", 12, {}),
        ("cross_entropy_forward", "cross_entropy.cu", 4, {"Y_SOFT": 0}),
    ):
        for c in (10, 100, 1000):
            of_rows = row_defines(c, FLOAT)
            elements = 32 // of_rows["ROW_THREADS"] * c
            yield Loop(
                f"{c} classes", file, kernel, {**of_rows, **defines}, elements, size, ONE_SCALE
            )
    # Of a row of several tiles each pass of a warp takes a tile's part, past the row's end too; the
    # row is read twice, the second time from L2.
    c = 30_000
    of_rows = row_defines(c, FLOAT)
    tiles = ceil_div(c, of_rows["ROW_THREADS"] * of_rows["ROW_VALUES"])
    elements = c / (tiles * of_rows["ROW_THREADS"] // 32)
    work = f"{c} classes", "softmax.cu", "softmax_forward"
    yield Loop(*work, of_rows, elements, 8, ONE_SCALE, passes=2)
    of_rows = row_defines(10, FLOAT, evaluate.MOST_VALUES)
    alone = {**of_rows, "ROW_THREADS": 32, "ROW_VALUES": 1}
    for work, threads in (("10 classes", of_rows), ("10 classes, a warp for each row", alone)):
        place, elements = (work, "evaluate.cu", "evaluate_rows"), 32 // threads["ROW_THREADS"] * 10
        yield Loop(*place, {**threads, **DEFINES, "Y_SOFT": 0}, elements, 4, ONE_SCALE)


ALIGNED = {"if (aligned && column < length) {": "if (true) {"}
COPIED_BY_16 = {"if (by_units) {": "if (true) {"}
ELEMENTS_OF_SLAB = linear.TENSOR_TILE**2 * linear.TENSOR_SLAB / 8


def _products():
    tile = {"TILE_ROWS": 64, "TILE_COLUMNS": 64, "DEPTH": linear.DEPTH, "REAL": "float"}
    for dtype in ("float32", "float16", "uint8"):
        item, types = np.dtype(dtype).itemsize, {"REAL": "float", "X_KIND": KINDS[dtype]}
        elements = 64 * 64 * linear.DEPTH / 8
        place = dtype, "linear.cu", "linear_forward"
        yield Loop(*place, {**tile, **types}, elements, (item + 4) / 64, ALIGNED)
        place = dtype, "linear_tensor.cu", "linear_forward_tensor"
        yield Loop(*place, types, ELEMENTS_OF_SLAB, (item + 4) / 128, COPIED_BY_16)


def _training():
    types = {**types_of(FLOAT), "X_KIND": KINDS["float16"]}
    tile = train_shapes.update_tile(1000, FLOAT)
    forward = {
        "TILE_ROWS": train_shapes.high_rows(64, FLOAT.itemsize),
        "TILE_COLUMNS": 64,
        "DEPTH": train_shapes.DEPTH,
        "SLICE_FEATURES": 32,
    }
    elements, size = 64 * 64 * train_shapes.DEPTH / 8, 6 / 64
    place = "float16", "train_forward.cu", "train_logits"
    yield Loop(*place, {**types, **forward}, elements, size)
    yield Loop("float16", "train_update.cu", "train_update", {**types, **tile}, elements, size)
    tile = {"TILE_FEATURES": linear.TENSOR_TILE, "TILE_COLUMNS": linear.TENSOR_TILE}
    for kernel in ("train_logits_tensor", "train_update_tensor"):
        place = "float16", "train_tensor.cu", kernel
        yield Loop(*place, {**types, **tile}, ELEMENTS_OF_SLAB, 6 / 128, COPIED_BY_16)


def loops():
    """Every loop of the table."""
    for part in (_rows, _products, _training):
        yield from part()


def row(loop, architecture):
    """The cells of a loop on an architecture."""
    cost = loop.cost(architecture, 32, 32 * loop.size)
    times = cost.seconds(GPUS[architecture])
    limit = max(times, key=times.get)
    share = 100 * times["memory"] / times[limit]
    tensor = cost.products / PRODUCTS
    return [f"{cost.issued:.2f}", f"{cost.arithmetic:.2f}", f"{tensor:.3f}" if tensor else "",
            limit, f"{share:.0f}%"]  # fmt: skip


def table(architectures):
    """Markdown: a line for each loop and architecture."""
    heads = ["kernel", "work", "bytes", "GPU", "instructions", "of them float32", "tensor cores",
             "limit", "of the memory's speed"]  # fmt: skip
    lines = [heads, ["---", "---", "--:", "---", "--:", "--:", "--:", "---", "--:"]]
    for loop in loops():
        for architecture in architectures:
            if loop.file in nvrtc.ON_TENSOR_CORES and architecture < linear.LEAST_TF32:
                continue
            place = f"`{loop.kernel}`", loop.name, f"{loop.size:.3g}", GPUS[architecture].name
            lines.append([*place, *row(loop, architecture)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# ---- whole works


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

    def milliseconds(self, loop, architecture):
        """How long, and what limits it."""
        elements = self.rows * self.depth * self.columns
        cost = loop.cost(architecture, elements, self.size) if loop else Cost(0, 0, 0, self.size)
        times = cost.seconds(GPUS[architecture])
        limit = max(times, key=times.get)
        return 1e3 * times[limit], limit


def works():
    """Steps and evaluations of 52 heads of 1000 classes, and evaluations of 52 of 10."""
    heads, c, d, batch, n, half = 52, 1000, 1024, 1024, 50_000, "float16"
    columns = heads * c
    W, X, V = 4 * d * columns, 2 * batch * d, 4 * batch * columns
    step = f"a step: {heads} x {c} classes, {batch} rows of {d}"
    yield Work(step, "train_logits", half, batch, d, columns, X + W + V)
    yield Work(step, "train_rows", half, batch, 1, columns, 2 * V)
    yield Work(step, "train_update", half, d, batch, columns, X + V + 2 * W)
    X, V = 2 * n * d, 4 * n * columns
    launches = ceil_div(n, evaluate.MOST_BYTES // (4 * columns * evaluate.CHUNK) * evaluate.CHUNK)
    evaluation = f"evaluate: {n} x {d} -> {heads} x {c}"
    yield Work(evaluation, "linear_forward", half, n, d, columns, X + launches * W + V)
    yield Work(evaluation, "evaluate_rows", half, n, 1, columns, V)
    n, d, columns = 60_000, 784, 520
    X, W, V = n * d, 4 * d * columns, 4 * n * columns
    evaluation = f"evaluate: {n} x {d} -> 52 x 10, uint8"
    yield Work(evaluation, "linear_forward", "uint8", n, d, columns, X + W + V)
    yield Work(evaluation, "evaluate_rows", "10 classes", n, 1, columns, V)


def table_of_works(architecture=90):
    """Markdown: milliseconds of each kernel and work, without tensor cores and with them."""
    found = {(loop.kernel, loop.name): loop for loop in loops()}
    lines = [["work", "kernel", "float32, ms", "limit", "tensor cores, ms", "limit"],
             ["---", "---", "--:", "---", "--:", "---"]]  # fmt: skip
    sums = {}
    for work in works():
        cells = []
        for i, kernel in enumerate((work.kernel, f"{work.kernel}_tensor")):
            loop = found.get((kernel, work.loop)) or found.get((work.kernel, work.loop))
            time, limit = work.milliseconds(loop, architecture)
            sums.setdefault(work.name, [0, 0])[i] += time
            cells += [f"{time:.2f}", limit]
        lines.append([work.name, f"`{work.kernel}`", *cells])
    lines += [
        [name, "all", f"{old:.2f}", "", f"{new:.2f}", ""] for name, (old, new) in sums.items()
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    if reason := sass.missing():
        raise SystemExit(reason)
    print(f"NVRTC {nvrtc.version()}, for 32 elements, which a warp has:\n")
    print(table(nvrtc.architectures()))
    print(f"\nOn one {GPUS[90].name}:\n")
    print(table_of_works())

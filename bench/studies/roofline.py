"""The least that the GPU kernels of a workload can cost: a calculation, not a measurement.

Prints a table of docs/gpu.md. A kernel takes at least as long as its floating-point operations
take at the peak of float32 without tensor cores, and as long as its bytes take at the memory's
bandwidth. Both are the vendor's figures: NVIDIA's data sheets, with the clock at boost.

With --measure, on a machine with a GPU: how long the works take there for which docs/gpu.md has
a calculation, kernels alone and whole calls, each the median of five.
"""

import functools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep import kernels
from softstep.bench.studies import parser
from softstep.kernels import arrays
from softstep.kernels.backend import probe
from softstep.kernels.integers import ceil_div
from softstep.kernels.registry import GPU
from softstep.kernels.verify import cases


@dataclass(frozen=True)
class Gpu:
    """A GPU by its data sheet.

    multiprocessors: how many. clock: GHz. lanes: of float32, in a multiprocessor. products: of its
    tensor cores in a clock, in TF32. bandwidth: of the memory, TB/s. shared: memory that a block
    may have, KB.
    """

    name: str
    multiprocessors: int
    clock: float
    lanes: int
    products: int
    bandwidth: float
    shared: int

    @property
    def clocks(self) -> float:
        """Clocks of all multiprocessors in a second."""
        return self.multiprocessors * self.clock * 1e9

    def floor(self, flop: int, size: int) -> float:
        """The least seconds that so many operations and bytes take."""
        return max(flop / (2 * self.lanes * self.clocks), size / (self.bandwidth * 1e12))


# by compute capability
GPUS = {
    75: Gpu("T4", 40, 1.59, 64, 0, 0.32, 64),
    80: Gpu("A100", 108, 1.41, 64, 512, 2.04, 163),
    90: Gpu("H200", 132, 1.83, 128, 1024, 4.8, 227),
    100: Gpu("B200", 148, 1.85, 128, 2048, 8.0, 227),
    120: Gpu("RTX 5090", 170, 2.41, 128, 128, 1.79, 99),
}


@dataclass(frozen=True)
class Work:
    """n rows of d features, of so many bytes each; h heads of c classes; rows of a batch."""

    n: int
    d: int
    c: int
    h: int
    batch: int
    feature_bytes: int

    @property
    def name(self) -> str:
        heads = f"{self.h} x " if self.h > 1 else ""
        return f"{self.n}x{self.d} -> {heads}{self.c}, {self.dtype}, batch {self.batch}"

    @property
    def dtype(self) -> str:
        """Of the features."""
        return {1: "uint8", 2: "float16", 4: "float32"}[self.feature_bytes]

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return ceil_div(self.n, self.batch)

    def kernels(self) -> dict[str, tuple[int, int]]:
        """FLOP and bytes: features and weights once, logits written, and read by `evaluate`."""
        columns = self.h * self.c
        product, W = 2 * self.d * columns, 4 * self.d * columns  # of a row, of all
        X, V = self.d * self.feature_bytes, 4 * columns  # of a row
        return {
            "forward of a step, µs": (self.batch * product, self.batch * (X + V) + W),
            "update of a step, µs": (self.batch * product, self.batch * (X + V) + 2 * W),
            "evaluate, ms": (self.n * product, self.n * (X + 2 * V) + W),
        }


RECIPE = Work(60_000, 784, 10, 1, 100, 1)
MANY = Work(60_000, 784, 10, 52, 100, 1)
DEEP = Work(100_000, 4_096, 10, 1, 256, 4)
WIDE = Work(50_000, 1_024, 1_000, 52, 1_024, 2)
WORKS = (RECIPE, MANY, DEEP, Work(20_480, 1_024, 1_000, 1, 256, 4), WIDE)


def table() -> str:
    """A markdown table: a line for each kernel of each workload."""
    names = [gpu.name for gpu in GPUS.values()]
    lines = [
        "| " + " | ".join(["workload", "kernel", "MFLOP", "MB", *names]) + " |",
        "|---|---|" + "---:|" * (2 + len(names)),
    ]
    for work in WORKS:
        for kernel, (flop, size) in work.kernels().items():
            per_second = 1e6 if kernel.endswith("µs") else 1e3
            floors = [f"{per_second * gpu.floor(flop, size):.2f}" for gpu in GPUS.values()]
            cells = [work.name, kernel, f"{flop / 1e6:.2f}", f"{size / 1e6:.2f}", *floors]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


# ---- on a GPU

LOGITS = 1 << 26  # of the rows whose softmax is taken
ROUNDS = 5
Times = tuple[float, float]  # seconds: of the launches alone, of the call


def times(call: Callable[[], Any]) -> Times:
    """Medians of a call that was made once before."""
    clock = GPU.load().clock

    def wall() -> float:
        begin = time.perf_counter()
        call()
        clock.synchronise()
        return time.perf_counter() - begin

    call()
    launches = (sum(t for _, t in clock.launch_times(call)) for _ in range(ROUNDS))
    return statistics.median(launches), statistics.median(wall() for _ in range(ROUNDS))


def problem(work: Work, n: int) -> dict[str, Any]:
    """On the GPU: the first n rows, their labels, and small weights."""
    W, b = cases.weights(work.h, work.d, work.c, np.float32, 0)
    given = cases.features(n, work.d, work.dtype, 0), cases.labels(n, work.c, 0), W, b
    return dict(zip(("X", "y", "W", "b"), map(arrays.gpu().asarray, given), strict=True))


def training(work: Work, most: int) -> tuple[int, Times]:
    """Of an epoch, or of so many steps at most."""
    steps = min(work.steps, most)
    rows = min(work.n, steps * work.batch)
    order = arrays.gpu().asarray(np.random.default_rng(0).permutation(rows))
    settings: dict[str, Any] = {
        "loss": "cross_entropy",
        "learning_rate": 1e-3,
        "feature_scale": cases.feature_scale(work.dtype),
    }
    given = problem(work, rows)
    call = functools.partial(kernels.train, order=order, batch_size=work.batch)
    return steps, times(lambda: call(**given, **settings))


def evaluation(work: Work) -> Times:
    """Of all rows."""
    given, scale = problem(work, work.n), cases.feature_scale(work.dtype)
    return times(lambda: kernels.evaluate(**given, loss="cross_entropy", feature_scale=scale))


def softmax(c: int) -> tuple[int, Times]:
    """Of rows of c classes. Each logit is read and written once."""
    n = max(1, LOGITS // c)
    V = arrays.gpu().asarray(cases.logits(n, c, np.float32, 0))
    return n, times(lambda: kernels.softmax_forward(V, out=V))


def measured() -> Iterator[list[str]]:
    """Rows of the table: a work, the time of its launches and of the call, bytes in a second."""
    for work, most in ((RECIPE, RECIPE.steps), (DEEP, 40), (WIDE, 40)):
        steps, (launches, wall) = training(work, most)
        per_step = [f"{1e3 * seconds / steps:.4f}" for seconds in (launches, wall)]
        yield [f"{work.name}: a step, of {steps}", *per_step, ""]
    for work in (WIDE, MANY):
        yield [f"{work.name}: evaluate", *(f"{1e3 * t:.2f}" for t in evaluation(work)), ""]
    for c in (10, 100, 1_000, 30_000):
        n, (launches, wall) = softmax(c)
        speed = f"{8 * n * c / launches / 1e9:.0f}"
        yield [f"softmax of {n} x {c}", f"{1e3 * launches:.3f}", f"{1e3 * wall:.3f}", speed]


def table_of_times() -> str:
    """A markdown table of what this GPU takes."""
    lines = [["work", "launches, ms", "call, ms", "GB/s"], ["---", "--:", "--:", "--:"]]
    return "\n".join("| " + " | ".join(line) + " |" for line in [*lines, *measured()])


def main(argv: list[str] | None = None) -> int:
    """Print a table."""
    arguments = parser("roofline", __doc__)
    arguments.add_argument("--measure", action="store_true", help="on the GPU of this machine")
    if not arguments.parse_args(argv).measure:
        print(table())
        return 0
    status = probe(GPU.name)
    print(status.reason)
    if status.usable:
        print(table_of_times())
    return 0 if status.usable else 2


if __name__ == "__main__":
    raise SystemExit(main())

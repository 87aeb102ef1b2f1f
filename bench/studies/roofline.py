"""The least that the GPU kernels of a workload can cost: a calculation, not a measurement.

Prints a table of docs/gpu.md. A kernel takes at least as long as its floating-point operations
take at the peak of float32 without tensor cores, and as long as its bytes take at the memory's
bandwidth. Both are the vendor's figures: NVIDIA's data sheets, with the clock at boost.
"""

from dataclasses import dataclass

from softstep.bench.studies import parser
from softstep.kernels.integers import ceil_div


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
        stored = {1: "uint8", 2: "float16", 4: "float32"}[self.feature_bytes]
        return f"{self.n}x{self.d} -> {heads}{self.c}, {stored}, batch {self.batch}"

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


WORKS = (
    Work(60_000, 784, 10, 1, 100, 1),
    Work(60_000, 784, 10, 52, 100, 1),
    Work(100_000, 4_096, 10, 1, 256, 4),
    Work(20_480, 1_024, 1_000, 1, 256, 4),
    Work(50_000, 1_024, 1_000, 52, 1_024, 2),
)


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


def main(argv: list[str] | None = None) -> int:
    """Print the table."""
    parser("roofline", __doc__).parse_args(argv)
    print(table())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""The least that the GPU kernels of a step can cost: a calculation, not a measurement.

Prints the table in docs/gpu.md. A kernel takes at least as long as its floating-point operations
take at the peak, and as long as its bytes take at the memory's bandwidth. The peaks are the
vendor's figures for float32 without tensor cores: NVIDIA A100 80 GB SXM (data sheet 2021), H100 SXM
(data sheet 2023).
"""

from dataclasses import dataclass

from softstep.bench.studies import parser
from softstep.kernels.integers import ceil_div


@dataclass(frozen=True)
class Gpu:
    """Peak of the arithmetic, FLOP/s, and of the memory, bytes/s."""

    name: str
    flop_per_s: float
    bytes_per_s: float

    def floor(self, flop: int, size: int) -> float:
        """Seconds."""
        return max(flop / self.flop_per_s, size / self.bytes_per_s)


GPUS = (Gpu("A100", 19.5e12, 2.039e12), Gpu("H100", 67e12, 3.35e12))


@dataclass(frozen=True)
class Step:
    """Steps of `train`: n rows of d features in batches, h heads of c classes, bytes a feature."""

    name: str
    n: int
    d: int
    c: int
    h: int
    batch: int
    feature_bytes: int

    @property
    def steps(self) -> int:
        return ceil_div(self.n, self.batch)

    def kernels(self) -> dict[str, tuple[int, int]]:
        """FLOP and bytes of each launch: features, weights and gradients once, nothing kept."""
        columns = self.h * self.c
        product = 2 * self.batch * self.d * columns
        X, W, V = self.batch * self.d * self.feature_bytes, 4 * self.d * columns, 4 * columns
        return {
            "forward": (product, X + W + self.batch * V),
            "update": (product, X + 2 * W + self.batch * V),
        }


STEPS = (
    Step("60000x784->10, uint8", 60_000, 784, 10, 1, 100, 1),
    Step("60000x784->10, float32", 60_000, 784, 10, 1, 100, 4),
    Step("20000x784->10, 52 heads, float32", 20_000, 784, 10, 52, 100, 4),
    Step("20480x1024->1000, float32", 20_480, 1_024, 1_000, 1, 256, 4),
)


def table() -> str:
    """A markdown table: a line for each kernel of each workload."""
    lines = [
        "| workload | kernel | MFLOP a step | MB a step "
        + "".join(f"| {gpu.name}, µs a step | {gpu.name}, ms an epoch " for gpu in GPUS)
        + "|",
        "|---|---|" + "---:|" * (2 + 2 * len(GPUS)),
    ]
    for step in STEPS:
        for kernel, (flop, size) in step.kernels().items():
            floors = [gpu.floor(flop, size) for gpu in GPUS]
            cells = "".join(f"| {1e6 * f:.2f} | {1e3 * f * step.steps:.2f} " for f in floors)
            lines.append(f"| {step.name} | {kernel} | {flop / 1e6:.2f} | {size / 1e6:.2f} {cells}|")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    parser("roofline", __doc__).parse_args(argv)
    print(table())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

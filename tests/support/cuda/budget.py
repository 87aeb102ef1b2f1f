"""What the kernels cost as they are compiled, and what that allows: the roofline of docs/gpu.md.

    python budget.py

For the main loop of a kernel: the instructions that a warp issues for 32 elements (an element is a
logit, or a multiply-add of a product), and the bytes that an element needs from memory. A GPU
issues four instructions a clock in each multiprocessor, float32 arithmetic half as fast where it
has 64 lanes; its memory moves so many bytes. What takes longest is the limit: a calculation, in
which latencies, bank conflicts and caches do not occur. No GPU was there to measure on.
"""

import importlib
from dataclasses import dataclass, field

import numpy as np
import nvrtc
import sass
from variants import KINDS

from softstep.kernels._cupy import linear
from softstep.kernels._cupy.kernel import options, source
from softstep.kernels._cupy.launch import row_defines

# The module: `train` of the package is the op.
train = importlib.import_module("softstep.kernels._cupy.train")

FLOAT = np.dtype(np.float32)
ARITHMETIC = ("FADD", "FMUL", "FFMA", "FMNMX", "FSETP", "FSEL", "FSET")  # on the float32 lanes


@dataclass(frozen=True)
class Gpu:
    """Multiprocessors, GHz at boost, float32 lanes of a multiprocessor, TB/s: data sheets."""

    name: str
    multiprocessors: int
    clock: float
    lanes: int
    bandwidth: float

    def seconds(self, issued, arithmetic, size):
        """What 32 elements take: to issue, on the float32 lanes, from memory."""
        clocks = self.multiprocessors * self.clock * 1e9
        return (
            issued / 4 / clocks,
            arithmetic * 32 / self.lanes / clocks,
            size / self.bandwidth / 1e12,
        )


GPUS = {
    75: Gpu("T4", 40, 1.59, 64, 0.32),
    80: Gpu("A100", 108, 1.41, 64, 2.04),
    90: Gpu("H200", 132, 1.83, 128, 4.8),
    100: Gpu("B200", 148, 1.85, 128, 8.0),
    120: Gpu("RTX 5090", 170, 2.41, 128, 1.79),
}


@dataclass(frozen=True)
class Loop:
    """The main loop of a kernel.

    elements: of a pass of a warp. size: bytes of an element. usual: what is compiled in place of
    conditions that tell the usual path from another one.
    """

    name: str
    file: str
    kernel: str
    defines: dict
    elements: float
    size: float
    usual: dict = field(default_factory=dict)

    def code(self, architecture):
        """Its instructions: those of the loop that multiplies most."""
        text = source(self.file)
        for old, new in self.usual.items():
            assert old in text
            text = text.replace(old, new)
        opts = options(self.defines)
        code = sass.instructions(text, self.file, self.kernel, opts, architecture)
        return max(sass.loops(code), key=_products_in)


def _products_in(code):
    counts = sass.counts(code)
    return counts["FFMA"] + 100 * counts["HMMA"]


def _rows():
    for kernel, file, size, defines in (
        ("softmax_forward", "softmax.cu", 8, {}),
        ("softmax_backward", "softmax.cu", 12, {}),
        ("cross_entropy_forward", "cross_entropy.cu", 4, {"Y_SOFT": 0}),
    ):
        for c in (10, 100, 1000):
            of_rows = row_defines(c, FLOAT)
            elements = 32 // of_rows["ROW_THREADS"] * c
            usual = {"if (is_power(s)) {": "if (true) {"}
            yield Loop(f"{c} classes", file, kernel, {**of_rows, **defines}, elements, size, usual)


ALIGNED = {"if (aligned && column < length) {": "if (true) {"}


def _products():
    tile = {"TILE_ROWS": 64, "TILE_COLUMNS": 64, "DEPTH": linear.DEPTH, "REAL": "float"}
    for dtype in ("float32", "float16", "uint8"):
        size = (np.dtype(dtype).itemsize + 4) / 64
        for name, cores in (("", {}), (", TF32", {"TENSOR_CORES": 1})):
            defines = {**tile, "X_KIND": KINDS[dtype], **cores}
            elements = 64 * 64 * linear.DEPTH / 8
            place = dtype + name, "linear.cu", "linear_forward"
            yield Loop(*place, defines, elements, size, ALIGNED)


def _training():
    types = train.types_of(FLOAT)
    tile = {"TILE_FEATURES": train.TILE_FEATURES, "TILE_COLUMNS": 64, "DEPTH": train.DEPTH}
    elements = 64 * 64 * train.DEPTH / 8
    yield Loop("64 x 64", "train_update.cu", "train_update", {**types, **tile}, elements, 8 / 64)


def loops():
    """Every loop of the table."""
    for part in (_rows, _products, _training):
        yield from part()


def row(loop, architecture):
    """The cells of a loop on an architecture."""
    counts = sass.counts(loop.code(architecture))
    each = 32 / loop.elements
    issued = sum(counts.values()) * each
    arithmetic = sum(counts[name] for name in ARITHMETIC) * each
    size = 32 * loop.size
    times = GPUS[architecture].seconds(issued, arithmetic, size)
    limit = ("instructions", "float32 lanes", "memory")[times.index(max(times))]
    share = 100 * times[2] / max(times)
    tensor = counts["HMMA"] * each
    return [f"{issued:.2f}", f"{arithmetic:.2f}", f"{tensor:.3f}" if tensor else "", limit,
            f"{share:.0f}%"]  # fmt: skip


def table(architectures):
    """Markdown: a line for each loop and architecture."""
    heads = ["kernel", "work", "bytes", "GPU", "instructions", "of them float32", "tensor cores",
             "limit", "of the memory's speed"]  # fmt: skip
    lines = [heads, ["---", "---", "--:", "---", "--:", "--:", "--:", "---", "--:"]]
    for loop in loops():
        for architecture in architectures:
            if "TENSOR_CORES" in loop.defines and architecture < linear.LEAST_TF32:
                continue
            place = f"`{loop.kernel}`", loop.name, f"{loop.size:.3g}", GPUS[architecture].name
            lines.append([*place, *row(loop, architecture)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    if reason := sass.missing():
        raise SystemExit(reason)
    print(f"NVRTC {nvrtc.version()}, for 32 elements, which a warp has:\n")
    print(table(nvrtc.architectures()))

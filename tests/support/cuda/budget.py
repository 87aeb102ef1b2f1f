"""What the kernels cost as they are compiled, and what that allows: the roofline of docs/gpu.md.

    python budget.py           # a table of the kernels' main loops

For the main loop of a kernel: the instructions of an element, of which a warp has 32 at a time (an
element is a logit, or a multiply-add of a product), and the bytes that it needs from memory. A GPU
issues four instructions a clock in each multiprocessor, float32 arithmetic half as fast where it
has 64 lanes; its tensor cores multiply so many numbers in a clock, its memory moves so many bytes.
What takes longest is the limit: a calculation, in which latencies, bank conflicts and caches do not
occur. No GPU was there to measure on. A launch moves every matrix once.
"""

import functools
import importlib
from dataclasses import dataclass

import numpy as np
import nvrtc
import sass
from variants import KINDS

from softstep.bench.studies.roofline import GPUS
from softstep.kernels._cupy import linear, mse, surface
from softstep.kernels._cupy.kernel import options, source
from softstep.kernels._cupy.launch import VALUES, row_defines
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

    def seconds(self, gpu, rate=1.0):
        """By what may be the limit, each as if all else took no time.

        rate: what part of their products the tensor cores reach.
        """
        return {
            "instructions": self.issued / 4 / gpu.clocks,
            "float32 lanes": self.arithmetic * 32 / gpu.lanes / gpu.clocks,
            "tensor cores": self.products / max(gpu.products, 1) / gpu.clocks / rate,
            "memory": self.size / gpu.bandwidth / 1e12,
        }

    def limit(self, gpu, rate=1.0):
        """What takes longest, and how many seconds."""
        times = self.seconds(gpu, rate)
        longest = max(times, key=times.get)
        return longest, times[longest]

    def share_of_memory(self, gpu):
        """Of the memory's speed, what is reached."""
        return self.seconds(gpu)["memory"] / self.limit(gpu)[1]


@dataclass(frozen=True)
class Loop:
    """The main loop of a kernel.

    elements: of a pass of a warp. size: bytes of an element. usual: what is compiled in place of
    conditions that tell the usual path from another one, and of loops that would be unrolled a few
    times. passes: how many loops go over all elements, as over rows of several tiles. inner: how
    often the main loop is gone through in each pass of the loop around it, which then counts too.
    """

    name: str
    file: str
    kernel: str
    defines: dict
    elements: float
    size: float
    usual: tuple = ()
    passes: int = 1
    inner: int = 0

    def code(self, architecture):
        """Its instructions: those of the loops that multiply most, or else of the longest."""
        text = source(self.file)
        for old, new in self.usual:
            assert old in text
            text = text.replace(old, new)
        loops = _loops(text, self.file, self.kernel, options(self.defines), architecture)
        chosen = loops[-self.passes :]
        if self.inner:
            (main,) = chosen
            chosen = [*self.inner * chosen, sass.around(main, loops)]
        return [instruction for loop in chosen for instruction in loop]

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

    def runs_on(self, architecture):
        return self.file not in nvrtc.ON_TENSOR_CORES or architecture >= linear.LEAST_TF32


@functools.cache
def _loops(text, file, kernel, opts, architecture):
    return sorted(sass.loops(sass.instructions(text, file, kernel, opts, architecture)), key=_work)


def _work(code):
    counts = sass.counts(code)
    return counts["FFMA"] + 100 * counts["HMMA"], len(code)


# ---- rows

ONE_SCALE = (("if (is_power(s)) {", "if (true) {"),)
OF_ROW = 8 + 4  # bytes beside its logits: a label, a loss
CLASSES = (10, 100, 1000)
SOME_CLASSES = (10, 1000)
FEW_CLASSES = (10, 100)


def _rows():
    labels, gce = {"Y_SOFT": 0}, {**DEFINES, "Y_SOFT": 0}
    yield from _of_rows("softmax.cu", "softmax_forward", CLASSES, 8)
    yield _long_row()
    yield from _of_rows("softmax.cu", "softmax_backward", CLASSES, 12)
    entropy = "cross_entropy.cu", "cross_entropy"
    for (file, name), classes, defines in (
        (entropy, CLASSES, labels),
        (("gce.cu", "gce"), SOME_CLASSES, gce),
    ):
        yield from _of_rows(file, f"{name}_forward", classes, 4, OF_ROW, **defines)
        yield from _of_rows(file, f"{name}_backward", classes, 8, OF_ROW, **defines)
    most = {"most": mse.MOST_VALUES, "usual": ()}
    yield from _of_rows("mse.cu", "mse_forward", FEW_CLASSES, 4, OF_ROW, **most, **labels)
    soft = {"Y_SOFT": 1}
    yield from _of_rows("mse.cu", "softmax_mse_backward", FEW_CLASSES, 12, **most, **soft)
    most = {"most": evaluate.MOST_VALUES}
    of_row = 8 + 4 + 1  # a label, a loss, a hit
    yield from _of_rows("evaluate.cu", "evaluate_rows", FEW_CLASSES, 4, of_row, **most, **gce)
    yield from _of_rows(
        "evaluate.cu", "predict_rows", FEW_CLASSES, 4, 8, **most, usual=(), **DEFINES
    )


def _of_rows(file, kernel, classes, size, of_row=0, *, most=VALUES[-1], usual=ONE_SCALE, **defines):
    for c in classes:
        of_rows = row_defines(c, FLOAT, most)
        given, bytes_ = {**of_rows, **defines}, size + of_row / c
        yield Loop(f"{c} classes", file, kernel, given, _of_a_pass(c, of_rows), bytes_, usual)


def _of_a_pass(c, of_rows):
    """Of rows of c classes what a warp's pass takes: all tiles have as many, past the end too."""
    threads = of_rows["ROW_THREADS"]
    return 32 * c / threads / ceil_div(c, threads * of_rows["ROW_VALUES"])


def _long_row():
    """It is read twice, the second time from L2."""
    c = 30_000
    of_rows = row_defines(c, FLOAT)
    place = f"{c} classes", "softmax.cu", "softmax_forward"
    return Loop(*place, of_rows, _of_a_pass(c, of_rows), 8, ONE_SCALE, passes=2)


def _pairs_and_points():
    """What computes much with few numbers: pairs of classes, points of the surface."""
    by_class = "for (long long j = 0; j < c; ++j) {"
    one_at_a_time = ((by_class, f'_Pragma("unroll 1") {by_class}'),)
    of_rows = row_defines(10, FLOAT, mse.MOST_VALUES)
    place = "10 classes, pairs of them", "mse.cu", "softmax_mse_backward"
    yield Loop(*place, {**of_rows, "Y_SOFT": 0}, _of_a_pass(10, of_rows), 0, one_at_a_time)
    place = "a class at a point", "surface.cu", "surface_chunks"
    yield Loop(*place, surface.defines(FLOAT), 32, 0, one_at_a_time, passes=2)


def row_alone():
    """Rows of 10 classes as they were evaluated: a warp for each."""
    (usual,) = (loop for loop in loops() if (loop.kernel, loop.name) == EVALUATED)
    alone = {**usual.defines, "ROW_THREADS": 32, "ROW_VALUES": 1}
    return Loop("alone", usual.file, usual.kernel, alone, 10, usual.size, usual.usual)


EVALUATED = "evaluate_rows", "10 classes"


# ---- products

ALIGNED = (("if (aligned && column < length) {", "if (true) {"),)
COPIED_BY_16 = (("if (by_units) {", "if (true) {"),)
ELEMENTS_OF_SLAB = linear.TENSOR_TILE**2 * linear.TENSOR_SLAB / 8


def _products():
    tile = {"TILE_ROWS": 64, "TILE_COLUMNS": 64, "DEPTH": linear.DEPTH}
    for name in ("linear_forward", "linear_backward"):
        for dtype in ("float32", "float16", "uint8"):
            item, types = np.dtype(dtype).itemsize, {"REAL": "float", "X_KIND": KINDS[dtype]}
            elements = 64 * 64 * linear.DEPTH / 8
            place = dtype, "linear.cu", name
            yield Loop(*place, {**tile, **types}, elements, (item + 4) / 64, ALIGNED)
            place = dtype, "linear_tensor.cu", f"{name}_tensor"
            yield Loop(*place, types, ELEMENTS_OF_SLAB, (item + 4) / 128, COPIED_BY_16)


def _training():
    types = {**types_of(FLOAT), "X_KIND": KINDS["float16"]}
    slices, rows = {"SLICE_FEATURES": 32}, {"Y_SOFT": 0, "ROW_LANES": 2}
    square = _tile(train_shapes.high_rows(64, FLOAT.itemsize), 64, train_shapes.DEPTH)
    low = _tile(16, 16, train_shapes.low_depth(32, 16, FLOAT.itemsize))
    for kernel, tile, defines in (
        ("train_logits", square, slices),
        ("train_forward", square, {**slices, **rows}),
        ("train_slices", low, slices),
    ):
        yield _product("train_forward.cu", kernel, tile, {**types, **defines})
    for columns in (10, 1000):
        tile = train_shapes.update_tile(columns, FLOAT)
        yield _product("train_update.cu", "train_update", tile, types)
    tile = {"TILE_FEATURES": linear.TENSOR_TILE, "TILE_COLUMNS": linear.TENSOR_TILE}
    for kernel in ("train_logits_tensor", "train_update_tensor"):
        place = "float16", "train_tensor.cu", kernel
        yield Loop(*place, {**types, **tile}, ELEMENTS_OF_SLAB, 6 / 128, COPIED_BY_16)


def _tile(rows, columns, depth):
    return {"TILE_ROWS": rows, "TILE_COLUMNS": columns, "DEPTH": depth}


def _product(file, kernel, tile, defines):
    """On tiles without tensor cores, of float16 features and float32 weights or gradients."""
    lines, columns = tile.get("TILE_ROWS", tile.get("TILE_FEATURES")), tile["TILE_COLUMNS"]
    elements, size = lines * columns * tile["DEPTH"] / 8, 2 / columns + 4 / lines
    name, given = f"float16, {lines} x {columns}", {**defines, **tile}
    inner = 0 if tile["DEPTH"] == UNROLLED else tile["DEPTH"] // UNROLLED
    return Loop(name, file, kernel, given, elements, size, inner=inner)


UNROLLED = 16  # of a slab's depth, in train_forward.cu and train_update.cu


def loops():
    """Every loop of the table."""
    for part in (_rows, _pairs_and_points, _products, _training):
        yield from part()


# ---- the table


def place(loop):
    """The first cells of a loop."""
    return [f"`{loop.kernel}`", loop.name, f"{loop.size:.3g}"]


def cell(loop, architecture):
    """Of a loop on an architecture: instructions, the limit, the share of the memory's speed."""
    if not loop.runs_on(architecture):
        return ""
    cost, gpu = loop.cost(architecture, 32, 32 * loop.size), GPUS[architecture]
    limit, _ = cost.limit(gpu)
    share = f" {100 * cost.share_of_memory(gpu):.0f}%" if loop.size and limit != "memory" else ""
    return f"{cost.issued:.3g} {limit}{share}"


def table(architectures):
    """Markdown: a line for each loop."""
    lines = [["kernel", "work", "bytes", *(GPUS[each].name for each in architectures)],
             ["---", "---", "--:", *["---"] * len(architectures)]]  # fmt: skip
    lines += [[*place(loop), *(cell(loop, each) for each in architectures)] for loop in loops()]
    return as_markdown(lines)


def as_markdown(lines):
    """Rows of cells as a table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    if reason := sass.missing():
        raise SystemExit(reason)
    print(table(nvrtc.architectures()))

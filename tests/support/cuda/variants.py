"""What the tests compile to see what it costs: each kernel with the definitions of its launcher.

Of kernels that work on rows the variants with most values in a thread, of the tiled ones the usual
tiles, and of `train_*` those of two widths of rows.
"""

import importlib

import numpy as np

from softstep.kernels._cupy import checks, linear, mse, surface
from softstep.kernels._cupy.launch import C_TYPE, VALUES, WARP_ROW, row_defines
from softstep.kernels._cupy.losses import DEFINES
from softstep.kernels._cupy.training import shapes as train_shapes
from softstep.kernels._cupy.training.call import types_of

# Modules: `evaluate` and `gradient` of the package are the ops.
evaluate = importlib.import_module("softstep.kernels._cupy.evaluate")
gradient = importlib.import_module("softstep.kernels._cupy.gradient")

KINDS = linear.X_KIND  # how features may be stored, by dtype


def everything():
    """Triples: the file, the kernel, its definitions."""
    for part in (_rows, _evaluate, _checks, _linear, _surface, _train, _gradient):
        yield from part()


def _of_rows(file, name, most=VALUES[-1], **defines):
    for dtype in C_TYPE:
        for c in (10, WARP_ROW, 1 << 20):  # lanes of a warp have the row, or a warp, or a block
            yield file, name, {**row_defines(c, dtype, most), **defines}


def _rows():
    for name in ("softmax_forward", "softmax_backward"):
        yield from _of_rows("softmax.cu", name)
    for soft in (0, 1):
        for name in ("cross_entropy_forward", "cross_entropy_backward"):
            yield from _of_rows("cross_entropy.cu", name, Y_SOFT=soft)
        for name in ("mse_forward", "mse_backward", "softmax_mse_backward"):
            yield from _of_rows("mse.cu", name, mse.MOST_VALUES, Y_SOFT=soft)
        of_rows = {"most": evaluate.MOST_VALUES, **DEFINES}
        yield from _of_rows("evaluate.cu", "evaluate_rows", **of_rows, Y_SOFT=soft)
    yield from _of_rows("evaluate.cu", "predict_rows", **of_rows)
    for name in ("gce_forward", "gce_backward"):
        yield from _of_rows("gce.cu", name, **DEFINES, Y_SOFT=0)


def _evaluate():
    for dtype in C_TYPE:
        for name in ("pack_bank", "sum_chunks", "add_chunks", "means"):
            yield "evaluate.cu", name, evaluate.defines(dtype)


def _checks():
    for dtype in C_TYPE:
        yield "checks.cu", "outside", checks.defines(dtype)
        yield "checks.cu", "no_distribution", checks.defines(dtype)
    for kind in (0, 1, 2, 4):  # bytes are always finite
        real = np.float64 if kind == 1 else np.float32
        yield "checks.cu", "not_finite", {**checks.defines(np.dtype(real)), "X_KIND": kind}


def _linear():
    for dtype, kind in KINDS.items():
        types = {"REAL": "double" if dtype == "float64" else "float", "X_KIND": kind}
        for columns in linear.TILES if kind < 2 else (16,):
            yield from _products(types, linear.TILES[columns], columns)
        if kind != 1:
            for name in ("linear_forward_tensor", "linear_backward_tensor"):
                yield "linear_tensor.cu", name, types
    for kind in (0, 2, 3, 4, 5):  # of `gradient` with weights of float64
        yield from _products({"REAL": "double", "X_KIND": kind}, 64, 64)
    for dtype in C_TYPE:
        for name in ("add_parts", "column_sums"):
            yield "linear.cu", name, linear.defines(dtype)


def _products(types, rows, columns):
    tile = {"TILE_ROWS": rows, "TILE_COLUMNS": columns, "DEPTH": linear.DEPTH}
    for name in ("linear_forward", "linear_backward"):
        yield "linear.cu", name, {**types, **tile}


def _surface():
    for dtype in C_TYPE:
        for name in ("surface_chunks", "surface_add"):
            yield "surface.cu", name, surface.defines(dtype)


def _train():
    labels, wide_soft = {"Y_SOFT": 0, "ROW_LANES": 2}, {"Y_SOFT": 1, "ROW_LANES": 32}
    slices = {"SLICE_FEATURES": 32}
    for kind in KINDS.values():
        arithmetic = np.dtype(np.float64 if kind == 1 else np.float32)
        types = {**types_of(arithmetic), "X_KIND": kind}
        square, low = _tile(64, arithmetic), _tile(16, arithmetic, features=64)
        yield "train_forward.cu", "train_forward", {**types, **square, **labels}
        yield "train_forward.cu", "train_logits", {**types, **square}
        yield "train_forward.cu", "train_slices", {**types, **low}
        for columns in (10, 20, 1000):
            update = train_shapes.update_tile(columns, arithmetic)
            yield "train_update.cu", "train_update", {**types, **update}
        yield "train_steps.cu", "train_steps", {**types, **slices, **labels}
        yield "train_rows.cu", "train_rows", {**types, **wide_soft}
        if kind > 1:
            tile = {"TILE_FEATURES": linear.TENSOR_TILE, "TILE_COLUMNS": linear.TENSOR_TILE}
            for name in ("train_logits_tensor", "train_update_tensor"):
                yield "train_tensor.cu", name, {**types, **tile}
            continue
        for tile in (_tile(128, arithmetic), low, _tile(128, arithmetic, features=64)):
            yield "train_forward.cu", "train_forward", {**types, **tile, **labels}
        yield "train_forward.cu", "train_forward", {**types, **square, **wide_soft}
        yield "train_forward.cu", "train_slices", {**types, **_tile(64, arithmetic, features=64)}
        yield "train_steps.cu", "train_steps", {**types, **slices, **wide_soft}
        yield "train_rows.cu", "train_rows", {**types, **labels}


def _tile(columns, dtype, features=None):
    """A tile of the logits: a high one, or a low one that takes slices of so many features."""
    item = dtype.itemsize
    rows = 16 if features else train_shapes.high_rows(columns, item)
    depth = train_shapes.low_depth(features, columns, item) if features else train_shapes.DEPTH
    sizes = {"TILE_ROWS": rows, "TILE_COLUMNS": columns, "DEPTH": depth}
    return {**sizes, "SLICE_FEATURES": features or 32}


def _gradient():
    labels, wide_soft = {"Y_SOFT": 0, "ROW_LANES": 2}, {"Y_SOFT": 1, "ROW_LANES": 32}
    for dtype in C_TYPE:
        for rows in (labels, wide_soft):
            yield "gradient.cu", "gradient_rows", {**types_of(dtype), **rows}
    for dtype in C_TYPE:
        yield "gradient.cu", "add_to_sums", gradient.defines(dtype)
    yield "gradient.cu", "unpack_bank", gradient.defines(np.float64)

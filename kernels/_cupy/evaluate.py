"""What trained heads do on rows: labels, mean loss and accuracy, a block of rows at a time."""

import numpy as np

from softstep.kernels._cupy.device import device
from softstep.kernels._cupy.launch import (
    C_TYPE,
    blocks_for,
    ceil_div,
    check_width,
    launch_rows,
    targets,
)
from softstep.kernels._cupy.linear import Tiling, logits

CHUNK = 256  # rows whose losses are summed at a time; a block of rows is a multiple of it
MOST_BYTES = 256 << 20  # of a block: larger ones are no faster
THREADS = 128
MOST_VALUES = 16  # in a thread, next to the code of both losses


def whole(dtype):
    """How the kernels that do not work on rows of classes are compiled."""
    return {"REAL": C_TYPE[dtype], "CHUNK": CHUNK}


def on_rows(name, rows, c, args, dtype, **defines):
    launch_rows("evaluate.cu", name, rows, c, args, dtype=dtype, most=MOST_VALUES, **defines)


def block_rows(n, bytes_per_row):
    """How many rows at a time: what fits into half of the memory that is free."""
    room = min(device.free_memory() // 2, MOST_BYTES) // bytes_per_row
    return min(max(room // CHUNK, 1) * CHUNK, n)


def packed(W):
    # W (h, d, c) -> (d, h·c) on the device
    h, d, c = W.shape
    W = device.asarray(W)
    if h == 1:
        return W
    result = device.empty((d, h * c), W.dtype)
    kernel = device.kernel("evaluate.cu", "pack_bank", **whole(W.dtype))
    args = (W, result, *map(np.int64, (h, d, c)))
    kernel((blocks_for(W.size, THREADS),), (THREADS,), args)
    return result


def blocks_of_logits(X, W, b, feature_scale):
    """Yields (first, count, V): V is (count, h·c), a block's logits."""
    n, d = X.shape
    h, _, c = W.shape
    if n == 0:
        return
    tiling = Tiling(n, h * c, d)  # that of all rows, so that the blocks do not change the bits
    check_width(tiling.tiles[1], h, c)
    W, b = packed(W), device.asarray(b)
    rows = block_rows(n, (h * c + 2 * h) * W.dtype.itemsize)
    for first in range(0, n, rows):
        count = min(rows, n - first)
        V = device.empty((count, h * c), W.dtype)
        logits(X, first, W, b, V, tiling, feature_scale)
        yield first, count, V


def predict(X, W, b, *, feature_scale=1.0):
    # X (n, d), W (h, d, c), b (h, c) -> (h, n)
    n = len(X)
    h, _, c = W.shape
    X = device.asarray(X)
    labels = device.empty((h, n), np.int64)
    for first, count, V in blocks_of_logits(X, W, b, feature_scale):
        args = (V, labels, *map(np.int64, (first, count, n, h, c)))
        on_rows("predict_rows", count * h, c, args, V.dtype)
    return labels


def label_sets(y):
    # y (t, n), or soft targets (n, c) -> (t, n) on the device: (1, n), where the largest target is
    if y.dtype.kind == "i":
        return device.asarray(y)
    n, c = y.shape
    labels = device.empty((1, n), np.int64)
    args = (device.asarray(y), labels, *map(np.int64, (0, n, n, 1, c)))
    on_rows("predict_rows", n, c, args, y.dtype)  # before rounding makes targets equal
    return labels


def evaluate(
    X, y, W, b, *, loss, sample_weight=None, y_index=None, weight_index=None, feature_scale=1.0
):
    # X (n, d), y (t, n) or (n, c), W (h, d, c), b (h, c) -> loss (h,), accuracy (h,)
    n = len(X)
    h, _, c = W.shape
    X = device.asarray(X)
    labels = label_sets(y)
    y, is_soft = targets(y, W.dtype)
    soft = y if is_soft else None
    y_index = device.asarray(y_index)
    is_mse = device.asarray(np.array([name == "mse" for name in loss], np.uint8))
    weights = None if sample_weight is None else device.asarray(sample_weight)
    weight_index = device.asarray(weight_index)
    sums = device.zeros((h, 3), np.float64)
    for first, count, V in blocks_of_logits(X, W, b, feature_scale):
        losses = device.empty((count, h), V.dtype)
        right = device.empty((count, h), np.uint8)
        sizes = tuple(map(np.int64, (first, count, n, h)))
        args = (V, labels, soft, y_index, is_mse, losses, right, *sizes, np.int64(c))
        on_rows("evaluate_rows", count * h, c, args, V.dtype, Y_SOFT=is_soft)
        add_up(losses, right, weights, weight_index, sums, sizes)
    return means(sums, W.dtype)


def add_up(losses, right, weights, weight_index, sums, sizes):
    """sums (h, 3) += Σ w L, Σ w [right], Σ w over a block of rows."""
    _, count, _, h = sizes
    chunks = ceil_div(int(count), CHUNK)
    partial = device.empty((chunks, int(h), 3), np.float64)
    types = whole(losses.dtype)
    args = (losses, right, weights, weight_index, partial, *sizes)
    device.kernel("evaluate.cu", "sum_chunks", **types)((chunks * int(h),), (CHUNK,), args)
    args = (partial, sums, np.int64(chunks), h)
    blocks = (ceil_div(3 * int(h), THREADS),)
    device.kernel("evaluate.cu", "add_chunks", **types)(blocks, (THREADS,), args)


def means(sums, dtype):
    # sums (h, 3) -> loss (h,), accuracy (h,)
    h = len(sums)
    loss, accuracy = device.empty((h,), np.float64), device.empty((h,), np.float64)
    kernel = device.kernel("evaluate.cu", "means", **whole(dtype))
    kernel((ceil_div(h, THREADS),), (THREADS,), (sums, loss, accuracy, np.int64(h)))
    return loss, accuracy

"""What trained heads do on rows: labels, mean loss and accuracy, a block of rows at a time."""

import numpy as np

from softstep.kernels._cupy.arrays import asarray, empty, rows, zeros
from softstep.kernels._cupy.device import MAX_GRID, free_memory
from softstep.kernels._cupy.kernel import load_kernel
from softstep.kernels._cupy.launch import (
    C_TYPE,
    Struct,
    blocks_for,
    check_width,
    launch_rows,
    op,
    targets,
)
from softstep.kernels._cupy.linear import logits, tiling_for
from softstep.kernels._cupy.losses import DEFINES, codes
from softstep.kernels.integers import ceil_div

CHUNK = 256  # rows whose losses are summed at a time; a block of rows is a multiple of it
MOST_BYTES = 256 << 20  # of a block of rows: larger ones are no faster
THREADS = 128
MOST_VALUES = 16  # in a thread, beside what the losses need


def defines(dtype):
    """How the kernels of evaluate.cu that do not work on rows of classes are compiled."""
    return {"REAL": C_TYPE[dtype], "CHUNK": CHUNK, **DEFINES}


def _launch_rows(name, rows, c, args, dtype, **defines):
    types = {**defines, **DEFINES}
    launch_rows("evaluate.cu", name, rows, c, args, dtype=dtype, most=MOST_VALUES, **types)


def _block_rows(bytes_per_row):
    """How many rows at a time: what fits into half of the free memory."""
    chunks = min(free_memory() // 2, MOST_BYTES) // (bytes_per_row * CHUNK)
    return min(max(chunks, 1), MAX_GRID[1]) * CHUNK


def _packed(W):
    # W (h, d, c) -> (d, h·c) on the device
    h, d, c = W.shape
    W = asarray(W)
    if h == 1:
        return W
    packed = empty((d, h * c), W.dtype)
    kernel = load_kernel("evaluate.cu", "pack_bank", **defines(W.dtype))
    args = (W, packed, *map(np.int64, (h, d, c)))
    kernel((blocks_for(W.size, THREADS),), (THREADS,), args)
    return packed


def blocks_of_logits(X, W, b, feature_scale, room=0, cut=tiling_for):
    """Yields (first, V) for each block of rows: V (count, h·c) are their logits, in one memory.

    The caller takes `room` more bytes for each row than losses and hits. cut(X, W, rows,
    columns, depth): the product's tiling.
    """
    n, d = X.shape
    h, _, c = W.shape
    if n == 0:
        return
    tiling = cut(X, W, n, h * c, d)  # that of all rows, so that the blocks do not change the bits
    check_width(tiling.tiles[1], h, c)
    W, b = _packed(W), asarray(b)
    count = min(n, _block_rows((h * c + 2 * h) * W.dtype.itemsize + room))
    block = empty((count, h * c), W.dtype)
    for first in range(0, n, count):
        V = block[: n - first]
        logits(X, first, W, b, V, tiling, feature_scale)
        yield first, V


@op
def predict(X, W, b, *, feature_scale=1.0):
    # X (n, d), W (h, d, c), b (h, c) -> (h, n)
    n = len(X)
    h, _, c = W.shape
    labels = empty((h, n), np.int64)
    for first, V in blocks_of_logits(rows(X), W, b, feature_scale):
        args = (V, labels, *map(np.int64, (first, len(V), n, h, c)))
        _launch_rows("predict_rows", len(V) * h, c, args, V.dtype)
    return labels


def targets_of_heads(data, bank):
    """What the heads learn from, the fields of struct Targets, and Y_SOFT."""
    loss_codes = codes(bank.loss)
    y, is_soft = targets(data.y, bank.W.dtype)
    weights = data.sample_weight
    return {
        "labels": _largest_targets(data.y) if is_soft else y,
        "soft": y if is_soft else None,
        "weights": None if weights is None else asarray(weights),
        "y_index": asarray(data.y_index),
        "weight_index": asarray(data.weight_index),
        "loss_codes": asarray(loss_codes),
        "n": np.int64(len(data.X)),
    }, is_soft


def _largest_targets(y):
    # soft targets y (n, c) -> (1, n): where the largest is, before rounding makes targets equal
    n, c = y.shape
    labels = empty((1, n), np.int64)
    args = (asarray(y), labels, *map(np.int64, (0, n, n, 1, c)))
    _launch_rows("predict_rows", n, c, args, y.dtype)
    return labels


@op
def evaluate(data, bank):
    # X (n, d), y (t, n) or (n, c), W (h, d, c), b (h, c) -> loss (h,), accuracy (h,)
    fields, is_soft = targets_of_heads(data, bank)
    heads = Struct(**fields)
    sums = zeros((len(bank.W), 3), np.float64)
    for first, V in blocks_of_logits(rows(data.X), bank.W, bank.b, data.feature_scale):
        _add_block(first, V, heads, is_soft, sums)
    return _means(sums, bank.W.dtype)


def _add_block(first, V, heads, is_soft, sums):
    """Adds what the heads do on a block of rows, whose logits are V, to sums (h, 3)."""
    count, h = len(V), len(sums)
    c = V.shape[1] // h
    losses, right = empty((count, h), V.dtype), empty((count, h), np.uint8)
    sizes = tuple(map(np.int64, (first, count, h)))
    args = (V, heads, losses, right, *sizes, np.int64(c))
    _launch_rows("evaluate_rows", count * h, c, args, V.dtype, Y_SOFT=is_soft)
    _add_up(losses, right, heads, sums, sizes)


def _add_up(losses, right, heads, sums, sizes):
    """sums (h, 3) += Σ w L, Σ w [right], Σ w over a block of rows."""
    count, h = losses.shape
    chunks = ceil_div(count, CHUNK)
    partial = empty((chunks, h, 3), np.float64)
    types = defines(losses.dtype)
    args = (losses, right, heads, partial, *sizes)
    load_kernel("evaluate.cu", "sum_chunks", **types)((chunks * h,), (CHUNK,), args)
    args = (partial, sums, np.int64(chunks), np.int64(h))
    blocks = (ceil_div(3 * h, THREADS),)
    load_kernel("evaluate.cu", "add_chunks", **types)(blocks, (THREADS,), args)


def _means(sums, dtype):
    # sums (h, 3) -> loss (h,), accuracy (h,)
    h = len(sums)
    loss, accuracy = empty((h,), np.float64), empty((h,), np.float64)
    kernel = load_kernel("evaluate.cu", "means", **defines(dtype))
    kernel((ceil_div(h, THREADS),), (THREADS,), (sums, loss, accuracy, np.int64(h)))
    return loss, accuracy

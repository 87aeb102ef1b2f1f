"""Loss and gradient of a bank, summed over all rows, a block of rows at a time."""

import numpy as np

from softstep.kernels._cupy import linear
from softstep.kernels._cupy.arrays import empty, rows, zeros
from softstep.kernels._cupy.evaluate import CHUNK, blocks_of_logits, targets_of_heads
from softstep.kernels._cupy.kernel import load_kernel
from softstep.kernels._cupy.launch import C_TYPE, Struct, blocks_for, op, scalar
from softstep.kernels._cupy.losses import DEFINES
from softstep.kernels._cupy.training.call import types_of
from softstep.kernels._cupy.training.shapes import THREADS, row_lanes
from softstep.kernels.arrays import row_length
from softstep.kernels.integers import ceil_div


def defines(dtype):
    """How the kernels of gradient.cu that only add are compiled."""
    return {"REAL": C_TYPE[np.dtype(dtype)], **DEFINES}


class _Chunks(linear.Tiling):
    """A product whose sum over the rows is taken chunk by chunk, whatever its shape."""

    @property
    def part(self):
        return CHUNK


def _without_tensor_cores(X, W, *shape):
    """In L-BFGS a sum of many rows decides by its last bits."""
    return linear.Tiling(*shape)


@op
def gradient(data, bank):
    # X (n, d), y (t, n) or (n, c), W (h, d, c), b (h, c) -> loss (h,), dW (h, d, c), db (h, c)
    h, d, c = bank.W.shape
    fields, is_soft = targets_of_heads(data, bank)
    heads, X = Struct(**fields), rows(data.X)
    loss, dW, db = (zeros(shape, np.float64) for shape in ((h,), (d, h * c), (h * c,)))
    # a row's loss, and its share of the sums of a chunk
    room = 8 * h + (bank.W.size + bank.b.size) * bank.W.dtype.itemsize // CHUNK
    given = X, bank.W, bank.b, data.feature_scale
    for first, V in blocks_of_logits(*given, room, cut=_without_tensor_cores):
        x = X[first : first + len(V)]
        _add_losses(V, heads, first, {**types_of(bank.W.dtype), "Y_SOFT": is_soft}, loss)
        _add_columns(V, db)
        _add_outer_products(V, x, data.feature_scale, dW)
    return loss, _unpacked(dW, h, c), db.reshape(h, c)


def _add_losses(V, heads, first, types, loss):
    # V (count, h·c): logits in, gradients out; loss (h,) += Σ w L
    count, h = len(V), len(loss)
    c = V.shape[1] // h
    losses, lanes = empty((count, h), np.float64), row_lanes(c)
    kernel = load_kernel("gradient.cu", "gradient_rows", **types, ROW_LANES=lanes)
    args = (V, heads, losses, *map(np.int64, (first, count, h, c)))
    kernel((blocks_for(count * h, THREADS // lanes),), (THREADS,), args)
    _add_columns(losses, loss)


def _add_outer_products(V, X, feature_scale, dW):
    # V (count, columns), X (count, d) -> dW (d, columns) += Σ s x ⊗ v
    (count, d), columns = X.shape, V.shape[1]
    tiling = _Chunks(d, columns, count)
    parts = empty((tiling.parts, d, columns), V.dtype)
    sizes = map(np.int64, (count, d, row_length(X), columns, CHUNK))
    args = (V, X, parts, scalar(feature_scale, V.dtype), *sizes)
    tiling.launch("linear_backward", X, V.dtype, args)
    _add(parts, dW)


def _add_columns(V, sums):
    # V (count, columns) -> sums (columns,) += Σ v
    count, columns = V.shape
    chunks = ceil_div(count, CHUNK)
    parts = empty((chunks, columns), V.dtype)
    kernel = load_kernel("linear.cu", "column_sums", **linear.defines(V.dtype))
    grid = (ceil_div(columns, 32), chunks)
    kernel(grid, (32 * linear.COLUMN_THREADS,), (V, parts, *map(np.int64, (count, columns, CHUNK))))
    _add(parts, sums)


def _add(parts, sums):
    # parts (count, ...) -> sums (...), in double, += each of them
    kernel = load_kernel("gradient.cu", "add_to_sums", **defines(parts.dtype))
    args = (parts, sums, np.int64(len(parts)), np.int64(sums.size))
    kernel((blocks_for(sums.size, THREADS),), (THREADS,), args)


def _unpacked(packed, h, c):
    # packed (d, h·c) -> (h, d, c)
    d = len(packed)
    if h == 1:
        return packed.reshape(h, d, c)
    W = empty((h, d, c), np.float64)
    kernel = load_kernel("gradient.cu", "unpack_bank", **defines(np.float64))
    kernel((blocks_for(W.size, THREADS),), (THREADS,), (packed, W, *map(np.int64, (h, d, c))))
    return W

"""How the kernels store a bank of h heads, W (h, d, c), as one matrix of columns.

Narrow banks, of few columns: (columns, features), so that vectors run along the features; both
padded with zeros. Wide banks: (vectors, features, lanes), so that vectors run along the columns.
"""

import math

import numpy as np

from softstep.kernels._numba.jit import for_kernels_too
from softstep.kernels._numba.simd.tiles import DOT_COLUMNS, LINE_BYTES, TILE_ROWS
from softstep.kernels._numba.simd.vector import BYTES
from softstep.kernels.arrays import row_length
from softstep.kernels.integers import ceil_div

WIDEST_NARROW = 20  # columns up to which the narrow kernels are the faster ones
BITS = {"float16": np.uint16, "bfloat16": np.int16}  # by which a kernel tells them apart


def lanes(dtype):
    """Numbers in a vector."""
    return BYTES // np.dtype(dtype).itemsize


def stored(X):
    """Features as the kernels read them: float16 and bfloat16, which Numba lacks, as their bits.

    Rows that lie apart, (n, d), become rows (n, r) of which only the first d features may be read,
    r those from row to row: a C-contiguous array like any other, so that Numba compiles a kernel
    once for both. What is behind the d features may be no memory of X.
    """
    bits = BITS.get(X.dtype.type.__name__)
    X = X if bits is None else X.view(bits)
    if X.flags.c_contiguous:
        return X
    n, step = len(X), X.dtype.itemsize
    apart = row_length(X)
    return np.lib.stride_tricks.as_strided(X, (n, apart), (apart * step, step))


def zeros(shape, dtype):
    """Zeros that begin with a cache line, so that vectors do not straddle two."""
    return _aligned(np.zeros, shape, dtype)


def empty(shape, dtype):
    """The same, not set to anything."""
    return _aligned(np.empty, shape, dtype)


def _aligned(make, shape, dtype):
    dtype = np.dtype(dtype)
    raw = make(math.prod(shape) * dtype.itemsize + LINE_BYTES, np.uint8)
    skip = -raw.__array_interface__["data"][0] % LINE_BYTES
    return np.ndarray(shape, dtype, raw, skip)


@for_kernels_too
def padded(count, tile):
    """`count` rounded up to a multiple of `tile`."""
    return ceil_div(count, tile) * tile


def odd_lines(count, dtype):
    """`count` rounded up to an odd number of cache lines: such rows spread over all cache sets."""
    line = LINE_BYTES // np.dtype(dtype).itemsize
    lines = ceil_div(count, line)
    return (lines + 1 - lines % 2) * line


def panels(d, rows, dtype):
    # room for `rows` rows of d features, (panels, rows, features), by the tiles of products.py
    width = max(lanes(dtype), TILE_ROWS)
    return zeros((ceil_div(d, width), rows, width), dtype)


def pack_narrow(W):
    # W (h, d, c) -> (columns padded, d padded)
    h, d, c = W.shape
    packed = zeros((padded(h * c, DOT_COLUMNS), padded(d, lanes(W.dtype))), W.dtype)
    packed[: h * c, :d] = W.transpose(0, 2, 1).reshape(h * c, d)
    return packed


def unpack_narrow(packed, W):
    # (columns padded, d padded) -> W (h, d, c), in place
    h, d, c = W.shape
    W[:] = packed[: h * c, :d].reshape(h, c, d).transpose(0, 2, 1)


def pack_wide(W):
    # W (h, d, c) -> (vectors, d, lanes)
    h, d, c = W.shape
    n = lanes(W.dtype)
    packed = zeros((ceil_div(h * c, n), d, n), W.dtype)
    columns = np.ascontiguousarray(W.transpose(1, 0, 2)).reshape(d, h * c)
    full = h * c // n
    packed[:full] = columns[:, : full * n].reshape(d, full, n).transpose(1, 0, 2)
    if full < len(packed):
        packed[full, :, : h * c - full * n] = columns[:, full * n :]
    return packed


def unpack_wide(packed, W):
    # (vectors, d, lanes) -> W (h, d, c), in place
    h, d, c = W.shape
    columns = packed.transpose(1, 0, 2).reshape(d, -1)[:, : h * c]
    W[:] = columns.reshape(d, h, c).transpose(1, 0, 2)


def per_column(values, c, dtype):
    # one value for each head, (h,), or for each head and class, (h, c) -> (columns padded,)
    h = len(values)
    columns = zeros((padded(h * c, lanes(dtype)),), dtype)
    columns[: h * c].reshape(h, c)[:] = values.reshape(h, -1)
    return columns

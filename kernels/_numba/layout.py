"""How the kernels store a bank of h heads, W (h, d, c), as one matrix of columns.

Few columns: (columns, features), so that vectors run along the features; both padded with zeros.
Many columns: (vectors, features, lanes), so that vectors run along the columns.
"""

import math

import numpy as np

from softstep.kernels._numba.tiles import DOT_COLUMNS, LINE_BYTES
from softstep.kernels._numba.vector import BYTES

FEW = 20  # columns up to which the few kind is the faster one


def lanes(dtype):
    """Numbers in a vector."""
    return BYTES // np.dtype(dtype).itemsize


def stored(X):
    """The features as the kernels read them: float16, which Numba lacks, as its bits."""
    return X.view(np.uint16) if X.dtype == np.float16 else X


def zeros(shape, dtype):
    """Zeros that begin with a cache line, so that vectors do not straddle two."""
    return _aligned(np.zeros, shape, dtype)


def empty(shape, dtype):
    """The same, not set to anything."""
    return _aligned(np.empty, shape, dtype)


def _aligned(make, shape, dtype):
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = make(size + LINE_BYTES, np.uint8)
    skip = -raw.__array_interface__["data"][0] % LINE_BYTES
    return raw[skip : skip + size].view(dtype).reshape(shape)


def padded(count, tile):
    """`count` rounded up to a multiple of `tile`."""
    return -(-count // tile) * tile


def odd_lines(count, dtype):
    """`count` rounded up to an odd number of cache lines: such rows spread over all cache sets."""
    line = LINE_BYTES // np.dtype(dtype).itemsize
    lines = -(-count // line)
    return (lines + 1 - lines % 2) * line


def pack_few(W):
    # W (h, d, c) -> (columns padded, d padded)
    h, d, c = W.shape
    packed = zeros((padded(h * c, DOT_COLUMNS), padded(d, lanes(W.dtype))), W.dtype)
    packed[: h * c, :d] = W.transpose(0, 2, 1).reshape(h * c, d)
    return packed


def unpack_few(packed, W):
    # (columns padded, d padded) -> W (h, d, c), in place
    h, d, c = W.shape
    W[:] = packed[: h * c, :d].reshape(h, c, d).transpose(0, 2, 1)


def pack_many(W):
    # W (h, d, c) -> (vectors, d, lanes)
    h, d, c = W.shape
    n = lanes(W.dtype)
    packed = zeros((padded(h * c, n) // n, d, n), W.dtype)
    columns = np.ascontiguousarray(W.transpose(1, 0, 2)).reshape(d, h * c)
    whole = h * c // n
    packed[:whole] = columns[:, : whole * n].reshape(d, whole, n).transpose(1, 0, 2)
    if whole < len(packed):
        packed[whole, :, : h * c - whole * n] = columns[:, whole * n :]
    return packed


def unpack_many(packed, W):
    # (vectors, d, lanes) -> W (h, d, c), in place
    h, d, c = W.shape
    columns = packed.transpose(1, 0, 2).reshape(d, -1)[:, : h * c]
    W[:] = columns.reshape(d, h, c).transpose(1, 0, 2)


def spread(values, c, packed):
    """Values of each head, (h,), or of each head and class, (h, c), for each column of `packed`."""
    columns = zeros((packed.shape[0] * packed.shape[2],), packed.dtype)
    columns[: len(values) * c].reshape(-1, c)[:] = values.reshape(len(values), -1)
    return columns

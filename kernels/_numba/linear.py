"""The linear layer: blocks of rows in a buffer, weights stored (columns, d), two register tiles.

A bank of h heads is one matrix of k = h·c columns, padded with zeros to a multiple of TILE_COLUMNS;
a block of rows is padded with zeros to a multiple of TILE_ROWS. So every row and every column goes
through the same instructions: what a head gets does not depend on its neighbours.
"""

import numpy as np

from softstep.kernels._numba.jit import STRICT, SUMS, jit

TILE_COLUMNS = 5
TILE_ROWS = 4
BLOCK_ROWS = 128

HALF_TO_FLOAT = np.float32(2.0**112)  # the distance of the two exponent biases


def padded(count, tile):
    """`count` rounded up to a multiple of `tile`."""
    return -(-count // tile) * tile


def stored(X):
    """The features as the kernels read them: float16, which Numba lacks, as its bits."""
    return X.view(np.uint16) if X.dtype == np.float16 else X


def packed(W, b):
    # W (h, d, c), b (h, c) -> Wt (k padded, d), bt (k padded)
    h, d, c = W.shape
    Wt = np.zeros((padded(h * c, TILE_COLUMNS), d), W.dtype)
    bt = np.zeros(len(Wt), b.dtype)
    Wt[: h * c] = W.transpose(0, 2, 1).reshape(h * c, d)
    bt[: h * c] = b.ravel()
    return Wt, bt


def unpack(Wt, bt, W, b):
    # Wt (k padded, d), bt (k padded) -> W (h, d, c), b (h, c), in place
    h, d, c = W.shape
    W[:] = Wt[: h * c].reshape(h, c, d).transpose(0, 2, 1)
    b[:] = bt[: h * c].reshape(h, c)


def block(rows, d, dtype):
    """A buffer for a block of so many rows."""
    return np.zeros((padded(rows, TILE_ROWS), d), dtype)


def block_of(X, dtype):
    """A buffer for the blocks in which all of X is read."""
    return block(min(BLOCK_ROWS, len(X)), X.shape[1], dtype)


@jit(SUMS)
def half_to_float(bits):
    """The float16 with these bits, as float32: shift the fields into place, scale the exponent."""
    magnitude = np.uint32(bits & np.uint16(0x7FFF)) << np.uint32(13)
    sign = np.uint32(bits & np.uint16(0x8000)) << np.uint32(16)
    if magnitude >= np.uint32(0x0F800000):  # inf and NaN
        return np.uint32(magnitude | sign | np.uint32(0x7F800000)).view(np.float32)
    scaled = np.float32(np.uint32(magnitude).view(np.float32) * HALF_TO_FLOAT)
    return np.uint32(scaled.view(np.uint32) | sign).view(np.float32)


@jit(SUMS)
def gather(X, rows, feature_scale, Xb):
    # X (n, d), rows (r,) -> Xb[:r] (r, d) = s X[rows], then zero rows up to a multiple of the tile
    d = X.shape[1]
    scale = Xb.dtype.type(feature_scale)
    for i in range(len(rows)):
        x, buffer = X[rows[i]], Xb[i]
        if X.itemsize == 2:
            for j in range(d):
                buffer[j] = half_to_float(np.uint16(x[j])) * scale
        else:
            for j in range(d):
                buffer[j] = x[j] * scale
    full = -(-len(rows) // TILE_ROWS) * TILE_ROWS
    Xb[len(rows) : full] = 0


@jit(STRICT)
def gather_block(X, start, feature_scale, Xb):
    # rows start, start + 1, ... of X (n, d) -> Xb; how many there were
    count = min(len(Xb), len(X) - start)
    gather(X, np.arange(start, start + count), feature_scale, Xb)
    return count


@jit(SUMS)
def forward_tiles(Xb, count, Wt, bt, V):
    # Xb (rows, d), Wt (k, d), bt (k,) -> V[:count] (count, k) = Xb Wtᵀ + bt
    # Tile: 2 rows × 5 columns, ten sums in vector registers; lanes along the features.
    zero = Xb.dtype.type(0)
    for c in range(0, len(Wt), TILE_COLUMNS):
        w0, w1, w2, w3, w4 = Wt[c], Wt[c + 1], Wt[c + 2], Wt[c + 3], Wt[c + 4]
        for r in range(0, count, 2):
            x, z = Xb[r], Xb[r + 1]
            a0 = a1 = a2 = a3 = a4 = zero
            b0 = b1 = b2 = b3 = b4 = zero
            for j in range(Xb.shape[1]):
                u, v = x[j], z[j]
                a0 += u * w0[j]
                b0 += v * w0[j]
                a1 += u * w1[j]
                b1 += v * w1[j]
                a2 += u * w2[j]
                b2 += v * w2[j]
                a3 += u * w3[j]
                b3 += v * w3[j]
                a4 += u * w4[j]
                b4 += v * w4[j]
            V[r, c], V[r, c + 1], V[r, c + 2], V[r, c + 3], V[r, c + 4] = a0, a1, a2, a3, a4
            V[r + 1, c], V[r + 1, c + 1], V[r + 1, c + 2] = b0, b1, b2
            V[r + 1, c + 3], V[r + 1, c + 4] = b3, b4
    for r in range(count):
        for k in range(len(bt)):
            V[r, k] += bt[k]


@jit(SUMS)
def backward_tile(dV, Xb, count, c, G):
    # dV (rows, k), Xb (rows, d) -> G (5, d) += dV[:, c : c + 5]ᵀ Xb, the outer products of the rows
    # Tile: 4 rows × 5 columns, 20 factors in registers; lanes along the features.
    g0, g1, g2, g3, g4 = G[0], G[1], G[2], G[3], G[4]
    for r in range(0, count, TILE_ROWS):
        x0, x1, x2, x3 = Xb[r], Xb[r + 1], Xb[r + 2], Xb[r + 3]
        v0, v1, v2, v3 = dV[r, c:], dV[r + 1, c:], dV[r + 2, c:], dV[r + 3, c:]
        p0, p1, p2, p3, p4 = v0[0], v0[1], v0[2], v0[3], v0[4]
        q0, q1, q2, q3, q4 = v1[0], v1[1], v1[2], v1[3], v1[4]
        s0, s1, s2, s3, s4 = v2[0], v2[1], v2[2], v2[3], v2[4]
        t0, t1, t2, t3, t4 = v3[0], v3[1], v3[2], v3[3], v3[4]
        for j in range(Xb.shape[1]):
            u0, u1, u2, u3 = x0[j], x1[j], x2[j], x3[j]
            g0[j] += p0 * u0 + q0 * u1 + s0 * u2 + t0 * u3
            g1[j] += p1 * u0 + q1 * u1 + s1 * u2 + t1 * u3
            g2[j] += p2 * u0 + q2 * u1 + s2 * u2 + t2 * u3
            g3[j] += p3 * u0 + q3 * u1 + s3 * u2 + t3 * u3
            g4[j] += p4 * u0 + q4 * u1 + s4 * u2 + t4 * u3


@jit(STRICT)
def _linear_forward(X, Wt, bt, feature_scale, Xb, V, out):
    # X (n, d), Wt (k, d) -> out (n, c); Xb (block, d) and V (block, k) are buffers
    for start in range(0, len(X), len(Xb)):
        count = gather_block(X, start, feature_scale, Xb)
        forward_tiles(Xb, count, Wt, bt, V)
        out[start : start + count] = V[:count, : out.shape[1]]


def linear_forward(X, W, b, *, feature_scale=1.0, out=None):
    # X (n, d), W (d, c), b (c,) -> V (n, c)
    Wt, bt = packed(W[None], b[None])
    Xb = block_of(X, W.dtype)
    V = np.empty((len(Xb), len(Wt)), W.dtype)
    out = np.empty((len(X), len(b)), W.dtype) if out is None else out
    if len(X):
        _linear_forward(stored(X), Wt, bt, feature_scale, Xb, V, out)
    return out


@jit(STRICT)
def _linear_backward(dV, X, feature_scale, Xb, dVb, dWt, db):
    # dV (n, c), X (n, d) -> dWt (k, d), db (c,); Xb (block, d) and dVb (block, k) are buffers
    n, c = dV.shape
    for start in range(0, n, len(Xb)):
        count = gather_block(X, start, feature_scale, Xb)
        dVb[:count, :c] = dV[start : start + count]
        dVb[count:] = 0
        for k in range(0, len(dWt), TILE_COLUMNS):
            backward_tile(dVb, Xb, count, k, dWt[k : k + TILE_COLUMNS])
    for r in range(n):
        for j in range(c):
            db[j] += dV[r, j]


def linear_backward(dV, X, *, feature_scale=1.0):
    # dV (n, c), X (n, d) -> dW (d, c) = Σ_rows x ⊗ dv, db (c,) = Σ_rows dv
    c = dV.shape[1]
    Xb = block_of(X, dV.dtype)
    dVb = np.zeros((len(Xb), padded(c, TILE_COLUMNS)), dV.dtype)
    dWt = np.zeros((dVb.shape[1], X.shape[1]), dV.dtype)
    db = np.zeros(c, dV.dtype)
    if len(X):
        _linear_backward(dV, stored(X), feature_scale, Xb, dVb, dWt, db)
    return np.ascontiguousarray(dWt[:c].T), db

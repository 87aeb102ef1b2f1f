"""The linear layer on CSR, forward: of each value that is stored, its row of W, as vectors.

W stands as (features, columns padded), so that what a feature weighs in all heads and classes is in
one place. A column's sum is taken in the order in which the values are stored, whatever is beside
it.
"""

from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.jit import INLINE, PART, STRICT, jit
from softstep.kernels._numba.parallel import pool
from softstep.kernels._numba.parallel.pool import OVER, work_through
from softstep.kernels._numba.simd.layout import empty, lanes, padded, per_column, zeros
from softstep.kernels._numba.simd.vector import (
    fma,
    lanes_of,
    load,
    prefetch,
    registers,
    splat,
    store,
    store_first,
)
from softstep.kernels.integers import ceil_div
from softstep.kernels.threads import threads_for

ITEM_ROWS = 32
AHEAD = 8  # values: so long before it is needed a row of W is asked for


class Stored(NamedTuple):
    """CSR, as the kernels read it."""

    data: np.ndarray  # (m,)
    indices: np.ndarray  # (m,)
    indptr: np.ndarray  # (n + 1,)


def stored(X):
    return Stored(X.data, X.indices, X.indptr)


def pack(W):
    # W (h, d, c) -> (d, columns padded)
    h, d, c = W.shape
    packed = zeros((d, padded(h * c, lanes(W.dtype))), W.dtype)
    for k in range(h):
        packed[:, k * c : (k + 1) * c] = W[k]
    return packed


def unpack(packed, W):
    # (d, columns padded) -> W (h, d, c), in place
    c = W.shape[2]
    for k in range(len(W)):
        W[k] = packed[:, k * c : (k + 1) * c]


def flop(X, columns, rows=None):
    """What a product of so many rows with W takes, by the mean length of all rows; None: of all."""
    count = int(X.indptr[-1] - X.indptr[0])
    return 2 * columns * (count if rows is None else count * rows / max(len(X), 1))


def make_gather(N):
    """The logits of a row in N vectors of columns."""

    @jit(PART)
    def gather(X, r, W, v, scale, b, V, i):
        # V[v : v + N, i] = scale Σ_k x_k W[feature of k] + b
        n = lanes_of(W)
        sums = registers(W, 1, N)
        for at in range(X.indptr[r], X.indptr[r + 1]):
            later = X.indices[min(at + AHEAD, len(X.indices) - 1)]
            prefetch(W, (np.int64(later), v * n))
            feature, x = np.int64(X.indices[at]), splat(W.dtype.type(X.data[at]))
            for u in range(N):
                sums[0, u] = fma(x, load(W, (feature, (v + u) * n)), sums[0, u])
        for u in range(N):
            column = (v + u) * n
            store(V, (v + u, i), fma(sums[0, u], load(scale, column), load(b, column)))

    return gather


gather_four, gather_two, gather_one = make_gather(4), make_gather(2), make_gather(1)


@jit(PART)
def logits_of_row(X, r, W, scale, b, V, i):
    # row r of X (n, d), W (d, columns padded), scale and b (columns padded,)
    # -> V[:, i] (vectors, rows, lanes) = scale x W + b
    v, vectors = 0, len(V)
    while v + 4 <= vectors:
        gather_four(X, r, W, v, scale, b, V, i)
        v += 4
    if v + 2 <= vectors:
        gather_two(X, r, W, v, scale, b, V, i)
        v += 2
    if v < vectors:
        gather_one(X, r, W, v, scale, b, V, i)


class Forward(NamedTuple):
    X: Stored
    W: np.ndarray  # (d, c padded)
    scale: np.ndarray  # (c padded,)
    b: np.ndarray  # (c padded,)
    out: np.ndarray  # (n, c)


class Scratch(NamedTuple):
    V: np.ndarray  # (workers, vectors, 1, lanes)


@jit(STRICT)
def _forward(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 1, _begin, _do)


@jit(INLINE)
def _begin(job, scratch, step, phase):
    return ceil_div(len(job.out), ITEM_ROWS) if step == 0 else OVER


@jit(INLINE)
def _do(job, scratch, step, phase, item, worker):
    V, n, c = scratch.V[worker], lanes_of(job.W), job.out.shape[1]
    for r in range(item * ITEM_ROWS, min((item + 1) * ITEM_ROWS, len(job.out))):
        logits_of_row(job.X, r, job.W, job.scale, job.b, V, 0)
        for v in range(c // n):
            store(job.out, (r, v * n), load(V, (v, 0)))
        if c % n:
            store_first(job.out, (r, c // n * n), load(V, (c // n, 0)), c % n)


def linear_forward(X, W, b, *, feature_scale=1.0, out=None):
    # X CSR (n, d), W (d, c), b (c,) -> out (n, c)
    c, dtype = len(b), W.dtype
    out = np.empty((len(X), c), dtype) if out is None else out
    if len(X):
        job = Forward(
            X=stored(X),
            W=pack(W[None]),
            scale=per_column(np.array([feature_scale]), c, dtype),
            b=per_column(b[None], c, dtype),
            out=out,
        )
        workers, n = threads_for(flop(X, c)), lanes(dtype)
        pool.run(_forward, workers, job, Scratch(empty((workers, ceil_div(c, n), 1, n), dtype)))
    return out

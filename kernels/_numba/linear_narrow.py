"""The linear layer with few columns: vectors run along the features. Rows are read in place, unless
they are scaled."""

from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.jit import INLINE, PART, STRICT, call, jit
from softstep.kernels._numba.parallel import pool
from softstep.kernels._numba.parallel.pool import OVER, work_through
from softstep.kernels._numba.simd.dots import (
    logits_of_rows,
    outer_products,
    rows_at_once,
    sums_of_columns,
)
from softstep.kernels._numba.simd.layout import (
    empty,
    lanes,
    odd_lines,
    pack_narrow,
    padded,
    stored,
    zeros,
)
from softstep.kernels._numba.simd.products import gather_rows
from softstep.kernels._numba.simd.scaling import Scaling, features, unscaled
from softstep.kernels._numba.simd.tiles import DOT_COLUMNS, Ahead
from softstep.kernels._numba.simd.vector import lanes_of
from softstep.kernels.integers import ceil_div
from softstep.kernels.scaled import Scaled
from softstep.kernels.threads import threads_for, worthwhile

ITEM_ROWS = 60  # of the forward pass
# The backward pass cuts the rows into parts, by their number alone, and those into blocks.
BLOCK_ROWS = 50
PART_ROWS, MAX_PARTS = 5 * BLOCK_ROWS, 16


class Forward(NamedTuple):
    X: np.ndarray  # (n, d or more), as stored
    scaling: Scaling
    d: int
    order: np.ndarray  # (n,): 0, 1, …
    W: np.ndarray  # (columns padded, d padded)
    b: np.ndarray  # (c,)
    scale: float
    out: np.ndarray  # (n, c)


class ForwardScratch(NamedTuple):
    """Buffers of each worker."""

    T: np.ndarray  # (workers, columns padded, lanes): logits, a row in each lane
    sums: np.ndarray  # (workers, columns padded, lanes, lanes): the same, lanes not yet added
    X: np.ndarray  # (workers, lanes, d padded): rows that are scaled


class Backward(NamedTuple):
    dV: np.ndarray  # (n, c)
    X: np.ndarray  # (n, d or more), as stored
    d: int
    order: np.ndarray  # (n,): 0, 1, …
    part: int  # rows of a part
    G: np.ndarray  # (parts, columns padded, d padded): Σ dv ⊗ x
    Gb: np.ndarray  # (parts, columns padded): Σ dv


class BackwardScratch(NamedTuple):
    """Buffers of each worker."""

    block: np.ndarray  # (workers, BLOCK_ROWS, columns padded): gradients


@jit(STRICT)
def _forward(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 1, _begin_forward, _forward_rows)


@jit(STRICT)
def _forward_scaled(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 1, _begin_forward, _forward_scaled_rows)


@jit(INLINE)
def _begin_forward(job, scratch, step, phase):
    return ceil_div(len(job.X), ITEM_ROWS) if step == 0 else OVER


@jit(INLINE)
def _forward_rows(job, scratch, step, phase, item, worker):
    T, sums, n, d = scratch.T[worker], scratch.sums[worker], len(job.X), job.d
    block = rows_at_once(lanes_of(T))
    for at in range(item * ITEM_ROWS, min((item + 1) * ITEM_ROWS, n), block):
        count = min(block, n - at)
        ahead = Ahead(job.X, job.order, min(at + ITEM_ROWS, n - count), 0, d)
        logits_of_rows(job.X, d, job.order, at, count, ahead, job.W, job.b, job.scale, T, sums)
        _write(T, at, count, job.out)


@jit(INLINE)
def _forward_scaled_rows(job, scratch, step, phase, item, worker):
    T, sums, X = scratch.T[worker], scratch.sums[worker], scratch.X[worker]
    n, d, block = len(job.X), job.d, rows_at_once(lanes_of(T))
    for at in range(item * ITEM_ROWS, min((item + 1) * ITEM_ROWS, n), block):
        count, order = min(block, n - at), job.order
        gather_rows(job.X, job.scaling, d, order, at, count, at + count, X, 0)
        nothing = Ahead(job.X, order, 0, 0, 0)
        logits_of_rows(X, d, order, 0, count, nothing, job.W, job.b, job.scale, T, sums)
        _write(T, at, count, job.out)


@jit(PART)
def _write(T, at, count, out):
    # T (columns padded, lanes) -> out (n, c), `count` rows from `at` on
    for i in range(count):
        for c in range(out.shape[1]):
            out[at + i, c] = T[c, i]


@jit(STRICT)
def _forward_alone(X, W, b, scale, out):
    # X (n, d or more), W (d, c), b (c,) -> out (n, c): what one thread does faster than it
    # is described to several, with buffers of its own
    (d, c), lanes = W.shape, lanes_of(W)
    packed = np.zeros((padded(c, DOT_COLUMNS), padded(d, lanes)), W.dtype)
    for i in range(d):
        for j in range(c):
            packed[j, i] = W[i, j]
    T = np.empty((1, len(packed), lanes), W.dtype)
    sums = np.empty((1, len(packed), lanes, lanes), W.dtype)
    job = Forward(X, unscaled(W.dtype), d, np.arange(len(X)), packed, b, scale, out)
    scratch = ForwardScratch(T, sums, np.zeros((1, 0, 0), W.dtype))
    for item in range(_begin_forward(job, scratch, 0, 0)):
        _forward_rows(job, scratch, 0, 0, item, 0)


def forward_narrow(X, W, b, scale, out):
    # X (n, d), W (d, c), b (c,) -> out (n, c) = s X W + b
    (n, d), c, dtype = X.shape, len(b), W.dtype
    flop, width, scales = 2 * n * d * c, lanes(dtype), isinstance(X, Scaled)
    workers = threads_for(flop)
    if workers == 1 and not (scales and worthwhile(flop) > 1):  # a scaled copy of few rows is small
        call(_forward_alone, stored(X[:] if scales else X), W, b, scale, out)
        return
    packed, (X, scaling) = pack_narrow(W[None]), features(X)
    job = Forward(
        X=X, scaling=scaling, d=d, order=np.arange(n), W=packed, b=b, scale=scale, out=out
    )
    scratch = ForwardScratch(
        T=empty((workers, len(packed), width), dtype),
        sums=empty((workers, len(packed), width, width), dtype),
        X=empty((workers, width * scales, odd_lines(d, dtype)), dtype),
    )
    pool.run(_forward_scaled if scales else _forward, workers, job, scratch)


@jit(STRICT)
def _backward(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 1, _begin_backward, _backward_part)


@jit(INLINE)
def _begin_backward(job, scratch, step, phase):
    return len(job.G) if step == 0 else OVER


@jit(INLINE)
def _backward_part(job, scratch, step, phase, item, worker):
    block, n = scratch.block[worker], len(job.X)
    begin, end = item * job.part, min((item + 1) * job.part, n)
    for at in range(begin, end, BLOCK_ROWS):
        count = min(BLOCK_ROWS, end - at)
        for i in range(count):
            for c in range(job.dV.shape[1]):
                block[i, c] = job.dV[at + i, c]
        add, ahead = at > begin, Ahead(job.X, job.order, min(at + count, n - count), 0, job.d)
        outer_products(job.X, job.d, job.order, at, count, ahead, block, add, job.G[item])
        sums_of_columns(block, count, add, job.Gb[item])


@jit(STRICT)
def _backward_alone(dV, X, part, scale, dW, db):
    # dV (n, c), X (n, d or more) -> dW (d, c) = s Σ x ⊗ dv, db (c,) = Σ dv: as _forward_alone
    (n, c), d, lanes = dV.shape, len(dW), lanes_of(dV)
    parts, columns = ceil_div(n, part), padded(c, DOT_COLUMNS)
    G = np.empty((parts, columns, padded(d, lanes)), dV.dtype)
    Gb = np.empty((parts, columns), dV.dtype)
    job = Backward(dV, X, d, np.arange(n), part, G, Gb)
    scratch = BackwardScratch(np.zeros((1, BLOCK_ROWS, columns), dV.dtype))
    for item in range(parts):
        _backward_part(job, scratch, 0, 0, item, 0)
    for item in range(1, parts):
        for k in range(columns):
            Gb[0, k] += Gb[item, k]
            for j in range(d):
                G[0, k, j] += G[item, k, j]
    for k in range(c):
        db[k] = Gb[0, k]
        for j in range(d):
            dW[j, k] = G[0, k, j] * scale


@np.errstate(over="ignore", invalid="ignore")  # infinities follow the arithmetic
def backward_narrow(dV, X, scale):
    # dV (n, c), X (n, d) -> dW (d, c) = s Σ x ⊗ dv, db (c,) = Σ dv
    (n, c), d, dtype, X = dV.shape, X.shape[1], dV.dtype, stored(X)
    part = padded(ceil_div(n, min(ceil_div(n, PART_ROWS), MAX_PARTS)), BLOCK_ROWS)
    workers = threads_for(2 * n * d * c)
    if workers == 1:
        dW, db = np.empty((d, c), dtype), np.empty(c, dtype)
        call(_backward_alone, dV, X, part, dtype.type(scale), dW, db)
        return dW, db
    parts, columns = ceil_div(n, part), padded(c, DOT_COLUMNS)
    job = Backward(
        dV=dV,
        X=X,
        d=d,
        order=np.arange(n),
        part=part,
        G=zeros((parts, columns, padded(d, lanes(dtype))), dtype),
        Gb=zeros((parts, columns), dtype),
    )
    scratch = BackwardScratch(block=zeros((workers, BLOCK_ROWS, columns), dtype))
    pool.run(_backward, workers, job, scratch)
    dW = job.G.sum(axis=0)[:c, :d].T * dtype.type(scale)
    return np.ascontiguousarray(dW), job.Gb.sum(axis=0)[:c]

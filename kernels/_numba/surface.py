"""The loss at many points at once: the logits of a row are affine in the offsets of the weights.

A row's logits are put in order: first its label's, v_y, then those of the c - 1 other classes. From
then on it does not matter which class the label was: each lane has a row. With m = max_j v_j over
all classes, e_j = e^{v_j - m} of the others, q = Σ_j e_j and E = e^{v_y - m},
    cross-entropy  L = m - v_y + log(E + q),   MSE  L = (Σ_j e_j² + q²) / (c (E + q)²),
which keep the figures of a sure row, whose loss is small; so does gce, a function of the first.
"""

from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.jit import INLINE, PART, STRICT, jit
from softstep.kernels._numba.losses import codes, loss_of_sums
from softstep.kernels._numba.parallel import pool
from softstep.kernels._numba.parallel.pool import OVER, work_through
from softstep.kernels._numba.simd.functions import exp
from softstep.kernels._numba.simd.layout import lanes, zeros
from softstep.kernels._numba.simd.vector import (
    every,
    filled,
    fma,
    lane_sum,
    lanes_of,
    load,
    load_doubles,
    maximum,
    select,
    store,
)
from softstep.kernels.integers import ceil_div
from softstep.kernels.threads import threads_for

ORDER, POINTS = range(2)  # the phases
ITEM_VALUES = 1 << 14  # logits of the rows that an item goes through
FLOP_PER_LOGIT = 25  # about, at each point: an exp is 20


class Job(NamedTuple):
    V0: np.ndarray  # (n, c); and so are V1 and V2
    V1: np.ndarray
    V2: np.ndarray
    labels: np.ndarray  # (groups, lanes) int64: a group has a row in each lane
    U0: np.ndarray  # (groups, c, lanes): V0 in order; and so are U1 and U2
    U1: np.ndarray
    U2: np.ndarray
    w_loss: (
        np.ndarray
    )  # (groups, lanes) float64: what a row's loss weighs, NaN where V is not finite
    w_hit: np.ndarray  # (groups, lanes) float64: what a hit weighs, 0 where V is not finite
    x: np.ndarray  # (nx,)
    y: np.ndarray  # (ny,)
    code: int  # of the loss
    chunk: int  # groups of an item
    sums: np.ndarray  # (chunks, ny, nx, 2), written: Σ w L and Σ w [right]


class Scratch(NamedTuple):
    """Buffers of each worker."""

    A: np.ndarray  # (workers, c, lanes): logits at x = 0
    values: np.ndarray  # (workers, lanes): losses or hits
    tied: np.ndarray  # (workers, lanes): 1 where a logit equals the label's
    acc: np.ndarray  # (workers, nx, 2, lanes of float64): sums


@jit(STRICT)
def _surface(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 2, _begin, _do)


@jit(INLINE)
def _begin(job, scratch, step, phase):
    # chunks of groups of rows are the items, then chunks × rows of the grid
    if step > 0:
        return OVER
    return len(job.sums) if phase == ORDER else len(job.sums) * len(job.y)


@jit(INLINE)
def _do(job, scratch, step, phase, item, worker):
    ny = len(job.y)
    chunk = item if phase == ORDER else item // ny
    first, end = chunk * job.chunk, min((chunk + 1) * job.chunk, len(job.labels))
    if phase == ORDER:
        _put_in_order(job, first, end)
    else:
        _grid_row(job, scratch, first, end, item % ny, worker, job.sums[chunk, item % ny])


@jit(INLINE)
def _put_in_order(job, first, end):
    """U of the groups first … end; a row that is not finite weighs NaN, and nothing as a hit."""
    n = lanes_of(job.U0)
    for r in range(first * n, min(end * n, len(job.V0))):
        g, lane = r // n, r % n
        label, check = job.labels[g, lane], 0.0
        for j in range(job.U0.shape[1]):
            k = label if j == 0 else j - 1 if j <= label else j
            v0, v1, v2 = job.V0[r, k], job.V1[r, k], job.V2[r, k]
            job.U0[g, j, lane], job.U1[g, j, lane], job.U2[g, j, lane] = v0, v1, v2
            check += v0 * 0 + v1 * 0 + v2 * 0
        if check != 0:
            job.w_loss[g, lane], job.w_hit[g, lane] = np.nan, 0


@jit(INLINE)
def _grid_row(job, scratch, first, end, i, worker, sums):
    """Σ w L and Σ w [right] of the groups first … end at every x and the i-th y: sums (nx, 2)."""
    A, values = scratch.A[worker], scratch.values[worker]
    tied, acc = scratch.tied[worker], scratch.acc[worker]
    c, t = len(A), job.y[i]
    acc[:] = 0
    for g in range(first, end):
        # what stays the same along the row of the grid
        for j in range(c):
            at = (g, j, 0)
            store(A, (j, 0), fma(load(job.U2, at), t, load(job.U0, at)))
        for k in range(len(job.x)):
            x = job.x[k]
            own, top = fma(load(job.U1, (g, 0, 0)), x, load(A, (0, 0))), _largest(A, job.U1, g, x)
            m = maximum(top, own)
            q, squares = _sums(A, job.U1, g, x, m)
            store(values, 0, loss_of_sums(job.code, m - own, exp(own - m), q, squares, c))
            _add(values, job.w_loss, g, acc, k, 0)
            store(values, 0, select(top < own, filled(values, 1.0), 0.0))
            apart = top - own  # 0 where they are equal; NaN lanes settle as no hit
            if not every(apart * apart > 0.0):
                _settle_ties(A, job.U1, g, x, own, top, job.labels, values, tied)
            _add(values, job.w_hit, g, acc, k, 1)
    for k in range(len(job.x)):
        sums[k, 0], sums[k, 1] = lane_sum(load(acc, (k, 0, 0))), lane_sum(load(acc, (k, 1, 0)))


@jit(PART)
def _largest(A, U1, g, x):
    # A (c, lanes), U1 (groups, c, lanes) -> max_j v_j of each lane, of all but the label's
    top = filled(A, -np.inf)
    for j in range(1, len(A)):
        top = maximum(fma(load(U1, (g, j, 0)), x, load(A, (j, 0))), top)
    return top


@jit(PART)
def _sums(A, U1, g, x, m):
    # -> q = Σ_j e_j and Σ_j e_j² of each lane
    q = squares = filled(A, 0.0)
    for j in range(1, len(A)):
        e = exp(fma(load(U1, (g, j, 0)), x, load(A, (j, 0))) - m)
        q, squares = q + e, fma(e, e, squares)
    return q, squares


@jit(PART)
def _settle_ties(A, U1, g, x, own, top, labels, hits, tied):
    # of equal logits the first is the answer: no hit where one of them is before the label
    one = filled(A, 1.0)
    store(hits, 0, select(top == own, one, load(hits, 0)))
    for j in range(1, len(A)):
        v = fma(load(U1, (g, j, 0)), x, load(A, (j, 0)))
        store(tied, 0, select(v == own, one, 0.0))
        for lane in range(len(hits)):
            if tied[lane] == 1 and j <= labels[g, lane]:
                hits[lane] = 0


@jit(PART)
def _add(values, weights, g, acc, k, which):
    # acc[k, which] += values · weights[g], in float64
    total = load(acc, (k, which, 0))
    for at in range(0, lanes_of(values), lanes_of(acc)):
        v = load_doubles(values, at)
        total = fma(v, load(weights, (g, at)), total)
    store(acc, (k, which, 0), total)


@np.errstate(over="ignore")  # offsets beyond float32 become infinite
def surface_forward(V0, V1, V2, y, x_offsets, y_offsets, *, loss, sample_weight=None):
    # V0, V1, V2 (n, c), y (n,), x_offsets (nx,), y_offsets (ny,)
    #   -> Σ w L (ny, nx), Σ w [right] (ny, nx)
    (n, c), dtype, nx, ny = V0.shape, V0.dtype, len(x_offsets), len(y_offsets)
    width = lanes(dtype)
    groups = ceil_div(n, width)
    chunk = max(ITEM_VALUES // (c * width), 1)
    labels, w = np.zeros((groups, width), np.int64), zeros((groups, width), np.float64)
    labels.reshape(-1)[:n] = y
    w.reshape(-1)[:n] = 1 if sample_weight is None else sample_weight
    job = Job(
        V0=V0,
        V1=V1,
        V2=V2,
        labels=labels,
        U0=zeros((groups, c, width), dtype),
        U1=zeros((groups, c, width), dtype),
        U2=zeros((groups, c, width), dtype),
        w_loss=w,
        w_hit=w.copy(),
        x=x_offsets.astype(dtype),
        y=y_offsets.astype(dtype),
        code=int(codes([loss])[0]),
        chunk=chunk,
        sums=np.zeros((ceil_div(groups, chunk), ny, nx, 2)),
    )
    if n and nx and ny:
        workers = threads_for(FLOP_PER_LOGIT * n * c * nx * ny)
        scratch = Scratch(
            A=zeros((workers, c, width), dtype),
            values=zeros((workers, width), dtype),
            tied=zeros((workers, width), dtype),
            acc=zeros((workers, nx, 2, lanes(np.float64)), np.float64),
        )
        pool.run(_surface, workers, job, scratch)
    total = job.sums.sum(axis=0)  # over the chunks, in their order for every number of threads
    return total[..., 0].copy(), total[..., 1].copy()

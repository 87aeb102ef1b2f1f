"""The loss at many points at once: the logits of a row are affine in the offsets of the weights.

A row's logits are put in order: first its label's, v_y, then those of the c - 1 other classes. With
m = max_j v_j over all, e_j = e^{v_j - m} of the others, q = Σ_j e_j, E = e^{v_y - m},
    cross-entropy  L = m - v_y + log(E + q),   MSE  L = (Σ_j e_j² + q²) / (c (E + q)²),
which keeps the figures of a sure row, whose loss is small. Which class was the label's is then
forgotten: each lane has a row.
"""

from collections import namedtuple

import numpy as np

from softstep.kernels._numba import team
from softstep.kernels._numba.functions import exp, log1p
from softstep.kernels._numba.jit import INLINE, STRICT, jit
from softstep.kernels._numba.layout import lanes, zeros
from softstep.kernels._numba.team import (
    OVER,
    PHASE,
    borrowed,
    claim,
    enter,
    leave,
)
from softstep.kernels._numba.vector import (
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
from softstep.kernels.threads import threads_for

ORDER, POINTS = range(2)  # the phases
ITEM_VALUES = 1 << 14  # logits of the rows that an item goes through
FLOP_PER_LOGIT = 25  # about, at each point: an exp is 20

# labels (groups, lanes), U0, U1, U2 (groups, c, lanes), w_loss and w_hit (groups, lanes)
# float64, x (nx,), y (ny,), sums (chunks, ny, nx, 2)
Job = namedtuple("Job", "V0 V1 V2 labels U0 U1 U2 w_loss w_hit x y is_mse sums chunk")
# Of each member: A (c, lanes), values and tied (lanes,), acc (nx, 2, lanes of float64).
Buffers = namedtuple("Buffers", "A values tied acc")


@jit(STRICT)
def _surface(team, size, member, job, buffers):
    # Chunks of groups of rows are the items, then chunks × rows of the grid.
    job, buffers = borrowed(job), borrowed(buffers)
    A, values = buffers.A[member], buffers.values[member]
    tied, acc = buffers.tied[member], buffers.acc[member]
    chunks, ny = len(job.sums), len(job.y)
    items, done = (chunks, chunks * ny, OVER), 0
    while enter(team, size, member, items[done], done):
        item = claim(team, size, member)
        while item >= 0:
            chunk = item if team[PHASE] == ORDER else item // ny
            first, end = chunk * job.chunk, min((chunk + 1) * job.chunk, len(job.labels))
            if team[PHASE] == ORDER:
                _put_in_order(job, first, end)
            else:
                _grid_row(
                    job, first, end, item % ny, A, values, tied, acc, job.sums[chunk, item % ny]
                )
            item = claim(team, size, member)
        leave(team, size, member)
        done += 1


@jit(INLINE)
def _put_in_order(job, first, end):
    """U of the groups first … end, and a NaN weight and no hit for a row that is not finite."""
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
def _grid_row(job, first, end, i, A, values, tied, acc, sums):
    """Σ w L and Σ w [right] of the groups first … end at every x and the i-th y: sums (nx, 2)."""
    c, t = len(A), job.y[i]
    acc[:] = 0
    for g in range(first, end):
        for j in range(len(A)):
            at = (g, j, 0)
            store(A, (j, 0), fma(load(job.U2, at), t, load(job.U0, at)))
        for k in range(len(job.x)):
            x = job.x[k]
            own, top = fma(load(job.U1, (g, 0, 0)), x, load(A, (0, 0))), _largest(A, job.U1, g, x)
            m = maximum(top, own)
            q, squares = _sums(A, job.U1, g, x, m)
            e_own = exp(own - m)
            if job.is_mse:
                total = e_own + q
                store(values, 0, fma(q, q, squares) / (total * total * c))
            else:
                # where the label's logit is the largest e_own - 1 is exactly 0, elsewhere q >= 1
                store(values, 0, m - own + log1p(q + (e_own - 1.0)))
            _add(values, job.w_loss, g, acc, k, 0)
            store(values, 0, select(top < own, filled(values, 1.0), 0.0))
            apart = top - own  # 0 where they are equal; NaN lanes settle as no hit
            if not every(apart * apart > 0.0):
                _settle_ties(A, job.U1, g, x, own, top, job.labels, values, tied)
            _add(values, job.w_hit, g, acc, k, 1)
    for k in range(len(job.x)):
        sums[k, 0], sums[k, 1] = lane_sum(load(acc, (k, 0, 0))), lane_sum(load(acc, (k, 1, 0)))


@jit(STRICT)
def _largest(A, U1, g, x):
    # A (c, lanes), U1 (groups, c, lanes) -> max_j v_j of each lane, of all but the label's
    top = filled(A, -np.inf)
    for j in range(1, len(A)):
        top = maximum(fma(load(U1, (g, j, 0)), x, load(A, (j, 0))), top)
    return top


@jit(STRICT)
def _sums(A, U1, g, x, m):
    # -> q = Σ_j e_j and Σ_j e_j² of each lane
    q = squares = filled(A, 0.0)
    for j in range(1, len(A)):
        e = exp(fma(load(U1, (g, j, 0)), x, load(A, (j, 0))) - m)
        q, squares = q + e, fma(e, e, squares)
    return q, squares


@jit(STRICT)
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


@jit(STRICT)
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
    groups = -(-n // width)
    chunk = max(ITEM_VALUES // (c * width), 1)
    labels, w = np.zeros((groups, width), np.int64), zeros((groups, width), np.float64)
    labels.reshape(-1)[:n] = y
    w.reshape(-1)[:n] = 1 if sample_weight is None else sample_weight
    size = threads_for(FLOP_PER_LOGIT * n * c * nx * ny)
    job = Job(
        V0,
        V1,
        V2,
        labels,
        *(zeros((groups, c, width), dtype) for _ in range(3)),
        w,
        w.copy(),
        x_offsets.astype(dtype),
        y_offsets.astype(dtype),
        loss == "mse",
        np.zeros((-(-groups // chunk), ny, nx, 2)),
        chunk,
    )
    buffers = Buffers(
        zeros((size, c, width), dtype),
        zeros((size, width), dtype),
        zeros((size, width), dtype),
        zeros((size, nx, 2, lanes(np.float64)), np.float64),
    )
    if n and nx and ny:
        team.run(_surface, size, job, buffers)
    total = job.sums.sum(axis=0)  # over the chunks, in their order for every number of threads
    return total[..., 0].copy(), total[..., 1].copy()

"""Minibatch gradient descent on CSR: a step reads and writes the weights of its features alone.

A step has two phases: the rows, forward to the gradient of their logits; then the weights, by
columns, to which each value that is stored adds its product. What l2 takes off is kept as `decay`
(see kernels/csr.py).
"""

from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.jit import INLINE, PART, STRICT, jit
from softstep.kernels._numba.losses import Lanes, Learning, heads_of_rows, learning, row_lanes
from softstep.kernels._numba.parallel.pool import OVER, work_through
from softstep.kernels._numba.simd.layout import lanes, padded, per_column, zeros
from softstep.kernels._numba.simd.products import lanes_to_rows, rows_to_lanes
from softstep.kernels._numba.simd.update import (
    Columns,
    columns_like,
    fill_columns,
    record,
    update,
)
from softstep.kernels._numba.simd.vector import (
    filled,
    fma,
    lanes_of,
    load,
    registers,
    select,
    splat,
    store,
)
from softstep.kernels._numba.sparse.linear import Stored, flop, logits_of_row, pack, stored, unpack
from softstep.kernels._numba.train import run_steps
from softstep.kernels.csr import LEAST_DECAY
from softstep.kernels.integers import ceil_div
from softstep.kernels.threads import threads_for

ROWS, WEIGHTS = range(2)  # the phases
SLOWER = 10  # times as long as in a product of dense rows an operation takes


class Job(NamedTuple):
    """What the kernel is to do. Columns are those of layout.py: of each head, its classes."""

    X: Stored
    scale: float  # multiplies the features
    learning: Learning
    order: np.ndarray  # (m,) int64: rows in the order in which they are visited,
    batch: int  # so many of them in each step
    classes: int
    W: np.ndarray  # (d, columns padded)
    b: np.ndarray  # (columns padded,)
    decay: np.ndarray  # (h,), updated: head k has the weights decay[k] W
    rate: np.ndarray  # (steps, h)
    l2: np.ndarray  # (h,)
    bias_l2: np.ndarray  # (columns padded,): what acts on the bias
    fit_bias: bool  # whether the bias is trained
    active: np.ndarray  # (h,) bool, updated
    losses: np.ndarray  # (steps, h), written; and so is correct
    correct: np.ndarray


class Scratch(NamedTuple):
    """What the phases hand on, then buffers of each worker. Factors are those of each column."""

    V: np.ndarray  # (vectors, batch padded, lanes): logits, then their gradient
    loss: np.ndarray  # (h, batch padded): w L of each row
    right: np.ndarray  # (h, batch padded): 1 where a row is right and weighs something, else 0
    columns: Columns
    forward: np.ndarray  # (columns padded,): of x W in the logits
    backward: np.ndarray  # (columns padded,): of x dv in the update
    fold: np.ndarray  # (columns padded,): what W takes in before it is updated,
    folds: np.ndarray  # (1,) bool: if that is not 1 everywhere
    vectors_per_item: int
    lanes: Lanes


def _scratch(job, workers):
    dtype, n, h = job.W.dtype, lanes(job.W.dtype), len(job.active)
    vectors, rows = job.W.shape[1] // n, padded(min(job.batch, len(job.order)), n)
    return Scratch(
        V=zeros((vectors, rows, n), dtype),
        loss=zeros((h, rows), dtype),
        right=zeros((h, rows), dtype),
        columns=columns_like(job.b),
        forward=zeros(job.b.shape, dtype),
        backward=zeros(job.b.shape, dtype),
        fold=zeros(job.b.shape, dtype),
        folds=np.zeros(1, bool),
        vectors_per_item=min(4, ceil_div(vectors, workers)),
        lanes=row_lanes(workers, len(job.b), job.classes, dtype),
    )


@jit(STRICT)
def _train(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 2, _begin, _do)


@jit(INLINE)
def _begin(job, scratch, step, phase):
    """How many items a phase has."""
    if step == len(job.losses):
        return OVER
    rows, n = min(job.batch, len(job.order) - step * job.batch), lanes_of(job.W)
    if phase == ROWS:
        _fill_forward(job, scratch)
        return ceil_div(rows, n)
    fill_columns(job, scratch.columns, step)
    _fill_backward(job, scratch, step)
    vectors = len(scratch.V)
    return ceil_div(vectors, scratch.vectors_per_item) + vectors + len(job.active)


@jit(PART)
def _fill_forward(job, scratch):
    for k in range(len(job.active)):
        for column in range(k * job.classes, (k + 1) * job.classes):
            scratch.forward[column] = job.decay[k] * job.scale


@jit(PART)
def _fill_backward(job, scratch, step):
    """Let l2 act on the active heads, and set the factors of their update."""
    scratch.folds[0] = False
    for k in range(len(job.active)):
        fold, rate = 1.0, job.rate[step, k]
        if job.active[k]:
            decay = job.decay[k] * (1.0 - rate * job.l2[k])
            if not LEAST_DECAY <= abs(decay) <= 1.0 / LEAST_DECAY:
                fold, decay = decay, 1.0
                scratch.folds[0] = True
            job.decay[k] = decay
        for column in range(k * job.classes, (k + 1) * job.classes):
            scratch.backward[column] = -rate * job.scale / job.decay[k]
            scratch.fold[column] = fold


@jit(INLINE)
def _do(job, scratch, step, phase, item, worker):
    start, vectors, each = step * job.batch, len(scratch.V), scratch.vectors_per_item
    rows = min(job.batch, len(job.order) - start)
    items = ceil_div(vectors, each)
    if phase == ROWS:
        _rows(job, scratch, start, rows, item * lanes_of(job.W), worker)
    elif item < items:
        _weights(job, scratch, start, rows, item * each, min((item + 1) * each, vectors))
    elif item < items + vectors:
        _bias(job, scratch, rows, item - items)
    else:
        record(job, scratch, step, rows, item - items - vectors)


@jit(PART)
def _rows(job, scratch, start, rows, r0, worker):
    """Forward to the gradient of the logits for a row in each lane, from row r0 of the batch on."""
    V, T = scratch.V, scratch.lanes.T[worker]
    first = start + r0
    mine = job.order[first : first + min(lanes_of(T), rows - r0)]
    for i in range(len(mine)):
        logits_of_row(job.X, mine[i], job.W, scratch.forward, job.b, V, r0 + i)
    rows_to_lanes(V, r0, T)
    heads_of_rows(
        job.learning,
        scratch.lanes,
        worker,
        mine,
        rows,
        job.active,
        scratch.loss,
        scratch.right,
        r0,
    )
    lanes_to_rows(T, V, r0)


@jit(PART)
def _weights(job, scratch, start, rows, v, end):
    """Update vectors v … end of the columns."""
    if scratch.folds[0]:
        _fold(job.W, scratch.fold, v, end)
    while v < end:
        if v + 4 <= end:
            scatter_four(job, scratch, start, rows, v)
            v += 4
        elif v + 2 <= end:
            scatter_two(job, scratch, start, rows, v)
            v += 2
        else:
            scatter_one(job, scratch, start, rows, v)
            v += 1


@jit(PART)
def _fold(W, fold, v, end):
    # W (d, columns padded), vectors v … end of the columns: times fold (columns padded,)
    n = lanes_of(W)
    for f in range(len(W)):
        for column in range(v * n, end * n, n):
            store(W, (f, column), load(W, (f, column)) * load(fold, column))


def make_scatter(N):
    """The update of N vectors of columns, by what the rows of a batch store."""

    @jit(PART)
    def scatter(job, scratch, start, rows, v):
        # W[feature of k] += backward x_k dv, row by row
        X, W, V, n = job.X, job.W, scratch.V, lanes_of(job.W)
        active = scratch.columns.active
        steps = registers(W, 1, N)
        for i in range(rows):
            r = job.order[start + i]
            for u in range(N):
                steps[0, u] = load(V, (v + u, i)) * load(scratch.backward, (v + u) * n)
            for at in range(X.indptr[r], X.indptr[r + 1]):
                feature, x = np.int64(X.indices[at]), splat(W.dtype.type(X.data[at]))
                for u in range(N):
                    column = (v + u) * n
                    w = load(W, (feature, column))
                    mine = load(active, column) > 0.0
                    store(W, (feature, column), select(mine, fma(x, steps[0, u], w), w))

    return scatter


scatter_four, scatter_two, scatter_one = make_scatter(4), make_scatter(2), make_scatter(1)


@jit(PART)
def _bias(job, scratch, rows, v):
    """Add the rows' gradients and update the bias of vector v of the columns."""
    if job.fit_bias:
        at = v * lanes_of(job.b)
        g = load(scratch.V, (v, 0))
        for i in range(1, rows):
            g = g + load(scratch.V, (v, i))
        rate, active = load(scratch.columns.rate, at), load(scratch.columns.active, at) > 0.0
        no_momentum = filled(job.b, 0.0)
        update(job.b, job.b, at, g, rate, load(job.bias_l2, at), no_momentum, active, False)


@np.errstate(over="ignore")  # settings beyond float32 become infinite
def train(data, bank, steps):
    # X CSR (n, d), y (t, n) or (n, c), order (m,), W (h, d, c), b (h, c), decay (h,)
    # -> losses, correct (steps, h)
    W, b = bank.W, bank.b
    losses = np.full(steps.learning_rate.shape, np.nan)
    correct = np.zeros(steps.learning_rate.shape, np.int64)
    lessons = learning(data, bank)
    if not losses.size:
        return losses, correct
    (h, _, c), dtype = W.shape, W.dtype
    job = Job(
        X=stored(data.X),
        scale=data.feature_scale,
        learning=lessons,
        order=steps.order,
        batch=steps.batch_size,
        classes=c,
        W=pack(W),
        b=per_column(b, c, dtype),
        decay=steps.decay.copy(),  # a call that is interrupted leaves the bank as it was
        rate=steps.learning_rate,
        l2=steps.l2,
        bias_l2=per_column(steps.l2 * steps.l2_bias, c, dtype),
        fit_bias=steps.fit_bias,
        active=steps.active.copy(),
        losses=losses,
        correct=correct,
    )
    flop_per_step = 2 * flop(data.X, h * c, steps.batch_size)
    threads = threads_for(flop_per_step * len(losses), flop_per_step)
    run_steps(_train, threads, job, _scratch(job, threads), SLOWER * flop_per_step)
    unpack(job.W, W)
    b[:] = job.b[: b.size].reshape(b.shape)
    steps.decay[:], steps.active[:] = job.decay, job.active
    return losses, correct

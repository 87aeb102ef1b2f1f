"""Gradient descent of a narrow bank, of few columns: vectors run along the features.

A batch is cut into parts of PART_ROWS rows or more, by its length alone. A step has two phases: the
parts, forward to the logits and back to the part's outer products while its rows are near; then
the features, where the parts are added in their order and the weights updated. Features are read
where they are stored; while a part is worked on, the rows of the next one are prefetched. Rows that
are scaled are gathered before, some of a part at a time, by a kernel of its own.
"""

from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.jit import INLINE, PART, STRICT, for_kernels_too, jit
from softstep.kernels._numba.losses import Lanes, heads_of_rows, row_lanes
from softstep.kernels._numba.parallel.pool import LINE, OVER, SHARES, work_through
from softstep.kernels._numba.simd.dots import (
    logits_of_rows,
    outer_products,
    prefetch_split,
    rows_at_once,
    sums_of_columns,
)
from softstep.kernels._numba.simd.layout import lanes, odd_lines, padded, zeros
from softstep.kernels._numba.simd.products import gather_rows
from softstep.kernels._numba.simd.scaling import is_any
from softstep.kernels._numba.simd.tiles import DOT_ROWS, OUTER_VECTORS, Ahead
from softstep.kernels._numba.simd.update import (
    Columns,
    columns_like,
    fill_columns,
    record,
    update,
    update_bias,
)
from softstep.kernels._numba.simd.vector import first_lanes, lanes_of, load
from softstep.kernels.integers import ceil_div

PARTS, WEIGHTS = range(2)  # the phases
PART_ROWS = 50 // DOT_ROWS * DOT_ROWS
MAX_PARTS = 16  # of a batch: longer ones have longer parts
GATHERED_BYTES = 1 << 18  # of rows that are scaled, which stay in the second cache


class Scratch(NamedTuple):
    """What the phases hand on, then buffers of each worker."""

    loss: np.ndarray  # (h, batch padded): w L of each row
    right: np.ndarray  # (h, batch padded): 1 where a row is right and weighs something, else 0
    G: np.ndarray  # (parts, columns, d padded): Σ dv ⊗ x
    Gb: np.ndarray  # (parts, columns, padded to full vectors): Σ dv
    columns: Columns
    lanes: Lanes
    dV: np.ndarray  # (workers, rows of a part, columns)
    sums: np.ndarray  # (workers, columns padded, lanes, lanes): logits, their lanes not yet added
    X: np.ndarray  # (workers, rows, d padded): rows that are scaled
    in_turn: np.ndarray  # (rows,): 0, 1, …


def narrow_scratch(job, workers):
    columns, padded_d = job.W.shape
    h, dtype, n = len(job.active), job.W.dtype, lanes(job.W.dtype)
    rows = min(job.batch, len(job.order))
    parts = min(ceil_div(rows, PART_ROWS), MAX_PARTS)
    width, gathered = odd_lines(job.d, dtype), 0
    if is_any(job.scaling):
        gathered = _rows_gathered(part_rows(rows), GATHERED_BYTES // (width * dtype.itemsize), n)
    return Scratch(
        loss=zeros((h, padded(rows, n)), dtype),
        right=zeros((h, padded(rows, n)), dtype),
        G=zeros((parts, columns, padded_d), dtype),
        Gb=zeros((parts, padded(columns, n)), dtype),
        columns=columns_like(job.b),
        lanes=row_lanes(workers, columns, job.classes, dtype),
        dV=zeros((workers, part_rows(rows), columns), dtype),
        sums=zeros((workers, columns, n, n), dtype),
        X=zeros((workers, gathered, width), dtype),
        in_turn=np.arange(gathered),
    )


def _rows_gathered(part, room, lanes):
    """How many rows of a part are gathered at a time, where there is room for so many: all, or
    whole tiles."""
    at_once = rows_at_once(lanes)
    return part if part <= room else max(room // at_once * at_once, lanes)


@for_kernels_too
def part_rows(rows):
    """Rows of a part of a batch of `rows` rows: full tiles."""
    return max(PART_ROWS, ceil_div(rows, MAX_PARTS * DOT_ROWS) * DOT_ROWS)


@jit(PART)
def _scratch_of_one(job):
    # as narrow_scratch
    W, b, n = job.W, job.b, lanes_of(job.W)
    columns, padded_d = W.shape
    h, rows = len(job.active), min(job.batch, len(job.order))
    parts = min(ceil_div(rows, PART_ROWS), MAX_PARTS)
    return Scratch(
        np.zeros((h, padded(rows, n)), W.dtype),
        np.zeros((h, padded(rows, n)), W.dtype),
        np.zeros((parts, columns, padded_d), W.dtype),
        np.zeros((parts, padded(columns, n)), W.dtype),
        Columns(np.zeros_like(b), np.zeros_like(b)),
        Lanes(
            np.zeros((1, columns, n), W.dtype),
            np.zeros((1, job.classes, n), W.dtype),
            np.zeros((1, n), W.dtype),
            np.zeros((1, n), W.dtype),
        ),
        np.zeros((1, part_rows(rows), columns), W.dtype),
        np.zeros((1, columns, n, n), W.dtype),
        np.zeros((1, 0, 0), W.dtype),
        np.arange(0),
    )


@jit(INLINE)
def _begin(job, scratch, step, phase):
    """How many items a phase has."""
    if step == len(job.losses):
        return OVER
    if phase == PARTS:
        rows = min(job.batch, len(job.order) - step * job.batch)
        return ceil_div(rows, part_rows(rows))
    fill_columns(job, scratch.columns, step)
    features = ceil_div(job.W.shape[1], OUTER_VECTORS * lanes_of(job.W))
    return len(job.active) + ceil_div(len(job.b), lanes_of(job.b)) + features


@jit(PART)
def _part(job, scratch, start, rows, item, worker):
    """A part forward and back; meanwhile, prefetch the part this worker is likely to take next."""
    at, count, ahead = _place(job, scratch, start, rows, item, worker)
    X, d, order, dV = job.X, job.d, job.order, scratch.dV[worker]
    forward, backward = _ahead(job, ahead)
    _rows(job, scratch, X, order, at, start, rows, at, count, forward, worker)
    outer_products(X, d, order, at, count, backward, dV, False, scratch.G[item])
    sums_of_columns(dV, count, False, scratch.Gb[item])


@jit(PART)
def _scaled_part(job, scratch, start, rows, item, worker):
    """The same of rows that are scaled first, as many at a time as the worker has room for."""
    at, count, ahead = _place(job, scratch, start, rows, item, worker)
    X, in_turn, d, dV = scratch.X[worker], scratch.in_turn, job.d, scratch.dV[worker]
    for r0 in range(0, count, len(X)):
        mine = min(len(X), count - r0)
        forward, backward = _ahead(job, ahead if ahead < 0 else ahead + r0)
        gather_rows(job.X, job.scaling, d, job.order, at + r0, mine, -1, X, 0)
        _rows(job, scratch, X, in_turn, 0, start, rows, at + r0, mine, forward, worker)
        outer_products(X, d, in_turn, 0, mine, backward, dV, r0 > 0, scratch.G[item])
        sums_of_columns(dV, mine, r0 > 0, scratch.Gb[item])


@jit(PART)
def _place(job, scratch, start, rows, item, worker):
    """Where a part begins in the order, how many rows it has, and where what is prefetched does."""
    part, size = part_rows(rows), len(scratch.dV)
    parts = ceil_div(rows, part)
    at = start + item * part
    is_last = item + 1 == (worker + 1) * parts // size  # of its share: on to that of the next batch
    ahead = start + rows + worker * parts // size * part if is_last else at + part
    return at, min(part, start + rows - at), min(ahead, len(job.order) - part)


@jit(PART)
def _ahead(job, at):
    """What the forward and the backward pass prefetch of the rows job.order[at :]."""
    split = prefetch_split(job.d, job.X.itemsize)
    if at < 0:  # there are fewer rows than a part has: nothing to prefetch
        return Ahead(job.X, job.order, 0, 0, 0), Ahead(job.X, job.order, 0, 0, 0)
    forward = Ahead(job.X, job.order, at, 0, split)
    return forward, Ahead(job.X, job.order, at, split, job.d)


@jit(PART)
def _rows(job, scratch, X, order, x0, start, rows, at, count, ahead, worker):
    """Forward to the losses and to the gradient of the logits, for job.order[at : at + count]:
    rows order[x0 : x0 + count] of X."""
    T, dV, sums = scratch.lanes.T[worker], scratch.dV[worker], scratch.sums[worker]
    block, d, b = rows_at_once(lanes_of(T)), job.d, job.b[: len(job.active) * job.classes]
    for r0 in range(0, count, block):
        taken = min(block, count - r0)
        later = Ahead(ahead.X, ahead.rows, ahead.at + r0, ahead.begin, ahead.end)
        logits_of_rows(X, d, order, x0 + r0, taken, later, job.W, b, job.scale, T, sums)
        first = at + r0
        heads_of_rows(
            job.learning,
            scratch.lanes,
            worker,
            job.order[first : first + taken],
            rows,
            job.active,
            scratch.loss,
            scratch.right,
            first - start,
        )
        for i in range(taken):
            for j in range(len(T)):
                dV[r0 + i, j] = T[j, i]


@jit(PART)
def _add_parts(job, scratch, step, rows, item):
    """An item of the second phase: figures of a head, a vector of the bias, or some features."""
    heads, parts = len(job.active), ceil_div(rows, part_rows(rows))
    bias_vectors = ceil_div(len(job.b), lanes_of(job.b))
    if item < heads:
        record(job, scratch, step, rows, item)
    elif item < heads + bias_vectors:
        _bias(job, scratch, parts, item - heads)
    else:
        _weights(job, scratch, parts, item - heads - bias_vectors)


@jit(PART)
def _bias(job, scratch, parts, v):
    """Add the parts and update the bias of vector v of the columns."""
    if job.fit_bias:
        at = v * lanes_of(job.b)
        g = load(scratch.Gb, (0, at))
        for part in range(1, parts):
            g = g + load(scratch.Gb, (part, at))
        update_bias(job, scratch.columns, at, g)


@jit(PART)
def _weights(job, scratch, parts, tile):
    """Add the parts and update OUTER_VECTORS vectors of features, of all columns."""
    W, M, G, n = job.W, job.M, scratch.G, lanes_of(job.W)
    active, rates, l2s, momenta = scratch.columns.active, scratch.columns.rate, job.l2, job.momentum
    scale, keeps = W.dtype.type(job.scale), job.keeps_velocity
    begin = tile * OUTER_VECTORS * n
    end = min(begin + OUTER_VECTORS * n, W.shape[1])
    for column in range(len(job.active) * job.classes):
        if active[column] > 0:
            rate, l2, momentum = rates[column], l2s[column], momenta[column]
            for j in range(begin, end, n):
                g = load(G, (0, column, j))
                for part in range(1, parts):
                    g = g + load(G, (part, column, j))
                at, every_lane = (column, j), first_lanes(g, n)
                update(W, M, at, g * scale, rate, l2, momentum, every_lane, keeps)


def _making(part):
    """An item of either phase, where the rows' parts are done by this."""

    @jit(INLINE)
    def do(job, scratch, step, phase, item, worker):
        start = step * job.batch
        rows = min(job.batch, len(job.order) - start)
        if phase == PARTS:
            part(job, scratch, start, rows, item, worker)
        else:
            _add_parts(job, scratch, step, rows, item)

    return do


_do, _do_scaled = _making(_part), _making(_scaled_part)


@jit(STRICT)
def train_narrow(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 2, _begin, _do)


@jit(STRICT)
def train_narrow_scaled(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 2, _begin, _do_scaled)


@jit(PART)
def narrow_alone(job):
    """Do all steps in the thread of the kernel that calls this, with buffers of its own."""
    _all_steps(job, _scratch_of_one(job))


@jit(PART)
def _all_steps(job, scratch):
    # a function of its own, as its caller keeps the arrays alive
    pool = np.zeros(SHARES + LINE, np.int64)
    work_through(pool, 1, 0, job, scratch, 2, _begin, _do)

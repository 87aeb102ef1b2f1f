"""Gradient descent where the bank has many columns: vectors run along the columns.

A step has four phases, each cut into items that write apart: the batch's rows, widened to the dtype
of the arithmetic; tiles of logits; blocks of rows, from logits to their gradient; tiles of weights,
each with its outer products and its update. docs/kernels.md draws them.
"""

from collections import namedtuple

from softstep.kernels._numba.jit import INLINE, STRICT, jit
from softstep.kernels._numba.layout import odd_lines, padded, zeros
from softstep.kernels._numba.products import (
    gather_rows,
    lanes_to_rows,
    logits_tiles,
    multiply,
    next_tile,
    rows_to_lanes,
)
from softstep.kernels._numba.rows import (
    fill_targets,
    fill_weights,
    head_of_rows,
)
from softstep.kernels._numba.team import (
    OVER,
    PHASE,
    STEP,
    borrowed,
    claim,
    enter,
    leave,
)
from softstep.kernels._numba.tiles import TILE_ROWS, TILE_VECTORS
from softstep.kernels._numba.vector import fma, lanes_of, load, select, store

GATHER, LOGITS, ROWS, WEIGHTS = 0, 1, 2, 3  # the phases
GATHERED = 8  # rows of an item
LOGIT_ROWS = 2 * TILE_ROWS  # of an item, TILE_VECTORS wide
WEIGHT_ROWS = 4 * TILE_ROWS

# Of all: rows X (batch padded, d padded), logits and then their gradients V (vectors, batch padded,
# lanes), loss and right (heads, batch), and for each column the rate and whether it is active (1 or
# 0). Of each member: logits T (columns, lanes), targets Y (classes, lanes), label and weight
# (lanes,), out (TILE_VECTORS, TILE_ROWS, lanes).
Scratch = namedtuple("Scratch", "X V loss right rate active T Y label weight out")


def scratch_many(size, packed, c, batch, heads):
    """What the phases hand on, and what each of `size` members computes in."""
    vectors, d, n = packed.shape
    dtype, rows = packed.dtype, padded(batch, n)
    return Scratch(
        zeros((rows, odd_lines(d, dtype)), dtype),
        zeros((vectors, rows, n), dtype),
        zeros((heads, rows), dtype),
        zeros((heads, rows), dtype),
        zeros((vectors * n,), dtype),
        zeros((vectors * n,), dtype),
        zeros((size, vectors * n, n), dtype),
        zeros((size, c, n), dtype),
        zeros((size, n), dtype),
        zeros((size, n), dtype),
        zeros((size, TILE_VECTORS, TILE_ROWS, n), dtype),
    )


@jit(STRICT)
def train_many(team, size, member, job, scratch):
    job, scratch = borrowed(job), borrowed(scratch)
    done = 0
    while enter(team, size, member, _items(job, done // 4, done % 4), done % 4, done // 4):
        _work(team, size, member, job, scratch)
        leave(team, size, member)
        done += 1
        if member == 0 and done % 4 == WEIGHTS:
            _spread_rates(job, done // 4, scratch)


@jit(STRICT)
def _items(job, step, phase):
    """The number of items of a phase."""
    if step == len(job.losses):
        return OVER
    rows = min(job.batch, len(job.order) - step * job.batch)
    pairs = -(-len(job.W) // TILE_VECTORS)
    if phase == GATHER:
        return -(-rows // GATHERED)
    if phase == LOGITS:
        return pairs * -(-rows // LOGIT_ROWS)
    if phase == ROWS:
        return -(-rows // lanes_of(job.W))
    return pairs * -(-job.W.shape[1] // WEIGHT_ROWS) + len(job.W) + len(job.active)


@jit(STRICT)
def _spread_rates(job, step, scratch):
    """The rate of each head, and whether it is active, for each of its columns."""
    for k in range(len(job.active)):
        for j in range(job.c):
            scratch.rate[k * job.c + j] = job.rate[step, k]
            scratch.active[k * job.c + j] = job.active[k]


@jit(INLINE)
def _work(team, size, member, job, scratch):
    """Items of the phase that is open, until none is left."""
    step = team[STEP]
    start = step * job.batch
    rows = min(job.batch, len(job.order) - start)
    X, W, V, d = scratch.X, job.W, scratch.V, job.W.shape[1]
    vectors, out = len(W), scratch.out[member]
    tiles = -(-vectors // TILE_VECTORS) * -(-d // WEIGHT_ROWS)
    item = claim(team, size, member)
    while item >= 0:
        if team[PHASE] == GATHER:
            r0 = item * GATHERED
            gather_rows(job.X, job.order, start + r0, min(GATHERED, rows - r0), X, r0)
        elif team[PHASE] == LOGITS:
            chunks = -(-rows // LOGIT_ROWS)
            v, r0 = item // chunks * TILE_VECTORS, item % chunks * LOGIT_ROWS
            end = min(r0 + LOGIT_ROWS, rows)
            logits_tiles(X, W, job.b, job.scale, v, v + TILE_VECTORS, r0, end, V, out)
        elif team[PHASE] == ROWS:
            _rows(job, start, rows, item * lanes_of(W), scratch, member)
        elif item < tiles:
            chunks = -(-d // WEIGHT_ROWS)
            v, f0 = item // chunks * TILE_VECTORS, item % chunks * WEIGHT_ROWS
            end = min(f0 + WEIGHT_ROWS, d)
            _weights(job, rows, v, min(TILE_VECTORS, vectors - v), f0, end, scratch, out)
        elif item < tiles + vectors:
            _bias(job, rows, item - tiles, scratch)
        else:
            _finish(job, step, rows, item - tiles - vectors, scratch)
        item = claim(team, size, member)


@jit(INLINE)
def _rows(job, start, rows, r0, scratch, member):
    """From logits to their gradient for a row in each lane, from row r0 of the batch on."""
    T, Y = scratch.T[member], scratch.Y[member]
    label, weight = scratch.label[member], scratch.weight[member]
    count = min(lanes_of(T), rows - r0)
    mine = job.order[start + r0 : start + r0 + count]
    rows_to_lanes(scratch.V, r0, T)
    label_set = weight_set = -1
    for k in range(len(job.active)):
        if job.y_index[k] != label_set:
            label_set = job.y_index[k]
            fill_targets(job.labels[label_set], job.soft, mine, Y, label)
        if job.w_index[k] != weight_set:
            weight_set = job.w_index[k]
            fill_weights(job.weights, weight_set, mine, weight)
        if job.active[k]:
            is_finite = head_of_rows(
                T,
                k * job.c,
                job.c,
                count,
                Y,
                label,
                weight,
                rows,
                job.is_mse[k],
                scratch.loss[k],
                scratch.right[k],
                r0,
            )
            if not is_finite:  # True is never written: another member may know better
                job.active[k] = False
    lanes_to_rows(T, scratch.V, r0)


@jit(INLINE)
def _weights(job, rows, v, vectors, f0, end, scratch, out):
    """Outer products of the rows and update, W[v : v + vectors, f0 : end]."""
    W, M, n, scale = job.W, job.M, lanes_of(job.W), job.W.dtype.type(job.scale)
    features = scratch.X.T
    i = f0
    while i < end:
        first, count = next_tile(i, f0, end)
        multiply(features, first, count, rows, scratch.V, v, vectors, out)
        for u in range(vectors):
            column = (v + u) * n
            active, rate = load(scratch.active, column) > 0.0, load(scratch.rate, column)
            l2, momentum = load(job.l2, column), load(job.momentum, column)
            for r in range(i - first, count):
                at = (v + u, first + r)
                w = load(W, at)
                m = fma(w, l2, load(out, (u, r)) * scale)
                if job.keep:
                    before = load(M, at)
                    m = fma(before, momentum, m)
                    store(M, at, select(active, m, before))
                store(W, at, select(active, fma(m, 0.0 - rate, w), w))
        i = first + count


@jit(INLINE)
def _bias(job, rows, v, scratch):
    """The bias of the columns of vector v: M ← momentum·M + Σ dv + l2·b, b ← b - rate·M."""
    if job.fit_bias:
        column = v * lanes_of(job.W)
        g = load(scratch.V, (v, 0))
        for i in range(1, rows):
            g = g + load(scratch.V, (v, i))
        active, before = load(scratch.active, column) > 0.0, load(job.Mb, column)
        b = load(job.b, column)
        if job.l2_bias:
            g = fma(b, load(job.l2, column), g)
        m = fma(before, load(job.momentum, column), g) if job.keep else g
        store(job.Mb, column, select(active, m, before))
        store(job.b, column, select(active, fma(m, 0.0 - load(scratch.rate, column), b), b))


@jit(INLINE)
def _finish(job, step, rows, k, scratch):
    """Loss and count of right rows of head k."""
    if job.active[k]:
        total, hits = 0.0, 0
        for i in range(rows):
            total += scratch.loss[k, i]
            hits += int(scratch.right[k, i])
        job.losses[step, k] = total / rows
        job.correct[step, k] = hits

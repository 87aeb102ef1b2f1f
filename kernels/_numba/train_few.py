"""Gradient descent where the bank has few columns: vectors run along the features.

A batch is cut into parts of PART_ROWS rows or more, by its length alone. A step has two phases: the
parts, forward to the logits and back to the part's outer products, while its rows are near; then
the features, where the parts are added in their order and the weights updated. Features are read
where they are stored; while a part is worked on, the rows of the next one are fetched.
"""

from collections import namedtuple

from softstep.kernels._numba.dots import (
    halfway,
    logits_of_rows,
    outer_products,
    rows_in_lanes,
    sums_of_columns,
)
from softstep.kernels._numba.jit import INLINE, STRICT, jit
from softstep.kernels._numba.layout import lanes, padded, zeros
from softstep.kernels._numba.rows import fill_targets, fill_weights, head_of_rows
from softstep.kernels._numba.team import (
    OVER,
    PHASE,
    STEP,
    borrowed,
    claim,
    enter,
    leave,
)
from softstep.kernels._numba.tiles import DOT_COLUMNS, DOT_ROWS, OUTER_VECTORS
from softstep.kernels._numba.vector import fma, lanes_of, load, store

PARTS, WEIGHTS = 0, 1  # the phases
PART_ROWS = 50 // DOT_ROWS * DOT_ROWS
MOST_PARTS = 16  # of a batch: longer ones have longer parts

# Of all: loss and right (heads, batch), gradients of each part, G (parts, columns, d padded), and
# Gb (parts, columns). Of each member: dV (rows of a part, columns), logits T (columns, lanes),
# targets Y (classes, lanes), label and weight (lanes,), sums of a tile.
Scratch = namedtuple("Scratch", "loss right G Gb dV T Y label weight sums")


def scratch_few(size, packed, c, batch, heads):
    """What the phases hand on, and what each of `size` members computes in."""
    columns, padded_d = packed.shape
    n, dtype = lanes(packed.dtype), packed.dtype
    parts = min(-(-batch // PART_ROWS), MOST_PARTS)
    return Scratch(
        zeros((heads, padded(batch, n)), dtype),
        zeros((heads, padded(batch, n)), dtype),
        zeros((parts, columns, padded_d), dtype),
        zeros((parts, columns), dtype),
        zeros((size, part_rows(batch), columns), dtype),
        zeros((size, columns, n), dtype),
        zeros((size, c, n), dtype),
        zeros((size, n), dtype),
        zeros((size, n), dtype),
        zeros((size, padded(DOT_ROWS * DOT_COLUMNS, n)), dtype),
    )


@jit(STRICT)
def part_rows(rows):
    """Rows of a part of a batch of `rows` rows: whole tiles."""
    return max(PART_ROWS, -(-rows // (MOST_PARTS * DOT_ROWS)) * DOT_ROWS)


@jit(STRICT)
def train_few(team, size, member, job, scratch):
    job, scratch = borrowed(job), borrowed(scratch)
    done = 0
    while enter(team, size, member, _items(job, done // 2, done % 2), done % 2, done // 2):
        _work(team, size, member, job, scratch)
        leave(team, size, member)
        done += 1


@jit(STRICT)
def _items(job, step, phase):
    """The number of items of a phase."""
    if step == len(job.losses):
        return OVER
    rows = min(job.batch, len(job.order) - step * job.batch)
    if phase == PARTS:
        return -(-rows // part_rows(rows))
    return len(job.active) + -(-job.W.shape[1] // (OUTER_VECTORS * lanes_of(job.W)))


@jit(INLINE)
def _work(team, size, member, job, scratch):
    """Items of the phase that is open, until none is left."""
    step, heads = team[STEP], len(job.active)
    start = step * job.batch
    rows = min(job.batch, len(job.order) - start)
    part = part_rows(rows)
    parts = -(-rows // part)
    item = claim(team, size, member)
    while item >= 0:
        if team[PHASE] == PARTS:
            at = start + item * part
            count = min(part, start + rows - at)
            ahead = at + part
            if item + 1 == (member + 1) * parts // size:  # this member's rows of the next batch
                ahead = start + rows + member * parts // size * part
            ahead = min(ahead, len(job.order) - part)
            _rows(job, start, at, count, rows, ahead, scratch, member)
            dV, cut = scratch.dV[member], halfway(job.X.shape[1], job.X.itemsize)
            if ahead < 0:
                cut = job.X.shape[1]
            outer_products(job.X, job.order, at, count, ahead, cut, dV, False, scratch.G[item])
            sums_of_columns(dV, count, False, scratch.Gb[item])
        elif item < heads:
            _finish(job, step, rows, parts, item, scratch)
        else:
            _weights(job, step, parts, item - heads, scratch.G)
        item = claim(team, size, member)


@jit(INLINE)
def _rows(job, start, at, count, rows, ahead, scratch, member):
    """Forward to the losses and to the gradient of the logits, for order[at : at + count]."""
    T, Y, dV = scratch.T[member], scratch.Y[member], scratch.dV[member]
    label, weight, sums = scratch.label[member], scratch.weight[member], scratch.sums[member]
    cut = halfway(job.X.shape[1], job.X.itemsize) if ahead >= 0 else 0
    block, b = rows_in_lanes(T), job.b.ravel()
    for r0 in range(0, count, block):
        few = min(block, count - r0)
        logits_of_rows(
            job.X, job.order, at + r0, few, ahead + r0, cut, job.W, b, job.scale, T, sums
        )
        mine = job.order[at + r0 : at + r0 + few]
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
                    few,
                    Y,
                    label,
                    weight,
                    rows,
                    job.is_mse[k],
                    scratch.loss[k],
                    scratch.right[k],
                    at - start + r0,
                )
                if not is_finite:  # True is never written: another member may know better
                    job.active[k] = False
        for i in range(few):
            for j in range(len(T)):
                dV[r0 + i, j] = T[j, i]


@jit(INLINE)
def _weights(job, step, parts, tile, G):
    """Add the parts and update OUTER_VECTORS vectors of features, all columns."""
    W, M, n = job.W, job.M, lanes_of(job.W)
    scale = W.dtype.type(job.scale)
    begin = tile * OUTER_VECTORS * n
    end = min(begin + OUTER_VECTORS * n, W.shape[1])
    for column in range(job.c * len(job.active)):
        k = column // job.c
        if job.active[k]:
            l2, momentum, rate = job.l2[k], job.momentum[k], job.rate[step, k]
            for j in range(begin, end, n):
                g = load(G, (0, column, j))
                for part in range(1, parts):
                    g = g + load(G, (part, column, j))
                w = load(W, (column, j))
                m = fma(w, l2, g * scale)
                if job.keep:
                    m = fma(load(M, (column, j)), momentum, m)
                    store(M, (column, j), m)
                store(W, (column, j), fma(m, -rate, w))


@jit(INLINE)
def _finish(job, step, rows, parts, k, scratch):
    """Loss, count of right rows and bias of head k."""
    if job.active[k]:
        total, hits = 0.0, 0
        for i in range(rows):
            total += scratch.loss[k, i]
            hits += int(scratch.right[k, i])
        job.losses[step, k] = total / rows
        job.correct[step, k] = hits
        if job.fit_bias:
            for j in range(job.c):
                g = scratch.Gb[0, k * job.c + j]
                for part in range(1, parts):
                    g += scratch.Gb[part, k * job.c + j]
                if job.l2_bias:
                    g += job.l2[k] * job.b[k, j]
                if job.keep:
                    job.Mb[k, j] = job.momentum[k] * job.Mb[k, j] + g
                    g = job.Mb[k, j]
                job.b[k, j] -= job.rate[step, k] * g

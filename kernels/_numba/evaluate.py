"""What trained heads do on rows: labels, mean loss and accuracy, a block of rows at a time."""

from collections import namedtuple

import numpy as np

from softstep.kernels._numba import team
from softstep.kernels._numba.cross_entropy import first_largest, row_loss
from softstep.kernels._numba.jit import INLINE, STRICT, jit
from softstep.kernels._numba.layout import lanes, pack_many, padded, spread, stored, zeros
from softstep.kernels._numba.linear_many import in_place, row_blocks
from softstep.kernels._numba.products import gather_rows, logits_tiles, rows_to_lanes
from softstep.kernels._numba.rows import (
    fill_targets,
    fill_weights,
    head_of_rows,
    largest_of_rows,
)
from softstep.kernels._numba.softmax import exponentials, sum_without
from softstep.kernels._numba.targets import label_of, split_sets, target
from softstep.kernels._numba.team import borrowed, claim, enter, leave
from softstep.kernels._numba.vector import lanes_of
from softstep.kernels.threads import threads_for

BLOCK_ROWS = 112  # whole vectors of rows, and with 32 registers whole tiles
MOST_SUMS = 256  # partial sums of each head: they are added in the order of the rows

Predict = namedtuple("Predict", "X order W b scale c in_place found")
Evaluate = namedtuple(
    "Evaluate", "X order W b scale c in_place labels soft weights y_index w_index is_mse sums"
)
# Of each member: logits T (columns, lanes), targets Y (classes, lanes), label, weight, loss, right
# (lanes,).
Lanes = namedtuple("Lanes", "T Y label weight loss right")


def _lane_buffers(size, packed, c):
    vectors, _, n = packed.shape
    dtype = packed.dtype
    each = [zeros((size, n), dtype) for _ in range(4)]
    return Lanes(zeros((size, vectors * n, n), dtype), zeros((size, c, n), dtype), *each)


@jit(STRICT)
def _block_logits(job, start, rows, blocks, member):
    # rows start … start + rows of X -> blocks.V[member] (vectors, rows, lanes)
    V, tile = blocks.V[member], blocks.tile[member]
    if job.in_place:
        X = blocks.X[0][start : start + rows]
    else:
        X = blocks.X[member][:rows]
        gather_rows(job.X, job.order, start, rows, X, 0)
    logits_tiles(X, job.W, job.b, job.scale, 0, len(V), 0, rows, V, tile)


@jit(STRICT)
def _predict(team, size, member, job, blocks, buffers):
    # blocks of rows are the items
    job, blocks, buffers = borrowed(job), borrowed(blocks), borrowed(buffers)
    if not enter(team, size, member, -(-len(job.X) // BLOCK_ROWS)):
        return
    V, T, best, n = blocks.V[member], buffers.T[member], buffers.label[member], lanes_of(job.W)
    item = claim(team, size, member)
    while item >= 0:
        start = item * BLOCK_ROWS
        rows = min(BLOCK_ROWS, len(job.X) - start)
        _block_logits(job, start, rows, blocks, member)
        for r0 in range(0, rows, n):
            rows_to_lanes(V, r0, T)
            for k in range(len(job.found)):
                largest_of_rows(T, k * job.c, job.c, best)
                for i in range(min(n, rows - r0)):
                    job.found[k, start + r0 + i] = np.int64(best[i])
        item = claim(team, size, member)
    leave(team, size, member)


def predict(X, W, b, *, feature_scale=1.0):
    # X (n, d), W (h, d, c), b (h, c) -> (h, n)
    n, (h, d, c) = len(X), W.shape
    found = np.empty((h, n), np.int64)
    if n:
        packed = pack_many(W)
        size = threads_for(2 * n * d * h * c)
        X = stored(X)
        bias, direct = spread(b, c, packed), in_place(X, W.dtype)
        job = Predict(X, np.arange(n), packed, bias, feature_scale, c, direct, found)
        blocks = row_blocks(
            size, min(BLOCK_ROWS, n), padded(h * c, lanes(W.dtype)), size, X, W.dtype
        )
        team.run(_predict, size, job, blocks, _lane_buffers(size, packed, 1))
    return found


@jit(STRICT)
def _evaluate(team, size, member, job, blocks, buffers, blocks_per_item):
    # items of so many blocks of rows -> sums (items, h, 3): Σ w L, Σ w [right], Σ w
    job, blocks, buffers = borrowed(job), borrowed(blocks), borrowed(buffers)
    if not enter(team, size, member, len(job.sums)):
        return
    V, n = blocks.V[member], lanes_of(job.W)
    item = claim(team, size, member)
    while item >= 0:
        for block in range(item * blocks_per_item, (item + 1) * blocks_per_item):
            start = block * BLOCK_ROWS
            rows = max(min(BLOCK_ROWS, len(job.X) - start), 0)
            _block_logits(job, start, rows, blocks, member)
            for r0 in range(0, rows, n):
                _add_rows(job, V, start, r0, min(n, rows - r0), buffers, member, job.sums[item])
        item = claim(team, size, member)
    leave(team, size, member)


@jit(INLINE)
def _add_rows(job, V, start, r0, count, buffers, member, sums):
    """Add a row in each lane to the sums of every head."""
    T, Y = buffers.T[member], buffers.Y[member]
    label, weight = buffers.label[member], buffers.weight[member]
    loss, right = buffers.loss[member], buffers.right[member]
    mine = job.order[start + r0 : start + r0 + count]
    rows_to_lanes(V, r0, T)
    label_set = weight_set = -1
    for k in range(len(sums)):
        if job.y_index[k] != label_set:
            label_set = job.y_index[k]
            fill_targets(job.labels[label_set], job.soft, mine, Y, label)
        if job.w_index[k] != weight_set:
            weight_set = job.w_index[k]
            fill_weights(job.weights, weight_set, mine, weight)
        is_finite = head_of_rows(
            T, k * job.c, job.c, count, Y, label, weight, 1, job.is_mse[k], loss, right, 0
        )
        for i in range(count):
            w = np.float64(weight[i])
            if is_finite:
                sums[k, 0] += loss[i]
                sums[k, 1] += w * right[i]
            else:
                L, hit = _row(job, V, r0 + i, k, label_set, mine[i])
                sums[k, 0] += w * L
                sums[k, 1] += w * hit
            sums[k, 2] += w


@jit(STRICT)
def _row(job, V, i, k, label_set, r):
    """Loss of head k on a row near NaN or infinities, and whether it is right."""
    n = lanes_of(V)
    v, e = np.empty(job.c, V.dtype), np.empty(job.c)
    for j in range(job.c):
        column = k * job.c + j
        v[j] = V[column // n, i, column % n]
    label = label_of(job.labels[label_set], r)
    return loss_of_row(v, job.is_mse[k], e, label, job.soft, r), is_right(v, label, job.soft, r)


@jit(STRICT)
def loss_of_row(v, is_mse, e, label, soft, r):
    # v (c,) logits -> the row's loss; e (c,) is a buffer and holds e^{v - max v} afterwards
    exponentials(v, e)
    if not is_mse:
        return row_loss(v, e, label, soft, r)
    total = sum_without(e, -1)
    loss = 0.0
    for j in range(len(v)):
        loss += (target(label, soft, r, j) - e[j] / total) ** 2
    return loss / len(v)


@jit(STRICT)
def is_right(v, label, soft, r):
    # v (c,) logits: is the largest where the label, or the largest soft target, is?
    return first_largest(v) == (label if label >= 0 else first_largest(soft[r]))


def evaluate(
    X,
    y,
    W,
    b,
    *,
    loss,
    sample_weight=None,
    y_index=None,
    weight_index=None,
    feature_scale=1.0,
):
    # X (n, d), y (t, n) or (n, c), W (h, d, c), b (h, c) -> loss (h,), accuracy (h,)
    n, (h, d, c) = len(X), W.shape
    count = -(-n // BLOCK_ROWS)
    blocks_per_item = -(-count // MOST_SUMS)
    sums = np.zeros((-(-count // max(blocks_per_item, 1)), h, 3))
    if n:
        packed = pack_many(W)
        size = threads_for(2 * n * d * h * c)
        X = stored(X)
        job = Evaluate(
            X,
            np.arange(n),
            packed,
            spread(b, c, packed),
            feature_scale,
            c,
            in_place(X, W.dtype),
            *split_sets(y),
            np.empty((0, 0), W.dtype) if sample_weight is None else sample_weight,
            y_index,
            weight_index,
            np.array(loss) == "mse",
            sums,
        )
        blocks = row_blocks(
            size, min(BLOCK_ROWS, n), padded(h * c, lanes(W.dtype)), size, X, W.dtype
        )
        buffers = _lane_buffers(size, packed, c)
        team.run(_evaluate, size, job, blocks, buffers, blocks_per_item)
    total = sums.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return total[:, 0] / total[:, 2], total[:, 1] / total[:, 2]

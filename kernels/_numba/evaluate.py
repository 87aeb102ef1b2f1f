"""What trained heads do on rows: labels, mean loss and accuracy, a block of rows at a time."""

from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.jit import INLINE, PART, STRICT, call, jit
from softstep.kernels._numba.linear_wide import Blocks, in_place, row_blocks
from softstep.kernels._numba.losses import (
    Lanes,
    Learning,
    heads_of_rows,
    learning,
    loss_of_row,
    row_lanes,
)
from softstep.kernels._numba.parallel import pool
from softstep.kernels._numba.parallel.pool import OVER, work_through
from softstep.kernels._numba.simd.layout import (
    lanes,
    pack_wide,
    padded,
    per_column,
    stored,
    zeros,
)
from softstep.kernels._numba.simd.products import (
    gather_rows,
    group,
    groups_of,
    logits_tiles,
    rows_to_lanes,
)
from softstep.kernels._numba.simd.scaling import Scaling, features, unscaled
from softstep.kernels._numba.simd.targets import first_largest, label_of, weight_of
from softstep.kernels._numba.simd.tiles import TILE_ROWS, TILE_VECTORS
from softstep.kernels._numba.simd.vector import filled, lanes_of, load, select, store
from softstep.kernels.integers import ceil_div
from softstep.kernels.scaled import Scaled
from softstep.kernels.threads import threads_for

BLOCK_ROWS = 112  # full vectors of rows, and full tiles
MAX_SUMS = 256  # partial sums of each head: they are added in the order of the rows


class Layer(NamedTuple):
    """Rows and a bank, as the tiles of a wide bank read them."""

    X: np.ndarray  # (n, d or more), as stored
    scaling: Scaling
    order: np.ndarray  # (n,): 0, 1, …
    in_place: bool  # whether X is read where it is stored
    scale: float
    classes: int
    W: np.ndarray  # (vectors, d, lanes)
    b: np.ndarray  # (columns padded,)


class Predict(NamedTuple):
    layer: Layer
    found: np.ndarray  # (h, n) int64, written


class PredictScratch(NamedTuple):
    blocks: Blocks
    T: np.ndarray  # (workers, columns padded, lanes): logits, a row in each lane
    best: np.ndarray  # (workers, lanes): the labels of a head


class Evaluate(NamedTuple):
    layer: Layer
    learning: Learning
    blocks_per_item: int
    sums: np.ndarray  # (items, h, 3), written: Σ w L, Σ w [right], Σ w


class EvaluateScratch(NamedTuple):
    """Buffers of each worker, for a block of rows and then for some rows, one in each lane."""

    blocks: Blocks
    lanes: Lanes
    is_finite: np.ndarray  # (workers, h) bool: whether all logits of a head are
    loss: np.ndarray  # (workers, h, lanes): w L
    right: np.ndarray  # (workers, h, lanes): 1 or 0


def _layer(X, W, b, feature_scale):
    X, scaling = features(X)
    return Layer(
        X=X,
        scaling=scaling,
        order=np.arange(len(X)),
        in_place=in_place(X, scaling, W.shape[1], W.dtype),
        scale=feature_scale,
        classes=W.shape[2],
        W=pack_wide(W),
        b=per_column(b, W.shape[2], W.dtype),
    )


def _row_blocks(layer, workers):
    rows, dtype = min(BLOCK_ROWS, len(layer.X)), layer.W.dtype
    d, columns = layer.W.shape[1], len(layer.b)
    X = layer.X if layer.in_place else None
    return row_blocks(X, d, dtype, rows=rows, columns=columns, workers=workers)


def predict_scratch(layer, blocks, workers):
    columns, dtype = len(layer.b), layer.W.dtype
    return PredictScratch(
        blocks=blocks,
        T=zeros((workers, columns, lanes(dtype)), dtype),
        best=zeros((workers, lanes(dtype)), dtype),
    )


def evaluate_scratch(layer, blocks, workers, h):
    dtype, width = layer.W.dtype, lanes(layer.W.dtype)
    return EvaluateScratch(
        blocks=blocks,
        lanes=row_lanes(workers, len(layer.b), layer.classes, dtype),
        is_finite=np.empty((workers, h), bool),
        loss=zeros((workers, h, width), dtype),
        right=zeros((workers, h, width), dtype),
    )


@jit(PART)
def _block_logits(layer, start, rows, blocks, worker):
    # rows start … start + rows of X -> blocks.V[worker] (vectors, rows, lanes)
    V, tile, W = blocks.V[worker], blocks.tile[worker], layer.W
    X, x0 = (blocks.X[0], start) if layer.in_place else (blocks.X[worker], 0)
    if not layer.in_place:
        order, ahead = layer.order, start + rows
        gather_rows(layer.X, layer.scaling, W.shape[1], order, start, rows, ahead, X, 0)
    for g in range(groups_of(len(W))):
        v, vectors = group(g, len(W))
        logits_tiles(X, x0, W, layer.b, layer.scale, v, vectors, 0, rows, V, tile)


@jit(STRICT)
def _predict(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 1, begin_predict, _predict_block)


@jit(INLINE)
def begin_predict(job, scratch, step, phase):
    return ceil_div(len(job.layer.order), BLOCK_ROWS) if step == 0 else OVER


@jit(INLINE)
def _predict_block(job, scratch, step, phase, item, worker):
    V, start = scratch.blocks.V[worker], item * BLOCK_ROWS
    rows = min(BLOCK_ROWS, len(job.layer.X) - start)
    _block_logits(job.layer, start, rows, scratch.blocks, worker)
    label_rows(job, scratch, V, start, rows, worker)


@jit(INLINE)
def label_rows(job, scratch, V, start, rows, worker):
    # V (vectors, rows, lanes): logits of rows start … start + rows -> job.found
    T, best, n, c = scratch.T[worker], scratch.best[worker], lanes_of(V), job.layer.classes
    for r0 in range(0, rows, n):
        rows_to_lanes(V, r0, T)
        for k in range(len(job.found)):
            _largest_of_rows(T, k * c, c, best)
            for i in range(min(n, rows - r0)):
                job.found[k, start + r0 + i] = np.int64(best[i])


@jit(PART)
def _largest_of_rows(T, first, c, best):
    # T (columns, lanes) -> best (lanes,): which of T[first : first + c] is the first largest; the
    # first NaN comes before all
    index = filled(T, 0.0)
    at, m = index, load(T, (first, 0))
    for j in range(1, c):
        index = index + 1.0
        v = load(T, (first + j, 0))
        larger = select(v == v, v > m, m == m)
        m, at = select(larger, v, m), select(larger, index, at)
    store(best, 0, at)


@jit(STRICT)
def _predict_alone(X, W, b, scale, found):
    # X (n, d or more), W (h, d, c), b (h, c) -> found (h, n): few rows, which one thread labels
    # faster than they are described to several, with buffers of its own
    n, (h, d, c), lanes = len(X), W.shape, lanes_of(W)
    vectors = ceil_div(h * c, lanes)
    packed, bias = np.zeros((vectors, d, lanes), W.dtype), np.zeros(vectors * lanes, W.dtype)
    for k in range(h):
        for j in range(c):
            column = k * c + j
            bias[column] = b[k, j]
            for i in range(d):
                packed[column // lanes, i, column % lanes] = W[k, i, j]
    rows = padded(n, max(lanes, TILE_ROWS))
    blocks = Blocks(
        np.zeros((1, rows, padded(d, lanes)), W.dtype),
        np.empty((1, vectors, rows, lanes), W.dtype),
        np.empty((1, TILE_VECTORS, TILE_ROWS, lanes), W.dtype),
        np.full(1, -1),
    )
    T, best = np.empty((1, vectors * lanes, lanes), W.dtype), np.empty((1, lanes), W.dtype)
    job = Predict(Layer(X, unscaled(W.dtype), np.arange(n), False, scale, c, packed, bias), found)
    _predict_block(job, PredictScratch(blocks, T, best), 0, 0, 0, 0)


def predict(X, W, b, *, feature_scale=1.0):
    # X (n, d), W (h, d, c), b (h, c) -> (h, n)
    n, (h, d, c) = len(X), W.shape
    found = np.empty((h, n), np.int64)
    if n and n <= BLOCK_ROWS and threads_for(2 * n * d * h * c) == 1:
        rows = X[:] if isinstance(X, Scaled) else X
        call(_predict_alone, stored(rows), W, b, feature_scale, found)
    elif n:
        layer = _layer(X, W, b, feature_scale)
        workers = threads_for(2 * n * d * h * c)
        scratch = predict_scratch(layer, _row_blocks(layer, workers), workers)
        pool.run(_predict, workers, Predict(layer=layer, found=found), scratch)
    return found


@jit(STRICT)
def _evaluate(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 1, begin_evaluate, _evaluate_blocks)


@jit(INLINE)
def begin_evaluate(job, scratch, step, phase):
    return len(job.sums) if step == 0 else OVER


@jit(INLINE)
def _evaluate_blocks(job, scratch, step, phase, item, worker):
    n = lanes_of(job.layer.W)
    for block in range(item * job.blocks_per_item, (item + 1) * job.blocks_per_item):
        start = block * BLOCK_ROWS
        rows = max(min(BLOCK_ROWS, len(job.layer.X) - start), 0)
        _block_logits(job.layer, start, rows, scratch.blocks, worker)
        for r0 in range(0, rows, n):
            add_rows(job, scratch, start, r0, min(n, rows - r0), worker, job.sums[item])


@jit(PART)
def add_rows(job, scratch, start, r0, count, worker, sums):
    """Add some rows of the block that begins with row `start` to the sums of every head."""
    V, mine = scratch.blocks.V[worker], job.layer.order[start + r0 : start + r0 + count]
    loss, right = scratch.loss[worker], scratch.right[worker]
    is_finite = scratch.is_finite[worker]
    is_finite[:] = True
    rows_to_lanes(V, r0, scratch.lanes.T[worker])
    heads_of_rows(job.learning, scratch.lanes, worker, mine, 1, is_finite, loss, right, 0)
    for k in range(len(sums)):
        for i in range(count):
            w = np.float64(weight_of(job.learning.weights, job.learning.weight_index[k], mine[i]))
            if is_finite[k]:
                sums[k, 0] += loss[k, i]
                sums[k, 1] += w * right[k, i]
            else:
                L, hit = _row(job, V, r0 + i, k, mine[i])
                sums[k, 0] += w * L
                sums[k, 1] += w * hit
            sums[k, 2] += w


@jit(PART)
def _row(job, V, i, k, r):
    """Loss of head k on row r, row i of V, near NaN and infinities, and whether it is right."""
    n, c, learning = lanes_of(V), job.layer.classes, job.learning
    v, e = np.empty(c, V.dtype), np.empty(c)
    for j in range(c):
        column = k * c + j
        v[j] = V[column // n, i, column % n]
    label = label_of(learning.labels[learning.y_index[k]], r)
    answer = label if label >= 0 else first_largest(learning.soft[r])
    loss = loss_of_row(learning.codes[k], v, e, label, learning.soft, r)
    return loss, first_largest(v) == answer


def evaluate(data, bank):
    # X (n, d), y (t, n) or (n, c), W (h, d, c), b (h, c) -> loss (h,), accuracy (h,)
    n, (h, d, c) = len(data.X), bank.W.shape
    blocks_per_item, sums = blocks_of(n, h)
    lessons = learning(data, bank)
    if n:
        job = Evaluate(
            layer=_layer(data.X, bank.W, bank.b, data.feature_scale),
            learning=lessons,
            blocks_per_item=blocks_per_item,
            sums=sums,
        )
        workers = threads_for(2 * n * d * h * c)
        scratch = evaluate_scratch(job.layer, _row_blocks(job.layer, workers), workers, h)
        pool.run(_evaluate, workers, job, scratch)
    return means(sums)


def blocks_of(n, h):
    """How many blocks of rows an item has, and the sums (items, h, 3) before any is evaluated."""
    blocks = ceil_div(n, BLOCK_ROWS)
    blocks_per_item = max(ceil_div(blocks, MAX_SUMS), 1)
    return blocks_per_item, np.zeros((ceil_div(blocks, blocks_per_item), h, 3))


def means(sums):
    # sums (items, h, 3) -> loss (h,), accuracy (h,)
    total = sums.sum(axis=0)
    with np.errstate(invalid="ignore"):  # no rows, or no weight: NaN
        return total[:, 0] / total[:, 2], total[:, 1] / total[:, 2]

"""What trained heads do on CSR: as ../evaluate.py, with the linear layer of linear.py."""

from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.evaluate import (
    BLOCK_ROWS,
    Evaluate,
    Predict,
    add_rows,
    begin_evaluate,
    begin_predict,
    blocks_of,
    evaluate_scratch,
    label_rows,
    means,
    predict_scratch,
)
from softstep.kernels._numba.jit import INLINE, PART, STRICT, jit
from softstep.kernels._numba.losses import learning
from softstep.kernels._numba.parallel import pool
from softstep.kernels._numba.parallel.pool import work_through
from softstep.kernels._numba.simd.layout import empty, lanes, padded, per_column
from softstep.kernels._numba.simd.vector import lanes_of
from softstep.kernels._numba.sparse.linear import Stored, flop, logits_of_row, pack, stored
from softstep.kernels.threads import threads_for


class Layer(NamedTuple):
    """Rows and a bank. Columns are those of layout.py: of each head, its classes."""

    X: Stored
    order: np.ndarray  # (n,): 0, 1, …
    classes: int
    W: np.ndarray  # (d, columns padded)
    scale: np.ndarray  # (columns padded,)
    b: np.ndarray  # (columns padded,)


class Blocks(NamedTuple):
    V: np.ndarray  # (workers, vectors, rows padded, lanes): logits


def _layer(X, W, b, feature_scale):
    h, _, c = W.shape
    return Layer(
        X=stored(X),
        order=np.arange(len(X)),
        classes=c,
        W=pack(W),
        scale=per_column(np.full(h, feature_scale), c, W.dtype),
        b=per_column(b, c, W.dtype),
    )


def _row_blocks(layer, workers):
    dtype, n = layer.W.dtype, lanes(layer.W.dtype)
    rows = padded(min(BLOCK_ROWS, len(layer.order)), n)
    return Blocks(empty((workers, len(layer.b) // n, rows, n), dtype))


@jit(PART)
def _block_logits(layer, start, rows, V):
    # rows start … start + rows of X -> V (vectors, rows, lanes)
    for i in range(rows):
        logits_of_row(layer.X, start + i, layer.W, layer.scale, layer.b, V, i)


@jit(STRICT)
def _predict(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 1, begin_predict, _predict_block)


@jit(INLINE)
def _predict_block(job, scratch, step, phase, item, worker):
    V, start = scratch.blocks.V[worker], item * BLOCK_ROWS
    rows = min(BLOCK_ROWS, len(job.layer.order) - start)
    _block_logits(job.layer, start, rows, V)
    label_rows(job, scratch, V, start, rows, worker)


def predict(X, W, b, *, feature_scale=1.0):
    # X CSR (n, d), W (h, d, c), b (h, c) -> (h, n)
    h, _, c = W.shape
    found = np.empty((h, len(X)), np.int64)
    if len(X):
        layer, workers = _layer(X, W, b, feature_scale), threads_for(flop(X, h * c))
        scratch = predict_scratch(layer, _row_blocks(layer, workers), workers)
        pool.run(_predict, workers, Predict(layer=layer, found=found), scratch)
    return found


@jit(STRICT)
def _evaluate(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 1, begin_evaluate, _evaluate_blocks)


@jit(INLINE)
def _evaluate_blocks(job, scratch, step, phase, item, worker):
    V, n = scratch.blocks.V[worker], lanes_of(job.layer.W)
    for block in range(item * job.blocks_per_item, (item + 1) * job.blocks_per_item):
        start = block * BLOCK_ROWS
        rows = max(min(BLOCK_ROWS, len(job.layer.order) - start), 0)
        _block_logits(job.layer, start, rows, V)
        for r0 in range(0, rows, n):
            add_rows(job, scratch, start, r0, min(n, rows - r0), worker, job.sums[item])


def evaluate(data, bank):
    # X CSR (n, d), y (t, n) or (n, c), W (h, d, c), b (h, c) -> loss (h,), accuracy (h,)
    n, (h, _, c) = len(data.X), bank.W.shape
    blocks_per_item, sums = blocks_of(n, h)
    lessons = learning(data, bank)
    if n:
        job = Evaluate(
            layer=_layer(data.X, bank.W, bank.b, data.feature_scale),
            learning=lessons,
            blocks_per_item=blocks_per_item,
            sums=sums,
        )
        workers = threads_for(flop(data.X, h * c))
        scratch = evaluate_scratch(job.layer, _row_blocks(job.layer, workers), workers, h)
        pool.run(_evaluate, workers, job, scratch)
    return means(sums)

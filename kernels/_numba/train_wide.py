"""Gradient descent of a wide bank, of many columns: vectors run along the columns.

A step has four phases, each cut into items that write apart: the batch's rows, widened to the dtype
of the arithmetic and scaled; tiles of logits; blocks of rows, from logits to their gradient; tiles
of weights, each with its outer products and its update. docs/kernels.md draws them.
"""

from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.jit import INLINE, PART, STRICT, jit
from softstep.kernels._numba.losses import Lanes, heads_of_rows, row_lanes
from softstep.kernels._numba.parallel.pool import OVER, work_through
from softstep.kernels._numba.simd.layout import odd_lines, padded, panels, zeros
from softstep.kernels._numba.simd.products import (
    gather_panels,
    gather_rows,
    group,
    groups_of,
    lanes_to_rows,
    logits_tiles,
    outer_tile,
    rows_to_lanes,
)
from softstep.kernels._numba.simd.tiles import TILE_ROWS, TILE_VECTORS
from softstep.kernels._numba.simd.update import (
    Columns,
    columns_like,
    fill_columns,
    record,
    update,
    update_bias,
)
from softstep.kernels._numba.simd.vector import lanes_of, load
from softstep.kernels.integers import ceil_div

GATHER, LOGITS, ROWS, WEIGHTS = range(4)  # the phases
GATHERED = 8  # rows of an item
LOGIT_ROWS = 32  # of an item, a group of vectors wide: whole tiles
WEIGHT_ROWS = 64  # features of an item


class Scratch(NamedTuple):
    """What the phases hand on, then buffers of each worker."""

    X: np.ndarray  # (batch padded, d padded): rows, for the logits,
    P: np.ndarray  # (panels, batch padded, features): and for the outer products
    V: np.ndarray  # (vectors, batch padded, lanes): logits, then their gradient
    loss: np.ndarray  # (h, batch padded): w L of each row
    right: np.ndarray  # (h, batch padded): 1 where a row is right and weighs something, else 0
    columns: Columns
    lanes: Lanes
    tile: np.ndarray  # (workers, TILE_VECTORS, TILE_ROWS, lanes)


def wide_scratch(job, workers):
    vectors, d, n = job.W.shape
    h, dtype, rows = (
        len(job.active),
        job.W.dtype,
        padded(min(job.batch, len(job.order)), max(n, TILE_ROWS)),
    )
    return Scratch(
        X=zeros((rows, odd_lines(d, dtype)), dtype),
        P=panels(d, rows, dtype),
        V=zeros((vectors, rows, n), dtype),
        loss=zeros((h, rows), dtype),
        right=zeros((h, rows), dtype),
        columns=columns_like(job.b),
        lanes=row_lanes(workers, vectors * n, job.classes, dtype),
        tile=zeros((workers, TILE_VECTORS, TILE_ROWS, n), dtype),
    )


@jit(STRICT)
def train_wide(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 4, _begin, _do)


@jit(INLINE)
def _begin(job, scratch, step, phase):
    """How many items a phase has."""
    if step == len(job.losses):
        return OVER
    rows = min(job.batch, len(job.order) - step * job.batch)
    groups = groups_of(len(job.W))
    if phase == GATHER:
        return ceil_div(rows, GATHERED)
    if phase == LOGITS:
        return groups * ceil_div(rows, LOGIT_ROWS)
    if phase == ROWS:
        return ceil_div(rows, lanes_of(job.W))
    fill_columns(job, scratch.columns, step)
    return groups * ceil_div(job.W.shape[1], WEIGHT_ROWS) + len(job.W) + len(job.active)


@jit(INLINE)
def _do(job, scratch, step, phase, item, worker):
    X, V, W, tile = scratch.X, scratch.V, job.W, scratch.tile[worker]
    start, vectors, d = step * job.batch, len(job.W), job.W.shape[1]
    rows = min(job.batch, len(job.order) - start)
    tiles = groups_of(vectors) * ceil_div(d, WEIGHT_ROWS)
    if phase == GATHER:
        r0 = item * GATHERED
        count = min(GATHERED, rows - r0)
        at = start + r0
        gather_rows(job.X, job.scaling, d, job.order, at, count, at + count, X, r0)
        gather_panels(X, d, r0, count, scratch.P, r0)
    elif phase == LOGITS:
        chunks = ceil_div(rows, LOGIT_ROWS)
        (v, mine), r0 = group(item // chunks, vectors), item % chunks * LOGIT_ROWS
        end = min(r0 + LOGIT_ROWS, rows)
        logits_tiles(X, 0, W, job.b, job.scale, v, mine, r0, end, V, tile)
    elif phase == ROWS:
        _rows(job, scratch, start, rows, item * lanes_of(W), worker)
    elif item < tiles:
        chunks = ceil_div(d, WEIGHT_ROWS)
        (v, mine), f0 = group(item // chunks, vectors), item % chunks * WEIGHT_ROWS
        _weights(job, scratch, rows, v, mine, f0, min(f0 + WEIGHT_ROWS, d), tile)
    elif item < tiles + vectors:
        _bias(job, scratch, rows, item - tiles)
    else:
        record(job, scratch, step, rows, item - tiles - vectors)


@jit(PART)
def _rows(job, scratch, start, rows, r0, worker):
    """From logits to their gradient for a row in each lane, from row r0 of the batch on."""
    T = scratch.lanes.T[worker]
    first = start + r0
    mine = job.order[first : first + min(lanes_of(T), rows - r0)]
    rows_to_lanes(scratch.V, r0, T)
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
    lanes_to_rows(T, scratch.V, r0)


@jit(PART)
def _weights(job, scratch, rows, v0, vectors, f0, end, tile):
    """Outer products of the rows and update: features f0 … end of `vectors` vectors from v0."""
    W, n, scale = job.W, lanes_of(job.W), job.W.dtype.type(job.scale)
    M, columns, keeps = job.M, scratch.columns, job.keeps_velocity
    for i in range(f0, end, TILE_ROWS):
        outer_tile(scratch.P, i, rows, scratch.V, v0, vectors, tile)
        for u in range(vectors):
            column = (v0 + u) * n
            active, rate = load(columns.active, column) > 0.0, load(columns.rate, column)
            l2, momentum = load(job.l2, column), load(job.momentum, column)
            for f in range(i, min(i + TILE_ROWS, end)):
                at, g = (v0 + u, f), load(tile, (u, f - i)) * scale
                update(W, M, at, g, rate, l2, momentum, active, keeps)


@jit(PART)
def _bias(job, scratch, rows, v):
    """Add the rows' gradients and update the bias of vector v of the columns."""
    if job.fit_bias:
        g = load(scratch.V, (v, 0))
        for i in range(1, rows):
            g = g + load(scratch.V, (v, i))
        update_bias(job, scratch.columns, v * lanes_of(job.W), g)

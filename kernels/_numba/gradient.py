"""Loss and gradient of a bank, summed over all rows: vectors run along the columns.

A block of rows goes forward and back while it is in the cache, in the four phases of train_wide.py;
the last one adds the block's outer products, tile by tile, to sums in float64. There is one kind of
kernel for banks of any width: what a head gets depends on no other head.
"""

from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.jit import INLINE, PART, STRICT, jit
from softstep.kernels._numba.linear_wide import in_place
from softstep.kernels._numba.losses import Lanes, Learning, heads_of_rows, learning, row_lanes
from softstep.kernels._numba.parallel import pool
from softstep.kernels._numba.parallel.pool import OVER, work_through
from softstep.kernels._numba.simd.layout import (
    odd_lines,
    pack_wide,
    padded,
    panels,
    per_column,
    unpack_wide,
    zeros,
)
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
from softstep.kernels._numba.simd.scaling import Scaling, features
from softstep.kernels._numba.simd.tiles import TILE_ROWS, TILE_VECTORS
from softstep.kernels._numba.simd.vector import lanes_of, load, load_doubles, store
from softstep.kernels.integers import ceil_div
from softstep.kernels.threads import threads_for

GATHER, LOGITS, ROWS, WEIGHTS = range(4)  # the phases
# A block's sums are in the arithmetic of the rows, so it decides the bits and does not depend on
# anything. Longer ones add to the sums in memory less often: 448 are full tiles and full vectors.
BLOCK_ROWS = 448
GATHERED = 8  # rows of an item
LOGIT_ROWS = 32  # of an item, a group of vectors wide: whole tiles
WEIGHT_ROWS = 64  # features of an item
# About a tenth of a second on one core: between calls of so much Python notices Ctrl-C.
FLOP_PER_INTERRUPT = 5e9


class Job(NamedTuple):
    """What the kernel is to do. Columns are those of layout.py: of each head, its classes."""

    X: np.ndarray  # (n, d or more), as stored
    scaling: Scaling
    order: np.ndarray  # (n,): 0, 1, …
    first: int  # the rows of this call
    end: int
    in_place: bool  # whether X is read where it is stored
    scale: float
    learning: Learning
    classes: int
    W: np.ndarray  # (vectors, d, lanes)
    b: np.ndarray  # (columns padded,)
    finite: np.ndarray  # (h,) bool, cleared for a head with a logit that is not
    total: np.ndarray  # (h,) float64, added to: Σ w L,
    G: np.ndarray  # (vectors, d, lanes) float64: Σ w x ⊗ dv, without the scale
    Gb: np.ndarray  # (columns padded,) float64: and Σ w dv


class Scratch(NamedTuple):
    """A block of rows, then buffers of each worker."""

    X: np.ndarray  # (rows padded, d padded), or all of X where that is read in place: for the
    P: np.ndarray  # logits, and (panels, rows padded, features): for the outer products
    V: np.ndarray  # (vectors, rows padded, lanes): logits, then their gradient
    loss: np.ndarray  # (h, rows padded): w L of each row
    right: np.ndarray  # (h, rows padded): what the losses report besides
    lanes: Lanes
    tile: np.ndarray  # (workers, TILE_VECTORS, TILE_ROWS, lanes)


def _scratch(job, workers):
    vectors, d, n = job.W.shape
    h, dtype = len(job.finite), job.W.dtype
    rows = padded(min(BLOCK_ROWS, len(job.X)), max(n, TILE_ROWS))
    return Scratch(
        X=job.X if job.in_place else zeros((rows, odd_lines(d, dtype)), dtype),
        P=panels(d, rows, dtype),
        V=zeros((vectors, rows, n), dtype),
        loss=zeros((h, rows), dtype),
        right=zeros((h, rows), dtype),
        lanes=row_lanes(workers, vectors * n, job.classes, dtype),
        tile=zeros((workers, TILE_VECTORS, TILE_ROWS, n), dtype),
    )


@jit(STRICT)
def _gradient(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 4, _begin, _do)


@jit(INLINE)
def _begin(job, scratch, step, phase):
    """How many items a phase has."""
    rows = min(BLOCK_ROWS, job.end - job.first - step * BLOCK_ROWS)
    if rows <= 0:
        return OVER
    groups = groups_of(len(job.W))
    if phase == GATHER:
        return ceil_div(rows, GATHERED)
    if phase == LOGITS:
        return groups * ceil_div(rows, LOGIT_ROWS)
    if phase == ROWS:
        return ceil_div(rows, lanes_of(job.W))
    return groups * ceil_div(job.W.shape[1], WEIGHT_ROWS) + len(job.W) + len(job.finite)


@jit(INLINE)
def _do(job, scratch, step, phase, item, worker):
    V, W, tile = scratch.V, job.W, scratch.tile[worker]
    vectors, d = len(W), W.shape[1]
    start = job.first + step * BLOCK_ROWS
    rows = min(BLOCK_ROWS, job.end - start)
    tiles, x0 = groups_of(vectors) * ceil_div(d, WEIGHT_ROWS), start if job.in_place else 0
    if phase == GATHER:
        r0 = item * GATHERED
        count = min(GATHERED, rows - r0)
        if not job.in_place:
            at = start + r0
            gather_rows(job.X, job.scaling, d, job.order, at, count, at + count, scratch.X, r0)
        gather_panels(scratch.X, d, x0 + r0, count, scratch.P, r0)
    elif phase == LOGITS:
        chunks = ceil_div(rows, LOGIT_ROWS)
        (v, mine), r0 = group(item // chunks, vectors), item % chunks * LOGIT_ROWS
        end = min(r0 + LOGIT_ROWS, rows)
        logits_tiles(scratch.X, x0, W, job.b, job.scale, v, mine, r0, end, V, tile)
    elif phase == ROWS:
        _rows(job, scratch, start, rows, item * lanes_of(W), worker)
    elif item < tiles:
        chunks = ceil_div(d, WEIGHT_ROWS)
        (v, mine), f0 = group(item // chunks, vectors), item % chunks * WEIGHT_ROWS
        end = min(f0 + WEIGHT_ROWS, d)
        _outer_products(scratch.P, rows, V, v, mine, f0, end, tile, job.G)
    elif item < tiles + vectors:
        _sums_of_rows(V, item - tiles, rows, job.Gb)
    else:
        k = item - tiles - vectors
        for i in range(rows):
            job.total[k] += scratch.loss[k, i]


@jit(PART)
def _rows(job, scratch, start, rows, r0, worker):
    """From logits to w L and w dv for a row in each lane, from row r0 of the block on."""
    T = scratch.lanes.T[worker]
    first = start + r0
    mine = job.order[first : first + min(lanes_of(T), rows - r0)]
    rows_to_lanes(scratch.V, r0, T)
    heads_of_rows(
        job.learning,
        scratch.lanes,
        worker,
        mine,
        1,
        job.finite,
        scratch.loss,
        scratch.right,
        r0,
    )
    lanes_to_rows(T, scratch.V, r0)


@jit(PART)
def _outer_products(P, rows, V, v0, vectors, f0, end, tile, G):
    # P (panels, rows, features), V (vectors, rows, lanes) -> G (vectors, d, lanes) increased by
    # Σ x ⊗ dv: features f0 … end of `vectors` vectors from v0 on
    n, doubles = lanes_of(V), lanes_of(G)
    for i in range(f0, end, TILE_ROWS):
        outer_tile(P, i, rows, V, v0, vectors, tile)
        for u in range(vectors):
            for f in range(i, min(i + TILE_ROWS, end)):
                for j in range(0, n, doubles):
                    at = (v0 + u, f, j)
                    store(G, at, load(G, at) + load_doubles(tile, (u, f - i, j)))


@jit(PART)
def _sums_of_rows(V, v, rows, Gb):
    # V (vectors, rows, lanes) -> the columns of vector v of Gb, increased by Σ dv
    n, doubles = lanes_of(V), lanes_of(Gb)
    for j in range(0, n, doubles):
        total = load(Gb, v * n + j)
        for i in range(rows):
            total = total + load_doubles(V, (v, i, j))
        store(Gb, v * n + j, total)


@np.errstate(over="ignore", invalid="ignore")  # infinities follow the arithmetic
def gradient(data, bank):
    # X (n, d), y (t, n) or (n, c), W (h, d, c), b (h, c) -> loss (h,), dW (h, d, c), db (h, c)
    (h, d, c), n, lessons = bank.W.shape, len(data.X), learning(data, bank)
    total, dW, db = np.zeros(h), np.zeros((h, d, c)), np.zeros((h, c))
    if n == 0:
        return total, dW, db
    (X, scaling), W = features(data.X), pack_wide(bank.W)
    b = per_column(bank.b, c, bank.b.dtype)
    job = Job(
        X=X,
        scaling=scaling,
        order=np.arange(n),
        first=0,
        end=n,
        in_place=in_place(X, scaling, d, W.dtype),
        scale=data.feature_scale,
        learning=lessons,
        classes=c,
        W=W,
        b=b,
        finite=np.ones(h, np.bool_),
        total=total,
        G=zeros(W.shape, np.float64),
        Gb=zeros(b.shape, np.float64),
    )
    _run(job, 4 * bank.W.size)
    unpack_wide(job.G, dW)
    dW *= data.feature_scale
    db.reshape(-1)[:] = job.Gb[: h * c]
    for result in (total, dW, db):
        result[~job.finite] = np.nan
    return total, dW, db


def _run(job, flop_per_row):
    """All rows, in calls of not too many blocks of them."""
    rows = min(BLOCK_ROWS, job.end)
    workers = threads_for(flop_per_row * job.end, flop_per_row * rows)
    scratch = _scratch(job, workers)
    at_once = max(1, int(FLOP_PER_INTERRUPT / (flop_per_row * rows))) * BLOCK_ROWS
    for first in range(0, job.end, at_once):
        some = job._replace(first=first, end=min(first + at_once, job.end))
        pool.run(_gradient, workers, some, scratch)

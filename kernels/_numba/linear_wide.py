"""The linear layer with many columns, in blocks of rows, by the tiles of tiles.py."""

from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.jit import INLINE, PART, STRICT, jit
from softstep.kernels._numba.parallel import pool
from softstep.kernels._numba.parallel.pool import OVER, work_through
from softstep.kernels._numba.simd.layout import (
    empty,
    lanes,
    odd_lines,
    padded,
    panels,
    per_column,
    stored,
    zeros,
)
from softstep.kernels._numba.simd.products import (
    gather_panels,
    gather_rows,
    group,
    groups_of,
    multiply,
    next_tile,
    outer_tile,
)
from softstep.kernels._numba.simd.scaling import Scaling, features, is_any
from softstep.kernels._numba.simd.tiles import TILE_ROWS, TILE_VECTORS
from softstep.kernels._numba.simd.vector import fma, lanes_of, load, load_first, store, store_first
from softstep.kernels.integers import ceil_div
from softstep.kernels.threads import threads_for

ITEM_ROWS = 64  # of the forward pass: whole tiles
BLOCK_GROUPS = 5  # of vectors of columns, in such an item
BACKWARD_ROWS = 256  # of a step
GRADIENT_ROWS = 64  # features of an item of the backward pass
COPIED_ROWS = 16  # of an item that gathers
CONFLICT_BYTES = 2048  # rows that are a multiple of it apart fall into a few sets of the cache

PACK, MULTIPLY = range(2)  # the phases of the forward pass
GATHER, GRADIENT = range(2)  # and of the backward pass
PACKED_ROWS = 32  # of an item that packs


class Forward(NamedTuple):
    X: np.ndarray  # (n, d or more), as stored
    scaling: Scaling
    order: np.ndarray  # (n,): 0, 1, …
    in_place: bool  # whether X is read where it is stored
    W: np.ndarray  # (d, c)
    packed: np.ndarray  # (vectors, d, lanes): W
    b: np.ndarray  # (columns padded,)
    scale: float
    out: np.ndarray  # (n, c)


class Backward(NamedTuple):
    dV: np.ndarray  # (n, c)
    X: np.ndarray  # (n, d or more), as stored
    scale: float
    dW: np.ndarray  # (d, c)
    db: np.ndarray  # (columns padded,)


class Gathered(NamedTuple):
    """A block of rows of the backward pass, and a tile for each worker."""

    P: np.ndarray  # (panels, rows, features)
    V: np.ndarray  # (vectors, rows, lanes): the gradient of the logits
    tile: np.ndarray  # (workers, TILE_VECTORS, TILE_ROWS, lanes)


class Blocks(NamedTuple):
    """A block of rows and a tile for each worker."""

    X: np.ndarray  # (workers, rows padded, d padded), or X itself: (1, n, d or more)
    V: np.ndarray  # (workers, vectors, rows padded, lanes): logits
    tile: np.ndarray  # (workers, TILE_VECTORS, TILE_ROWS, lanes)
    gathered: np.ndarray  # (workers,): where the rows in the worker's block begin, -1: none yet


def in_place(X, scaling, d, dtype):
    """Whether a tile may read the features X (n, d or more) where they are stored, without a
    padding."""
    fits = min(len(X), d) >= TILE_ROWS and not is_any(scaling)
    return X.dtype == dtype and X.strides[0] % CONFLICT_BYTES != 0 and fits


def row_blocks(X, d, dtype, *, rows, columns, workers):
    """X: the rows, where they are read in place; else None."""
    n = lanes(dtype)
    rows, padded_d = padded(rows, max(n, TILE_ROWS)), odd_lines(d, dtype)
    return Blocks(
        X=zeros((workers, rows, padded_d), dtype) if X is None else X[None],
        V=empty((workers, ceil_div(columns, n), rows, n), dtype),
        tile=empty((workers, TILE_VECTORS, TILE_ROWS, n), dtype),
        gathered=np.full(workers, -1),
    )


@jit(STRICT)
def _forward(pool, size, worker, job, blocks):
    # Two phases: pack W into vectors of columns; then multiply, ITEM_ROWS rows and BLOCK_GROUPS
    # groups of vectors in an item
    work_through(pool, size, worker, job, blocks, 2, _begin_forward, _do_forward)


@jit(PART)
def _blocks_of(packed):
    return ceil_div(groups_of(len(packed)), BLOCK_GROUPS)


@jit(INLINE)
def _begin_forward(job, blocks, step, phase):
    if step > 0:
        return OVER
    if phase == PACK:
        return ceil_div(len(job.W), PACKED_ROWS)
    return ceil_div(len(job.X), ITEM_ROWS) * _blocks_of(job.packed)


@jit(INLINE)
def _do_forward(job, blocks, step, phase, item, worker):
    if phase == PACK:
        _pack(job.W, item * PACKED_ROWS, job.packed)
    else:
        blocks_of_columns = _blocks_of(job.packed)
        start, g = item // blocks_of_columns * ITEM_ROWS, item % blocks_of_columns * BLOCK_GROUPS
        if not job.in_place and start != blocks.gathered[worker]:
            count, X, d = min(ITEM_ROWS, len(job.X) - start), blocks.X[worker], len(job.W)
            gather_rows(job.X, job.scaling, d, job.order, start, count, start + count, X, 0)
            blocks.gathered[worker] = start
        _forward_block(job, start, g, blocks, worker)


@jit(PART)
def _pack(W, start, packed):
    # rows start … start + PACKED_ROWS of W (d, c) -> packed (vectors, d, lanes)
    n, c = lanes_of(packed), W.shape[1]
    for f in range(start, min(start + PACKED_ROWS, len(W))):
        for v in range(c // n):
            store(packed, (v, f), load(W, (f, v * n)))
        if c % n:
            store(packed, (c // n, f), load_first(W, (f, c // n * n), c % n))


@jit(PART)
def _forward_block(job, start, g0, blocks, worker):
    # out[start : start + ITEM_ROWS], the columns of BLOCK_GROUPS groups from g0 on
    X, x0 = (blocks.X[0], start) if job.in_place else (blocks.X[worker], 0)
    W, tile, n = job.packed, blocks.tile[worker], lanes_of(job.packed)
    count, scale = min(ITEM_ROWS, len(job.X) - start), W.dtype.type(job.scale)
    for g in range(g0, min(g0 + BLOCK_GROUPS, groups_of(len(W)))):
        v, vectors = group(g, len(W))
        for i in range(0, count, TILE_ROWS):
            first = next_tile(i, -x0, count)
            multiply(X, x0 + first, W.shape[1], W, v, vectors, tile, 0, 0)
            for u in range(vectors):
                at = (v + u) * n
                bias, left = load(job.b, at), job.out.shape[1] - at
                for r in range(i, min(i + TILE_ROWS, count)):
                    values = fma(load(tile, (u, r - first)), scale, bias)
                    if left >= n:
                        store(job.out, (start + r, at), values)
                    else:
                        store_first(job.out, (start + r, at), values, left)


def forward_wide(X, W, b, scale, out):
    # X (n, d), W (d, c), b (c,) -> out (n, c) = s X W + b
    (n, d), c, dtype, (X, scaling) = X.shape, len(b), W.dtype, features(X)
    workers, width = threads_for(2 * n * d * c), lanes(dtype)
    job = Forward(
        X=X,
        scaling=scaling,
        order=np.arange(n),
        in_place=in_place(X, scaling, d, dtype),
        W=W,
        packed=empty((ceil_div(c, width), d, width), dtype),
        b=per_column(b[None], c, dtype),
        scale=scale,
        out=out,
    )
    there = X if job.in_place else None
    blocks = row_blocks(there, d, dtype, rows=min(ITEM_ROWS, n), columns=0, workers=workers)
    pool.run(_forward, workers, job, blocks)


@jit(STRICT)
def _backward(pool, size, worker, job, gathered):
    # A step for each block of BACKWARD_ROWS rows, of two phases: gather X and dV, then add to tiles
    # of dW
    work_through(pool, size, worker, job, gathered, 2, _begin_backward, _do_backward)


@jit(INLINE)
def _begin_backward(job, gathered, step, phase):
    rows = min(BACKWARD_ROWS, len(job.X) - step * BACKWARD_ROWS)
    if rows <= 0:
        return OVER
    if phase == GATHER:
        return ceil_div(rows, COPIED_ROWS)
    vectors = len(gathered.V)
    return groups_of(vectors) * ceil_div(len(job.dW), GRADIENT_ROWS) + vectors


@jit(INLINE)
def _do_backward(job, gathered, step, phase, item, worker):
    P, V, tile = gathered.P, gathered.V, gathered.tile[worker]
    start = step * BACKWARD_ROWS
    rows, chunks = min(BACKWARD_ROWS, len(job.X) - start), ceil_div(len(job.dW), GRADIENT_ROWS)
    tiles = groups_of(len(V)) * chunks
    if phase == GATHER:
        r0 = item * COPIED_ROWS
        count = min(COPIED_ROWS, rows - r0)
        gather_panels(job.X, len(job.dW), start + r0, count, P, r0)
        _gather_gradients(job.dV, start + r0, count, V, r0)
    elif item < tiles:
        g, f0 = item // chunks, item % chunks * GRADIENT_ROWS
        _products(P, rows, V, g, f0, V.dtype.type(job.scale), start > 0, tile, job.dW)
    else:
        v, at = item - tiles, (item - tiles) * lanes_of(V)
        db = load(job.db, at)
        for i in range(rows):
            db = db + load(V, (v, i))
        store(job.db, at, db)


@jit(PART)
def _gather_gradients(dV, at, count, V, r0):
    # dV (n, c), rows at … at + count -> V (vectors, rows, lanes), rows from r0 on
    n, c = lanes_of(V), dV.shape[1]
    for i in range(count):
        for v in range(c // n):
            store(V, (v, r0 + i), load(dV, (at + i, v * n)))
        if c % n:
            store(V, (c // n, r0 + i), load_first(dV, (at + i, c // n * n), c % n))


@jit(PART)
def _products(P, rows, V, g, f0, scale, add, tile, dW):
    # P (panels, rows, features), V (vectors, rows, lanes) -> dW[f0 : f0 + GRADIENT_ROWS], the
    # columns of group g, set to or, with `add`, increased by s Σ x ⊗ dv
    n, c = lanes_of(V), dW.shape[1]
    v, vectors = group(g, len(V))
    end = min(f0 + GRADIENT_ROWS, len(dW))
    for i in range(f0, end, TILE_ROWS):
        outer_tile(P, i, rows, V, v, vectors, tile)
        for u in range(vectors):
            j = (v + u) * n
            for f in range(i, min(i + TILE_ROWS, end)):
                dw = load(tile, (u, f - i)) * scale
                if j + n <= c:
                    store(dW, (f, j), load(dW, (f, j)) + dw if add else dw)
                else:
                    dw = load_first(dW, (f, j), c - j) + dw if add else dw
                    store_first(dW, (f, j), dw, c - j)


def backward_wide(dV, X, scale):
    # dV (n, c), X (n, d) -> dW (d, c) = s Σ x ⊗ dv, db (c,) = Σ dv
    (n, c), d, dtype, X = dV.shape, X.shape[1], dV.dtype, stored(X)
    columns, rows = padded(c, lanes(dtype)), min(n, BACKWARD_ROWS)
    job = Backward(
        dV=dV,
        X=X,
        scale=scale,
        dW=np.empty((d, c), dtype),
        db=zeros((columns,), dtype),
    )
    workers = threads_for(2 * n * d * c, 2 * rows * d * c)
    width = lanes(dtype)
    gathered = Gathered(
        P=panels(d, rows, dtype),
        V=empty((columns // width, rows, width), dtype),
        tile=empty((workers, TILE_VECTORS, TILE_ROWS, width), dtype),
    )
    pool.run(_backward, workers, job, gathered)
    return job.dW, job.db[:c].copy()

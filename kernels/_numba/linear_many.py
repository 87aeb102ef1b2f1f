"""The linear layer with many columns, in blocks of rows, by the tiles of tiles.py."""

from collections import namedtuple

import numpy as np

from softstep.kernels._numba import team
from softstep.kernels._numba.jit import STRICT, jit
from softstep.kernels._numba.layout import (
    empty,
    lanes,
    odd_lines,
    padded,
    spread,
    zeros,
)
from softstep.kernels._numba.products import gather_rows, multiply, next_tile
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
from softstep.kernels._numba.vector import (
    fma,
    lanes_of,
    load,
    load_first,
    store,
    store_first,
)
from softstep.kernels.threads import threads_for

ITEM_ROWS = 4 * TILE_ROWS  # of the forward pass
BLOCK_VECTORS = 16  # of columns, in such an item
BACKWARD_ROWS = 256
GRADIENT_ROWS = 4 * TILE_ROWS  # features of an item of the backward pass
COPIED_ROWS = 16
CONFLICT_BYTES = 2048  # rows that are a multiple of it apart fall into a few sets of the cache

Blocks = namedtuple("Blocks", "X V tile")
Forward = namedtuple("Forward", "X order W packed b scale in_place out")
Backward = namedtuple("Backward", "dV X order scale in_place db dW")

PACK, MULTIPLY = 0, 1  # the phases of the forward pass
GATHER, GRADIENT = 0, 1  # and of the backward pass
PACKED_ROWS = 32  # of an item


def in_place(X, dtype):
    """Whether a tile may read the features X where they are stored."""
    return X.dtype == dtype and X.strides[0] % CONFLICT_BYTES != 0


def row_blocks(blocks, rows, columns, size, X, dtype):
    """X itself, if it is read in place, or `blocks` buffers (rows, d padded); `blocks` times V
    (vectors, rows, lanes) for so many columns; `size` tiles."""
    n = lanes(dtype)
    rows, d = padded(rows, n), odd_lines(X.shape[1], dtype)
    return Blocks(
        X[None] if in_place(X, dtype) else empty((blocks, rows, d), dtype),
        empty((blocks, columns // n, rows, n), dtype),
        empty((size, TILE_VECTORS, TILE_ROWS, n), dtype),
    )


@jit(STRICT)
def _forward(team, size, member, job, blocks):
    # Two phases: W (d, c) into vectors of columns; then items of ITEM_ROWS rows and BLOCK_VECTORS
    # vectors: gather the rows, unless they can be read in place, and multiply
    job, blocks = borrowed(job), borrowed(blocks)
    groups, done, gathered = -(-len(job.packed) // BLOCK_VECTORS), 0, -1
    items = -(-len(job.W) // PACKED_ROWS), -(-len(job.X) // ITEM_ROWS) * groups, OVER
    while enter(team, size, member, items[done], done):
        item = claim(team, size, member)
        while item >= 0:
            if team[PHASE] == PACK:
                _pack(job.W, item * PACKED_ROWS, job.packed)
            else:
                start, v0 = item // groups * ITEM_ROWS, item % groups * BLOCK_VECTORS
                if not job.in_place and start != gathered:
                    count = min(ITEM_ROWS, len(job.X) - start)
                    gather_rows(job.X, job.order, start, count, blocks.X[member], 0)
                    gathered = start
                _forward_block(job, start, v0, blocks, member)
            item = claim(team, size, member)
        leave(team, size, member)
        done += 1


@jit(STRICT)
def _pack(W, start, packed):
    # rows start … start + PACKED_ROWS of W (d, c) -> packed (vectors, d, lanes)
    n, c = lanes_of(packed), W.shape[1]
    for f in range(start, min(start + PACKED_ROWS, len(W))):
        for v in range(c // n):
            store(packed, (v, f), load(W, (f, v * n)))
        if c % n:
            store(packed, (c // n, f), load_first(W, (f, c // n * n), c % n))


@jit(STRICT)
def _forward_block(job, start, v0, blocks, member):
    # out[start : start + ITEM_ROWS], the columns of BLOCK_VECTORS vectors from v0 on
    X, r0 = (blocks.X[0], start) if job.in_place else (blocks.X[member], 0)
    W, tile, n = job.packed, blocks.tile[member], lanes_of(job.packed)
    count, scale = min(ITEM_ROWS, len(job.X) - start), W.dtype.type(job.scale)
    for v in range(v0, min(v0 + BLOCK_VECTORS, len(W)), TILE_VECTORS):
        vectors = min(TILE_VECTORS, len(W) - v)
        i = 0
        while i < count:
            first, rows = next_tile(i, 0, count)
            multiply(X, r0 + first, rows, W.shape[1], W, v, vectors, tile)
            for u in range(vectors):
                bias, at = load(job.b, (v + u) * n), (v + u) * n
                for r in range(rows):
                    values = fma(load(tile, (u, r)), scale, bias)
                    if at + n <= job.out.shape[1]:
                        store(job.out, (start + first + r, at), values)
                    else:
                        few = job.out.shape[1] - at
                        store_first(job.out, (start + first + r, at), values, few)
            i = first + rows


def forward_many(X, W, b, scale, out):
    # X (n, d), W (d, c), b (c,) -> out (n, c) = s X W + b
    (n, d), c = X.shape, len(b)
    width, dtype = lanes(W.dtype), W.dtype
    packed = empty((padded(c, width) // width, d, width), dtype)
    size = threads_for(2 * n * d * c)
    bias, direct = spread(b[None], c, packed), in_place(X, dtype)
    job = Forward(X, np.arange(n), W, packed, bias, scale, direct, out)
    team.run(_forward, size, job, row_blocks(size, min(ITEM_ROWS, n), 0, size, X, dtype))


@jit(STRICT)
def _backward(team, size, member, job, blocks):
    # For each block of BACKWARD_ROWS rows two phases: gather X and dV, then add to tiles of dW
    job, blocks = borrowed(job), borrowed(blocks)
    V, tile = blocks.V[0], blocks.tile[member]
    done = 0
    while enter(team, size, member, _items(job, V, done // 2, done % 2), done % 2, done // 2):
        _backward_items(team, size, member, job, blocks.X[0], V, tile)
        leave(team, size, member)
        done += 1


@jit(STRICT)
def _items(job, V, step, phase):
    # the number of items of a phase of the backward pass
    rows = min(BACKWARD_ROWS, len(job.X) - step * BACKWARD_ROWS)
    if rows <= 0:
        return OVER
    if phase == GATHER:
        return -(-rows // COPIED_ROWS)
    return -(-len(V) // TILE_VECTORS) * -(-len(job.dW) // GRADIENT_ROWS) + len(V)


@jit(STRICT)
def _backward_items(team, size, member, job, X, V, tile):
    start, n = team[STEP] * BACKWARD_ROWS, lanes_of(V)
    rows, d = min(BACKWARD_ROWS, len(job.X) - start), job.X.shape[1]
    chunks = -(-d // GRADIENT_ROWS)
    tiles = -(-len(V) // TILE_VECTORS) * chunks
    item = claim(team, size, member)
    while item >= 0:
        if team[PHASE] == GATHER:
            r0 = item * COPIED_ROWS
            count = min(COPIED_ROWS, rows - r0)
            if not job.in_place:
                gather_rows(job.X, job.order, start + r0, count, X, r0)
            _gather_gradients(job.dV, start + r0, count, V, r0)
        elif item < tiles:
            f0 = item % chunks * GRADIENT_ROWS
            mine = X[start : start + rows] if job.in_place else X[:rows]
            v = item // chunks * TILE_VECTORS
            _products(mine.T, V, v, f0, V.dtype.type(job.scale), start > 0, tile, job.dW)
        else:
            v = item - tiles
            db = load(job.db, v * n)
            for i in range(rows):
                db = db + load(V, (v, i))
            store(job.db, v * n, db)
        item = claim(team, size, member)


@jit(STRICT)
def _gather_gradients(dV, at, count, V, r0):
    # dV (n, c), rows at … at + count -> V (vectors, rows, lanes), rows from r0 on
    n, c = lanes_of(V), dV.shape[1]
    for i in range(count):
        for v in range(c // n):
            store(V, (v, r0 + i), load(dV, (at + i, v * n)))
        if c % n:
            store(V, (c // n, r0 + i), load_first(dV, (at + i, c // n * n), c % n))


@jit(STRICT)
def _products(A, V, v, f0, scale, add, tile, dW):
    # A (d, rows), V (vectors, rows, lanes) -> dW[f0 : f0 + GRADIENT_ROWS], TILE_VECTORS vectors of
    # its columns from v on, set to or, if `add`, increased by s Σ x ⊗ dv
    n, c = lanes_of(V), dW.shape[1]
    vectors = min(TILE_VECTORS, len(V) - v)
    end = min(f0 + GRADIENT_ROWS, len(dW))
    i = f0
    while i < end:
        first, count = next_tile(i, f0, end)
        multiply(A, first, count, A.shape[1], V, v, vectors, tile)
        for u in range(vectors):
            j = (v + u) * n
            for r in range(i - first, count):
                g = load(tile, (u, r)) * scale
                if j + n <= c:
                    store(dW, (first + r, j), load(dW, (first + r, j)) + g if add else g)
                else:
                    g = load_first(dW, (first + r, j), c - j) + g if add else g
                    store_first(dW, (first + r, j), g, c - j)
        i = first + count


def backward_many(dV, X, scale):
    # dV (n, c), X (n, d) -> dW (d, c) = s Σ x ⊗ dv, db (c,) = Σ dv
    (n, c), d, dtype = dV.shape, X.shape[1], dV.dtype
    columns, rows = padded(c, lanes(dtype)), min(n, BACKWARD_ROWS)
    db, dW = zeros((columns,), dtype), np.empty((d, c), dtype)
    size = threads_for(2 * n * d * c, 2 * rows * d * c)
    job = Backward(dV, X, np.arange(n), scale, in_place(X, dtype), db, dW)
    team.run(_backward, size, job, row_blocks(1, rows, columns, size, X, dtype))
    return dW, db[:c].copy()

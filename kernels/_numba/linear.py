"""The linear layer: V = s X W + b and its gradient, in blocks of rows, by the tiles of tiles.py."""

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
from softstep.kernels._numba.products import gather_rows, logits_tiles, multiply, next_tile
from softstep.kernels._numba.team import (
    PHASE,
    STEP,
    borrowed,
    claim,
    close_phase,
    join,
    open_phase,
    stop,
)
from softstep.kernels._numba.tiles import TILE_ROWS, TILE_VECTORS
from softstep.kernels._numba.vector import (
    lanes_of,
    load,
    load_first,
    store,
    store_first,
)
from softstep.kernels.threads import threads_for

BLOCK_ROWS = 112  # whole vectors of rows, and with 32 registers whole tiles
BLOCK_VECTORS = 16  # of columns, in an item of the forward pass
BACKWARD_ROWS = 256
GRADIENT_ROWS = 4 * TILE_ROWS  # features of an item of the backward pass
COPIED_ROWS = 16

Blocks = namedtuple("Blocks", "X V tile")
Forward = namedtuple("Forward", "X order W packed b scale out")
Backward = namedtuple("Backward", "dV X order scale packed db dW")

PACK, MULTIPLY, DONE = 0, 1, 2  # the phases of the forward pass
GATHER, GRADIENT, UNPACK = 0, 1, 2  # and of the backward pass
PACKED_ROWS = 32  # of an item


def stored(X):
    """The features as the kernels read them: float16, which Numba lacks, as its bits."""
    return X.view(np.uint16) if X.dtype == np.float16 else X


def row_blocks(blocks, rows, packed, size):
    """`blocks` times X (rows, d padded) and V (vectors, rows, lanes), and `size` tiles."""
    vectors, d, n = packed.shape
    dtype, rows = packed.dtype, padded(rows, n)
    return Blocks(
        empty((blocks, rows, odd_lines(d, dtype)), dtype),
        empty((blocks, vectors, rows, n), dtype),
        empty((size, TILE_VECTORS, TILE_ROWS, n), dtype),
    )


@jit(STRICT)
def _forward(team, size, member, job, blocks):
    # Two phases: W (d, c) into vectors of columns; then items of BLOCK_ROWS rows and BLOCK_VECTORS
    # vectors: gather, multiply, copy out
    job, blocks = borrowed(job), borrowed(blocks)
    groups, phase = -(-len(job.packed) // BLOCK_VECTORS), PACK
    while True:
        if member == 0:
            if phase == DONE:
                break
            items = -(-len(job.W) // PACKED_ROWS)
            if phase == MULTIPLY:
                items = -(-len(job.X) // BLOCK_ROWS) * groups
            open_phase(team, size, phase, 0, items)
            phase += 1
        elif not join(team, member):
            break
        item = claim(team, size, member)
        while item >= 0:
            if team[PHASE] == PACK:
                _pack(job.W, item * PACKED_ROWS, job.packed)
            else:
                v0 = item % groups * BLOCK_VECTORS
                _forward_block(job, item // groups * BLOCK_ROWS, v0, blocks, member)
            item = claim(team, size, member)
        close_phase(team, size, member)
    if member == 0:
        stop(team)


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
def _unpack(packed, start, W):
    # packed (vectors, d, lanes) -> rows start … start + PACKED_ROWS of W (d, c)
    n, c = lanes_of(packed), W.shape[1]
    for f in range(start, min(start + PACKED_ROWS, len(W))):
        for v in range(c // n):
            store(W, (f, v * n), load(packed, (v, f)))
        if c % n:
            store_first(W, (f, c // n * n), load(packed, (c // n, f)), c % n)


@jit(STRICT)
def _forward_block(job, start, v0, blocks, member):
    # out[start : start + BLOCK_ROWS], the columns of BLOCK_VECTORS vectors from v0 on
    X, V, n, c = blocks.X[member], blocks.V[member], lanes_of(job.packed), job.out.shape[1]
    count, v1 = min(BLOCK_ROWS, len(job.X) - start), min(v0 + BLOCK_VECTORS, len(V))
    gather_rows(job.X, job.order, start, count, X, 0)
    logits_tiles(X, job.packed, job.b, job.scale, v0, v1, 0, count, V, blocks.tile[member])
    for r in range(count):
        for v in range(v0, min(v1, c // n)):
            store(job.out, (start + r, v * n), load(V, (v, r)))
        if v1 * n > c:
            store_first(job.out, (start + r, c // n * n), load(V, (c // n, r)), c % n)


def linear_forward(X, W, b, *, feature_scale=1.0, out=None):
    # X (n, d), W (d, c), b (c,) -> V (n, c)
    n, (d, c) = len(X), W.shape
    out = np.empty((n, c), W.dtype) if out is None else out
    if n:
        width = lanes(W.dtype)
        packed = empty((padded(c, width) // width, d, width), W.dtype)
        bias = spread(b[None], c, packed)
        size = threads_for(2 * n * d * c)
        if np.may_share_memory(X, out):  # which is written while X is read again
            X = X.copy()
        job = Forward(stored(X), np.arange(n), W, packed, bias, feature_scale, out)
        team.run(_forward, size, job, row_blocks(size, min(BLOCK_ROWS, n), packed, size))
    return out


@jit(STRICT)
def _backward(team, size, member, job, blocks):
    # For each block of BACKWARD_ROWS rows two phases: gather X and dV, then add to tiles of dW
    job, blocks = borrowed(job), borrowed(blocks)
    X, V, tile = blocks.X[0], blocks.V[0], blocks.tile[member]
    steps, phase, step = -(-len(job.X) // BACKWARD_ROWS), GATHER, 0
    while True:
        if member == 0:
            if step > steps:
                break
            if step == steps:
                phase = UNPACK
                items = -(-len(job.dW) // PACKED_ROWS)
            elif phase == GATHER:
                rows = min(BACKWARD_ROWS, len(job.X) - step * BACKWARD_ROWS)
                items = -(-rows // COPIED_ROWS)
            else:
                tiles = -(-len(V) // TILE_VECTORS) * -(-len(job.dW) // GRADIENT_ROWS)
                items = tiles + len(V)
            open_phase(team, size, phase, step, items)
            step, phase = step + (phase != GATHER), 1 - phase
        elif not join(team, member):
            break
        _backward_items(team, size, member, job, X, V, tile)
        close_phase(team, size, member)
    if member == 0:
        stop(team)


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
            gather_rows(job.X, job.order, start + r0, count, X, r0)
            _gather_gradients(job.dV, start + r0, count, V, r0)
        elif team[PHASE] == UNPACK:
            _unpack(job.packed, item * PACKED_ROWS, job.dW)
        elif item < tiles:
            f0 = item % chunks * GRADIENT_ROWS
            _add_products(job, X, V, rows, item // chunks * TILE_VECTORS, f0, tile)
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
def _add_products(job, X, V, rows, v, f0, tile):
    # packed[v : v + TILE_VECTORS, f0 : f0 + GRADIENT_ROWS] += s Σ x ⊗ dv over the block's rows
    dW, scale = job.packed, V.dtype.type(job.scale)
    vectors = min(TILE_VECTORS, len(V) - v)
    end = min(f0 + GRADIENT_ROWS, dW.shape[1])
    i = f0
    while i < end:
        first, count = next_tile(i, f0, end)
        multiply(X.T, first, count, rows, V, v, vectors, tile)
        for u in range(vectors):
            for r in range(i - first, count):
                at = (v + u, first + r)
                store(dW, at, load(dW, at) + load(tile, (u, r)) * scale)
        i = first + count


def linear_backward(dV, X, *, feature_scale=1.0):
    # dV (n, c), X (n, d) -> dW (d, c) = Σ_rows x ⊗ dv, db (c,) = Σ_rows dv
    (n, c), d = dV.shape, X.shape[1]
    dW, width = np.zeros((d, c), dV.dtype), lanes(dV.dtype)
    packed = zeros((padded(c, width) // width, d, width), dV.dtype)
    db = zeros((packed.shape[0] * width,), dV.dtype)
    if n:
        rows = min(n, BACKWARD_ROWS)
        size = threads_for(2 * n * d * c, 2 * rows * d * c)
        job = Backward(dV, stored(X), np.arange(n), feature_scale, packed, db, dW)
        team.run(_backward, size, job, row_blocks(1, rows, packed, size))
    return dW, db[:c].copy()

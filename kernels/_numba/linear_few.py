"""The linear layer with few columns: vectors run along the features, rows are read in place."""

from collections import namedtuple

import numpy as np

from softstep.kernels._numba import team
from softstep.kernels._numba.dots import (
    logits_of_rows,
    outer_products,
    rows_in_lanes,
    sums_of_columns,
)
from softstep.kernels._numba.jit import STRICT, jit
from softstep.kernels._numba.layout import empty, lanes, pack_few, padded, zeros
from softstep.kernels._numba.team import borrowed, claim, enter, leave
from softstep.kernels._numba.tiles import DOT_COLUMNS, DOT_ROWS
from softstep.kernels.threads import threads_for

ITEM_ROWS = 60  # of the forward pass
# The backward pass cuts the rows into parts, by their number alone, and those into blocks.
BLOCK_ROWS = 50
PART_ROWS, MOST_PARTS = 5 * BLOCK_ROWS, 16

Forward = namedtuple("Forward", "X order W b scale out T sums")
Backward = namedtuple("Backward", "dV X order part block G g")


@jit(STRICT)
def _forward(team, size, member, job):
    # ITEM_ROWS rows are an item
    job = borrowed(job)
    n, d = job.X.shape
    if not enter(team, size, member, -(-n // ITEM_ROWS)):
        return
    T, sums = job.T[member], job.sums[member]
    block = rows_in_lanes(T)
    item = claim(team, size, member)
    while item >= 0:
        for at in range(item * ITEM_ROWS, min((item + 1) * ITEM_ROWS, n), block):
            count = min(block, n - at)
            ahead = min(at + ITEM_ROWS, n - count)
            logits_of_rows(job.X, job.order, at, count, ahead, d, job.W, job.b, job.scale, T, sums)
            for i in range(count):
                for c in range(len(job.b)):
                    job.out[at + i, c] = T[c, i]
        item = claim(team, size, member)
    leave(team, size, member)


def forward_few(X, W, b, scale, out):
    # X (n, d), W (d, c), b (c,) -> out (n, c) = s X W + b
    (n, d), c = X.shape, len(b)
    packed, width, dtype = pack_few(W[None]), lanes(W.dtype), W.dtype
    size = threads_for(2 * n * d * c)
    T = empty((size, len(packed), width), dtype)
    sums = empty((size, padded(DOT_ROWS * DOT_COLUMNS, width)), dtype)
    team.run(_forward, size, Forward(X, np.arange(n), packed, b, scale, out, T, sums))


@jit(STRICT)
def _backward(team, size, member, job):
    # the parts are the items
    job = borrowed(job)
    if not enter(team, size, member, len(job.G)):
        return
    block, n = job.block[member], len(job.X)
    item = claim(team, size, member)
    while item >= 0:
        begin, end = item * job.part, min((item + 1) * job.part, n)
        for at in range(begin, end, BLOCK_ROWS):
            count = min(BLOCK_ROWS, end - at)
            for i in range(count):
                for c in range(job.dV.shape[1]):
                    block[i, c] = job.dV[at + i, c]
            ahead = min(at + count, n - count)
            add = at > begin
            outer_products(job.X, job.order, at, count, ahead, 0, block, add, job.G[item])
            sums_of_columns(block, count, add, job.g[item])
        item = claim(team, size, member)
    leave(team, size, member)


@np.errstate(over="ignore", invalid="ignore")  # infinities follow the arithmetic
def backward_few(dV, X, scale):
    # dV (n, c), X (n, d) -> dW (d, c) = s Σ x ⊗ dv, db (c,) = Σ dv
    (n, c), d, dtype = dV.shape, X.shape[1], dV.dtype
    parts = min(-(-n // PART_ROWS), MOST_PARTS)
    part = padded(-(-n // parts), BLOCK_ROWS)
    parts = -(-n // part)
    columns = padded(c, DOT_COLUMNS)
    G, g = zeros((parts, columns, padded(d, lanes(dtype))), dtype), empty((parts, c), dtype)
    size = threads_for(2 * n * d * c)
    block = zeros((size, BLOCK_ROWS, columns), dtype)
    team.run(_backward, size, Backward(dV, X, np.arange(n), part, block, G, g))
    dW = G.sum(axis=0)[:c, :d].T * dtype.type(scale)
    return np.ascontiguousarray(dW), g.sum(axis=0)

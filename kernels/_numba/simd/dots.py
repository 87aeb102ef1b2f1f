"""Products of narrow banks, from the tiles of tiles.py.

Rows are read where they are stored, or from a buffer that they were scaled into. While some are
worked on, those needed next are prefetched where they are stored.
"""

from softstep.kernels._numba.jit import PART, for_kernels_too, jit
from softstep.kernels._numba.simd.tiles import (
    DOT_COLUMNS,
    DOT_ROWS,
    LINE_BYTES,
    OUTER_VECTORS,
    Ahead,
    dots_full,
    dots_row,
    outer_full,
    outer_rest,
    outer_vector,
)
from softstep.kernels._numba.simd.vector import (
    filled,
    fma,
    lane_sums,
    lanes_of,
    load,
    square,
    store,
)
from softstep.kernels.integers import ceil_div


@for_kernels_too
def rows_at_once(lanes):
    """How many rows `logits_of_rows` takes at once: whole tiles, as many as there are lanes for."""
    return lanes // DOT_ROWS * DOT_ROWS or lanes


@jit(PART)
def prefetch_split(d, itemsize):
    """The feature up to which the forward pass prefetches, where a backward pass does the rest."""
    line = LINE_BYTES // itemsize
    return ceil_div(d, line) // 2 * line


@jit(PART)
def logits_of_rows(X, d, order, at, count, ahead, W, b, scale, T, sums):
    # X (n, d or more), W (columns padded, d padded), b (columns,) -> T (columns padded, lanes) =
    # s X[order[at : at + count]] W + b, a row in each lane; sums (columns padded, lanes, lanes) is
    # a buffer. What is ahead is prefetched, from its first feature on
    s, line, lanes = W.dtype.type(scale), LINE_BYTES // ahead.X.itemsize, lanes_of(T)
    columns, full = len(W), count // DOT_ROWS * DOT_ROWS
    nothing = Ahead(ahead.X, ahead.rows, 0, 0, 0)
    for c0 in range(0, columns, DOT_COLUMNS):
        # each group of columns prefetches its share of the rows ahead
        begin = c0 * ahead.end // columns // line * line
        end = (c0 + DOT_COLUMNS) * ahead.end // columns // line * line
        share = Ahead(ahead.X, ahead.rows, ahead.at, begin, end)
        dots_full(X, d, order, at, 0, full, W, c0, share, sums)
        dots_row(X, d, order, at, full, count, W, c0, nothing, sums)
    block = square(T)
    for c in range(len(b)):
        for i in range(lanes):
            block[i, 0] = load(sums, (c, i, 0))
        store(T, (c, 0), fma(lane_sums(block), s, filled(T, b[c])))


@jit(PART)
def outer_products(X, d, order, at, count, ahead, dV, add, G):
    # X (n, d or more), dV (count, columns padded) -> G (columns padded, d padded), set to or,
    # with `add`, increased by Σ dv ⊗ x over the rows order[at : at + count]
    n = lanes_of(dV)
    full, whole = d // (OUTER_VECTORS * n) * OUTER_VECTORS * n, d // n * n
    line = outer_full(X, d, order, at, count, dV, 0, full, ahead, ahead.begin, add, G)
    line = outer_vector(X, d, order, at, count, dV, full, whole, ahead, line, add, G)
    outer_rest(X, d, order, at, count, dV, whole, d, ahead, line, add, G)


@jit(PART)
def sums_of_columns(dV, count, add, g):
    # dV (rows, columns) -> g (columns or more,), set to or, with `add`, increased by the sum of the
    # first `count` rows
    if not add:
        g[:] = 0
    for i in range(count):
        for c in range(dV.shape[1]):
            g[c] += dV[i, c]

"""Products of narrow banks, from the tiles of tiles.py: rows are read where they are stored.

While some rows are worked on, those needed next are prefetched: their features up to `split` by
`logits_of_rows`, the others by `outer_products`.
"""

from softstep.kernels._numba.jit import PART, jit
from softstep.kernels._numba.simd.tiles import (
    DOT_COLUMNS,
    DOT_ROWS,
    LINE_BYTES,
    OUTER_VECTORS,
    dots_full,
    dots_row,
    outer_full,
    outer_rest,
    outer_vector,
)
from softstep.kernels._numba.simd.vector import lanes_of
from softstep.kernels.integers import ceil_div


@jit(PART)
def rows_in_lanes(T):
    """How many rows `logits_of_rows` takes at once: whole tiles, as many as T (…, lanes) holds."""
    return lanes_of(T) // DOT_ROWS * DOT_ROWS or lanes_of(T)


@jit(PART)
def prefetch_split(d, itemsize):
    """The feature up to which the forward pass prefetches, where a backward pass does the rest."""
    line = LINE_BYTES // itemsize
    return ceil_div(d, line) // 2 * line


@jit(PART)
def logits_of_rows(X, order, at, count, ahead, split, W, b, scale, T, sums):
    # X (n, d), W (columns padded, d padded), b (columns,) -> T (columns padded, lanes) =
    # s X[order[at : at + count]] W + b, a row in each lane; sums is a buffer for a tile
    s, line = W.dtype.type(scale), LINE_BYTES // X.itemsize
    columns = len(W)
    for c0 in range(0, columns, DOT_COLUMNS):
        # each group of columns prefetches its share of the rows ahead
        begin = c0 * split // columns // line * line
        end = (c0 + DOT_COLUMNS) * split // columns // line * line
        i = 0
        while i < count:
            tile = DOT_ROWS if i + DOT_ROWS <= count else 1
            if tile == DOT_ROWS:
                dots_full(X, order, at + i, W, c0, ahead + i, begin, end, sums)
            else:  # the last rows, one by one
                dots_row(X, order, at + i, W, c0, 0, 0, 0, sums)
            for c in range(min(DOT_COLUMNS, len(b) - c0)):
                for r in range(tile):
                    T[c0 + c, i + r] = sums[r * DOT_COLUMNS + c] * s + b[c0 + c]
            i += tile


@jit(PART)
def outer_products(X, order, at, count, ahead, split, dV, add, G):
    # X (n, d), dV (count, columns padded) -> G (columns padded, d padded), set to or, with `add`,
    # increased by Σ dv ⊗ x over the rows order[at : at + count]
    n, d = lanes_of(dV), X.shape[1]
    feature, line = split, LINE_BYTES // X.itemsize
    j = 0
    while j < d:
        vectors = OUTER_VECTORS if j + OUTER_VECTORS * n <= d else 1
        for c0 in range(0, len(G), DOT_COLUMNS):
            if vectors == OUTER_VECTORS:
                outer_full(X, order, at, count, dV, c0, j, ahead, feature, add, G)
            elif j + n <= d:
                outer_vector(X, order, at, count, dV, c0, j, ahead, feature, add, G)
            else:
                outer_rest(X, order, at, count, dV, c0, j, ahead, feature, add, G)
            feature += line
        j += vectors * n


@jit(PART)
def sums_of_columns(dV, count, add, g):
    # dV (rows, columns) -> g (columns or more,), set to or, with `add`, increased by the sum of the
    # first `count` rows
    for c in range(dV.shape[1]):
        total = g[c] if add else g.dtype.type(0)
        for i in range(count):
            total += dV[i, c]
        g[c] = total

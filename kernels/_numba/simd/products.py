"""Products of wide banks, from the tiles of tiles.py, and rows turned into lanes and back."""

from softstep.kernels._numba.jit import PART, jit
from softstep.kernels._numba.simd.scaling import (
    gather_scaled,
    is_by_constants,
    scale_by_columns,
    to_unit_length,
)
from softstep.kernels._numba.simd.tiles import (
    LINE_BYTES,
    TILE_ROWS,
    TILE_VECTORS,
    products_of_one,
    products_of_three,
    products_of_two,
)
from softstep.kernels._numba.simd.vector import (
    fma,
    lanes_of,
    load,
    load_first,
    load_first_for,
    load_for,
    prefetch,
    square,
    store,
    transpose,
)
from softstep.kernels.integers import ceil_div


@jit(PART)
def gather_rows(X, scaling, d, order, at, count, ahead, out, r0):
    # X (n, d or more) -> out[r0 : r0 + count] (rows, d padded) = X[order[at : at + count], :d],
    # widened and scaled; as many rows from `ahead` on are prefetched, none if it is below 0
    if is_by_constants(scaling, order, at, count):
        gather_scaled(X, scaling, d, order, at, count, ahead, out, r0)
        return
    lanes, line = lanes_of(out), LINE_BYTES // X.itemsize
    rest = d % lanes
    for i in range(count):
        row = order[at + i]
        if ahead >= 0:
            later = order[min(ahead + i, len(order) - 1)]
            for j in range(0, d, line):
                prefetch(X, (later, j))
        for j in range(0, d - rest, lanes):
            store(out, (r0 + i, j), load_for(X, (row, j), out))
        if rest:
            store(out, (r0 + i, d - rest), load_first_for(X, (row, d - rest), rest, out))
        if scaling.unit and (i % 2 == 1 or i + 1 == count):  # while they are near
            first = i // 2 * 2
            to_unit_length(scaling, order, at + first, i + 1 - first, out, r0 + first, d)
    scale_by_columns(scaling.columns, out, r0, count, d)


@jit(PART)
def gather_panels(X, d, x0, count, P, r0):
    # X (n, d or more) -> P (panels, rows, features), rows r0 … r0 + count: X[x0 : x0 + count, :d],
    # widened. A panel is as wide as a vector or a tile: what a tile of weights reads of all rows
    # lies together
    lanes, width = lanes_of(P), P.shape[2]
    rest = d % lanes
    for j in range(0, d - rest, lanes):
        for i in range(count):
            store(P, (j // width, r0 + i, j % width), load(X, (x0 + i, j)))
    if rest:
        j = d - rest
        for i in range(count):
            store(P, (j // width, r0 + i, j % width), load_first(X, (x0 + i, j), rest))


@jit(PART)
def groups_of(vectors):
    """How many groups of at most TILE_VECTORS vectors there are; of as many in each as can be."""
    return ceil_div(vectors, TILE_VECTORS)


@jit(PART)
def group(g, vectors):
    """Where group g of these vectors begins, and how many it has."""
    groups = groups_of(vectors)
    begin = g * vectors // groups
    return begin, (g + 1) * vectors // groups - begin


@jit(PART)
def next_tile(i, first, end):
    """Where the tile that holds row i begins: before i where rows up to `end` are too few.

    Rows from `first` on may be read. Where there are fewer than TILE_ROWS of them, so may be what
    lies behind the last: buffers are padded to whole tiles.
    """
    return max(min(i, end - TILE_ROWS), first)


@jit(PART)
def multiply(A, i, count, B, v, vectors, out, v1, i1):
    # A (rows, count), B (vectors, count, lanes) -> out (vectors, rows, lanes): one tile, written
    # from vector v1 and row i1 on
    if vectors == 3:
        products_of_three(A, i, count, B, v, out, v1, i1)
    elif vectors == 2:
        products_of_two(A, i, count, B, v, out, v1, i1)
    else:
        products_of_one(A, i, count, B, v, out, v1, i1)


@jit(PART)
def outer_tile(P, f, rows, V, v, vectors, tile):
    # P (panels, rows, features), V (vectors, rows, lanes) -> tile (vectors, TILE_ROWS, lanes): the
    # outer products of TILE_ROWS features from f on, a multiple of it, summed over the first rows
    width = P.shape[2]
    multiply(P[f // width].T, f % width, rows, V, v, vectors, tile, 0, 0)


@jit(PART)
def logits_tiles(X, x0, W, b, scale, v0, vectors, r0, r1, V, tile):
    # X (rows, d or more), W (vectors, d, lanes), b (columns,) -> V (vectors, rows, lanes) =
    # s X W + b, `vectors` vectors from v0 on, rows r0 … r1, which in X begin with x0 + r0;
    # tile (TILE_VECTORS, TILE_ROWS, lanes) is a buffer
    d, lanes, s = W.shape[1], lanes_of(V), V.dtype.type(scale)
    for i in range(r0, r1, TILE_ROWS):
        first = next_tile(i, -x0, r1)
        if first == i:
            multiply(X, x0 + i, d, W, v0, vectors, V, v0, i)
        else:  # the rows before i are there already, or not those of this block
            multiply(X, x0 + first, d, W, v0, vectors, tile, 0, 0)
            for u in range(vectors):
                for r in range(i, min(i + TILE_ROWS, r1)):
                    store(V, (v0 + u, r), load(tile, (u, r - first)))
    for u in range(v0, v0 + vectors):
        bias = load(b, u * lanes)
        for r in range(r0, r1):
            store(V, (u, r), fma(load(V, (u, r)), s, bias))


@jit(PART)
def rows_to_lanes(V, r0, T):
    # V (vectors, rows, lanes) -> T (vectors·lanes, lanes): rows r0 … of V, one in each lane
    lanes = lanes_of(V)
    block = square(V)
    for v in range(len(V)):
        for i in range(lanes):
            block[i, 0] = load(V, (v, r0 + i))
        transpose(block)
        for i in range(lanes):
            store(T, (v * lanes + i, 0), block[i, 0])


@jit(PART)
def lanes_to_rows(T, V, r0):
    # T (vectors·lanes, lanes) -> V (vectors, rows, lanes): the lanes of T as rows r0 … of V
    lanes = lanes_of(V)
    block = square(V)
    for v in range(len(V)):
        for i in range(lanes):
            block[i, 0] = load(T, (v * lanes + i, 0))
        transpose(block)
        for i in range(lanes):
            store(V, (v, r0 + i), block[i, 0])

"""Products of wide banks, from the tiles of tiles.py, and rows turned into lanes and back."""

from softstep.kernels._numba.jit import PART, jit
from softstep.kernels._numba.simd.tiles import (
    LINE_BYTES,
    TILE_ROWS,
    TILE_VECTORS,
    products_full,
    products_row,
    products_single,
    products_vector,
)
from softstep.kernels._numba.simd.vector import (
    fma,
    lanes_of,
    load,
    load_first,
    prefetch,
    square,
    store,
    transpose,
)

# Fewer rows than this are done one by one; more by a tile that does some rows a second time.
HALF_TILE = TILE_ROWS // 2


@jit(PART)
def gather_rows(X, order, at, count, out, r0):
    # X (n, d) -> out[r0 : r0 + count] (rows, d padded) = X[order[at : at + count]], widened
    d, lanes = X.shape[1], lanes_of(out)
    rest, line = d % lanes, LINE_BYTES // X.itemsize
    for i in range(count):
        row, later = order[at + i], order[min(at + i + count, len(order) - 1)]
        for j in range(0, d, line):
            prefetch(X, (later, j))
        for j in range(0, d - rest, lanes):
            store(out, (r0 + i, j), load(X, (row, j)))
        if rest:
            store(out, (r0 + i, d - rest), load_first(X, (row, d - rest), rest))


@jit(PART)
def next_tile(i, first, end):
    """Where the tile that holds row i of first … end begins, and how many rows it has."""
    if end - i >= TILE_ROWS:
        return i, TILE_ROWS
    if end - i > HALF_TILE and end - first >= TILE_ROWS:
        return end - TILE_ROWS, TILE_ROWS
    return i, 1


@jit(PART)
def multiply(A, i, rows, count, B, v, vectors, out):
    # A (rows, count), B (vectors, count, lanes) -> out (vectors, rows, lanes): one tile
    if rows == TILE_ROWS and vectors == TILE_VECTORS:
        products_full(A, i, count, B, v, out)
    elif rows == TILE_ROWS:
        products_vector(A, i, count, B, v, out)
    elif vectors == TILE_VECTORS:
        products_row(A, i, count, B, v, out)
    else:
        products_single(A, i, count, B, v, out)


@jit(PART)
def logits_tiles(X, W, b, scale, v0, v1, r0, r1, V, tile):
    # X (rows, d), W (vectors, d, lanes), b (columns,) -> V (vectors, rows, lanes) = s X W + b,
    # vectors v0 … v1 (or the last), rows r0 … r1; tile (TILE_VECTORS, TILE_ROWS, lanes) is a buffer
    d, lanes, s = W.shape[1], lanes_of(V), V.dtype.type(scale)
    for v in range(v0, min(v1, len(W)), TILE_VECTORS):
        vectors = min(TILE_VECTORS, len(W) - v)
        i = r0
        while i < r1:
            first, rows = next_tile(i, r0, r1)
            multiply(X, first, rows, d, W, v, vectors, tile)
            for u in range(vectors):
                bias = load(b, (v + u) * lanes)
                for r in range(rows):
                    store(V, (v + u, first + r), fma(load(tile, (u, r)), s, bias))
            i = first + rows


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

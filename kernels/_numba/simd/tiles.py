"""The micro-kernels: blocks of sums held in vector registers. docs/kernels.md draws them.

The number of vector registers decides their shapes. Every sum is taken in the same order in a tile
of any shape: what a row or a column gets does not depend on its neighbours.
"""

from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.jit import PART, jit
from softstep.kernels._numba.simd.vector import (
    HAS_FMA,
    LANES,
    REGISTERS,
    fma,
    keep_order,
    lanes_of,
    load,
    load_first,
    prefetch,
    registers,
    scalar,
    splat,
    store,
)

HAS_32_REGISTERS = REGISTERS >= 32
# Wide: TILE_ROWS × TILE_VECTORS sums, each a vector of columns.
TILE_ROWS = 8 if HAS_32_REGISTERS else 4
TILE_VECTORS = 3 if HAS_FMA else 2  # else a register is needed for each product
# Narrow: dots of DOT_ROWS × DOT_COLUMNS, outer products of DOT_COLUMNS × OUTER_VECTORS.
DOT_ROWS = min(5, LANES) if HAS_32_REGISTERS else 2
DOT_COLUMNS = 5
OUTER_VECTORS = 5 if HAS_32_REGISTERS else 2
LINE_BYTES = 64  # of a cache line


class Ahead(NamedTuple):
    """Rows that are needed next, of which cache lines are prefetched."""

    X: np.ndarray  # (n, d or more), as stored
    rows: np.ndarray  # (r,): their numbers
    at: int  # where the first of them is there
    begin: int  # their features, up to `end`
    end: int


def make_products(N):
    """The tile of TILE_ROWS rows × N vectors of columns."""

    @jit(PART)
    def products(A, i0, count, B, v0, out, v1, i1):
        # A (rows, count), B (vectors, count, lanes) -> out (vectors, rows, lanes):
        # out[v1 + v, i1 + i] = Σ_k A[i0 + i, k] B[v0 + v, k], in the order of k
        sums = registers(B, TILE_ROWS, N)
        b = registers(B, 1, N)
        for k in range(count):
            for v in range(N):
                b[0, v] = load(B, (v0 + v, k))
            for i in range(TILE_ROWS):
                a = splat(scalar(A, (i0 + i, k)))
                for v in range(N):
                    sums[i, v] = fma(a, b[0, v], sums[i, v])
            keep_order()
        for v in range(N):
            for i in range(TILE_ROWS):
                store(out, (v1 + v, i1 + i), sums[i, v])

    return products


def make_dots(R):
    """Tiles of R rows × DOT_COLUMNS dot products, their lanes not yet added."""

    @jit(PART)
    def dots(X, d, rows, at, i0, i1, W, c0, ahead, sums):
        # X (n, d or more), rows (r,), W (columns, d padded) -> sums (columns, rows, lanes), whose
        # lanes add up to X[rows[at + i], :d] · W[c0 + c], rows i0 … i1: whole tiles. What is ahead
        # is prefetched a cache line of each row at a time, spread over the steps.
        lanes, lines = lanes_of(W), LINE_BYTES // ahead.X.itemsize
        rest = d % lanes
        apart = max(d * lines // max(ahead.end - ahead.begin, 1), lanes)
        x = registers(W, R, 1)
        for r0 in range(i0, i1, R):
            tile = registers(W, R, DOT_COLUMNS)
            line, due = ahead.begin, 0
            for j in range(0, d - rest, lanes):
                if j >= due and line < ahead.end:
                    for i in range(R):
                        prefetch(ahead.X, (ahead.rows[ahead.at + r0 + i], line))
                    line, due = line + lines, due + apart
                for i in range(R):
                    x[i, 0] = load(X, (rows[at + r0 + i], j))
                for c in range(DOT_COLUMNS):
                    w = load(W, (c0 + c, j))
                    for i in range(R):
                        tile[i, c] = fma(x[i, 0], w, tile[i, c])
            if rest:  # the last features: W is padded, X is not
                for i in range(R):
                    x[i, 0] = load_first(X, (rows[at + r0 + i], d - rest), rest)
                for c in range(DOT_COLUMNS):
                    w = load(W, (c0 + c, d - rest))
                    for i in range(R):
                        tile[i, c] = fma(x[i, 0], w, tile[i, c])
            for c in range(DOT_COLUMNS):
                for i in range(R):
                    store(sums, (c0 + c, r0 + i, 0), tile[i, c])

    return dots


def make_outer(N, is_full):
    """Tiles of DOT_COLUMNS × N vectors of features; not `is_full`: of the last few features."""

    @jit(PART)
    def outer(X, d, rows, at, count, dV, j0, j1, ahead, line, add, out):
        # X (n, d or more), rows (r,), dV (count, columns) -> out (columns, d padded), features
        # j0 … j1 = Σ_i dV[i] ⊗ X[rows[at + i]], in the order of the rows; with `add`, on top of
        # what is in out. Of what is ahead a cache line of each row is prefetched in each tile, from
        # feature `line` on. -> the feature to go on with
        lanes, lines = lanes_of(dV), LINE_BYTES // ahead.X.itemsize
        x = registers(dV, 1, N)
        for j in range(j0, j1, N * lanes):
            for c0 in range(0, len(out), DOT_COLUMNS):
                sums = registers(dV, DOT_COLUMNS, N)
                if add:
                    for c in range(DOT_COLUMNS):
                        for v in range(N):
                            sums[c, v] = load(out, (c0 + c, j + v * lanes))
                for i in range(count):
                    if line < ahead.end:
                        prefetch(ahead.X, (ahead.rows[ahead.at + i], line))
                    for v in range(N):
                        if is_full:
                            x[0, v] = load(X, (rows[at + i], j + v * lanes))
                        else:
                            x[0, v] = load_first(X, (rows[at + i], j), d - j)
                    for c in range(DOT_COLUMNS):
                        p = splat(scalar(dV, (i, c0 + c)))
                        for v in range(N):
                            sums[c, v] = fma(p, x[0, v], sums[c, v])
                for c in range(DOT_COLUMNS):
                    for v in range(N):
                        store(out, (c0 + c, j + v * lanes), sums[c, v])
                line += lines
        return line

    return outer


products_of_three = make_products(3)
products_of_two = make_products(2)
products_of_one = make_products(1)
dots_full = make_dots(DOT_ROWS)
dots_row = make_dots(1)
outer_full = make_outer(OUTER_VECTORS, True)
outer_vector = make_outer(1, True)
outer_rest = make_outer(1, False)

"""The loss at many points at once: launchers of surface.cu."""

import numpy as np

from softstep.kernels._cupy.arrays import asarray, empty, zeros
from softstep.kernels._cupy.device import MAX_GRID
from softstep.kernels._cupy.evaluate import MOST_BYTES
from softstep.kernels._cupy.kernel import load_kernel
from softstep.kernels._cupy.launch import C_TYPE, Struct, op
from softstep.kernels._cupy.losses import DEFINES, codes
from softstep.kernels.integers import ceil_div

ROWS = 256  # of a chunk, which a thread sums; the chunks' sums are added in their order
THREADS = 128


def defines(dtype):
    """How surface.cu is compiled."""
    return {"REAL": C_TYPE[dtype], "ROWS": ROWS, **DEFINES}


@op
def surface_forward(V0, V1, V2, y, x_offsets, y_offsets, *, loss, sample_weight=None):
    # V0, V1, V2 (n, c), y (n,), x_offsets (nx,), y_offsets (ny,)
    #   -> Σ w L (ny, nx), Σ w [right] (ny, nx)
    (code,) = codes([loss])
    n, dtype = len(V0), V0.dtype
    V0, V1, V2, labels = map(asarray, (V0, V1, V2, y))
    weights = None if sample_weight is None else asarray(sample_weight)
    nx, ny = len(x_offsets), len(y_offsets)
    sums = zeros((ny, nx), np.float64), zeros((ny, nx), np.float64)
    if nx * ny == 0:
        return sums
    grid = Struct(
        x_offsets=asarray(x_offsets.astype(dtype)),
        y_offsets=asarray(y_offsets.astype(dtype)),
        nx=np.int64(nx),
        points=np.int64(nx * ny),
    )
    for rows in _rows_at_a_time(n, nx * ny):
        logits = Struct(V0=V0[rows], V1=V1[rows], V2=V2[rows])
        w = None if weights is None else weights[rows]
        _add_rows(logits, labels[rows], w, grid, code, sums)
    return sums


def _rows_at_a_time(n, points):
    """Slices of rows: whole chunks, as many as there is room for their sums."""
    chunks = min(max(MOST_BYTES // (16 * points), 1), MAX_GRID[1])
    for first in range(0, n, chunks * ROWS):
        yield slice(first, min(first + chunks * ROWS, n))


def _add_rows(logits, labels, weights, grid, code, sums):
    """sums += Σ w L and Σ w [right] of these rows, at every point."""
    n, c = logits.fields["V0"].shape
    points, chunks = sums[0].size, ceil_div(n, ROWS)
    types = defines(logits.fields["V0"].dtype)
    partial = empty((chunks, points, 2), np.float64)
    blocks = ceil_div(points, THREADS)
    args = (logits, labels, weights, grid, partial, code, np.int64(n), np.int64(c))
    load_kernel("surface.cu", "surface_chunks", **types)((blocks, chunks), (THREADS,), args)
    args = (partial, *sums, np.int64(chunks), np.int64(points))
    load_kernel("surface.cu", "surface_add", **types)((blocks,), (THREADS,), args)

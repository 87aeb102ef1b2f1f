"""The loss at many points at once: launchers of surface.cu."""

import numpy as np

from softstep.kernels._cupy.device import MAX_GRID, device
from softstep.kernels._cupy.evaluate import MOST_BYTES
from softstep.kernels._cupy.launch import C_TYPE, ceil_div

ROWS = 256  # that a thread sums; their sums are added in order
THREADS = 128


def defines(dtype):
    return {"REAL": C_TYPE[dtype], "ROWS": ROWS}


def surface_forward(V0, V1, V2, y, x_offsets, y_offsets, *, loss, sample_weight=None):
    # V0, V1, V2 (n, c), y (n,), x_offsets (nx,), y_offsets (ny,)
    #   -> Σ w L (ny, nx), Σ w [right] (ny, nx)
    (n, c), dtype = V0.shape, V0.dtype
    V0, V1, V2, y = map(device.asarray, (V0, V1, V2, y))
    weights = None if sample_weight is None else device.asarray(sample_weight)
    a, b = (device.asarray(o.astype(dtype)) for o in (x_offsets, y_offsets))
    losses, hits = (device.zeros((len(b), len(a)), np.float64) for _ in range(2))
    points = len(a) * len(b)
    if points == 0:
        return losses, hits
    most = min(
        max(MOST_BYTES // (16 * points), 1), MAX_GRID[1]
    )  # chunks whose sums there is room for
    blocks = ceil_div(points, THREADS)
    for first in range(0, n, most * ROWS):
        rows = slice(first, min(first + most * ROWS, n))
        chunks = ceil_div(rows.stop - first, ROWS)
        partial = device.empty((chunks, points, 2), np.float64)
        w = None if weights is None else weights[rows]
        sizes = map(np.int64, (rows.stop - first, c, len(a), points))
        args = (V0[rows], V1[rows], V2[rows], y[rows], w, a, b, partial)
        kernel = device.kernel("surface.cu", "surface_chunks", **defines(dtype))
        kernel((blocks, chunks), (THREADS,), (*args, np.uint8(loss == "mse"), *sizes))
        kernel = device.kernel("surface.cu", "surface_add", **defines(dtype))
        kernel((blocks,), (THREADS,), (partial, losses, hits, np.int64(chunks), np.int64(points)))
    return losses, hits

"""The loss at many points at once: the logits of a row are affine in the offsets of the weights."""

import numpy as np

from softstep.kernels._numpy.losses import require, right_rows, row_losses


@np.errstate(all="ignore")
def surface_forward(V0, V1, V2, y, x_offsets, y_offsets, *, loss, sample_weight=None):
    # V0, V1, V2 (n, c), y (n,), x_offsets (nx,), y_offsets (ny,)
    #   -> Σ w L (ny, nx), Σ w [right] (ny, nx)
    require([loss])
    w = np.ones(len(V0)) if sample_weight is None else sample_weight.astype(np.float64)
    finite = np.isfinite(V0).all(axis=1) & np.isfinite(V1).all(axis=1) & np.isfinite(V2).all(axis=1)
    losses, right = np.empty((2, len(y_offsets), len(x_offsets)))
    for i, b in enumerate(y_offsets.astype(V0.dtype)):
        for j, a in enumerate(x_offsets.astype(V0.dtype)):
            V = V0 + a * V1 + b * V2
            losses[i, j] = np.sum(w * np.where(finite, row_losses(V, y, loss), np.nan))
            right[i, j] = np.sum(w * (finite & right_rows(V, y)))
    return losses, right

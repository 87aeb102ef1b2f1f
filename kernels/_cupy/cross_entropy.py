"""Cross-entropy from logits: launchers of cross_entropy.cu."""

import numpy as np

from softstep.kernels._cupy.device import device
from softstep.kernels._cupy.launch import (
    finish,
    launch_rows,
    result_for,
    targets,
)


def cross_entropy_forward(V, y):
    # V (n, c), y (n,) or (n, c) -> loss (n,)
    n, c = V.shape
    y, soft = targets(y, V.dtype)
    loss = device.empty((n,), V.dtype)
    args = (device.asarray(V), y, loss, np.int64(n), np.int64(c))
    launch_rows("cross_entropy.cu", "cross_entropy_forward", n, c, args, dtype=V.dtype, Y_SOFT=soft)
    return loss


def cross_entropy_backward(V, y, *, out=None):
    # V (n, c), y (n,) or (n, c) -> dV (n, c)
    n, c = V.shape
    y, soft = targets(y, V.dtype)
    dV = result_for(out, V)
    args = (device.asarray(V), y, dV, np.int64(n), np.int64(c))
    launch_rows(
        "cross_entropy.cu", "cross_entropy_backward", n, c, args, dtype=V.dtype, Y_SOFT=soft
    )
    return finish(dV, out)

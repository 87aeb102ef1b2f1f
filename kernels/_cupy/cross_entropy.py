"""Cross-entropy from logits: launchers of cross_entropy.cu."""

import numpy as np

from softstep.kernels._cupy.arrays import asarray, empty
from softstep.kernels._cupy.launch import launch_rows, op, result_array, result_in, targets


def _launch(name, n, c, args, dtype, soft):
    launch_rows("cross_entropy.cu", name, n, c, args, dtype=dtype, Y_SOFT=soft)


@op
def cross_entropy_forward(V, y):
    # V (n, c), y (n,) or (n, c) -> loss (n,)
    n, c = V.shape
    y, soft = targets(y, V.dtype)
    loss = empty((n,), V.dtype)
    args = (asarray(V), y, loss, np.int64(n), np.int64(c))
    _launch("cross_entropy_forward", n, c, args, V.dtype, soft)
    return loss


@op
def cross_entropy_backward(V, y, *, out=None):
    # V (n, c), y (n,) or (n, c) -> dV (n, c)
    n, c = V.shape
    y, soft = targets(y, V.dtype)
    dV = result_array(out, V)
    args = (asarray(V), y, dV, np.int64(n), np.int64(c))
    _launch("cross_entropy_backward", n, c, args, V.dtype, soft)
    return result_in(out, dV)

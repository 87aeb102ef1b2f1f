"""Generalised cross-entropy from logits: launchers of gce.cu."""

import numpy as np

from softstep.kernels._cupy.arrays import asarray, empty
from softstep.kernels._cupy.launch import launch_rows, op, result_array, result_in
from softstep.kernels._cupy.losses import DEFINES


def _launch(name, n, c, args, dtype):
    launch_rows("gce.cu", name, n, c, args, dtype=dtype, Y_SOFT=0, **DEFINES)


@op
def gce_forward(V, y):
    # V (n, c), y (n,) -> loss (n,)
    n, c = V.shape
    loss = empty((n,), V.dtype)
    args = (asarray(V), asarray(y), loss, np.int64(n), np.int64(c))
    _launch("gce_forward", n, c, args, V.dtype)
    return loss


@op
def gce_backward(V, y, *, out=None):
    # V (n, c), y (n,) -> dV (n, c)
    n, c = V.shape
    dV = result_array(out, V)
    args = (asarray(V), asarray(y), dV, np.int64(n), np.int64(c))
    _launch("gce_backward", n, c, args, V.dtype)
    return result_in(out, dV)

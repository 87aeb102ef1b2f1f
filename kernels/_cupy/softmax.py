"""The softmax and the product with its whole Jacobian: launchers of softmax.cu."""

import numpy as np

from softstep.kernels._cupy.device import device
from softstep.kernels._cupy.launch import finish, launch_rows, result_for


def softmax_forward(V, *, out=None):
    # V (n, c) -> P (n, c)
    n, c = V.shape
    P = result_for(out, V)
    args = (device.asarray(V), P, np.int64(n), np.int64(c))
    launch_rows("softmax.cu", "softmax_forward", n, c, args, dtype=V.dtype)
    return finish(P, out)


def softmax_backward(dP, P, *, out=None):
    # dP (n, c), P (n, c) -> dV (n, c): dv_i = p_i (dp_i - Σ_j dp_j p_j)
    n, c = P.shape
    dV = result_for(out, P)
    args = (device.asarray(dP), device.asarray(P), dV, np.int64(n), np.int64(c))
    launch_rows("softmax.cu", "softmax_backward", n, c, args, dtype=P.dtype)
    return finish(dV, out)

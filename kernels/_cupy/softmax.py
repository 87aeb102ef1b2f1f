"""The softmax and the product with its whole Jacobian: launchers of softmax.cu."""

import numpy as np

from softstep.kernels._cupy.arrays import asarray
from softstep.kernels._cupy.launch import launch_rows, op, result_array, result_in


@op
def softmax_forward(V, *, out=None):
    # V (n, c) -> P (n, c)
    n, c = V.shape
    P = result_array(out, V)
    args = (asarray(V), P, np.int64(n), np.int64(c))
    launch_rows("softmax.cu", "softmax_forward", n, c, args, dtype=V.dtype)
    return result_in(out, P)


@op
def softmax_backward(dP, P, *, out=None):
    # dP (n, c), P (n, c) -> dV (n, c): dv_i = p_i (dp_i - Σ_j dp_j p_j)
    n, c = P.shape
    dV = result_array(out, P)
    args = (asarray(dP), asarray(P), dV, np.int64(n), np.int64(c))
    launch_rows("softmax.cu", "softmax_backward", n, c, args, dtype=P.dtype)
    return result_in(out, dV)

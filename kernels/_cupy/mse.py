"""Mean squared error over the softmax outputs: launchers of mse.cu."""

import numpy as np

from softstep.kernels._cupy.arrays import asarray, empty
from softstep.kernels._cupy.launch import launch_rows, op, result_array, result_in, targets

MOST_VALUES = 4  # in a thread: softmax_mse_backward holds four arrays of them, the others none


def _launch(name, n, c, args, dtype, soft):
    launch_rows("mse.cu", name, n, c, args, dtype=dtype, most=MOST_VALUES, Y_SOFT=soft)


@op
def mse_forward(P, Y):
    # P (n, c), Y (n,) or (n, c) -> loss (n,)
    n, c = P.shape
    Y, soft = targets(Y, P.dtype)
    loss = empty((n,), P.dtype)
    args = (asarray(P), Y, loss, np.int64(n), np.int64(c))
    _launch("mse_forward", n, c, args, P.dtype, soft)
    return loss


@op
def mse_backward(P, Y, *, out=None):
    # P (n, c), Y (n,) or (n, c) -> dP (n, c)
    n, c = P.shape
    Y, soft = targets(Y, P.dtype)
    dP = result_array(out, P)
    args = (asarray(P), Y, dP, np.int64(n), np.int64(c))
    _launch("mse_backward", n, c, args, P.dtype, soft)
    return result_in(out, dP)


@op
def softmax_mse_backward(V, y, *, out=None):
    # V (n, c), y (n,) or (n, c) -> dV (n, c)
    n, c = V.shape
    y, soft = targets(y, V.dtype)
    dV = empty((n, c), V.dtype)  # `out` may be V, which is read until the end
    args = (asarray(V), y, dV, np.int64(n), np.int64(c))
    _launch("softmax_mse_backward", n, c, args, V.dtype, soft)
    return result_in(out, dV)

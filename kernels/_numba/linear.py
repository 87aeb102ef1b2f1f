"""The linear layer: V = s X W + b and its gradient, by linear_narrow.py or linear_wide.py."""

import numpy as np

from softstep.kernels._numba.linear_narrow import backward_narrow, forward_narrow
from softstep.kernels._numba.linear_wide import backward_wide, forward_wide
from softstep.kernels._numba.simd.layout import WIDEST_NARROW
from softstep.kernels.scaled import Scaled


def linear_forward(X, W, b, *, feature_scale=1.0, out=None):
    # X (n, d), W (d, c), b (c,) -> out (n, c)
    V, read = out, X.X if isinstance(X, Scaled) else X
    if out is None or np.may_share_memory(read, out):  # which is written while X is still read
        V = np.empty((len(X), len(b)), W.dtype)
    if len(X):
        forward = forward_narrow if len(b) <= WIDEST_NARROW else forward_wide
        forward(X, W, b, feature_scale, V)
    if out is None:
        return V
    if V is not out:
        out[:] = V
    return out


def linear_backward(dV, X, *, feature_scale=1.0):
    # dV (n, c), X (n, d) -> dW (d, c) = s Σ_rows x ⊗ dv, db (c,) = Σ_rows dv
    c, d = dV.shape[1], X.shape[1]
    if not len(X):
        return np.zeros((d, c), dV.dtype), np.zeros(c, dV.dtype)
    backward = backward_narrow if c <= WIDEST_NARROW else backward_wide
    return backward(dV, X, feature_scale)

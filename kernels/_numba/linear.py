"""The linear layer: V = s X W + b and its gradient.

Few columns: linear_few.py, many: linear_many.py.
"""

import numpy as np

from softstep.kernels._numba.layout import FEW, stored
from softstep.kernels._numba.linear_few import backward_few, forward_few
from softstep.kernels._numba.linear_many import backward_many, forward_many


def linear_forward(X, W, b, *, feature_scale=1.0, out=None):
    # X (n, d), W (d, c), b (c,) -> V (n, c)
    out = np.empty((len(X), len(b)), W.dtype) if out is None else out
    if len(X):
        if np.may_share_memory(X, out):  # which is written while X is read again
            X = X.copy()
        forward = forward_few if len(b) <= FEW else forward_many
        forward(stored(X), W, b, feature_scale, out)
    return out


def linear_backward(dV, X, *, feature_scale=1.0):
    # dV (n, c), X (n, d) -> dW (d, c) = Σ_rows x ⊗ dv, db (c,) = Σ_rows dv
    c, d = dV.shape[1], X.shape[1]
    if not len(X):
        return np.zeros((d, c), dV.dtype), np.zeros(c, dV.dtype)
    backward = backward_few if c <= FEW else backward_many
    return backward(dV, stored(X), feature_scale)

"""The linear layer: V = s X W + b, and the outer products of its backward pass."""

import numpy as np

from softstep.kernels.scaled import Scaled


def scaled(X, feature_scale):
    """The features as the arithmetic reads them: s X, in float64 for float64 X, else float32."""
    if isinstance(X, Scaled):
        X = X[:]
    dtype = np.float64 if X.dtype == np.float64 else np.float32
    if feature_scale == 1.0:
        return X.astype(dtype, copy=False)
    return X.astype(dtype, copy=False) * dtype(feature_scale)


@np.errstate(all="ignore")
def linear_forward(X, W, b, *, feature_scale=1.0, out=None):
    # X (n, d), W (d, c), b (c,) -> V (n, c)
    return np.add(scaled(X, feature_scale) @ W, b, out=out)


@np.errstate(all="ignore")
def linear_backward(dV, X, *, feature_scale=1.0):
    # dV (n, c), X (n, d) -> dW (d, c) = Σ_rows x ⊗ dv, db (c,) = Σ_rows dv
    return scaled(X, feature_scale).T @ dV, dV.sum(axis=0)

"""How far a head is from the best there is: a bound from its gradient, without knowing the best.

For cross-entropy with l2 on all parameters the objective

    f(W, b) = (1/n) Σ_r w_r L_r + (λ/2)(‖W‖² + ‖b‖²)

is λ-strongly convex, so f - f* ≤ ‖∇f‖² / (2λ) at every point.
"""

import numpy as np

from softstep import kernels

ORACLE = "numpy"
BLOCK_VALUES = 1 << 20  # float64 values of a block of rows, or of its logits


def applies(loss, l2, l2_bias, fit_bias):
    """Whether the objective is strongly convex in all that is trained."""
    return loss == "cross_entropy" and l2 > 0 and (l2_bias or not fit_bias)


def block_rows(d, columns):
    """Rows of one block, for d features and all heads' classes."""
    return max(1, BLOCK_VALUES // max(d, columns))


def objective_and_gradient(blocks, n, W, b, l2, *, feature_scale, fit_bias):
    """f, (h,), and its gradient, (h, d, c) and (h, c), in float64 over all n rows.

    blocks: (rows x (m, d), targets of each head (h, m) or one for all (m, c), weights (h, m)).
    The bias is no parameter, and its gradient 0, without `fit_bias`.
    """
    # W (h, d, c), b (h, c), l2 (h,): all heads side by side are one product (m, d) (d, h·c)
    h, d, c = W.shape
    W, b = W.astype(np.float64), b.astype(np.float64)
    columns = np.ascontiguousarray(W.transpose(1, 0, 2).reshape(d, h * c))
    f, dW, db = np.zeros(h), np.zeros((d, h * c)), np.zeros(h * c)
    for x, targets, weights in blocks:
        x = x.astype(np.float64)
        V = kernels.linear_forward(
            x, columns, b.ravel(), feature_scale=feature_scale, backend=ORACLE
        )
        for k in range(h):
            own = slice(k * c, (k + 1) * c)
            v = np.ascontiguousarray(V[:, own])
            y = targets if targets.dtype.kind == "f" else targets[k]
            f[k] += weights[k] @ kernels.cross_entropy_forward(v, y, backend=ORACLE)
            V[:, own] = kernels.cross_entropy_backward(v, y, backend=ORACLE)
            V[:, own] *= weights[k][:, None] / n
        block_dW, block_db = kernels.linear_backward(
            V, x, feature_scale=feature_scale, backend=ORACLE
        )
        dW += block_dW
        db += block_db
    gradient_W = dW.reshape(d, h, c).transpose(1, 0, 2) + l2[:, None, None] * W
    gradient_b = db.reshape(h, c) + l2[:, None] * b if fit_bias else np.zeros((h, c))
    penalty = (W**2).sum(axis=(1, 2)) + (b**2).sum(axis=1)
    return f / n + l2 / 2 * penalty, gradient_W, gradient_b


def bounds(gradient_W, gradient_b, l2):
    """The gradient's norm and the bound on f - f*, each (h,)."""
    squared = (gradient_W**2).sum(axis=(1, 2)) + (gradient_b**2).sum(axis=1)
    return np.sqrt(squared), squared / (2 * l2)

"""How far a head is from its optimum: a bound from the gradient, without knowing the optimum.

For cross-entropy with l2 on all parameters the objective

    f(W, b) = (1/n) Σ_r w_r L_r + (λ/2)(‖W‖² + ‖b‖²)

is λ-strongly convex, so f - f* ≤ ‖∇f‖² / (2λ) at every point.
"""

from typing import Any

import numpy as np

GROUP_BYTES = 1 << 24  # for the weights and gradients of the heads certified together
BLOCK_VALUES = 1 << 19  # float64 values of a block: smaller products are slow on a busy machine
GROUP_ARRAYS = 4  # float64, the size of the group's weights: W, dW, a block's part of it, the cast
BLOCK_ARRAYS = 6  # float64, of BLOCK_VALUES: rows, logits, targets, weights and what is on the way


# The losses whose gradient is written below: a test holds this to the convex ones of the table.
CERTIFIED = ("cross_entropy",)


def applies(loss: Any, l2: Any, l2_bias: Any, fit_bias: Any) -> Any:
    """Whether the objective is strongly convex in everything that is trained."""
    return loss in CERTIFIED and l2 > 0 and (l2_bias or not fit_bias)


def group_heads(d: int, c: int) -> int:
    """How many heads of d features and c classes are certified together."""
    return max(1, GROUP_BYTES // (GROUP_ARRAYS * 8 * (d + 1) * c))


def block_rows(d: int, columns: int) -> int:
    """Rows of one block, for d features and all heads' classes."""
    return max(1, BLOCK_VALUES // max(d, columns))


def bytes_needed(n: int, h: Any, d: int, c: int) -> Any:
    """Bytes that certifying h heads over n rows takes besides heads and rows; 0 for no heads."""
    if not h:
        return 0
    g = min(h, group_heads(d, c))
    rows = min(n, block_rows(d, g * c))
    return 8 * (GROUP_ARRAYS * g * (d + 1) * c + BLOCK_ARRAYS * rows * max(d, g * c))


def objective_and_gradient(
    blocks: Any, n: int, W: Any, b: Any, l2: Any, *, feature_scale: Any, fit_bias: Any
) -> Any:
    """f, (h,), and its gradient, (h, d, c) and (h, c), in float64 over all n rows.

    blocks: (rows x (m, d), targets of each head (m, h) or one for all (m, c), weights (m, h)).
    Without `fit_bias` the bias is not a parameter, and its gradient is 0.
    """
    # W (h, d, c), b (h, c), l2 (h,): all heads side by side are one product (m, d) (d, h·c)
    h, d, c = W.shape
    b = b.astype(np.float64)
    columns = np.empty((d, h, c))
    columns[:] = W.transpose(1, 0, 2)
    f, dW, db = np.zeros(h), np.zeros((d, h * c)), np.zeros((h, c))
    for x, targets, weights in blocks:
        x = x.astype(np.float64)
        x *= feature_scale
        V = (x @ columns.reshape(d, h * c)).reshape(-1, h, c)
        V += b
        f += (weights * _losses_and_gradients(V, targets)).sum(axis=0)
        V *= weights[:, :, None] / n
        dW += x.T @ V.reshape(-1, h * c)
        db += V.sum(axis=0)
    f = f / n + l2 / 2 * (np.einsum("dhc,dhc->h", columns, columns) + (b**2).sum(axis=1))
    columns *= l2[:, None]
    gradient_W = dW.reshape(d, h, c)
    gradient_W += columns
    gradient_b = db + l2[:, None] * b if fit_bias else np.zeros((h, c))
    return f, gradient_W.transpose(1, 0, 2), gradient_b


def _losses_and_gradients(V, targets):
    """Cross-entropies (m, h) of the logits V (m, h, c), which are overwritten with their gradients.

    In plain float64: the digits that the kernels keep for confident rows vanish in a sum over rows.
    """
    V -= V.max(axis=2, keepdims=True)
    if targets.dtype.kind == "f":
        at_target = (targets[:, None] * V).sum(axis=2)
    else:
        at_target = np.take_along_axis(V, targets[:, :, None], axis=2)[:, :, 0]
    np.exp(V, out=V)
    total = V.sum(axis=2)
    V /= total[:, :, None]
    if targets.dtype.kind == "f":
        V -= targets[:, None]
    else:
        rows, heads = np.ogrid[: V.shape[0], : V.shape[1]]
        V[rows, heads, targets] -= 1
    return np.log(total) - at_target


def bounds(gradient_W: Any, gradient_b: Any, l2: Any) -> Any:
    """The gradient's norm and the bound on f - f*, each (h,)."""
    squared = np.einsum("hdc,hdc->h", gradient_W, gradient_W) + (gradient_b**2).sum(axis=1)
    return np.sqrt(squared), squared / (2 * l2)

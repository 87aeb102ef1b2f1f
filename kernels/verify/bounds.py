"""How far each op may be from the exact result: bounds derived from its rounding errors.

Every bound is a function of the op's arguments, widened to float64, and of the arithmetic that was
used; it has the shape of the op's results. It holds for any order of the sums, with or without
fused multiply-add. u is the unit roundoff and γ_k = ku/(1 - ku): a sum of k products is off by at
most γ_k Σ|product| (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.1).
docs/numerics.md gives the reasons op by op.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels.losses import GCE_Q

Array = np.ndarray[Any, Any]
Bounds = tuple[Array, ...]


@dataclass(frozen=True)
class Arithmetic:
    """The unit roundoff and the smallest subnormal of a dtype."""

    u: float
    tiny: float

    @classmethod
    def of(cls, dtype: Any) -> "Arithmetic":
        about = np.finfo(dtype)
        return cls(float(about.eps) / 2, float(about.smallest_subnormal))

    def gamma(self, k: int) -> float:
        return k * self.u / (1 - k * self.u)


# Parts of the bounds.


def one_hot(y: Array, c: int) -> Array:
    """Labels (n,) as one-hot rows, soft targets as they are: (n, c) float64."""
    return np.eye(c)[y] if y.ndim == 1 else np.asarray(y, np.float64)


def softmax(V: Array) -> Array:
    e = np.exp(V - V.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _mse(V: Array, Y: Array) -> Array:
    return np.asarray(((Y - softmax(V)) ** 2).mean(axis=1))


def cross_entropies(V: Array, Y: Array) -> Array:
    """Cross-entropy of each row, (n,), for logits and targets (n, c), however small it is."""
    rows, at = np.arange(len(V)), V.argmax(axis=1)
    below = V[rows, at][:, None] - V
    others = np.exp(-below)
    others[rows, at] = 0  # e^0 = 1 goes into log1p: a sum with it would lose what is small
    of_largest = np.log1p(others.sum(axis=1))
    return np.asarray((Y * below).sum(axis=1) + Y.sum(axis=1) * of_largest)


def _gce(V: Array, Y: Array) -> Array:
    return np.asarray(-np.expm1(-GCE_Q * cross_entropies(V, Y)) / GCE_Q)


# The loss of each row, (n,), for logits and targets (n, c).
ROW_LOSSES = {"mse": _mse, "cross_entropy": cross_entropies, "gce": _gce}


def weighted_spread(P: Array, G: Array) -> Array:
    """Σ_j p_j |g_i - g_j| for each i, (n, c), from running sums over the sorted g.

    Each gap between neighbours counts with the p on its far side: no term is below 0.
    """
    order = np.argsort(G, axis=1)
    p, g = np.take_along_axis(P, order, axis=1), np.take_along_axis(G, order, axis=1)
    gaps, below, above = np.diff(g, axis=1), np.zeros_like(P), np.zeros_like(P)
    below[:, 1:] = (gaps * p.cumsum(axis=1)[:, :-1]).cumsum(axis=1)
    mass_above = p[:, ::-1].cumsum(axis=1)[:, ::-1]
    above[:, :-1] = (gaps * mass_above[:, 1:])[:, ::-1].cumsum(axis=1)[:, ::-1]
    spread = np.empty_like(P)
    np.put_along_axis(spread, order, below + above, axis=1)
    return spread


def ambiguous_rows(V: Array, error: Array) -> Array:
    """Rows (n,) in which another logit may be the largest, within the error."""
    top = np.argmax(V - error, axis=1)[:, None]
    low = np.take_along_axis(V - error, top, axis=1)
    rivals = V + error
    np.put_along_axis(rivals, top, -np.inf, axis=1)
    return np.asarray((rivals >= low).any(axis=1))


# The ops.


def linear_forward(
    a: Arithmetic, X: Array, W: Array, b: Array, *, feature_scale: float = 1.0
) -> Bounds:
    # d products and the bias; s and s x are rounded too
    size = np.abs(feature_scale * X) @ np.abs(W) + np.abs(b)
    return (a.gamma(X.shape[1] + 3) * size,)


def linear_backward(a: Arithmetic, dV: Array, X: Array, *, feature_scale: float = 1.0) -> Bounds:
    size = np.abs(feature_scale * X).T @ np.abs(dV)
    return a.gamma(len(X) + 2) * size, a.gamma(len(X)) * np.abs(dV).sum(axis=0)


def softmax_forward(a: Arithmetic, V: Array) -> Bounds:
    # 4 ULP of the contract are at most 8u
    return (8 * a.u * softmax(V) + 2 * a.tiny,)


def plain_softmax_forward(a: Arithmetic, V: Array) -> Bounds:
    # as frameworks compute it: v - max v is rounded, the sum is plain, exp is within 4 ULP
    P, below = softmax(V), V.max(axis=1, keepdims=True) - V
    differences = below + (P * below).sum(axis=1, keepdims=True)
    return (P * (a.gamma(V.shape[1] + 16) + a.gamma(2) * differences) + 2 * a.tiny,)


def softmax_backward(a: Arithmetic, dP: Array, P: Array) -> Bounds:
    mean = np.abs(dP * P).sum(axis=1, keepdims=True)
    return (6 * a.u * P * (np.abs(dP) + mean) + 2 * a.tiny,)


def mse_forward(a: Arithmetic, P: Array, Y: Array) -> Bounds:
    return (7 * a.u * ((one_hot(Y, P.shape[1]) - P) ** 2).mean(axis=1),)


def mse_backward(a: Arithmetic, P: Array, Y: Array) -> Bounds:
    c = P.shape[1]
    return (4 * a.u * np.abs(2 / c * (P - one_hot(Y, c))),)


def cross_entropy_forward(a: Arithmetic, V: Array, y: Array) -> Bounds:
    size = cross_entropies(V, one_hot(y, V.shape[1]))
    return ((8 if y.ndim == 1 else 12) * a.u * size + 2 * a.tiny,)


def plain_cross_entropy_forward(a: Arithmetic, V: Array, y: Array) -> Bounds:
    # as frameworks compute it: max v + log Σ exp(v - max v) - v_y
    L = cross_entropies(V, one_hot(y, V.shape[1]))
    return (a.gamma(V.shape[1] + 16) * (1 + L) + a.gamma(8) * np.abs(V).max(axis=1),)


def cross_entropy_backward(a: Arithmetic, V: Array, y: Array) -> Bounds:
    if y.ndim == 2:  # p - y cancels
        return (10 * a.u * (softmax(V) + y) + 2 * a.tiny,)
    return (9 * a.u * _label_differences(V, y) + 2 * a.tiny,)


def _label_differences(V: Array, y: Array) -> Array:
    """|p - y| for labels y (n,), without cancellation: (n, c)."""
    P, Y = softmax(V), one_hot(y, V.shape[1])
    others = (P * (Y == 0)).sum(axis=1, keepdims=True)
    return np.where(Y == 1, others, P)


def gce_forward(a: Arithmetic, V: Array, y: Array) -> Bounds:
    # L = -expm1(-q CE)/q has condition number at most 1 in q CE, which is off by 9u
    L = _gce(V, one_hot(y, V.shape[1]))
    return (12 * a.u * L + 5 * a.tiny,)


def gce_backward(a: Arithmetic, V: Array, y: Array) -> Bounds:
    # e^{-q CE} (p - y): the exponential has condition number q CE in q CE, which is off by 9u
    exponent = GCE_Q * cross_entropies(V, one_hot(y, V.shape[1]))[:, None]
    size = np.exp(-exponent) * _label_differences(V, y)
    return ((12 + 9 * exponent) * a.u * size + 3 * a.tiny,)


def softmax_mse_backward(a: Arithmetic, V: Array, y: Array) -> Bounds:
    c = V.shape[1]
    P, Y = softmax(V), one_hot(y, c)
    if y.ndim == 2:  # p - y cancels
        g = 2 / c * (P + np.abs(Y))
        h = g + (P * g).sum(axis=1, keepdims=True)
        return (32 * a.u * P * h + 2 * a.tiny * (2 + h),)
    others = np.where(Y == 1, 0, P)  # p_y - 1 is minus their sum, which keeps its figures
    G = 2 / c * np.where(Y == 1, -others.sum(axis=1, keepdims=True), P)
    return (8 * a.u * P * weighted_spread(P, G) + 4 * a.tiny,)


def predict(a: Arithmetic, X: Array, W: Array, b: Array, *, feature_scale: float = 1.0) -> Bounds:
    """Infinite where rounding may decide between two labels, 0 elsewhere."""
    banks = (W[None], b[None]) if W.ndim == 2 else (W, b)
    doubtful = []
    for w, v in zip(*banks, strict=True):
        (error,) = linear_forward(a, X, w, v, feature_scale=feature_scale)
        doubtful.append(ambiguous_rows(feature_scale * X @ w + v, error))
    return (np.where(doubtful[0] if W.ndim == 2 else doubtful, np.inf, 0.0),)

"""How far the ops that fuse the loss may be from the exact result: running error analysis.

Each quantity goes with a bound of its error, and each step adds what it may round (Higham, Accuracy
and Stability of Numerical Algorithms, 2nd ed., section 3.3). What rounding does to a step's weights
reaches the next step's logits, so the bound grows from step to step; it is meant for a few.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.bench.bounds import (
    Arithmetic,
    Array,
    Bounds,
    ambiguous_rows,
    one_hot,
    row_losses,
    softmax,
)


@dataclass(frozen=True)
class Approximate:
    """A value in float64 and how far off one computed with `a` may be."""

    a: Arithmetic
    value: Array
    error: Array

    def __add__(self, other: "Approximate") -> "Approximate":
        size = np.abs(self.value) + self.error + np.abs(other.value) + other.error
        error = self.error + other.error + self.a.gamma(2) * size
        return Approximate(self.a, self.value + other.value, error)

    def __mul__(self, factor: Any) -> "Approximate":
        """Times a number that is rounded to the dtype first."""
        error = np.abs(factor) * (self.error + self.a.gamma(3) * (np.abs(self.value) + self.error))
        return Approximate(self.a, self.value * factor, error)

    def times(self, X: Array) -> "Approximate":
        """X @ self, for features X that were scaled, and rounded, before."""
        size = np.abs(self.value) + self.error
        error = np.abs(X) @ (self.error + self.a.gamma(X.shape[1] + 2) * size)
        return Approximate(self.a, X @ self.value, error)

    def sum_of_rows(self) -> "Approximate":
        size = np.abs(self.value) + self.error
        error = (self.error + self.a.gamma(len(size)) * size).sum(axis=0)
        return Approximate(self.a, self.value.sum(axis=0), error)


def losses_of_rows(V: Approximate, Y: Array, loss: str) -> Approximate:
    """Loss of each row, (n,)."""
    c = V.value.shape[1]
    L, P, D = row_losses(V.value, Y, loss), softmax(V.value), _probability_errors(V)
    if loss == "cross_entropy":  # |∂L/∂v| sums to at most 2
        error = 2 * V.error.max(axis=1) * (c > 1)
    else:
        error = (2 * np.abs(Y - P) * D + D**2).mean(axis=1)
    return Approximate(V.a, L, error + V.a.gamma(c + 12) * L)


def logit_gradients(V: Approximate, Y: Array, loss: str) -> Approximate:
    """dV of each row, (n, c), from computed logits; the product with the Jacobian is p_i h_i."""
    a, c, P, D = V.a, V.value.shape[1], softmax(V.value), _probability_errors(V)
    g = P - Y if loss == "cross_entropy" else 2 / c * (P - Y)
    if loss == "cross_entropy":
        return Approximate(a, g, D + a.gamma(c + 8) * np.abs(g))
    h = g - (P * g).sum(axis=1, keepdims=True)
    g_error = 2 / c * D + a.gamma(3) * np.abs(g)
    h_size = np.abs(g) + (P * np.abs(g)).sum(axis=1, keepdims=True)
    mean_error = (P * g_error + D * (np.abs(g) + g_error)).sum(axis=1, keepdims=True)
    h_error = g_error + mean_error + a.gamma(c + 8) * h_size
    error = D * np.abs(h) + (P + D) * h_error + a.gamma(4) * P * np.abs(h)
    return Approximate(a, P * h, error)


def _probability_errors(V: Approximate) -> Array:
    """How far P may be off: if no logit is off by more than E, p_i changes by a factor ≤ e^{2E}."""
    c = V.value.shape[1]
    if c == 1:  # exactly 1, whatever the logit
        return np.zeros_like(V.value)
    largest = np.abs(V.value).max(axis=1, keepdims=True)  # v - max v is rounded too
    E = V.error.max(axis=1, keepdims=True) + 2 * V.a.u * largest
    return softmax(V.value) * (np.expm1(2 * E) + V.a.gamma(c + 8))


def evaluate(
    a: Arithmetic,
    X: Array,
    y: Array,
    W: Array,
    b: Array,
    *,
    loss: Any,
    sample_weight: Any = None,
    y_index: Any = None,
    weight_index: Any = None,
    feature_scale: float = 1.0,
) -> Bounds:
    # W (h, d, c) -> bounds of loss (h,) and accuracy (h,)
    sets = _Sets(y, sample_weight, y_index, weight_index)
    names = (loss,) * len(W) if isinstance(loss, str) else loss
    bounds = []
    for k, name in enumerate(names):
        V = _logits(feature_scale * X, _exact(a, W[k]), _exact(a, b[k]))
        w = sets.weights(k, len(X))
        L = losses_of_rows(V, sets.targets(k, W.shape[2]), name)
        size = (w * np.abs(L.value)).sum() * a.gamma(8)
        doubtful = w * ambiguous_rows(V.value, V.error)
        sums = (w * L.error).sum() + size, doubtful.sum() + a.gamma(8) * w.sum()
        with np.errstate(invalid="ignore"):  # no rows: NaN
            bounds.append(np.array(sums) / w.sum())
    losses, accuracies = np.array(bounds).T
    return losses, accuracies


def surface_forward(
    a: Arithmetic,
    V0: Array,
    V1: Array,
    V2: Array,
    y: Array,
    x_offsets: Array,
    y_offsets: Array,
    *,
    loss: str,
    sample_weight: Any = None,
) -> Bounds:
    # V0, V1, V2 (n, c) -> bounds of Σ w L (ny, nx) and Σ w [right] (ny, nx)
    w = np.ones(len(V0)) if sample_weight is None else np.asarray(sample_weight)
    Y = one_hot(y, V0.shape[1])
    losses, right = np.empty((2, len(y_offsets), len(x_offsets)))
    for i, t in enumerate(y_offsets):
        for j, x in enumerate(x_offsets):
            # offsets, products and sums are rounded, and differences to the label's logit before
            size = (np.abs(V0) + np.abs(x * V1) + np.abs(t * V2)).max(axis=1, keepdims=True)
            V = Approximate(a, V0 + x * V1 + t * V2, a.gamma(8) * size * np.ones_like(V0))
            L = losses_of_rows(V, Y, loss)
            doubtful = w * ambiguous_rows(V.value, V.error)
            losses[i, j] = (w * (L.error + a.gamma(8) * np.abs(L.value))).sum()
            right[i, j] = doubtful.sum() + a.gamma(8) * w.sum()
    return losses, right


def train(
    a: Arithmetic,
    X: Array,
    y: Array,
    order: Array,
    batch_size: int,
    W: Array,
    b: Array,
    *,
    loss: Any,
    learning_rate: Any,
    l2: Any = 0.0,
    l2_bias: bool = False,
    momentum: Any = 0.0,
    velocity: Any = None,
    fit_bias: bool = True,
    sample_weight: Any = None,
    y_index: Any = None,
    weight_index: Any = None,
    feature_scale: float = 1.0,
) -> Bounds:
    # W (h, d, c) -> bounds of losses (steps, h), correct (steps, h), W, b, MW and Mb
    h, _, c = W.shape
    steps = -(-len(order) // batch_size)
    sets = _Sets(y, sample_weight, y_index, weight_index)
    names = (loss,) * h if isinstance(loss, str) else loss
    rates = np.broadcast_to(learning_rate, (steps, h))
    l2s, momenta = np.broadcast_to(l2, h), np.broadcast_to(momentum, h)
    MW, Mb = velocity or (np.zeros_like(W), np.zeros_like(b))
    losses, correct, ends = np.empty((steps, h)), np.empty((steps, h)), []
    for k in range(h):
        Y, w = sets.targets(k, c), sets.weights(k, len(X))
        Wk, bk, MWk, Mbk = (_exact(a, start[k]) for start in (W, b, MW, Mb))
        for step in range(steps):
            rows = order[step * batch_size : (step + 1) * batch_size]
            x, w_mean = feature_scale * X[rows], w[rows] / len(rows)
            V = _logits(x, Wk, bk)
            losses[step, k] = (losses_of_rows(V, Y[rows], names[k]) * w_mean).sum_of_rows().error
            correct[step, k] = (ambiguous_rows(V.value, V.error) & (w[rows] != 0)).sum()
            dV = logit_gradients(V, Y[rows], names[k]) * w_mean[:, None]
            MWk = MWk * momenta[k] + (dV.times(x.T) + Wk * l2s[k])
            Wk = Wk + MWk * -rates[step, k]
            if fit_bias:
                Mbk = Mbk * momenta[k] + (dV.sum_of_rows() + bk * (l2s[k] * l2_bias))
                bk = bk + Mbk * -rates[step, k]
        ends.append([end.error for end in (Wk, bk, MWk, Mbk)])
    return losses, correct, *(np.array(error) for error in zip(*ends, strict=True))


def _exact(a: Arithmetic, value: Array) -> Approximate:
    return Approximate(a, value, np.zeros_like(value))


def _logits(x: Array, W: Approximate, b: Approximate) -> Approximate:
    return W.times(x) + b


@dataclass(frozen=True)
class _Sets:
    """The targets and weights of each head."""

    y: Array
    sample_weight: Any
    y_index: Any
    weight_index: Any

    def targets(self, k: int, c: int) -> Array:
        """(n, c) of head k."""
        if self.y.dtype.kind == "f" or self.y.ndim == 1:
            return one_hot(self.y, c)
        return one_hot(self.y[0 if self.y_index is None else self.y_index[k]], c)

    def weights(self, k: int, n: int) -> Array:
        """(n,) of head k."""
        if self.sample_weight is None:
            return np.ones(n)
        sets = np.atleast_2d(self.sample_weight)
        return sets[0 if self.weight_index is None else self.weight_index[k]]

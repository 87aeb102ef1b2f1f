"""How far the ops that fuse the loss may be from the exact result: running error analysis.

Each quantity carries a bound of its error, and each operation adds what it may round (Higham,
Accuracy and Stability of Numerical Algorithms, 2nd ed., section 3.3). The error of a step's weights
reaches the next step's logits, so the bound grows from step to step: it is meant for a few steps.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels.integers import ceil_div
from softstep.kernels.losses import GCE_Q
from softstep.kernels.verify.bounds import (
    ROW_LOSSES,
    Arithmetic,
    Array,
    Bounds,
    ambiguous_rows,
    one_hot,
    softmax,
)


@dataclass(frozen=True)
class Approximate:
    """A value in float64, and how far off it may be when computed in the arithmetic `a`."""

    a: Arithmetic
    value: Array
    error: Array

    def __add__(self, other: "Approximate") -> "Approximate":
        size = np.abs(self.value) + self.error + np.abs(other.value) + other.error
        error = self.error + other.error + self.a.gamma(2) * size
        return Approximate(self.a, self.value + other.value, error)

    def __mul__(self, factor: Any) -> "Approximate":
        """Times a number, which is rounded to the dtype first."""
        error = np.abs(factor) * (self.error + self.a.gamma(3) * (np.abs(self.value) + self.error))
        return Approximate(self.a, self.value * factor, error)

    def times(self, X: Array) -> "Approximate":
        """X @ self, for features X that have been scaled, and rounded."""
        size = np.abs(self.value) + self.error
        error = np.abs(X) @ (self.error + self.a.gamma(X.shape[1] + 2) * size)
        return Approximate(self.a, X @ self.value, error)

    def sum_of_rows(self) -> "Approximate":
        size = np.abs(self.value) + self.error
        error = (self.error + self.a.gamma(len(size)) * size).sum(axis=0)
        return Approximate(self.a, self.value.sum(axis=0), error)


def losses_of_rows(V: Approximate, Y: Array, loss: str) -> Approximate:
    """Loss of each row, (n,)."""
    L = ROW_LOSSES[loss](V.value, Y)
    return Approximate(V.a, L, LOSS_ERRORS[loss](V, Y, L))


def _cross_entropy_errors(V: Approximate, Y: Array, L: Array) -> Array:
    c = V.value.shape[1]  # |∂L/∂v| sums to at most 2
    error = 2 * V.error.max(axis=1) * (c > 1)
    return np.asarray(error + V.a.gamma(c + 12) * L)


def _mse_errors(V: Approximate, Y: Array, L: Array) -> Array:
    P, D = softmax(V.value), _probability_errors(V)
    error = (2 * np.abs(Y - P) * D + D**2).mean(axis=1)
    return np.asarray(error + V.a.gamma(V.value.shape[1] + 12) * L)


def _gce_errors(V: Approximate, Y: Array, L: Array) -> Array:
    # dL/dCE = e^{-q CE} is largest at the low end of what CE may be
    entropy = losses_of_rows(V, Y, "cross_entropy")
    slope = np.exp(-GCE_Q * np.maximum(entropy.value - entropy.error, 0.0))
    return np.asarray(entropy.error * slope + V.a.gamma(8) * L)


LOSS_ERRORS = {"mse": _mse_errors, "cross_entropy": _cross_entropy_errors, "gce": _gce_errors}


def _cross_entropy_gradients(V: Approximate, Y: Array) -> Approximate:
    g = softmax(V.value) - Y
    error = _probability_errors(V) + V.a.gamma(V.value.shape[1] + 8) * np.abs(g)
    return Approximate(V.a, g, error)


def _gce_gradients(V: Approximate, Y: Array) -> Approximate:
    """e^{-q CE} (p - y). The factor may be computed from p_y, and then has the error of p_y too."""
    a, c = V.a, V.value.shape[1]
    entropy, g = losses_of_rows(V, Y, "cross_entropy"), _cross_entropy_gradients(V, Y)
    factor = np.exp(-GCE_Q * entropy.value)[:, None]
    factor_error = np.expm1(GCE_Q * (entropy.error + a.gamma(c + 12)))[:, None] + a.gamma(8)
    error = factor * (g.error * (1 + factor_error) + np.abs(g.value) * factor_error)
    return Approximate(a, factor * g.value, error)


def _mse_gradients(V: Approximate, Y: Array) -> Approximate:
    """The product with the Jacobian: p_i h_i with h_i = g_i - Σ_j g_j p_j."""
    a, c, P, D = V.a, V.value.shape[1], softmax(V.value), _probability_errors(V)
    g = 2 / c * (P - Y)
    h = g - (P * g).sum(axis=1, keepdims=True)
    g_error = 2 / c * D + a.gamma(3) * np.abs(g)
    h_size = np.abs(g) + (P * np.abs(g)).sum(axis=1, keepdims=True)
    mean_error = (P * g_error + D * (np.abs(g) + g_error)).sum(axis=1, keepdims=True)
    h_error = g_error + mean_error + a.gamma(c + 8) * h_size
    error = D * np.abs(h) + (P + D) * h_error + a.gamma(4) * P * np.abs(h)
    return Approximate(a, P * h, error)


# dV of each row, (n, c), from computed logits.
LOGIT_GRADIENTS = {
    "mse": _mse_gradients,
    "cross_entropy": _cross_entropy_gradients,
    "gce": _gce_gradients,
}


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


# `gradient` adds blocks of so many rows in the arithmetic, and all else in float64: the most are
# NumPy's, the fewest the GPU's.
MOST_ROWS, FEWEST_ROWS = 512, 256


def gradient(
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
    # W (h, d, c) -> bounds of loss (h,), dW (h, d, c) and db (h, c)
    sets = _Sets(y, sample_weight, y_index, weight_index)
    names = (loss,) * len(W) if isinstance(loss, str) else loss
    losses, dW, db = np.empty(len(W)), np.empty(W.shape), np.empty(b.shape)
    # w dv rounds, and s x; then the sums, those of blocks in float64
    wide = Arithmetic.of(np.float64)
    blocks = ceil_div(len(X), FEWEST_ROWS)
    summed = a.gamma(min(len(X), MOST_ROWS) + 4) + wide.gamma(blocks + 1)
    for k, name in enumerate(names):
        x = feature_scale * X
        V, w = _logits(x, _exact(a, W[k]), _exact(a, b[k])), sets.weights(k, len(X))
        Y = sets.targets(k, W.shape[2])
        L, dV = losses_of_rows(V, Y, name), LOGIT_GRADIENTS[name](V, Y)
        losses[k] = np.abs(w) @ (L.error + (a.gamma(2) + wide.gamma(len(X))) * np.abs(L.value))
        error = np.abs(w)[:, None] * (dV.error + summed * (np.abs(dV.value) + dV.error))
        dW[k], db[k] = np.abs(x).T @ error, error.sum(axis=0)
    return losses, dW, db


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
            # offsets, products and sums are rounded, and so are differences to the label's logit
            size = (np.abs(V0) + np.abs(x * V1) + np.abs(t * V2)).max(axis=1, keepdims=True)
            V = Approximate(a, V0 + x * V1 + t * V2, a.gamma(8) * size * np.ones_like(V0))
            L = losses_of_rows(V, Y, loss)
            doubtful = w * ambiguous_rows(V.value, V.error)
            losses[i, j] = (w * (L.error + a.gamma(8) * np.abs(L.value))).sum()
            right[i, j] = doubtful.sum() + a.gamma(8) * w.sum()
    return losses, right


@dataclass(frozen=True, kw_only=True)
class _TrainSettings:
    """The keywords of `train`, with its defaults."""

    loss: Any
    learning_rate: Any
    l2: Any = 0.0
    l2_bias: bool = False
    momentum: Any = 0.0
    velocity: Any = None
    fit_bias: bool = True
    sample_weight: Any = None
    y_index: Any = None
    weight_index: Any = None
    feature_scale: float = 1.0

    def of_head(self, k: int, h: int, steps: int) -> "_HeadSettings":
        rates = np.broadcast_to(self.learning_rate, (steps, h))[:, k]
        l2, momentum = (np.broadcast_to(setting, h)[k] for setting in (self.l2, self.momentum))
        loss = self.loss if isinstance(self.loss, str) else self.loss[k]
        return _HeadSettings(loss, rates, l2, l2 * self.l2_bias, momentum, self.fit_bias)


@dataclass(frozen=True)
class _HeadSettings:
    """Those of one head; rates (steps,)."""

    loss: str
    rates: Array
    l2: float
    l2_bias: float
    momentum: float
    fit_bias: bool


def train(
    a: Arithmetic,
    X: Array,
    y: Array,
    order: Array,
    batch_size: int,
    W: Array,
    b: Array,
    **options: Any,
) -> Bounds:
    # W (h, d, c) -> bounds of losses (steps, h), correct (steps, h), W, b, MW and Mb
    settings = _TrainSettings(**options)
    h, _, c = W.shape
    steps = ceil_div(len(order), batch_size)
    sets = _Sets(y, settings.sample_weight, settings.y_index, settings.weight_index)
    MW, Mb = settings.velocity or (np.zeros_like(W), np.zeros_like(b))
    losses, correct, ends = np.empty((steps, h)), np.empty((steps, h)), []
    for k in range(h):
        head = settings.of_head(k, h, steps)
        Y, w = sets.targets(k, c), sets.weights(k, len(X))
        state = tuple(_exact(a, start[k]) for start in (W, b, MW, Mb))
        for step in range(steps):
            rows = order[step * batch_size : (step + 1) * batch_size]
            x, w_mean = settings.feature_scale * X[rows], w[rows] / len(rows)
            V = _logits(x, *state[:2])
            losses[step, k] = (losses_of_rows(V, Y[rows], head.loss) * w_mean).sum_of_rows().error
            correct[step, k] = (ambiguous_rows(V.value, V.error) & (w[rows] != 0)).sum()
            dV = LOGIT_GRADIENTS[head.loss](V, Y[rows]) * w_mean[:, None]
            state = _updated(state, dV.times(x.T), dV.sum_of_rows(), head, head.rates[step])
        ends.append([end.error for end in state])
    return losses, correct, *(np.array(error) for error in zip(*ends, strict=True))


def _updated(
    state: tuple[Approximate, ...],
    dW: Approximate,
    db: Approximate,
    head: _HeadSettings,
    rate: float,
) -> tuple[Approximate, ...]:
    """W, b, MW, Mb after a step."""
    W, b, MW, Mb = state
    MW = MW * head.momentum + (dW + W * head.l2)
    W = W + MW * -rate
    if head.fit_bias:
        Mb = Mb * head.momentum + (db + b * head.l2_bias)
        b = b + Mb * -rate
    return W, b, MW, Mb


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

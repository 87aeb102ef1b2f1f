"""The backward ops against complex-step differentiation of the forward formulas.

For an analytic f, f'(x) = Im f(x + ih)/h + O(h²). No difference is taken, so with h = 1e-100 only
rounding errors remain (Squire and Trapp, SIAM Review 40, 1998). The formulas below are plain NumPy
on complex numbers and share nothing with the kernels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep import kernels
from softstep.kernels.losses import GCE_Q, LOSSES, Loss, Targets
from softstep.kernels.verify import cases
from softstep.kernels.verify.cases import Size

STEP = 1e-100
TOLERANCE = 1e-13  # of the largest entry: a few hundred roundings

Array = np.ndarray[Any, Any]
Gradients = tuple[Array, ...]


def softmax(V: Array) -> Array:
    e = np.exp(V - V.real.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


# The losses of probabilities P (n, c) and targets Y (n, c), one for each row.


def mse(P: Array, Y: Array) -> Array:
    return ((Y - P) ** 2).mean(axis=1)


def cross_entropy(P: Array, Y: Array) -> Array:
    return -(Y * np.log(P)).sum(axis=1)


def gce(P: Array, Y: Array) -> Array:
    return (1 - (Y * P).sum(axis=1) ** GCE_Q) / GCE_Q


FORMULAS = {"mse": mse, "cross_entropy": cross_entropy, "gce": gce}


def complex_step(f: Callable[[Array], Any], x: Array) -> Array:
    """The derivative of a scalar f by every entry of x."""
    gradient = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        z = x.astype(complex)
        z[i] += 1j * STEP
        gradient[i] = f(z).imag / STEP
    return gradient


@dataclass(frozen=True)
class Case:
    """A backward op on float64 arguments: its results on a backend, and the true derivative."""

    name: str
    found: Callable[[str], Gradients]
    truth: Gradients


def error(found: Gradients, truth: Gradients) -> float:
    """The largest difference, relative to the largest entry of the truth; inf for NaN."""
    worst = [np.abs(f - t).max() / np.abs(t).max() for f, t in zip(found, truth, strict=True)]
    return float(np.where(np.isnan(worst), np.inf, worst).max())


def all_cases(size: Size, seed: int = 0) -> list[Case]:
    """Every backward op, and a step of `train`."""
    layer = _Layer(size, seed)
    y = cases.labels(size.n, size.c, seed)
    soft = cases.probabilities(size.n, size.c, np.float64, seed + 1)
    one_hot = np.eye(size.c)[y]
    found = [layer.linear(), layer.softmax()]
    found += [layer.through_the_jacobian(loss, one_hot) for loss in LOSSES.values()]
    for name, t, Y in (("labels", y, one_hot), ("soft targets", soft, soft)):
        found.append(layer.mse(name, t, Y))
        for loss in LOSSES.values():
            if t is y or loss.targets is not Targets.LABELS:
                found += [layer.from_logits(loss, name, t, Y), layer.train(loss, name, t, Y)]
    return found


class _Layer:
    """The arguments, and a case for each op."""

    scale = 0.5

    def __init__(self, size: Size, seed: int) -> None:
        n, d, c = size.n, size.d, size.c
        self.X = cases.features(n, d, np.float64, seed)
        self.W, self.b = (start[0] for start in cases.weights(1, d, c, np.float64, seed))
        self.V = cases.logits(n, c, np.float64, seed)
        self.P = cases.probabilities(n, c, np.float64, seed)
        self.incoming = cases.gradients(n, c, np.float64, seed)
        self.sample_weight = 0.5 + np.arange(n) / n

    def linear(self) -> Case:
        def found(backend: str) -> Gradients:
            dV, X = self.incoming, self.X
            return kernels.linear_backward(dV, X, feature_scale=self.scale, backend=backend)

        truth = self._by_weights(lambda V: (self.incoming * V).sum())
        return Case("linear_backward", found, truth)

    def softmax(self) -> Case:
        def found(backend: str) -> Gradients:
            return (kernels.softmax_backward(self.incoming, self.P, backend=backend),)

        truth = complex_step(lambda V: (self.incoming * softmax(V)).sum(), np.log(self.P))
        return Case("softmax_backward", found, (truth,))

    def mse(self, name: str, t: Array, Y: Array) -> Case:
        def found(backend: str) -> Gradients:
            return (kernels.mse_backward(self.P, t, backend=backend),)

        truth = complex_step(lambda P: mse(P, Y).sum(), self.P)
        return Case(f"mse_backward, {name}", found, (truth,))

    def through_the_jacobian(self, loss: Loss, Y: Array) -> Case:
        """The slope of the loss in P, handed to the softmax: the slope in the logits."""
        P, formula = softmax(self.V), FORMULAS[loss.name]
        slope = complex_step(lambda P: formula(P, Y).sum(), P)

        def found(backend: str) -> Gradients:
            return (kernels.softmax_backward(slope, P, backend=backend),)

        return Case(f"softmax_backward, slope of {loss.name}", found, (self._by_logits(loss, Y),))

    def from_logits(self, loss: Loss, name: str, t: Array, Y: Array) -> Case:
        def found(backend: str) -> Gradients:
            return (getattr(kernels, loss.backward)(self.V, t, backend=backend),)

        return Case(f"{loss.backward}, {name}", found, (self._by_logits(loss, Y),))

    def train(self, loss: Loss, name: str, t: Array, Y: Array) -> Case:
        def found(backend: str) -> Gradients:
            """One step over all rows at rate 1 subtracts the gradient."""
            W, b, n = self.W[None].copy(), self.b[None].copy(), len(self.X)
            kernels.train(
                self.X,
                t,
                np.arange(n),
                n,
                W,
                b,
                loss=loss.name,
                learning_rate=1.0,
                sample_weight=self.sample_weight,
                feature_scale=self.scale,
                backend=backend,
            )
            return self.W - W[0], self.b - b[0]

        formula = FORMULAS[loss.name]
        truth = self._by_weights(lambda V: (self.sample_weight * formula(softmax(V), Y)).mean())
        return Case(f"train ({loss.name}), {name}", found, truth)

    def _by_logits(self, loss: Loss, Y: Array) -> Array:
        """The derivative of the summed loss by the logits."""
        formula = FORMULAS[loss.name]
        return complex_step(lambda V: formula(softmax(V), Y).sum(), self.V)

    def _by_weights(self, f: Callable[[Array], Any]) -> Gradients:
        """The derivatives of f(V) by W and b, for V = s X W + b."""
        x = self.scale * self.X
        dW = complex_step(lambda W: f(x @ W + self.b), self.W)
        return dW, complex_step(lambda b: f(x @ self.W + b), self.b)

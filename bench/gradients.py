"""The backward ops against complex-step differentiation of the forward formulas.

For an analytic f, f'(x) = Im f(x + ih)/h: no difference is taken, so with h = 1e-100 it is right to
rounding (Squire and Trapp, SIAM Review 40, 1998). The formulas below are plain NumPy on complex
numbers and share nothing with the kernels.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep import kernels
from softstep.bench import workloads
from softstep.bench.workloads import Size

STEP = 1e-100
TOLERANCE = 1e-13  # of the largest entry: a few hundred roundings

Array = np.ndarray[Any, Any]
Gradients = tuple[Array, ...]


def softmax(V: Array) -> Array:
    e = np.exp(V - V.real.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def mse(P: Array, Y: Array) -> Array:
    return ((Y - P) ** 2).mean(axis=1)


def softmax_mse(V: Array, Y: Array) -> Array:
    return mse(softmax(V), Y)


def cross_entropy(V: Array, Y: Array) -> Array:
    return (Y * (np.log(np.exp(V).sum(axis=1, keepdims=True)) - V)).sum(axis=1)


LOSSES = {"mse": softmax_mse, "cross_entropy": cross_entropy}
OPS = {"mse": "softmax_mse_backward", "cross_entropy": "cross_entropy_backward"}


def complex_step(f: Callable[[Array], Any], x: Array) -> Array:
    """The derivative of a number f by every entry of x."""
    gradient = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        z = x.astype(complex)
        z[i] += 1j * STEP
        gradient[i] = f(z).imag / STEP
    return gradient


@dataclass(frozen=True)
class Case:
    """A backward op on float64 arguments: what a backend finds, and the complex-step derivative."""

    name: str
    found: Callable[[str], Gradients]
    truth: Gradients


def error(found: Gradients, truth: Gradients) -> float:
    """The largest difference, relative to the largest entry of the truth; inf for NaN."""
    worst = [np.abs(f - t).max() / np.abs(t).max() for f, t in zip(found, truth, strict=True)]
    return float(np.where(np.isnan(worst), np.inf, worst).max())


def cases(size: Size, seed: int = 0) -> list[Case]:
    """Every backward op, and a step of `train`."""
    layer = _Layer(size, seed)
    y = workloads.labels(size.n, size.c, seed)
    soft = workloads.probabilities(size.n, size.c, np.float64, seed + 1)
    found = [layer.linear(), layer.softmax()]
    for name, t, Y in (("labels", y, np.eye(size.c)[y]), ("soft targets", soft, soft)):
        found.append(layer.mse(name, t, Y))
        for loss in LOSSES:
            found += [layer.from_logits(loss, name, t, Y), layer.train(loss, name, t, Y)]
    return found


class _Layer:
    """The arguments, and a case for each op."""

    scale = 0.5

    def __init__(self, size: Size, seed: int) -> None:
        n, d, c = size.n, size.d, size.c
        self.X = workloads.features(n, d, np.float64, seed)
        self.W, self.b = (start[0] for start in workloads.weights(1, d, c, np.float64, seed))
        self.V = workloads.logits(n, c, np.float64, seed)
        self.P = workloads.probabilities(n, c, np.float64, seed)
        self.incoming = workloads.gradients(n, c, np.float64, seed)
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

    def from_logits(self, loss: str, name: str, t: Array, Y: Array) -> Case:
        def found(backend: str) -> Gradients:
            return (getattr(kernels, OPS[loss])(self.V, t, backend=backend),)

        truth = complex_step(lambda V: LOSSES[loss](V, Y).sum(), self.V)
        return Case(f"{OPS[loss]}, {name}", found, (truth,))

    def train(self, loss: str, name: str, t: Array, Y: Array) -> Case:
        def found(backend: str) -> Gradients:
            """One step of all rows at rate 1 takes off the gradient."""
            W, b, n = self.W[None].copy(), self.b[None].copy(), len(self.X)
            kernels.train(
                self.X,
                t,
                np.arange(n),
                n,
                W,
                b,
                loss=loss,
                learning_rate=1.0,
                sample_weight=self.sample_weight,
                feature_scale=self.scale,
                backend=backend,
            )
            return self.W - W[0], self.b - b[0]

        truth = self._by_weights(lambda V: (self.sample_weight * LOSSES[loss](V, Y)).mean())
        return Case(f"train ({loss}), {name}", found, truth)

    def _by_weights(self, f: Callable[[Array], Any]) -> Gradients:
        """The derivatives of f(V) by W and b, for V = s X W + b."""
        x = self.scale * self.X
        dW = complex_step(lambda W: f(x @ W + self.b), self.W)
        return dW, complex_step(lambda b: f(x @ self.W + b), self.b)

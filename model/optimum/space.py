"""The variables in which a bank is minimised: centred, and each feature by its own curvature.

With m the mean of the features s x, V = (s x - m)ᵀW + b' is the same model, with b' = b + mᵀW; and
where the bias is free its optimum is the same. So the features are centred without touching them:
∇_W at a fixed b' is dW - m ⊗ db. The curvature of f in W_ij is about κ var(s x_i) + λ, with
κ = (1/c)(1 - 1/c) that of a softmax of equal probabilities; its inverse scales the gradient.

Two departures halve the number of evaluations (`bench.studies.optimum --evaluations`): a feature of
hardly any variance is taken to have some, and the bias, which is one direction where correlated
features share another of far more curvature than each of them has, takes longer steps.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from softstep.kernels.arrays import to_host
from softstep.kernels.checks import Array
from softstep.model.optimum.problem import Problem

LEAST_VARIANCE = 0.1  # of the mean over the features
BIAS_STEPS = 6.0  # as long as its curvature says


@dataclass(frozen=True)
class Space:
    """Variables θ (h, d + 1, c), the weights over the bias b', in float64.

    center: m, (d,). inverse: (h, d + 1), the inverse curvatures.
    """

    center: Array
    inverse: Array

    @classmethod
    def of(cls, problem: Problem, c: int) -> Self:
        """Those for a problem with c classes, from one pass over the rows."""
        d = problem.data.X.shape[1]
        mean, square, n = np.zeros(d), np.zeros(d), len(problem.data.X)
        for part in problem.rows(np.dtype(np.float64)):
            x = to_host(part.X)
            mean += x.sum(axis=0)
            square += np.einsum("rd,rd->d", x, x)
        s = problem.data.feature_scale
        mean, square = s * mean / n, s**2 * square / n
        if not problem.has_free_bias:
            mean[:] = 0
        variance = np.maximum(square - mean**2, 0)
        kappa = (1 - 1 / c) / c
        curvature = np.empty((len(problem.l2), d + 1))
        floored = np.maximum(variance, LEAST_VARIANCE * variance.mean())
        curvature[:, :d] = kappa * floored + problem.l2[:, None]
        curvature[:, d] = kappa / BIAS_STEPS + (problem.l2 if problem.l2_bias else 0)
        constant = curvature == 0  # of features without variance, and without l2
        return cls(mean, np.where(constant, 0, 1 / np.where(constant, 1, curvature)))

    def take(self, heads: Array) -> "Space":
        return Space(self.center, self.inverse[heads])

    def variables(self, W: Array, b: Array) -> Array:
        """θ of these weights."""
        theta = np.empty((W.shape[0], W.shape[1] + 1, W.shape[2]))
        theta[:, :-1] = W
        theta[:, -1] = b + self._shift(theta[:, :-1])
        return theta

    def weights(self, theta: Array, dtype: Any) -> tuple[Array, Array]:
        """W and b, rounded to `dtype`."""
        W = theta[:, :-1].astype(dtype)
        return W, (theta[:, -1] - self._shift(theta[:, :-1])).astype(dtype)

    def gradient(self, dW: Array, db: Array) -> Array:
        """∂f/∂θ from ∂f/∂W and ∂f/∂b."""
        g = np.empty((dW.shape[0], dW.shape[1] + 1, dW.shape[2]))
        np.multiply(-self.center[:, None], db[:, None], out=g[:, :-1])
        g[:, :-1] += dW
        g[:, -1] = db
        return g

    def _shift(self, W: Array) -> Array:
        # W (h, d, c) -> mᵀW (h, c)
        return np.einsum("d,hdc->hc", self.center, W)

"""The inverse curvature that L-BFGS begins with, and its pairs correct.

The curvature of f in the weights of a class is Σ_r w_r p(1 - p) (x - m)(x - m)ᵀ / n + λ. At zero
weights all p are 1/c: along an axis q of the features' covariance, with variance v, that is
κ v + λ, κ = (1/c)(1 - 1/c), and its inverse Σ_q q qᵀ / (κ v + λ).

Two departures take fewer evaluations (`bench.studies.optimum --evaluations`): only the axes of
large variance are told apart, and the bias takes longer steps than its curvature says. Where the
covariance takes longer than it can save, the axes are the features.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from softstep.kernels.arrays import to_host
from softstep.kernels.checks import Array
from softstep.model.optimum.problem import WIDENED_VALUES, Problem

LEAST_VARIANCE = 5.0  # of an axis, of the median over the features that have any
LEAST_OF_FEATURE = 0.1  # the same where the axes are the features
BIAS_STEPS = 6.0  # as long as its curvature says
MOST_AXES = 4096  # features whose covariance is held
AXES_PASSES = 200  # passes over the rows of one head, that the axes may cost at most
AXES_ARRAYS = 6  # float64, (d, d), while they are found
BLOCK_ARRAYS = 3  # float64, of WIDENED_VALUES


def has_axes(n: int, d: int, c: int) -> bool:
    """Whether the axes of the covariance are found, for n rows, d features and c classes."""
    return d <= MOST_AXES and n * d + 25 * d * d <= AXES_PASSES * n * c


def bytes_needed(n: int, d: int, c: int) -> int:
    """Bytes that it takes to find the curvature, for n rows, d features and c classes."""
    axes = AXES_ARRAYS * d * d if has_axes(n, d, c) else 0
    return 8 * (BLOCK_ARRAYS * d * min(n, max(1, WIDENED_VALUES // d)) + axes)


@dataclass(frozen=True)
class Curvature:
    """Of h heads, θ (h, d + 1, c).

    axes: as columns, (d, d) float32; None: they are the features. inverse: (h, d + 1), the inverse
    curvatures along the axes, and of the bias, which float32 may not hold. size: the root of the
    mean of ‖s x‖² + 1 over the rows.
    """

    axes: Array | None
    inverse: Array
    size: float

    @classmethod
    def of(cls, problem: Problem, c: int) -> tuple[Array, Self]:
        """The mean of the features, or 0 where the bias is not free, and the curvature."""
        n, d = problem.data.X.shape
        mean, second = _moments(problem, has_axes(n, d, c))
        if not problem.has_free_bias:
            second += mean**2 if second.ndim == 1 else np.outer(mean, mean)
            mean[:] = 0
        variance, axes, least = second, None, LEAST_OF_FEATURE
        of_features = second if second.ndim == 1 else np.diag(second)
        if second.ndim == 2:
            variance, axes = np.linalg.eigh(second)
            axes, least = axes.astype(np.float32), LEAST_VARIANCE
        usual = np.median(of_features[of_features > 0]) if (of_features > 0).any() else 0.0
        kappa = (1 - 1 / c) / c
        curvature = np.empty((len(problem.l2), d + 1))
        floored = np.maximum(variance, least * usual)
        curvature[:, :d] = kappa * floored + problem.l2[:, None]
        curvature[:, d] = kappa / BIAS_STEPS + (problem.l2 if problem.l2_bias else 0)
        flat = curvature == 0  # features without variance, and without l2
        inverse = np.where(flat, 0, 1 / np.where(flat, 1, curvature))
        size = np.sqrt(1 + np.abs(of_features).sum() + (mean**2).sum())
        return mean, cls(axes, inverse, float(size))

    def divide(self, k: int, q: Array, y: Array | None) -> float:
        """Multiply q (d + 1, c), of head k, by the inverse curvature H, in place.

        Returns:
            yᵀ H y of y (d + 1, c); without one, 1.
        """
        c, inverse = q.shape[1], self.inverse[k]
        both = q[:-1] if y is None else np.concatenate([q[:-1], y[:-1]], axis=1)
        if self.axes is not None:
            both = self.axes.T @ both
        divided = (inverse[:-1, None] * both[:, :c]).astype(np.float32)
        q[:-1] = divided if self.axes is None else self.axes @ divided
        q[-1] *= inverse[-1]
        if y is None:
            return 1.0
        along = both[:, c:].astype(np.float64)
        of_W = np.einsum("d,d->", np.einsum("dc,dc->d", along, along), inverse[:-1])
        of_b = y[-1].astype(np.float64)
        return float(of_W + inverse[-1] * np.einsum("c,c->", of_b, of_b))


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused
def _moments(problem: Problem, along_axes: bool) -> tuple[Array, Array]:
    """The mean of the features, (d,), and their covariance, (d, d), or variance, (d,).

    Raises:
        ValueError: they overflow.
    """
    n = len(problem.data.X)
    origin, unit = problem.total(_origin, combine=_first)
    total, second = problem.total(_sums, origin, unit, along_axes)
    total, second = total / n, second / n
    second -= np.outer(total, total) if along_axes else total**2
    s = problem.data.feature_scale
    mean, second = s * (origin + unit * total), np.square(s * unit) * second
    if not np.isfinite(second).all():
        raise ValueError(
            "the features are so large, or so far apart, that their variance overflows: scale them"
        )
    return mean, second


def _origin(problem: Problem) -> tuple[Array, float]:
    """What is near the mean, (d,), where little cancels, and a unit in which nothing overflows."""
    x = to_host(next(problem.rows(np.float64)).X)
    return x.mean(axis=0), float(np.abs(x).max()) or 1.0


def _first(one: Any, _other: Any) -> Any:
    return one


def _sums(problem: Problem, origin: Array, unit: float, along_axes: bool) -> tuple[Array, Array]:
    """Of u = (x - origin) / unit, the sums over the rows of u, (d,), and of u uᵀ or u²."""
    d = len(origin)
    total, second = np.zeros(d), np.zeros((d, d) if along_axes else d)
    for part in problem.rows(np.float64):
        x = (to_host(part.X) - origin) / unit
        total += x.sum(axis=0)
        if along_axes:
            x = x.astype(np.float32)
            second += x.T @ x
        else:
            second += np.einsum("rd,rd->d", x, x)
    return total, second

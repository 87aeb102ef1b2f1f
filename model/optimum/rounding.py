"""How far float64 may be off in what a proof goes by; docs/derivation.md derives each bound.

The logits of a row r are off by e_r = γ_{d+5} a_r at most, where
a_r = Σ_j |s x_rj| max_i |W_ji| + max_i |b_i|:
where features far from 0 are taken off again by the bias, that is much more than the logits say.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from softstep import kernels
from softstep.kernels.arrays import to_host
from softstep.kernels.checks import Array
from softstep.model import trainer
from softstep.model.optimum.absent import are_absent
from softstep.model.optimum.problem import Problem

U = float(np.finfo(np.float64).eps / 2)
MOST = 0.05  # that a logit may be off, if anything is to be proven
SLACK = 1.1  # for the squares of small numbers, and the rounding of the bounds
SUMMED = 256, 512  # rows that a backend sums before it adds them to others: at least, at most
COLUMNS = 1024  # numbers of a row that are held at a time, unless one head takes more


def gamma(k: float) -> float:
    """How far k roundings in a row may be off, relative."""
    return k * U / (1 - k * U)


@dataclass(frozen=True)
class Errors:
    """Of each of h heads, (h,), how far may be off:

    f: the objective. gradient: its gradient, in the norm, by W at a fixed b' where the bias is
    free, else by all parameters. of_bias: that by b, the sum over the classes. curvature: that in
    the bias, relative; infinite where the logits are off by more than MOST. features: s x, the root
    of the mean of the squared norm.
    """

    f: Array
    gradient: Array
    of_bias: Array
    curvature: Array
    features: Array


@dataclass(frozen=True)
class Sizes:
    """Of each of h heads, (h,), how large what is summed is.

    weight: the mean of the row weights w. logit_square: that of w a_r², without the bias in a_r;
    logit_most: the largest of these. square, spread: the means of w ‖s x‖² and of w ‖s x - m‖².
    """

    weight: Array
    logit_square: Array
    logit_most: Array
    square: Array
    spread: Array

    @classmethod
    def of(cls, problem: Problem, W: Array, center: Array) -> Self:
        """Those of heads W (h, d, c). center: m."""
        largest = np.ascontiguousarray(np.abs(W).max(axis=2).T)
        given = largest, center, W.shape[2]
        sums, most = problem.total(_sizes, *given, combine=_sums_and_most)
        weight, logit_square, square, spread = sums / len(problem.data.X)
        return cls(weight, logit_square, most, square, spread)

    def take(self, heads: Array) -> Self:
        """Those of these heads."""
        return type(self)(*(values[heads] for values in vars(self).values()))

    def errors(self, problem: Problem, f: Array, b: Array, center: Array, d: int) -> Errors:
        """Of heads whose objective is about f (h,), with the bias b (h, c)."""
        n, c = len(problem.data.X), b.shape[1]
        most_of_b = np.where(are_absent(b), 0, np.abs(b)).max(axis=1)
        root, size = np.sqrt(self.weight), np.sqrt(self.square)
        e = gamma(d + 5)
        most = e * (self.logit_most + most_of_b)
        rms = e * (np.sqrt(self.logit_square) + root * most_of_b)
        f = np.abs(f) * (1 + 4 * MOST)  # of the objective as it is
        dv = np.sqrt(2 * f)  # the root of the mean of w ‖p - y‖², at most
        row = 3 * gamma(c + 8)  # of p - y, its own arithmetic
        sums = gamma(SUMMED[1] + n // SUMMED[0] + 2 * problem.block_count + 16)
        of_loss = np.minimum(rms * (dv + rms), 2 * most * f) + gamma(n + 2 * d * c + c + 32) * f
        of_row = np.minimum(2 * rms, 2 * most * dv) + row * root
        of_bias = np.minimum(2 * rms * dv, 4 * most * f) + row * self.weight + sums * root * dv
        if problem.has_free_bias:
            spread, summed = np.sqrt(self.spread), size + root * np.sqrt((center**2).sum())
        else:
            spread = summed = np.sqrt(self.square + problem.fit_bias * self.weight)
        gradient = spread * of_row + sums * summed * dv + 8 * U * np.sqrt(problem.l2) * dv
        curvature = np.expm1(4 * most + 16 * U + 2 * gamma(n + 3))
        curvature = np.where(most <= MOST, curvature, np.inf)
        return Errors(SLACK * of_loss, SLACK * gradient, SLACK * of_bias, curvature, 2 * U * size)


@np.errstate(over="ignore", invalid="ignore")  # as where it is proven, wherever the rows are
def _sizes(problem: Problem, largest: Array, center: Array, c: int) -> tuple[Array, Array]:
    """The sums over the rows of w, w a_r², w ‖s x‖² and w ‖s x - m‖², (4, h), and the largest a_r,
    (h,). largest: the largest weight of each feature and head, (d, h)."""
    h, data = largest.shape[1], problem.data
    sums, most = np.zeros((4, h)), np.zeros(h)
    for part in problem.rows(np.float64, max(COLUMNS, c)):
        x = to_host(part.X)
        a = kernels.linear_forward(
            np.abs(x),
            largest,
            np.zeros(h),
            feature_scale=abs(data.feature_scale),
            backend=problem.backend,
            n_threads=problem.n_threads,
        )
        a, w = to_host(a), weights_of(part, h)
        x = data.feature_scale * x
        square = np.einsum("rd,rd->r", x, x)
        x -= center
        sums[0] += w.sum(axis=1)
        sums[1] += np.einsum("hr,rh->h", w, a**2)
        sums[2] += w @ square
        sums[3] += w @ np.einsum("rd,rd->r", x, x)
        most = np.maximum(most, np.where(w.T > 0, a, 0).max(axis=0))
    return sums, most


def _sums_and_most(one: tuple[Array, Array], other: tuple[Array, Array]) -> tuple[Array, Array]:
    return one[0] + other[0], np.maximum(one[1], other[1])


def weights_of(data: trainer.Rows, h: int) -> Array:
    """The row weights of h heads, (h, n) float64."""
    if data.sample_weight is None:
        return np.ones((h, len(data.X)))
    sets = np.atleast_2d(to_host(data.sample_weight))
    index = np.zeros(h, np.int64) if data.weight_index is None else data.weight_index
    found: Array = sets[index].astype(np.float64)
    return found

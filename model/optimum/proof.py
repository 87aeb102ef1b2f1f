"""How far a head is from its optimum: a bound from its gradient, without knowing the optimum.

With λ on all parameters f is λ-strongly convex: f - f* ≤ ‖∇f‖² / (2λ). With a free bias
g(W) = min_b f(W, b) is, and ∇g(W) = ∇_W f(W, b*): Newton's method goes to b*, and what is left of
the way is bounded by the curvature in b. All of it is in float64, and what that rounds is in the
bound (rounding.py). docs/derivation.md derives both.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from softstep import kernels
from softstep.kernels import blas
from softstep.kernels.arrays import to_host
from softstep.kernels.checks import Array
from softstep.model.optimum.problem import WIDENED_VALUES, Problem
from softstep.model.optimum.rounding import COLUMNS, SLACK, Errors, Sizes, U, weights_of

MOST_PASSES = 12  # of Newton's method; the last ones double the figures
REMAINDER = 0.01  # of the bound, which the way left to b* may add
GROUP_BYTES = 1 << 24  # for the weights and gradients of the heads proven together
GROUP_ARRAYS = 8  # float64, the size of the group's weights: W, dW, those that a kernel packs
BLOCK_ARRAYS = 6  # float64, of WIDENED_VALUES: features, logits, probabilities, on the way
WIDENED_ROWS = 512  # that a kernel widens at a time


@dataclass(frozen=True)
class Proof:
    """Of each head, (h,): f, the norm of its gradient, and a number that no f* is below.

    least: -inf where nothing is proven. b: (h, c), a bias at least as good as the one given, at
    which objective and gradient_norm are not taken.
    """

    objective: Array
    gradient_norm: Array
    least: Array
    b: Array

    @property
    def bound(self) -> Array:
        """On how far f is above f*; NaN where nothing is proven."""
        return bound_of(self.objective, self.least)


def bound_of(objective: Array, least: Array) -> Array:
    """How far f is at most above f*, which is not below `least`, nor below 0; NaN for -inf."""
    bound = np.maximum(objective - np.maximum(least, 0), 0)
    return np.where(np.isfinite(least), bound, np.nan)


def group_heads(d: int, c: int) -> int:
    """How many heads of d features and c classes are proven together."""
    of_weights = GROUP_BYTES // (GROUP_ARRAYS * 8 * (d + 1) * c)
    return max(1, min(of_weights, max(COLUMNS, d) // c))


def bytes_needed(n: int, h: int, d: int, c: int) -> int:
    """Bytes that proofs for h heads over n rows take besides heads and rows; 0 for no heads."""
    if not h:
        return 0
    g = min(h, group_heads(d, c))
    rows = min(n, max(1, WIDENED_VALUES // max(d, c, COLUMNS)))
    in_kernel = 2 * min(n, WIDENED_ROWS) * (d + g * c)  # features twice; losses beside logits
    in_kernel *= 2  # a worker may still hold what the call before was given
    in_blocks = BLOCK_ARRAYS * rows * max(d, g * c)
    return 8 * (GROUP_ARRAYS * g * (d + 1) * c + in_blocks + in_kernel)


@blas.on_one_thread()
def prove(
    problem: Problem, W: Array, b: Array, center: Array | None = None, tol: float = 0.0
) -> Proof:
    """Proofs for the heads W (h, d, c), b (h, c).

    center: the mean of the features, (d,), if it is known: any center gives a bound, this one the
    smallest; None: 0. tol: no pass over the rows is made for a bound below `tol`, relative to the
    least.
    """
    h, d, c = W.shape
    center = np.zeros(d) if center is None else center
    together = group_heads(d, c)
    parts = [
        _of_group(problem.take(some), W[some], b[some], center, tol)
        for some in np.split(np.arange(h), range(together, h, together))
    ]
    fields = zip(*((p.objective, p.gradient_norm, p.least, p.b) for p in parts), strict=True)
    return Proof(*map(np.concatenate, fields))


@np.errstate(over="ignore", invalid="ignore")  # what is not finite proves nothing
def _of_group(problem: Problem, W: Array, b: Array, center: Array, tol: float) -> Proof:
    """`prove` for heads that are proven together."""
    W, b = W.astype(np.float64), b.astype(np.float64)
    f, dW, db = problem.value(W, b)
    norm = np.sqrt(_squares(dW) + (db**2).sum(axis=1))
    least, going = np.full(len(W), -np.inf), np.flatnonzero(problem.provable)
    if not len(going):
        return Proof(f, norm, least, b)
    sizes = Sizes.of(problem.take(going), W[going], center)
    if not problem.has_free_bias:
        some = problem.take(going)
        errors = sizes.errors(some, f[going], b[going], center, W.shape[1])
        found = f[going] - errors.f - (norm[going] + errors.gradient) ** 2 / (2 * some.l2)
        least[going] = np.fmax(-np.inf, np.where(np.isfinite(errors.curvature), found, -np.inf))
        return Proof(f, norm, least, b)
    value = f[going], dW[going], db[going]
    for passes in range(MOST_PASSES):
        some = problem.take(going)
        if passes > 0:
            value = some.value(W[going], b[going])
        errors = sizes.errors(some, value[0], b[going], center, W.shape[1])
        found, steps, goes_on = _with_free_bias(some, W[going], b[going], value, center, errors)
        least[going] = np.fmax(least[going], found)
        goes_on &= f[going] > (1 + tol) * least[going]
        b[going[goes_on]] += steps[goes_on]
        going, sizes = going[goes_on], sizes.take(goes_on)
        if not len(going):
            break
    return Proof(f, norm, least, b)


def _with_free_bias(
    problem: Problem,
    W: Array,
    b: Array,
    value: tuple[Array, Array, Array],
    center: Array,
    errors: Errors,
) -> tuple[Array, Array, Array]:
    """A number below f*, (h,); a step of the bias to b*, (h, c); whether it is worth taking."""
    f, dW, db = value
    curvature, mass, spread = _curvature(problem, W, b, center)
    h, c = b.shape
    least, steps, goes_on = np.full(h, -np.inf), np.zeros((h, c)), np.zeros(h, bool)
    norm = np.sqrt(_squares(dW - center[:, None] * db[:, None])) + errors.gradient
    for k in range(h):
        newton = _newton(curvature[k], mass[k], db[k], errors.of_bias[k], errors.curvature[k])
        if newton is None:
            continue
        steps[k], decrement, a = newton.step, newton.decrement + newton.rounding, newton.a
        bare = norm[k] ** 2 / (2 * problem.l2[k])
        goes_on[k] = newton.decrement > newton.rounding
        if a * decrement < 1:
            way = -np.log1p(-a * decrement) / a
            shift = (SLACK * np.sqrt(spread[k]) + errors.features[k]) * way * np.exp(a * way)
            added = decrement * way + ((norm[k] + shift) ** 2 - norm[k] ** 2) / (2 * problem.l2[k])
            least[k] = f[k] - errors.f[k] - bare - added
            goes_on[k] &= added > REMAINDER * max(bare, errors.f[k])
        reach = np.ptp(steps[k])
        if reach > 0.5:  # damped, a step never overshoots
            steps[k] *= np.log1p(reach) / reach
    return least, steps, goes_on


class Newton(NamedTuple):
    """Newton's step for the bias of one head, (c,); its decrement ν, and what rounding may add to
    it; a = √(2/μ)."""

    step: Array
    decrement: float
    rounding: float
    a: float


def _newton(H: Array, mass: Array, g: Array, error: float, share: float) -> Newton | None:
    """Newton's step for the bias of one head.

    H (c, c), g (c,): curvature and gradient, with how far g may be off, in the norm, and H,
    relative. mass (c,): the mean of w p. A class without probability and without rows has no part
    in it. μ is the least curvature besides that along (1, …, 1), which moves no probability. None:
    there is no curvature to go by, or it cannot be told.
    """
    own, step = (mass > 0) | (g != 0), np.zeros(len(g))
    if own.sum() < 2:
        return Newton(step, 0.0, 0.0, 1.0) if not g.any() else None
    if not (np.isfinite(share) and (np.diag(H)[own] > 0).all()):
        return None
    H, g = H[np.ix_(own, own)], g[own]
    c, eps = len(g), 2 * U
    lifted = H + np.trace(H) / c  # curvature along (1, …, 1), more than along any other
    least = float(np.linalg.eigvalsh(lifted)[0])
    least -= 4 * c * eps * float(np.trace(lifted))  # its rounding
    if not least > 0:
        return None
    solved = -np.linalg.solve(lifted, g)
    step[own] = solved
    decrement = max(0.0, -float(solved @ g)) ** 0.5
    left = float(np.linalg.norm(lifted @ solved + g))
    left += c * eps * float(np.linalg.norm(lifted) * np.linalg.norm(solved) + np.linalg.norm(g))
    more = float(np.sqrt(1 + share))
    rounding = more * (left + error) / np.sqrt(least) + (more - 1) * decrement
    return Newton(step, decrement, float(rounding), more * float(np.sqrt(2 / least)))


def _curvature(problem: Problem, W: Array, b: Array, center: Array) -> tuple[Array, Array, Array]:
    """∂²f/∂b², (h, c, c), the mean of w p, (h, c), and that of w ‖s x - m‖² κ, (h,): κ, at most ½,
    is the trace of a row's curvature in its logits, Σ_i p_i (1 - p_i).

    What is on the diagonal, the mean of w p_i (1 - p_i), is the sum of that of w p_i p_j over the
    other classes: where rows are sure nothing cancels.
    """
    H, mass, spread = problem.total(_sums, W, b, center)
    lower = np.tril(H, -1)
    H = lower + lower.transpose(0, 2, 1)  # of the same numbers on both sides
    at, n = np.arange(W.shape[2]), len(problem.data.X)
    H[:, at, at] = -H.sum(axis=2)
    return H / n, mass / n, spread / n


@np.errstate(over="ignore", invalid="ignore")  # as where it is proven, wherever the rows are
def _sums(problem: Problem, W: Array, b: Array, center: Array) -> tuple[Array, Array, Array]:
    """The sums over the rows of -w p_i p_j, (h, c, c), of w p, (h, c), and of w ‖s x - m‖² κ."""
    h, d, c = W.shape
    columns = np.ascontiguousarray(W.transpose(1, 0, 2)).reshape(d, h * c)
    H, mass, spread = np.zeros((h, c, c)), np.zeros((h, c)), np.zeros(h)
    how: dict[str, Any] = {"backend": problem.backend, "n_threads": problem.n_threads}
    for part in problem.rows(np.float64, max(COLUMNS, c)):
        scale = problem.data.feature_scale
        V = kernels.linear_forward(part.X, columns, b.reshape(-1), feature_scale=scale, **how)
        P = to_host(kernels.softmax_forward(V.reshape(-1, c), **how)).reshape(-1, h, c)
        w, x = weights_of(part, h), scale * to_host(part.X) - center
        gaps = np.einsum("rd,rd->r", x, x)
        for k in range(h):
            weighted = P[:, k] * w[k, :, None]
            H[k] -= weighted.T @ P[:, k]
            mass[k] += weighted.sum(axis=0)
            spread[k] += w[k] @ (gaps * np.minimum(0.5, _traces(P[:, k])))
    return H, mass, spread


def _traces(P: Array) -> Array:
    """Σ_i p_i (1 - p_i) of each row of P (n, c), from the probabilities besides the largest."""
    rows, largest = np.arange(len(P)), P.argmax(axis=1)
    others = P.copy()
    others[rows, largest] = 0
    rest = others.sum(axis=1)
    found: Array = rest * P[rows, largest] + rest - (others**2).sum(axis=1)
    return found


def _squares(dW: Array) -> Array:
    return np.einsum("hdc,hdc->h", dW, dW)

"""How far a head is from its optimum: a bound from its gradient, without knowing the optimum.

With λ on all parameters f is λ-strongly convex: f - f* ≤ ‖∇f‖² / (2λ). With a free bias
g(W) = min_b f(W, b) is, and ∇g(W) = ∇_W f(W, b*): Newton's method goes to b*, and what is left of
the way is bounded by the curvature in b. docs/derivation.md derives both. All of it is in float64.
"""

from dataclasses import dataclass

import numpy as np

from softstep import kernels
from softstep.kernels.arrays import to_host
from softstep.kernels.checks import Array
from softstep.model import trainer
from softstep.model.optimum.problem import WIDENED_VALUES, Problem

MOST_PASSES = 12  # of Newton's method; the last ones double the figures
REMAINDER = 0.01  # of the bound, which the way left to b* may add
GROUP_BYTES = 1 << 24  # for the weights and gradients of the heads proven together
GROUP_ARRAYS = 8  # float64, the size of the group's weights: W, dW, those that a kernel packs
BLOCK_ARRAYS = 6  # float64, of WIDENED_VALUES: features, logits, probabilities, on the way
WIDENED_ROWS = 512  # that a kernel widens at a time


@dataclass(frozen=True)
class Proof:
    """Of each head, (h,): f, the norm of its gradient, and a number that no f* is below.

    least: -inf where nothing is proven. b: (h, c), a bias at least as good as the one given.
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
    return max(1, GROUP_BYTES // (GROUP_ARRAYS * 8 * (d + 1) * c))


def bytes_needed(n: int, h: int, d: int, c: int) -> int:
    """Bytes that proofs for h heads over n rows take besides heads and rows; 0 for no heads."""
    if not h:
        return 0
    g = min(h, group_heads(d, c))
    rows = min(n, max(1, WIDENED_VALUES // d))
    in_kernel = 2 * min(n, WIDENED_ROWS) * (d + g * c)  # features twice; losses beside logits
    in_kernel *= 2  # a worker may still hold what the call before was given
    in_blocks = BLOCK_ARRAYS * rows * max(d, g * c)
    return 8 * (GROUP_ARRAYS * g * (d + 1) * c + in_blocks + in_kernel)


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
        _prove(problem.take(some), W[some], b[some], center, tol)
        for some in np.split(np.arange(h), range(together, h, together))
    ]
    fields = zip(*((p.objective, p.gradient_norm, p.least, p.b) for p in parts), strict=True)
    return Proof(*map(np.concatenate, fields))


def _prove(problem: Problem, W: Array, b: Array, center: Array, tol: float) -> Proof:
    W, b = W.astype(np.float64), b.astype(np.float64)
    f, dW, db = problem.value(W, b)
    squared = _squares(dW) + (db**2).sum(axis=1)
    least = np.full(len(W), -np.inf)
    if problem.has_free_bias:
        going = np.flatnonzero(problem.provable)
        value = f[going], dW[going], db[going]
        for passes in range(MOST_PASSES):
            if not len(going):
                break
            some = problem.take(going)
            if passes > 0:
                value = some.value(W[going], b[going])
            found, steps, goes_on = _with_free_bias(some, W[going], b[going], value, center)
            least[going] = np.maximum(least[going], found)
            goes_on &= f[going] > (1 + tol) * least[going]
            b[going[goes_on]] += steps[goes_on]
            going = going[goes_on]
    else:
        proven = problem.provable
        least[proven] = f[proven] - squared[proven] / (2 * problem.l2[proven])
    return Proof(f, np.sqrt(squared), least, b)


def _with_free_bias(
    problem: Problem, W: Array, b: Array, value: tuple[Array, Array, Array], center: Array
) -> tuple[Array, Array, Array]:
    """A number below f*, (h,); a step of the bias to b*, (h, c); whether it is worth taking."""
    f, dW, db = value
    curvature, spread = _curvature(problem, W, b, center)
    h, c = b.shape
    least, steps, goes_on = np.full(h, -np.inf), np.zeros((h, c)), np.zeros(h, bool)
    norm = np.sqrt(_squares(dW - center[:, None] * db[:, None]))
    for k in range(h):
        newton = _newton(curvature[k], db[k])
        if newton is None:
            continue
        steps[k], decrement, a = newton
        bare = norm[k] ** 2 / (2 * problem.l2[k])
        goes_on[k] = True
        if a * decrement < 1:
            way = -np.log1p(-a * decrement) / a
            shift = np.sqrt(spread[k] / 2) * way * np.exp(a * way / 2)
            added = decrement * way + ((norm[k] + shift) ** 2 - norm[k] ** 2) / (2 * problem.l2[k])
            least[k] = f[k] - bare - added
            goes_on[k] = added > REMAINDER * max(bare, 1e-3 * np.finfo(np.float64).eps * f[k])
        reach = np.ptp(steps[k])
        if reach > 0.5:  # damped, a step never overshoots
            steps[k] *= np.log1p(reach) / reach
    return least, steps, goes_on


def _newton(H: Array, g: Array) -> tuple[Array, float, float] | None:
    """Newton's step for the bias of one head, its decrement ν, and a = √(2/μ).

    H (c, c), g (c,): curvature and gradient; a class of probability 0 everywhere has none. μ is the
    least curvature besides that along (1, …, 1), which moves no probability. None: there is no
    curvature to go by, or none in a class that has a gradient.
    """
    own, step = np.diag(H) > 0, np.zeros(len(g))
    if g[~own].any():
        return None
    if own.sum() < 2:
        return (step, 0.0, 1.0) if not g.any() else None
    H = H[np.ix_(own, own)]
    lifted = H + np.trace(H) / len(H)  # curvature along (1, …, 1), more than along any other
    least = float(np.linalg.eigvalsh(lifted)[0])
    least -= 4 * len(H) * np.finfo(np.float64).eps * float(np.trace(lifted))  # its rounding
    if not least > 0:
        return None
    step[own] = -np.linalg.solve(lifted, g[own])
    decrement = max(0.0, -float(step @ g)) ** 0.5
    return step, decrement, float(np.sqrt(2 / least))


def _curvature(problem: Problem, W: Array, b: Array, center: Array) -> tuple[Array, Array]:
    """∂²f/∂b², (h, c, c), and the mean of w ‖s x - m‖², (h,)."""
    (h, d, c), data = W.shape, problem.data
    columns = np.ascontiguousarray(W.transpose(1, 0, 2)).reshape(d, h * c)
    H, spread, on = np.zeros((h, c, c)), np.zeros(h), problem.backend
    for part in problem.rows(np.float64):
        V = kernels.linear_forward(
            part.X, columns, b.reshape(-1), feature_scale=data.feature_scale, backend=on
        )
        P = to_host(kernels.softmax_forward(V.reshape(-1, c), backend=on)).reshape(-1, h, c)
        gaps = ((data.feature_scale * to_host(part.X) - center) ** 2).sum(axis=1)
        for k in range(h):
            w = _weights(part, k, len(P))
            weighted = P[:, k] * w[:, None]
            H[k] -= weighted.T @ P[:, k]
            H[k][np.diag_indices(c)] += weighted.sum(axis=0)
            spread[k] += w @ gaps
    n = len(data.X)
    return H / n, spread / n


def _weights(data: trainer.Rows, k: int, n: int) -> Array:
    """Those of the rows of head k, (n,)."""
    if data.sample_weight is None:
        return np.ones(n)
    sets = np.atleast_2d(to_host(data.sample_weight))
    return sets[0 if data.weight_index is None else data.weight_index[k]].astype(np.float64)


def _squares(dW: Array) -> Array:
    return np.einsum("hdc,hdc->h", dW, dW)

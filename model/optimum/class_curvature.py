"""The curvature where a head is, class by class: what L-BFGS goes by far from zero weights.

∂²f/∂θ_j∂θ_k = Σ_r w_r p_j ([j = k] - p_k) z zᵀ / n + λ [j = k], z the centred features and a 1
for the bias. The blocks of its diagonal, B_j, are inverted. What the others say is that where all
classes shift alike nothing changes: `lbfgs` takes such a shift out of every direction. Without
that, on MNIST at C = 100 it takes ten times the steps. Of two classes p_1 = 1 - p_0: B_0 = B_1.
"""

from dataclasses import dataclass
from functools import partial
from operator import add
from typing import Any, Self

import numpy as np

from softstep import kernels
from softstep.kernels import blas
from softstep.kernels.arrays import taken, to_host
from softstep.kernels.checks import Array, compute_dtype
from softstep.model.optimum.problem import Problem
from softstep.model.optimum.rounding import weights_of
from softstep.model.optimum.space import Space

# A class is curved by the rows that are near its boundary: those that make up so much of its
# curvature are added up, and at most so many for each feature. What they miss of a feature, which
# may be 0 in all of them, is added to its own curvature.
SHARE, ROWS_PER_FEATURE = 0.95, 4
BLOCK_ROWS = 1 << 14  # rows read at a time
CENTRED_ROWS = 1 << 8  # of them, whose features are centred at a time: they stay in the cache
GROUP_BYTES = 1 << 26  # of the B_j that are added up at a time
AT_ONCE = 4  # threads at most that work on those, which bounds the memory
INVERTED = 64  # a triangle of at most so many rows is inverted directly
NOISE = float(np.finfo(np.float32).eps)  # of the products that are added up


def _different(c: int) -> int:
    """How many B_j of c classes differ."""
    return 1 if c == 2 else c


def bytes_of_head(d: int, c: int) -> int:
    """Bytes of the curvature of a head with d features and c classes."""
    return 4 * _different(c) * (d + 1) ** 2


def bytes_to_find(n: int, d: int, c: int) -> int:
    """Bytes that it takes to find that of a head over n rows, besides itself."""
    rows, size, classes = min(n, BLOCK_ROWS), (d + 1) ** 2, min(_different(c), _together(d))
    few = min(rows, ROWS_PER_FEATURE * (d + 1))  # those that stand for all, and their product
    adding = AT_ONCE * (4 * few * (d + 1) + 4 * size + 24 * rows + 8 * CENTRED_ROWS * (d + 1))
    return 16 * classes * size + 24 * rows * c + max(adding, AT_ONCE * 32 * size)


def _together(d: int) -> int:
    """How many B_j of d features are added up at a time."""
    return max(1, GROUP_BYTES // (8 * (d + 1) ** 2))


def evaluations(n: int, d: int, c: int) -> float:
    """How many evaluations of the head, 4 n d c operations each, cost as much."""
    rows = min(n, ROWS_PER_FEATURE * d)
    return _different(c) * d * (rows + 4 * d) / (4 * max(n, 1) * c)


@dataclass(frozen=True)
class ClassCurvature:
    """Of one head, θ (d + 1, c).

    inverse: (c, d + 1, d + 1) float32, L⁻¹ of each B_j = L Lᵀ: however it is rounded, B⁻¹ is
    positive. (1, d + 1, d + 1) where all classes have the same.
    """

    inverse: Array

    @classmethod
    def at(cls, theta: Array, problem: Problem, space: Space) -> Self | None:
        """The curvature of the one head in `problem` at θ (d + 1, c).

        None where it is not finite, or lost in what float32 rounds.
        """
        size, count = len(theta), _different(theta.shape[1])
        inverse = np.empty((count, size, size), np.float32)
        together = _together(size - 1)
        for first in range(0, count, together):
            group = slice(first, min(first + together, count))
            for j, found in enumerate(_inverses(theta, problem, space, group), first):
                if found is None:
                    return None
                inverse[j] = found
        return cls(inverse)

    def divide(self, q: Array, y: Array) -> float:
        """Multiply q (d + 1, c) by the inverse curvature H, in place.

        Returns:
            yᵀ H y of y (d + 1, c).
        """
        root, root_of_y = _each(self.inverse, q), _each(self.inverse, y)
        q[:] = _each(self.inverse.transpose(0, 2, 1), root)
        return float(np.einsum("dj,dj->", root_of_y, root_of_y, dtype=np.float64))


def _each(matrices: Array, x: Array) -> Array:
    # (c or 1, d, d), x (d, c) -> (d, c), each class by its own; a column at a time is the fastest
    product: Array = (matrices @ x.T[:, :, None])[:, :, 0].T
    return product


def _inverses(theta: Array, problem: Problem, space: Space, group: slice) -> list[Array | None]:
    """L⁻¹ of B_j of each of these classes."""
    X = problem.data.X
    W, b = (x[0] for x in space.weights(theta[None], compute_dtype(X)))
    ridge = np.full(len(theta), problem.l2[0])
    ridge[-1] *= problem.l2_bias
    finish = partial(_inverses_of, ridge=ridge, n_threads=problem.n_threads)
    given = W, b, space.center, group, len(X)
    found: list[Array | None] = problem.total(_sums, *given, combine=add, finish=finish)
    return found


def _inverses_of(sums: Array, ridge: Array, n_threads: int | None) -> list[Array | None]:
    """The same of what `_sums` says of all rows. ridge: what l2 adds to the diagonal, (d + 1,)."""
    return list(blas.each(partial(_inverse_of, ridge=ridge), sums, n_threads, AT_ONCE))


@np.errstate(over="ignore", invalid="ignore")
def _inverse_of(sums: Array, ridge: Array) -> Array | None:
    """The same of one class, (d + 1, d + 1) float32; None where it is not to be had."""
    B = _block(sums, ridge)
    if not np.isfinite(B).all():
        return None
    try:
        return _inverted(np.linalg.cholesky(B)).astype(np.float32)
    except np.linalg.LinAlgError:
        return None


def _block(sums: Array, ridge: Array) -> Array:
    """B_j, (d + 1, d + 1)."""
    B = sums[:-1].astype(np.float64)
    diagonal = np.einsum("ii->i", B)
    np.maximum(diagonal, sums[-1], out=diagonal)
    # Of each feature by its own size: that of a large one would hide the curvature of the others.
    # One that is constant has some of the whole, so that it can be inverted without l2.
    trace = diagonal.sum()
    diagonal += NOISE * len(B) * diagonal + NOISE**2 * trace + np.finfo(np.float32).tiny + ridge
    return B


@np.errstate(over="ignore", invalid="ignore")  # wherever the rows are
def _sums(problem: Problem, W: Array, b: Array, center: Array, group: slice, n: int) -> Array:
    """Σ w p_j (1 - p_j) z zᵀ / n over the rows here, of n in all, of these classes of one head: of
    each class at most so many rows to a row. Below it that of z² of each feature, over all rows."""
    # W (d, c), b (c,) -> (classes, d + 2, d + 1) float32, as the products are
    d, most = len(W), ROWS_PER_FEATURE * (len(W) + 1) / n
    total = np.zeros((len(b[group]), d + 2, d + 1))
    blocks, of_features = total[:, :-1], total[:, -1, :-1]
    kept = np.empty((CENTRED_ROWS, d), np.float32)
    for part in problem.rows():
        weights = weights_of(part, 1)[0]
        for first in range(0, len(part.X), BLOCK_ROWS):
            rows = slice(first, first + BLOCK_ROWS)
            X = part.X[rows]
            P = _probabilities(X, W, b, problem)[:, group]
            v = (P * (1 - P) * weights[rows, None]).astype(np.float32)
            outer = partial(_outer, X, problem=problem, center=center, most=most)
            products = blas.each(outer, v.T, problem.n_threads, AT_ONCE)
            for block, product in zip(blocks, products, strict=True):
                block += product
            for start in range(0, len(X), CENTRED_ROWS):
                some = slice(start, start + CENTRED_ROWS)
                z = kept[: len(v[some])]
                _center(X[some], problem, center, z)
                of_features += v[some].T @ np.square(z, out=z)
    total /= n
    return total.astype(np.float32)


def _probabilities(X: Any, W: Array, b: Array, problem: Problem) -> Array:
    # X (n, d), W (d, c), b (c,) -> P (n, c)
    how: dict[str, Any] = {"backend": problem.backend, "n_threads": problem.n_threads}
    V = kernels.linear_forward(X, W, b, feature_scale=problem.data.feature_scale, **how)
    return to_host(kernels.softmax_forward(V, **how))


def _center(X: Any, problem: Problem, center: Array, to: Array) -> None:
    # X (n, d) -> to (n, d) float32, of what float64 subtracts
    scale = compute_dtype(X).type(problem.data.feature_scale)
    np.subtract(to_host(X) * scale, center, out=to, casting="unsafe")


def _outer(X: Any, v: Array, problem: Problem, center: Array, most: float) -> Array:
    # X (n, d), v (n,) -> Σ v z zᵀ, (d + 1, d + 1): about, of the rows whose v is largest
    d = len(center)
    order = np.argsort(-v, kind="stable")
    total = np.cumsum(v[order], dtype=np.float64)
    most_rows = min(int(np.ceil(most * len(v))), len(v))
    count = min(int(np.searchsorted(total, SHARE * total[-1])) + 1, most_rows)
    if total[count - 1] <= 0:
        return np.zeros((d + 1, d + 1))
    rows = np.sort(order[:count])
    Z = np.empty((count, d + 1), np.float32)
    for start in range(0, count, CENTRED_ROWS):
        some = slice(start, start + CENTRED_ROWS)
        _center(taken(X, rows[some]), problem, center, Z[some, :d])
    Z[:, d] = problem.fit_bias
    Z *= np.sqrt(v[rows] * (total[-1] / total[count - 1])).astype(np.float32)[:, None]
    return Z.T @ Z


def _inverted(L: Array) -> Array:
    """L⁻¹ of a lower triangle, by halves."""
    if len(L) <= INVERTED:
        return np.linalg.inv(L)
    half = len(L) // 2
    inverse = np.zeros_like(L)
    top, bottom = _inverted(L[:half, :half]), _inverted(L[half:, half:])
    inverse[:half, :half], inverse[half:, half:] = top, bottom
    inverse[half:, :half] = -bottom @ (L[half:, :half] @ top)
    return inverse

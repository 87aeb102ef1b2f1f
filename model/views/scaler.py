"""How rows are scaled before a model sees them: to unit length, then columns to mean 0, variance 1.

    u = s x, or s x / ‖s x‖         ũ = (u - μ) / σ

Weights W̃, b̃ of scaled rows and W, b of u are the same model where W = W̃/σ, b = b̃ - Wᵀμ.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from softstep.kernels import Scaled
from softstep.kernels.checks import Array, compute_dtype

SCALINGS = (None, "standard", "l2", "l2+standard")
LOSS = 2  # roundings of values around 1, in eps, that count for nothing
UNIT_ROUNDINGS = 4  # of eps: how far rounding may move the values of a row of unit length


@dataclass(frozen=True, eq=False)
class Scaler:
    """unit: whether rows are brought to unit length; rows of zeros stay.

    mean, scale: μ and σ, (d,) float64; None: columns stay. σ is 0 for a column of which nothing is
    left in the rows that were measured, since it is constant: it is not divided.

    given, factor: of rows s x, the mean of x, (d,), and s, where it is not 1: μ/s is rounded, and
    would leave something of a constant column.
    """

    unit: bool
    mean: Array | None = None
    scale: Array | None = None
    given: Array | None = None
    factor: float = 1.0

    @property
    def scaling(self) -> str:
        """The setting that it is of."""
        if self.mean is None:
            return "l2"
        return "l2+standard" if self.unit else "standard"

    @property
    def divisor(self) -> Array:
        """What columns are divided by: σ, and 1 for constant ones."""
        assert self.scale is not None
        return np.where(self.scale == 0, 1.0, self.scale)

    @property
    def inverse(self) -> Array:
        """1/σ, and 1 for constant columns."""
        with np.errstate(over="ignore"):  # of a σ that is refused
            inverse: Array = 1 / self.divisor
        return inverse

    def usable(self, dtype: np.dtype[Any]) -> Array:
        """Which columns can be scaled in this dtype, (d,): μ, σ and 1/σ are finite there."""
        assert self.mean is not None
        assert self.scale is not None
        with np.errstate(over="ignore", invalid="ignore"):
            figures = np.stack([self.mean, self.scale, self.inverse]).astype(dtype)
        usable: Array = np.isfinite(figures).all(axis=0)
        return usable

    def arrays(self) -> dict[str, Array]:
        """Its statistics by name."""
        pairs = {"mean": self.mean, "scale": self.scale}
        return {name: array for name, array in pairs.items() if array is not None}

    def all_arrays(self) -> dict[str, Array]:
        """All that it is by name, but for whether rows are brought to unit length."""
        if self.given is None:
            return self.arrays()
        return self.arrays() | {"given_mean": self.given, "factor": np.array(self.factor)}

    def times(self, factor: float) -> "Scaler":
        """That of rows which are so many times as large."""
        if self.mean is None or self.scale is None or factor == 1:
            return self
        given = self.mean if self.given is None else self.given
        mean, scale = factor * self.mean, abs(factor) * self.scale
        return Scaler(self.unit, mean, scale, given, factor * self.factor)

    def of(self, X: Any, factor: float, kept: Array | None = None) -> Scaled:
        """The scaled rows of s X (n, d), s the factor, which is in their constants. kept: where
        1/‖x‖ may be kept, (n,), see `Scaled`."""
        factor = math.copysign(1, factor) if self.unit else factor
        columns = None
        if self.mean is not None or factor != 1:
            columns = self.constants(X.shape[1], compute_dtype(X), factor)
        return Scaled(X, self.unit, columns, kept if self.unit else None)

    def constants(self, d: int, dtype: np.dtype[Any], factor: float) -> Array:
        """The columns of `Scaled`, (3, d), for rows s x, s the factor:
        (s x - μ)/σ = (x - center) · inverse + rest.

        center is μ/s rounded; rest is what that takes from the scaled columns, 0 where these lose
        as much by rounding.
        """
        exact, inverse = np.zeros(d), np.full(d, factor)
        if self.mean is not None:
            exact, inverse = self.mean / factor, factor * self.inverse
        if self.given is not None and factor == self.factor:
            exact = self.given
        center = exact.astype(dtype)
        rest = (center - exact) * inverse
        rest[np.abs(rest) <= LOSS * np.finfo(dtype).eps] = 0
        return np.stack([center, inverse, rest]).astype(dtype)

    def begun(self, W: Array) -> Array:
        """The first weights of scaled rows, from any W (d, c): 0 for constant columns."""
        if self.scale is None:
            return W
        return W * (self.scale != 0)[:, None].astype(W.dtype)

    def folded(self, W: Array, b: Array) -> tuple[Array, Array]:
        """The weights W (d, c), b (c,) of u, from those of scaled rows, in their dtype.

        b makes up for what rounding does to W at the mean.
        """
        if self.mean is None:
            return W, b
        raw = (W * self.inverse[:, None]).astype(W.dtype)
        return raw, (b - self.mean @ raw.astype(np.float64)).astype(b.dtype)

    def unfolded(self, W: Array, b: Array) -> tuple[Array, Array]:
        """Back: the weights of scaled rows, from those of u, in their dtype."""
        if self.mean is None:
            return W, b
        shifted = b + self.mean @ W.astype(np.float64)
        return (W * self.divisor[:, None]).astype(W.dtype), shifted.astype(b.dtype)


@dataclass(eq=False)
class Moments:
    """Of rows u that come in chunks, with one set of row weights: Σ w, the mean of u about the
    first row, and Σ w (u - mean)²; (d,) each. Rows of weight 0 have no part in it."""

    weight: float = 0.0
    origin: Array = field(default_factory=lambda: np.zeros(0))
    mean: Array = field(default_factory=lambda: np.zeros(0))
    squares: Array = field(default_factory=lambda: np.zeros(0))

    @np.errstate(all="ignore")  # what overflows is seen at the end
    def add(self, u: Array, weights: Array | None) -> None:
        """Add a chunk of rows u (r, d); weights: (r,), None: 1 each.

        The chunk is taken about its own mean, then both are merged (Chan, Golub and LeVeque 1979).
        """
        if weights is not None and not weights.all():
            u, weights = u[weights > 0], weights[weights > 0]
        if not len(u):
            return
        if not self.weight:
            self.origin = u[0].astype(np.float64)
            self.mean, self.squares = np.zeros((2, len(self.origin)))
        w = np.ones(len(u)) if weights is None else weights.astype(np.float64)
        weight = float(w.sum())
        away = np.subtract(u, self.origin, dtype=np.float64)
        mean = _summed(w, away) / weight
        away -= mean
        away *= away
        self._merge(weight, mean, _summed(w, away))

    @np.errstate(all="ignore")
    def and_then(self, later: "Moments") -> "Moments":
        """Those of these rows and of later ones."""
        if not (self.weight and later.weight):
            return self if self.weight else later
        both = replace(self, mean=self.mean.copy(), squares=self.squares.copy())
        both._merge(later.weight, later.origin - self.origin + later.mean, later.squares)
        return both

    def _merge(self, weight: float, mean: Array, squares: Array) -> None:
        """Take in rows of this weight; mean: about the origin. squares: about the mean."""
        whole, shift = self.weight + weight, mean - self.mean
        self.squares += squares + self.weight * (weight / whole) * shift**2
        self.mean += weight / whole * shift
        self.weight = whole

    @np.errstate(all="ignore")
    def scaler(self, unit: bool, *, centers: bool, n: int, eps: float) -> Scaler:
        """centers: whether the mean is taken off. n: rows. eps: of the dtype of u.

        A column is constant if its σ is no larger than what n additions of its mean may be off, as
        scikit-learn has it, or, where rows have unit length, than what rounding makes of a column
        that is.

        Raises:
            ValueError: no row has any weight.
        """
        if not self.weight:
            raise ValueError(
                "scaling= takes mean and deviation of the columns by the weights of the rows, but "
                "these are all 0: give rows that count first"
            )
        mean, scale = self.origin + self.mean, np.sqrt(self.squares / self.weight)
        noise = n * np.finfo(np.float64).eps * np.abs(mean)
        if unit:
            noise = np.maximum(noise, UNIT_ROUNDINGS * eps * np.hypot(mean, scale))
        constant = scale <= noise
        # What is not centred stays, and is not divided: its σ is 1, unless it is 0 in all rows.
        scale[constant] = 0.0 if centers else (mean[constant] != 0)
        return Scaler(unit, mean if centers else np.zeros(len(mean)), scale)


def _summed(w: Array, rows: Array) -> Array:
    """Σ_r w_r rows_r of w (r,), rows (r, d), row by row: BLAS adds in an order that depends on how
    many threads it has."""
    found: Array = np.einsum("r,rd->d", w, rows)
    return found

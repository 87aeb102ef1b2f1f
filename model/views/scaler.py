"""How rows are scaled before a model sees them: to unit length, then columns to mean 0, variance 1.

    u = s x, or s x / ‖s x‖         ũ = (u - μ) / σ

Weights W̃, b̃ of scaled rows and W, b of u are the same model where W = W̃/σ, b = b̃ - Wᵀμ.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from softstep.kernels.checks import Array

SCALINGS = (None, "standard", "l2", "l2+standard")
WIDE_VALUES = 1 << 17  # that are float64 at a time: 1 MB
LOSS = 2  # roundings of values around 1, in eps, that count for nothing
UNIT_ROUNDINGS = 4  # of eps: how far rounding may move the values of a row of unit length


@dataclass(frozen=True, eq=False)
class Scaler:
    """unit: whether rows are brought to unit length; rows of zeros stay.

    mean, scale: μ and σ, (d,) float64; None: columns stay. σ is 0 for a column of which nothing is
    left in the rows that were measured, since it is constant: it is not divided.
    """

    unit: bool
    mean: Array | None = None
    scale: Array | None = None

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

    def times(self, factor: float) -> "Scaler":
        """That of rows which are so many times as large."""
        if self.mean is None or self.scale is None:
            return self
        return Scaler(self.unit, factor * self.mean, abs(factor) * self.scale)

    def rows_of(self, dtype: np.dtype[Any], factor: float) -> Callable[[Array, Array], None]:
        """What writes the scaled rows of s x, s the factor: called with x (r, d), of any dtype, and
        where they go, (r, d) of this dtype, float32 or float64."""
        kind, is_wide = dtype.type, dtype == np.float64
        factor = math.copysign(1, factor) if self.unit else factor
        first = factor if self.mean is None or is_wide else 1.0  # else it is in the constants
        if self.mean is not None:
            center, inverse, rest = self.constants(dtype, factor / first)

        def write(x: Array, out: Array) -> None:
            if self.unit or x.dtype == np.float16:
                x = widened(x, out)
            if self.unit:
                to_unit_length(x)
            if first != 1:
                x = np.multiply(x, kind(first), out=out)
            if self.mean is not None:
                np.subtract(x, center, out=out)
                out *= inverse
                if rest is not None:
                    out += rest
            elif x is not out:
                out[:] = x

        return write

    def constants(self, dtype: np.dtype[Any], factor: float) -> tuple[Array, Array, Array | None]:
        """Those by which rows s x, s the factor, are scaled in this dtype, (d,) each:
        (s x - μ)/σ = (x - center) · inverse + rest.

        center is μ/s rounded; rest is what that takes from the scaled columns, 0 where these lose
        as much by rounding, and None if it is 0 for all.
        """
        assert self.mean is not None
        exact, inverse = self.mean / factor, factor * self.inverse
        center = exact.astype(dtype)
        rest = (center - exact) * inverse
        rest[np.abs(rest) <= LOSS * np.finfo(dtype).eps] = 0
        return center, inverse.astype(dtype), rest.astype(dtype) if rest.any() else None

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


def widened(x: Array, out: Array) -> Array:
    """x (r, d) in out, which is returned.

    NumPy takes float16 number by number; its bits take an eighth of the time. In their new places
    the exponent is too small by 112, also of subnormal numbers and 0.
    """
    is_half = x.dtype == np.float16 and out.dtype == np.float32
    if not is_half or (x.view(np.uint16) & 0x7FFF).max(initial=0) >= 0x7C00:  # infinite, or NaN
        out[:] = x
    else:
        bits = out.view(np.int32)
        np.copyto(bits, x.view(np.int16))  # its sign in all bits from the 16th on
        np.left_shift(bits, 13, out=bits)
        np.bitwise_and(bits, ~0x70000000, out=bits)  # the sign in the last alone
        out *= 2.0**112
    return out


def to_unit_length(x: Array) -> None:
    """Divide rows (r, d) by their lengths, in place; rows of zeros stay.

    Rows so long or so short that squares, or the length in the dtype of x, leave the range of
    normal numbers are first multiplied by a power of two.
    """
    found, limits = lengths(x), np.finfo(x.dtype)
    least = max(float(limits.tiny), np.finfo(np.float64).tiny ** 0.5 / np.finfo(np.float64).eps)
    odd = np.flatnonzero(~((found >= least) & (found <= limits.max)))
    if len(odd):
        rows = x[odd]
        _, exponent = np.frexp(np.abs(rows).max(axis=1, initial=0))
        rows = np.ldexp(rows, -exponent[:, None])
        x[odd], found[odd] = rows, lengths(rows)
        found[found == 0] = 1
    x /= found[:, None].astype(x.dtype)


@np.errstate(over="ignore", invalid="ignore")  # of rows that are scaled first, or refused
def lengths(x: Array) -> Array:
    """‖x‖ of each row, (r,) float64; its bits depend on that row alone."""
    found = np.empty(len(x))
    step = max(1, WIDE_VALUES // x.shape[1])
    for start in range(0, len(x), step):
        # Not by einsum, whose buffers end within rows.
        wide = x[start : start + step].astype(np.float64)
        wide *= wide
        found[start : start + step] = wide.sum(axis=1)
    return np.sqrt(found)


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

"""Rows that are scaled where they are read, so that no scaled copy of them is held."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

SUMS = 16  # of the squares of a row
WIDE_VALUES = 1 << 17  # that are float64 at a time: 1 MB
PIECE = 1 << 17  # values that are scaled at once: half a MB in float32, for the second cache


@dataclass(frozen=True, eq=False)
class Scaled:
    """Rows x̃ (n, d) of rows x of X (n, d):

        u = x, or x times 1/‖x‖ where they are brought to unit length (rows of zeros stay)
        x̃ = (u - center) · inverse + rest

    each operation rounded to the dtype of the arithmetic, float64 for float64 X, else float32.

    X: (n, d), in host memory, as the ops take features; it is read as it is stored. unit: whether
    rows are brought to unit length. columns: center, inverse and rest, (3, d) in the dtype of the
    arithmetic; None: x̃ is u.
    factors: (n,) in the dtype of the arithmetic, 0 at first: a backend may keep 1/‖x‖ of the rows
    that it has come by there, to be read the next time; X then stays as it is. None: it keeps none.
    """

    X: Array
    unit: bool = False
    columns: Array | None = None
    factors: Array | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        n, d = self.X.shape
        return n, d

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of X."""
        kind: np.dtype[Any] = self.X.dtype
        return kind

    def __len__(self) -> int:
        return len(self.X)

    def rows(self, some: slice) -> "Scaled":
        """The same of these rows, not made dense."""
        factors = None if self.factors is None else self.factors[some]
        return replace(self, X=self.X[some], factors=factors)

    @np.errstate(all="ignore")  # what is not finite follows the arithmetic
    def __getitem__(self, rows: Any) -> Array:
        """These rows x̃, a slice or numbers (r,), made dense: a copy in the arithmetic's dtype."""
        given = self.X[rows] if isinstance(rows, slice) else np.asarray(rows)
        kind = np.float64 if self.dtype == np.float64 else np.float32
        made = np.empty((len(given), self.shape[1]), kind)
        step = max(1, PIECE // self.shape[1])
        for first in range(0, len(made), step):
            piece, out = given[first : first + step], made[first : first + step]
            self._make(piece if isinstance(rows, slice) else self.X[piece], out)
        return made

    def _make(self, x: Array, out: Array) -> None:
        """Write x̃ of rows x (r, d) to `out`."""
        if self.unit or self.columns is None or x.dtype == np.float16:
            x = widened(x, out)
        if self.unit:
            to_unit_length(x)
        if self.columns is not None:
            center, inverse, rest = self.columns
            np.subtract(x, center, out=out)
            out *= inverse
            if rest.any():
                out += rest


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
    """Multiply rows (r, d) by 1/‖x‖, in place; rows of zeros stay.

    Rows so long or so short that squares, the length or its inverse leave the range of normal
    numbers are first multiplied by a power of two.
    """
    found, limits = lengths(x), np.finfo(x.dtype)
    least = max(float(limits.tiny), np.finfo(np.float64).tiny ** 0.5 / np.finfo(np.float64).eps)
    odd = np.flatnonzero(~((found >= least) & (found <= 1 / float(limits.tiny))))
    if len(odd):
        rows = x[odd]
        _, exponent = np.frexp(np.abs(rows).max(axis=1, initial=0))
        rows = np.ldexp(rows, -exponent[:, None])
        x[odd], found[odd] = rows, lengths(rows)
        found[found == 0] = 1
    x *= (1 / found)[:, None].astype(x.dtype)


@np.errstate(over="ignore", invalid="ignore")  # of rows that are scaled first, or refused
def lengths(x: Array) -> Array:
    """‖x‖ of each row, (r,) float64; its bits depend on that row alone.

    Squares are added in SUMS sums, column j to that of number j modulo SUMS, and these by halves:
    an order that vectors of any width keep too.
    """
    found = np.empty(len(x))
    step = max(1, WIDE_VALUES // x.shape[1])
    for start in range(0, len(x), step):
        wide = x[start : start + step].astype(np.float64)
        wide *= wide
        sums = np.zeros((len(wide), SUMS))
        for first in range(0, wide.shape[1], SUMS):
            some = wide[:, first : first + SUMS]
            sums[:, : some.shape[1]] += some
        while sums.shape[1] > 1:
            half = sums.shape[1] // 2
            sums = sums[:, :half] + sums[:, half:]
        found[start : start + step] = sums[:, 0]
    return np.sqrt(found)

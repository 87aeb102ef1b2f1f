"""Rows that are scaled once they are gathered, as kernels/scaled.py has it."""

from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.jit import PART, for_kernels_too, jit
from softstep.kernels._numba.simd.layout import lanes, padded, stored, zeros
from softstep.kernels._numba.simd.tiles import LINE_BYTES
from softstep.kernels._numba.simd.vector import (
    filled,
    fma,
    is_double,
    lane_sum,
    lanes_of,
    load,
    load_first_for,
    load_for,
    prefetch,
    rounded_as,
    store,
    widened,
)
from softstep.kernels.scaled import SUMS, Scaled

# Squares of lengths that have all their figures, and inverse roots that are normal numbers: for
# float32 and for float64. What is beyond is multiplied by a power of two, twice at most.
LEAST_SQUARE, POWER = 2.0**-250, 2.0**100
LEAST_SQUARE_64, POWER_64 = 2.0**-900, 2.0**450
POWERS = 2


class Scaling(NamedTuple):
    """What rows are scaled by."""

    unit: bool  # whether they are brought to unit length
    columns: np.ndarray  # (3, d padded) in the rows' arithmetic; (3, 0): there are none
    factors: np.ndarray  # (n,), as `Scaled` has them; (0,): none are kept


@for_kernels_too
def unscaled(dtype):
    """What rows of this arithmetic are scaled by that are not."""
    return Scaling(False, np.zeros((3, 0), dtype), np.zeros(0, dtype))


UNSCALED = {np.dtype(kind): unscaled(kind) for kind in (np.float32, np.float64)}


def features(X):
    """Rows (n, d), or `Scaled`, as the kernels read them, and what they are scaled by."""
    if not isinstance(X, Scaled):
        return stored(X), UNSCALED[np.dtype(np.float64 if X.dtype == np.float64 else np.float32)]
    values, nothing = features(X.X)
    columns = nothing.columns
    if X.columns is not None:
        d, dtype = X.shape[1], columns.dtype
        columns = zeros((3, padded(d, lanes(dtype))), dtype)
        columns[:, :d] = X.columns
    keeps = X.unit and X.factors is not None
    return values, Scaling(X.unit, columns, X.factors if keeps else nothing.factors)


def is_any(scaling):
    """Whether rows are scaled at all."""
    return scaling.unit or scaling.columns.size > 0


@jit(PART)
def is_by_constants(scaling, order, at, count):
    """Whether all is known that the rows order[at : at + count] are scaled by, and that is some."""
    if not scaling.unit:
        return scaling.columns.shape[1] > 0
    if len(scaling.factors) == 0:
        return False
    known = True
    for i in range(at, at + count):
        known &= scaling.factors[order[i]] != 0
    return known


@jit(PART)
def gather_scaled(X, scaling, d, order, at, count, ahead, out, r0):
    # as `gather_rows`, of rows that are scaled by constants alone
    if scaling.columns.shape[1] == 0:
        _gather_units(X, scaling, d, order, at, count, ahead, out, r0)
    elif scaling.unit:
        _gather_units_by_columns(X, scaling, d, order, at, count, ahead, out, r0)
    else:
        _gather_by_columns(X, scaling, d, order, at, count, ahead, out, r0)


@jit(PART)
def _gather_units(X, scaling, d, order, at, count, ahead, out, r0):
    lanes, line, last = lanes_of(out), LINE_BYTES // X.itemsize, len(order) - 1
    whole, columns = d // lanes * lanes, scaling.columns
    for i in range(count):
        row = order[at + i]
        factor = out.dtype.type(scaling.factors[row])
        if ahead >= 0:
            later = order[min(ahead + i, last)]
            for j in range(0, d, line):
                prefetch(X, (later, j))
        for j in range(0, whole, lanes):
            x = load_for(X, (row, j), out) * factor
            store(out, (r0 + i, j), rounded_as(x, columns))
        if whole < d:
            x = load_first_for(X, (row, whole), d - whole, out) * factor
            store(out, (r0 + i, whole), rounded_as(x, columns))


def make_gather_by_columns(is_unit):
    """Rows that are scaled by the columns, and to unit length before or not; the constants of the
    columns are read once for all rows."""

    @jit(PART)
    def scaled(scaling, row, x, by, out):
        columns = scaling.columns
        if is_unit:
            x = rounded_as(x * out.dtype.type(scaling.factors[row]), columns)
        return _scaled(x, by, columns)

    @jit(PART)
    def gather(X, scaling, d, order, at, count, ahead, out, r0):
        lanes, line, last = lanes_of(out), LINE_BYTES // X.itemsize, len(order) - 1
        whole, columns = d // lanes * lanes, scaling.columns
        for j in range(0, whole, lanes):
            by = _constants(columns, j, out)
            if ahead >= 0 and j % line == 0:
                for i in range(count):
                    prefetch(X, (order[min(ahead + i, last)], j))
            for i in range(count):
                row = order[at + i]
                x = load_for(X, (row, j), out)
                store(out, (r0 + i, j), scaled(scaling, row, x, by, out))
        if whole < d:
            by = _constants(columns, whole, out)
            for i in range(count):
                row = order[at + i]
                x = load_first_for(X, (row, whole), d - whole, out)
                store(out, (r0 + i, whole), scaled(scaling, row, x, by, out))

    return gather


_gather_by_columns = make_gather_by_columns(False)
_gather_units_by_columns = make_gather_by_columns(True)


@jit(PART)
def scale_by_columns(columns, out, r0, count, d):
    # rows r0 … r0 + count of out (rows, d padded with zeros), in place
    if columns.shape[1] > 0:
        for j in range(0, d, lanes_of(out)):
            by = _constants(columns, j, out)
            for i in range(r0, r0 + count):
                store(out, (i, j), _scaled(load(out, (i, j)), by, columns))


@jit(PART)
def _constants(columns, j, out):
    # center, inverse and rest of the features from j on
    center, inverse = load_for(columns, (0, j), out), load_for(columns, (1, j), out)
    return center, inverse, load_for(columns, (2, j), out)


@jit(PART)
def _scaled(x, by, columns):
    # Where x is float64 and the rows' arithmetic is not, every result is rounded as there.
    center, inverse, rest = by
    x = rounded_as(x - center, columns)
    return rounded_as(rounded_as(x * inverse, columns) + rest, columns)


@jit(PART)
def to_unit_length(scaling, order, at, count, out, r0, d):
    # rows r0 … r0 + count of out (rows, d padded with zeros), one or two, x 1/‖x‖, which is kept
    # for the rows order[at : at + count]. Squares of two rows are summed side by side: an addition
    # of one waits for the one before
    last, columns = count - 1, scaling.columns
    squares = _squares_of_two(out, r0, r0 + last, d, columns)
    for i in range(count):
        square = squares[0] if i == 0 else squares[1]
        factor = _multiplied(out, r0 + i, d, square, columns)
        if len(scaling.factors) > 0:
            scaling.factors[order[at + i]] = factor


@jit(PART)
def _multiplied(out, i, d, square, columns):
    # row i of out, whose ‖x‖² that is, x 1/‖x‖ -> that, where it is all; else 0
    least, power, nothing = LEAST_SQUARE, POWER, columns.dtype.type(0)
    if is_double(filled(columns, 0.0)):
        least, power = LEAST_SQUARE_64, POWER_64
    is_plain = least <= square <= 1 / least
    for _ in range(POWERS):
        if not least <= square <= 1 / least:
            _multiply(out, i, d, out.dtype.type(1 / power if square > 1 else power), columns)
            square = _squares_of_two(out, i, i, d, columns)[0]
    if square > 0:
        factor = columns.dtype.type(1 / np.sqrt(square))
        _multiply(out, i, d, out.dtype.type(factor), columns)
        return factor if is_plain else nothing
    return columns.dtype.type(1) if square == 0 else nothing


@jit(PART)
def _squares_of_two(out, i, k, d, columns):
    # rows i and k of out -> ‖x‖² of each in float64, in the order of kernels/scaled.py whatever the
    # vectors' width
    lanes = lanes_of(out)
    a, b = _squares(out, i, k, d, 0, columns)
    if lanes == 8:
        a, b = _both(a, b, _squares(out, i, k, d, 1, columns))
    elif lanes == 4:
        a, b = _both(a, b, _squares(out, i, k, d, 2, columns))
        c, e = _squares(out, i, k, d, 1, columns)
        a, b = _both(a, b, _both(c, e, _squares(out, i, k, d, 3, columns)))
    elif lanes == 2:
        a, b = _both(a, b, _squares(out, i, k, d, 4, columns))
        c, e = _squares(out, i, k, d, 2, columns)
        a, b = _both(a, b, _both(c, e, _squares(out, i, k, d, 6, columns)))
        c, e = _squares(out, i, k, d, 1, columns)
        c, e = _both(c, e, _squares(out, i, k, d, 5, columns))
        f, g = _squares(out, i, k, d, 3, columns)
        a, b = _both(a, b, _both(c, e, _both(f, g, _squares(out, i, k, d, 7, columns))))
    return lane_sum(a), lane_sum(b)


@jit(PART)
def _both(a, b, more):
    return a + more[0], b + more[1]


@jit(PART)
def _squares(out, i, k, d, part, columns):
    # rows i and k of out -> vector `part` of the SUMS sums of the squares of each, in float64
    a = b = widened(filled(out, 0.0))
    for j in range(part * lanes_of(out), d, SUMS):
        a = _plus_square(a, widened(load(out, (i, j))), columns)
        b = _plus_square(b, widened(load(out, (k, j))), columns)
    return a, b


@jit(PART)
def _plus_square(total, x, columns):
    if is_double(filled(columns, 0.0)):
        return total + x * x
    return fma(x, x, total)  # the square of a float32 is exact in float64: the same bits


@jit(PART)
def _multiply(out, i, d, factor, columns):
    for j in range(0, d, lanes_of(out)):
        store(out, (i, j), rounded_as(load(out, (i, j)) * factor, columns))

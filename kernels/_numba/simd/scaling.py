"""Rows that are scaled once they are gathered, as kernels/scaled.py has it."""

from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.jit import PART, jit
from softstep.kernels._numba.simd.layout import lanes, padded, stored, zeros
from softstep.kernels._numba.simd.tiles import LINE_BYTES
from softstep.kernels._numba.simd.vector import (
    filled,
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


UNSCALED = {
    np.dtype(kind): Scaling(False, np.zeros((3, 0), kind)) for kind in (np.float32, np.float64)
}


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
    return values, Scaling(X.unit, columns)


def is_any(scaling):
    """Whether rows are scaled at all."""
    return scaling.unit or scaling.columns.size > 0


@jit(PART)
def is_by_columns(scaling):
    """Whether all that rows are scaled by are the columns."""
    return scaling.columns.shape[1] > 0 and not scaling.unit


@jit(PART)
def gather_scaled(X, columns, d, order, at, count, ahead, out, r0):
    # as `gather_rows`, of rows that are scaled by the columns alone: these are read once for all
    lanes, line, last = lanes_of(out), LINE_BYTES // X.itemsize, len(order) - 1
    whole = d // lanes * lanes
    for j in range(0, whole, lanes):
        by = _constants(columns, j, out)
        if j % line == 0:
            for i in range(count):
                prefetch(X, (order[min(ahead + i, last)], j))
        for i in range(count):
            x = load_for(X, (order[at + i], j), out)
            store(out, (r0 + i, j), _scaled(x, by, columns))
    if whole < d:
        by = _constants(columns, whole, out)
        for i in range(count):
            x = load_first_for(X, (order[at + i], whole), d - whole, out)
            store(out, (r0 + i, whole), _scaled(x, by, columns))


@jit(PART)
def scale_rows(scaling, out, r0, count, d):
    # rows r0 … r0 + count of out (rows, d padded with zeros), in place
    columns = scaling.columns
    if scaling.unit:
        for i in range(r0, r0 + count):
            _to_unit_length(out, i, d, columns)
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
def _to_unit_length(out, i, d, columns):
    # row i of out, x 1/‖x‖
    least, power = LEAST_SQUARE, POWER
    if is_double(filled(columns, 0.0)):
        least, power = LEAST_SQUARE_64, POWER_64
    square = _square(out, i, d)
    for _ in range(POWERS):
        if not least <= square <= 1 / least:
            _multiply(out, i, d, out.dtype.type(1 / power if square > 1 else power), columns)
            square = _square(out, i, d)
    if square > 0:
        factor = columns.dtype.type(1 / np.sqrt(square))
        _multiply(out, i, d, out.dtype.type(factor), columns)


@jit(PART)
def _square(out, i, d):
    # row i of out -> ‖x‖² in float64, in the order of kernels/scaled.py whatever the vectors' width
    lanes = lanes_of(out)
    total = _squares(out, i, d, 0)
    if lanes == 8:
        total = total + _squares(out, i, d, 1)
    elif lanes == 4:
        total = total + _squares(out, i, d, 2)
        total = total + (_squares(out, i, d, 1) + _squares(out, i, d, 3))
    elif lanes == 2:
        total = total + _squares(out, i, d, 4)
        total = total + (_squares(out, i, d, 2) + _squares(out, i, d, 6))
        odd = _squares(out, i, d, 1) + _squares(out, i, d, 5)
        total = total + (odd + (_squares(out, i, d, 3) + _squares(out, i, d, 7)))
    return lane_sum(total)


@jit(PART)
def _squares(out, i, d, part):
    # row i of out -> vector `part` of the SUMS sums of its squares, in float64
    total = widened(filled(out, 0.0))
    for j in range(part * lanes_of(out), d, SUMS):
        x = widened(load(out, (i, j)))
        total = total + x * x
    return total


@jit(PART)
def _multiply(out, i, d, factor, columns):
    for j in range(0, d, lanes_of(out)):
        store(out, (i, j), rounded_as(load(out, (i, j)) * factor, columns))

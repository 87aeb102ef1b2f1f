"""Sums of single numbers that keep what rounding takes away, and exponentials made of them."""

import math

import numpy as np

from softstep.kernels._numba.jit import PART, jit

UNDERFLOW = -746.0  # e^x is 0 in float64 below this


@jit(PART)
def rounding_error(a, b, total):
    """What rounding took away in total = a + b (TwoSum: Knuth, TAOCP vol. 2, section 4.2.2)."""
    b_part = total - a
    return (a - (total - b_part)) + (b - b_part)


@jit(PART)
def largest(v):
    """The largest of a row; NaN if there is one."""
    m = v[0]
    for j in range(1, len(v)):
        if v[j] > m or v[j] != v[j]:
            m = v[j]
    return m


@jit(PART)
def exponentials(v, e):
    # v (c,) -> e (c,) float64 = e^{v - max v}; the rounding error of the difference is carried
    m = np.float64(largest(v))
    for j in range(len(v)):
        vj = np.float64(v[j])
        d = vj - m
        e[j] = math.exp(d)
        if d > UNDERFLOW:
            e[j] += e[j] * rounding_error(vj, -m, d)


@jit(PART)
def sum_without(e, k):
    """Σ_{j≠k} e_j, compensated; k = -1 leaves none out."""
    return sum_in_two(e, k)[0]


@jit(PART)
def sum_in_two(e, k):
    """Σ_{j≠k} e_j as the rounded sum and its rounding error, the sum itself where not finite."""
    total, error = 0.0, 0.0
    for j in range(len(e)):
        if j != k:
            new = total + e[j]
            error += rounding_error(total, e[j], new)
            total = new
    if not abs(total) < np.inf:
        return total, 0.0
    new = total + error
    return new, rounding_error(total, error, new)

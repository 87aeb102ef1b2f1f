"""exp, expm1 and log1p of vectors: polynomials of their own, no library of vector functions.

The coefficients are Chebyshev fits, computed in 40 digits.
tests/kernels/test_vector_functions.py measures the errors.
"""

import numpy as np

from softstep.kernels._numba.jit import PART, jit
from softstep.kernels._numba.simd.vector import (
    exponent_and_fraction,
    fma,
    is_double,
    maximum,
    power_of_rounded,
    power_of_two,
    rint,
    select,
)

LOG2_E = 1.4426950408889634
# ln 2 in two parts, of which the first has so few bits that n times it is exact.
LN2_HIGH, LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10  # for float64
LN2_HIGH_32, LN2_LOW_32 = 0.693145751953125, 1.42860682030941723e-6  # for float32
LOWEST, LOWEST_32 = -708.0, -87.0  # below, e^x counts as 0: no subnormal results
VANISHES = -104.0  # e^x is below half of float32's smallest subnormal number
SCALED = 64  # the power of two that keeps e^VANISHES, and its last bits, normal
ROUNDER_32 = 1.5 * 2.0**23 + SCALED  # x + ROUNDER_32 - ROUNDER_32 is the nearest whole number
SQRT_2 = np.float64(1.4142135623730951)


@jit(PART)
def _exponent_and_rest(x):
    """(n, t) with e^x = 2^n (1 + t): x = n ln 2 + r with |r| <= ln 2 / 2, t = r + r² q(r)."""
    n = rint(x * LOG2_E)
    if is_double(x):
        r = fma(n, -LN2_LOW, fma(n, -LN2_HIGH, x))
        q = fma(r, 2.51003854955103191e-8, 2.76200884454097482e-7)
        q = fma(q, r, 2.75572684599970648e-6)
        q = fma(q, r, 0.0000248015212959543751)
        q = fma(q, r, 0.000198412698630536169)
        q = fma(q, r, 0.00138888889172137169)
        q = fma(q, r, 0.00833333333333006183)
        q = fma(q, r, 0.0416666666666241279)
        q = fma(q, r, 0.166666666666666675)
        q = fma(q, r, 0.500000000000000102)
    else:
        r = fma(n, -LN2_LOW_32, fma(n, -LN2_HIGH_32, x))
        q = fma(r, 0.00139261835877134945, 0.00836317905272257737)
        q = fma(q, r, 0.0416665546172045742)
        q = fma(q, r, 0.166665769896987757)
        q = fma(q, r, 0.5)
    return n, fma(q * r, r, r)


@jit(PART)
def exp(x):
    """e^x for x <= 0 or moderate; 0 below LOWEST (LOWEST_32), NaN included."""
    lowest = LOWEST if is_double(x) else LOWEST_32
    n, t = _exponent_and_rest(maximum(x, x * 0.0 + lowest))
    return select(x > lowest, (t + 1.0) * power_of_two(n), 0.0)


@jit(PART)
def expm1(x):
    """e^x - 1 for x <= 0 or moderate, with the figures of a small x; NaN stays NaN.

    2^n t + (2^n - 1): for n = 0 that is t, and for other n the sum is not small.
    """
    lowest = LOWEST if is_double(x) else LOWEST_32
    n, t = _exponent_and_rest(select(x > lowest, x, lowest))
    power = power_of_two(n)
    return select(x < lowest, -1.0, fma(t, power, power - 1.0) + (x - x))


@jit(PART)
def exp_in_two(v, m):
    """2^SCALED e^{v - m} for v <= m in float32 as a rounded part and the rest; NaN stays NaN.

    Every rounding that counts is made up for: of v - m (TwoSum), of r, of the sum with 1. The two
    together are off by 0.5 u. So scaled neither is subnormal; where v - m < VANISHES both are 0.
    """
    d = v - m
    part = d - v
    rest = (v - (d - part)) - (m + part)
    vanishes = d < VANISHES
    bounded = select(vanishes, VANISHES, d)
    shifted = fma(bounded, LOG2_E, ROUNDER_32)  # n stands in the lowest bits
    n = shifted - ROUNDER_32
    high = fma(n, -LN2_HIGH_32, bounded)
    r = fma(n, -LN2_LOW_32, high)
    rest = rest + fma(n, -LN2_LOW_32, high - r)
    q = fma(r, 0.000198910306543703277, 0.00139336858626171736)
    q = fma(q, r, 0.00833331088958207719)
    q = fma(q, r, 0.0416664646020265416)
    q = fma(q, r, 0.166666666816591791)
    q = fma(q, r, 0.500000001349817786)
    t = fma(q * r, r, r)
    e = t + 1.0
    rest = fma(rest, e, t - (e - 1.0))
    scale = power_of_rounded(shifted)
    return select(vanishes, 0.0, e * scale), select(vanishes, 0.0, rest * scale)


@jit(PART)
def log1p(t):
    """log(1 + t) for t >= 0.

    With u = 1 + t rounded: log u + (t - (u - 1)) / u. u = 2^n f with f about 1,
    s = (f - 1) / (f + 1), log u = n ln 2 + 2 s + s³ p(s²).
    """
    u = t + 1.0
    n, f = exponent_and_fraction(u)
    upper = f > SQRT_2
    f = select(upper, f * 0.5, f)
    n = select(upper, n + 1.0, n)
    s = (f - 1.0) / (f + 1.0)
    z = s * s
    if is_double(t):
        p = fma(z, 0.14617807153417325, 0.153316117220550079)
        p = fma(p, z, 0.181828924325368712)
        p = fma(p, z, 0.222222110893794962)
        p = fma(p, z, 0.285714286262538376)
        p = fma(p, z, 0.399999999998988905)
        p = fma(p, z, 0.666666666666666971)
    else:
        p = fma(z, 0.295809859299744226, 0.39988757716604847)
        p = fma(p, z, 0.666666850954290687)
    small = fma(p * z, s, s + s) + (t - (u - 1.0)) / u
    return fma(n, 0.6931471805599453, small)

"""exp, expm1 and log1p of vectors: polynomials of their own, no library of vector functions.

The coefficients are Chebyshev fits, computed in 40 digits.
tests/kernels/test_vector_functions.py measures the errors.
"""

import math

import numpy as np

from softstep.kernels._numba.jit import IN_PLACE, PART, jit
from softstep.kernels._numba.simd.vector import (
    BYTES,
    entry,
    exponent_and_fraction,
    fma,
    is_double,
    maximum,
    power_of_two,
    rint,
    select,
    times_power,
)

LOG2_E = 1.4426950408889634
# ln 2 in two parts, of which the first has so few bits that n times it is exact.
LN2_HIGH, LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10  # for float64
LN2_HIGH_32, LN2_LOW_32 = 0.693145751953125, 1.42860682030941723e-6  # for float32
LOWEST, LOWEST_32 = -708.0, -87.0  # below, e^x counts as 0: no subnormal results
SQRT_2 = np.float64(1.4142135623730951)


@jit(IN_PLACE)
def _square_part(r):
    """q with e^r = 1 + r + r² q, for |r| <= ln 2 / 2."""
    if is_double(r):
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
        q = fma(r, 0.00139261835877134945, 0.00836317905272257737)
        q = fma(q, r, 0.0416665546172045742)
        q = fma(q, r, 0.166665769896987757)
        q = fma(q, r, 0.5)
    return q


@jit(PART)
def _exponent_and_rest(x):
    """(n, t) with e^x = 2^n (1 + t): x = n ln 2 + r with |r| <= ln 2 / 2, t = r + r² q(r)."""
    n = rint(x * LOG2_E)
    if is_double(x):
        r = fma(n, -LN2_LOW, fma(n, -LN2_HIGH, x))
    else:
        r = fma(n, -LN2_LOW_32, fma(n, -LN2_HIGH_32, x))
    return n, fma(_square_part(r) * r, r, r)


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


# e^x in two, without rounding what is nearly 1: h (1 + t), t small. In float64 h is a power of two.
# In float32 it is 2^(n / PARTS), rounded to 12 bits, where the logarithm of what that rounding took
# away, LOGS[n mod PARTS], goes into t; so |t| is at most 0.023 (0.045 with 8 parts), and what it is
# rounded by far less than a roundoff of e^x.

PARTS = 16 if BYTES == 64 else 8  # as many as a permutation of lanes can tell apart
HIGHS = tuple(round(2 ** (k / PARTS) * 2**11) / 2**11 for k in range(PARTS))
LOGS = tuple(k * math.log(2) / PARTS - math.log(high) for k, high in enumerate(HIGHS))
# ln 2 / PARTS in two, of which the first has 11 bits: without a fused multiply-add n times it is
# exact too
PART_HIGH = math.floor(math.log(2) / PARTS * 2**14) / 2**14
PART_LOW = math.log(2) / PARTS - PART_HIGH
PER_PART = PARTS / math.log(2)
FAR = 256.0  # v - m is exact where both are as far from 0 and e^{v - m} does not vanish
SCALED, SCALED_32 = 512, 64  # the powers of two that keep e^VANISHES normal
VANISHES, VANISHES_32 = -900.0, -128.0  # e^x is taken for no less: any number of them is nothing
ROUNDER = 1.5 * 2.0**52 + SCALED  # x + ROUNDER - ROUNDER is the nearest whole number
ROUNDER_32 = 1.5 * 2.0**23 + SCALED_32 * PARTS


@jit(IN_PLACE)
def one_of(x):
    """What `exp_in_two` gives for e^0 in the precision of x."""
    return 2.0**SCALED if is_double(x) else 2.0**SCALED_32


@jit(IN_PLACE)
def shift_of(m):
    """What `exp_in_two` subtracts from logits of which m is the largest: (base, lowest, rounder).

    In float64 that is m. In float32 it is the multiple of ln 2 / PARTS next to m, or next to 0
    after m has been subtracted where that is exact.
    """
    if is_double(m):
        base = m
        top = m - m
        rounder = top + ROUNDER
        lowest = top + VANISHES
    else:
        base = select(m > FAR, m, select(m < -FAR, m, 0.0))
        top = m - base
        rounder = ROUNDER_32 - rint(top * PER_PART)
        lowest = top + VANISHES_32
    return base, lowest, rounder


@jit(IN_PLACE)
def exp_in_two(v, shift):
    """(h, t) with h (1 + t) = 2^SCALED (in float32 2^SCALED_32) e^{v - shift}.

    NaN gives t = NaN. The shift cancels in a softmax. In float64, where it is exactly m, the
    rounding error of v - m is carried along (TwoSum).
    """
    base, lowest, rounder = shift
    d = maximum(lowest, v - base)
    if is_double(v):
        part = d - v
        rest = select(d > lowest, (v - (d - part)) - (base + part), 0.0)
        shifted = fma(d, LOG2_E, rounder)
        n = shifted - rounder
        r = fma(n, -LN2_LOW, fma(n, -LN2_HIGH, d)) + rest
        t = fma(_square_part(r) * r, r, r)
        h = times_power(1.0, shifted, 1)
    else:
        shifted = fma(d, PER_PART, rounder)
        n = shifted - rounder
        r = fma(n, -PART_LOW, fma(n, -PART_HIGH, d)) + entry(LOGS, shifted)
        if PARTS == 16:
            q = fma(r, 0.16666864374279664, 0.500009885402985932)
        else:
            q = fma(r, 0.0416686327174804891, 0.166678463070942567)
            q = fma(q, r, 0.5)
        t = fma(q * r, r, r)
        h = times_power(entry(HIGHS, shifted), shifted, PARTS)
    return h, t


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

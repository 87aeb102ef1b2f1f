"""Promise: exp, expm1 and log1p of vectors are as exact as docs/numerics.md says, at every edge."""

import numpy as np
import pytest

from softstep.kernels._numba.jit import STRICT, jit
from softstep.kernels._numba.simd.functions import SCALED, exp, exp_in_two, expm1, log1p
from softstep.kernels._numba.simd.vector import lanes_of, load, store

ROUNDOFFS = {exp: 2, expm1: 3, log1p: 4}  # bounds in units of the type's roundoff


def applied(function):
    @jit(STRICT)
    def loop(x, y):
        for i in range(0, len(x), lanes_of(x)):
            store(y, i, function(load(x, i)))

    def call(x):
        y = np.full_like(x, np.nan)
        loop(x, y)
        return y

    return call


APPLIED = {function: applied(function) for function in ROUNDOFFS}


def spread_out(low, high, dtype):
    """Numbers of all sizes from low to high, a multiple of any number of lanes."""
    rng = np.random.default_rng(0)
    return (low + (high - low) * rng.random(1 << 16) ** 4).astype(dtype)


def worst(found, exact, dtype):
    """The largest relative error in units of the roundoff."""
    return float(np.abs(found / exact - 1).max() / (np.finfo(dtype).eps / 2))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_of_what_a_softmax_takes(dtype):
    lowest = -87 if dtype == np.float32 else -708
    for x in (-spread_out(0, -lowest - 1, dtype), spread_out(lowest + 1, 0, dtype)):
        error = worst(APPLIED[exp](x), np.exp(x.astype(np.longdouble)), dtype)
        assert 0 < error <= ROUNDOFFS[exp]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_expm1_from_tiny_to_where_it_is_minus_1(dtype):
    lowest = -87 if dtype == np.float32 else -708
    for low, high in ((-1e-6, 0), (-0.36, -0.34), (-1, 0), (0, 2), (-3, -0.3), (lowest + 1, 0)):
        x = spread_out(low, high, dtype)
        x[x == 0] = low
        error = worst(APPLIED[expm1](x), np.expm1(x.astype(np.longdouble)), dtype)
        assert 0 < error <= ROUNDOFFS[expm1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log1p_from_tiny_to_large(dtype):
    for top in (1e-6, 1.0, 3e4):
        t = spread_out(0, top, dtype)
        t[t == 0] = top
        error = worst(APPLIED[log1p](t), np.log1p(t.astype(np.longdouble)), dtype)
        assert 0 < error <= ROUNDOFFS[log1p]


@jit(STRICT)
def _in_two(v, m, e, rest):
    for i in range(0, len(v), lanes_of(v)):
        high, low = exp_in_two(load(v, i), load(m, i))
        store(e, i, high)
        store(rest, i, low)


def in_two(v, m):
    """e^{v - m}: the rounded part and the rest, unscaled."""
    e, rest = np.full_like(v, np.nan), np.full_like(v, np.nan)
    _in_two(v, m, e, rest)
    return (np.ldexp(part.astype(np.longdouble), -SCALED) for part in (e, rest))


def test_exp_in_two_parts_keeps_more_digits_than_single_has():
    rng = np.random.default_rng(0)
    m = (100 * rng.standard_normal(1 << 16)).astype(np.float32)
    v = (m - 103.9 * rng.random(len(m)) ** 2).astype(np.float32)
    e, rest = in_two(v, m)
    exact = np.exp(v.astype(np.longdouble) - m)
    # t is rounded at up to 0.41, the rest a little: next to e^r >= 0.7 that is half a roundoff
    assert 0 < worst((e + rest).astype(np.longdouble), exact, np.float32) <= 0.5
    assert (np.abs(rest) <= 2.0**-17 * e).all()  # v - m may be off by 2^-18 where it is 104


def test_the_edges_of_exp_in_two_parts():
    v, m = np.zeros(16, np.float32), np.zeros(16, np.float32)
    v[:6] = 0.0, -1e30, -np.inf, -105.0, np.nan, -3e38
    m[5] = 3e38
    e, rest = in_two(v, m)
    np.testing.assert_array_equal(e[:6].astype(float), [1, 0, 0, 0, np.nan, 0])
    np.testing.assert_array_equal(rest[:4].astype(float), [0, 0, 0, 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_edges_of_exp(dtype):
    x = np.zeros(16, dtype)
    x[:4] = 0.0, -1e30, -np.inf, -1e-30
    np.testing.assert_array_equal(APPLIED[exp](x)[:4], [1, 0, 0, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_edges_of_expm1(dtype):
    x = np.zeros(16, dtype)
    x[:4] = 0.0, -1e30, -np.inf, np.nan
    np.testing.assert_array_equal(APPLIED[expm1](x)[:4], [0, -1, -1, np.nan])
    smallest = np.finfo(dtype).smallest_subnormal
    assert APPLIED[expm1](np.full(16, -smallest))[0] == -smallest


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log1p_of_zero_is_zero(dtype):
    assert not APPLIED[log1p](np.zeros(16, dtype)).any()

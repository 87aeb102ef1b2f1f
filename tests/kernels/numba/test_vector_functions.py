"""Promise: exp, expm1 and log1p of vectors are as exact as docs/numerics.md says, at every edge."""

import numpy as np
import pytest

from softstep.kernels._numba.jit import STRICT, jit
from softstep.kernels._numba.simd.functions import (
    exp,
    exp_in_two,
    expm1,
    log1p,
    one_of,
    shift_of,
)
from softstep.kernels._numba.simd.vector import filled, lanes_of, load, store

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
def _in_two(v, m, h, t):
    for i in range(0, len(v), lanes_of(v)):
        high, small = exp_in_two(load(v, i), shift_of(filled(v, m)))
        store(h, i, high)
        store(t, i, small)


@jit(STRICT)
def _one(v):
    return one_of(load(v, 0))


def in_two(v, m):
    """(h, t) with h (1 + t) = e^{v - m}, times a factor that is the same for all v."""
    h, t = np.full_like(v, np.nan), np.full_like(v, np.nan)
    _in_two(v, v.dtype.type(m), h, t)
    return h.astype(np.longdouble) / _one(v), t.astype(np.longdouble)


# in units of the roundoff; in float32 also the distance from m to the nearest multiple
IN_TWO = {np.float32: (0.2, 0.045, 100), np.float64: (1.2, 0.415, 700)}


@pytest.mark.parametrize("dtype", IN_TWO)
@pytest.mark.parametrize("m", [0.0, 3.3, -150.0, 255.0, 257.0, -1e5])
def test_exp_in_two_keeps_more_digits_than_its_type_has(m, dtype):
    error, largest, span = IN_TWO[dtype]
    m = dtype(m)
    v = (m - span * np.random.default_rng(0).random(1 << 16) ** 2).astype(dtype)
    v[0] = m
    h, t = in_two(v, m)
    exact = np.exp(v.astype(np.longdouble) - m)
    assert 0 < worst(h * (1 + t) / (h[0] * (1 + t[0])), exact, dtype) <= 2 * error
    assert np.abs(t).max() <= largest
    assert abs(h[0] * (1 + t[0]) - 1) <= (0.05 if dtype == np.float32 else 0)


@pytest.mark.parametrize("dtype", IN_TWO)
def test_the_edges_of_exp_in_two(dtype):
    v = np.zeros(16, dtype)
    v[:5] = 0.0, np.finfo(dtype).min, -np.inf, np.nan, -2000.0
    h, t = in_two(v, 0.0)
    assert (h[0], t[0]) == (1, 0)
    tiny = np.finfo(dtype).smallest_subnormal
    assert (h[[1, 2, 4]] * (1 + t[[1, 2, 4]]) < 1e-9 * np.longdouble(tiny)).all()
    assert np.isnan(t[3])


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

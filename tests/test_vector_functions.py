"""Promise: exp and log1p of vectors are as exact as docs/numerics.md says, at every edge."""

import numpy as np
import pytest

from softstep.kernels._numba.functions import exp, exp_for_single, log1p
from softstep.kernels._numba.jit import STRICT, jit
from softstep.kernels._numba.vector import lanes_of, load, store

ROUNDOFFS = {exp: 2, log1p: 4}  # bounds in units of the type's roundoff


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


APPLIED = {function: applied(function) for function in (exp, log1p, exp_for_single)}


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
def test_log1p_from_tiny_to_large(dtype):
    for top in (1e-6, 1.0, 3e4):
        t = spread_out(0, top, dtype)
        t[t == 0] = top
        error = worst(APPLIED[log1p](t), np.log1p(t.astype(np.longdouble)), dtype)
        assert 0 < error <= ROUNDOFFS[log1p]


def test_exp_for_single_keeps_more_digits_than_single_has():
    x = -spread_out(0, 700, np.float64)
    error = np.abs(APPLIED[exp_for_single](x) / np.exp(x.astype(np.longdouble)) - 1).max()
    assert 0 < error <= 3e-10


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_edges_of_exp(dtype):
    x = np.zeros(16, dtype)
    x[:4] = 0.0, -1e30, -np.inf, -1e-30
    np.testing.assert_array_equal(APPLIED[exp](x)[:4], [1, 0, 0, 1])


def test_the_edges_of_exp_for_single():
    x = np.zeros(16)
    x[:5] = 0.0, -1e30, -np.inf, -709.0, np.nan
    np.testing.assert_array_equal(APPLIED[exp_for_single](x)[:5], [1, 0, 0, 0, np.nan])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log1p_of_zero_is_zero(dtype):
    assert not APPLIED[log1p](np.zeros(16, dtype)).any()

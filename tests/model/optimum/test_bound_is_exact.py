"""Promise: where the bound can be told exactly, it is that, and no smaller."""

import numpy as np
import pytest

from softstep.model import trainer
from softstep.model.optimum.problem import Problem
from softstep.model.optimum.proof import REMAINDER, _newton, prove
from softstep.model.optimum.settings import Optimum
from softstep.model.optimum.solve import solve

RNG = np.random.default_rng(0)
Y = np.arange(30) % 3


def problem(X, y=Y, l2=0.1):
    return Problem.of(
        trainer.SGDSettings(loss="cross_entropy", learning_rate=1.0, batch_size=1),
        trainer.Rows(X, y),
        np.array(["cross_entropy"]),
        np.array([l2]),
    )


def test_of_features_that_say_nothing_it_is_the_parabola():
    """X = 0: f - f* = (λ/2)‖W‖² + how far the bias is off, which is nothing here."""
    W, b = RNG.standard_normal((1, 4, 3)), np.zeros((1, 3))
    found = prove(problem(np.zeros((30, 4))), W, b)
    gap = 0.05 * np.sum(W**2)
    assert found.objective - gap == pytest.approx(np.log(3))
    assert gap * (1 - 1e-9) <= found.bound[0] <= gap * (1 + 2 * REMAINDER)


@pytest.mark.parametrize("size", [1e-6, 1e-3, 0.1, 3.0])
def test_of_a_bias_that_is_off_it_is_what_newton_finds(size):
    b = size * np.array([[1.0, -0.5, 0.3]])
    found = prove(problem(np.zeros((30, 4))), np.zeros((1, 4, 3)), b)
    gap = found.objective[0] - np.log(3)
    assert gap > 0
    assert gap - 1e-15 <= found.bound[0] <= gap * (1 + REMAINDER) + 5e-14  # what may round


def test_a_class_that_no_row_gives_any_probability_is_not_left_out():
    """Its gradient counts: least would be 333.8, and f* is ln 3."""
    b = np.array([[0.0, 0.0, -1000.0]])
    found = prove(problem(np.zeros((30, 1))), np.zeros((1, 1, 3)), b)
    assert found.least[0] <= np.log(3)


def test_newton_says_nothing_where_a_class_with_a_gradient_has_no_curvature():
    H = np.array([[0.25, -0.25, 0], [-0.25, 0.25, 0], [0, 0, 0]])
    two, all_three = np.array([0.5, 0.5, 0]), np.array([0.5, 0.4, 0.1])
    assert _newton(H, two, np.array([0.1, 0.0, -0.1]), 0.0, 0.0) is None
    found = _newton(H, two, np.array([0.1, -0.1, 0.0]), 0.0, 0.0)
    np.testing.assert_allclose(found.step, [-0.2, 0.2, 0], atol=1e-12)
    assert found.decrement**2 == pytest.approx(0.04)
    assert found.rounding < 1e-14
    assert found.a == pytest.approx(2)
    assert _newton(H, all_three, np.array([0.1, -0.1, 0.0]), 0.0, 0.0) is None


def test_newton_has_what_it_goes_by_be_off():
    H, g = np.array([[0.25, -0.25], [-0.25, 0.25]]), np.array([0.1, -0.1])
    exact, off = (_newton(H, np.full(2, 0.5), g, *by) for by in ((0.0, 0.0), (1e-3, 0.21)))
    assert off.a == pytest.approx(1.1 * exact.a)
    assert off.decrement + off.rounding == pytest.approx(1.1 * (0.2 + 1e-3 / 0.5**0.5))
    assert _newton(H, np.full(2, 0.5), g, 0.0, np.inf) is None


def test_one_class_alone_needs_no_curvature():
    found = _newton(np.zeros((2, 2)), np.array([1.0, 0.0]), np.zeros(2), 1e-15, 0.0)
    assert (found.decrement, found.rounding) == (0, 0)


@pytest.mark.parametrize("off", [1e-3, -1e-3])
def test_targets_that_do_not_quite_sum_to_1_are_scaled_before(off):
    X = RNG.standard_normal((30, 4))
    soft = np.full((30, 3), 0.05)
    soft[np.arange(30), Y] = 0.9
    W, b = np.zeros((1, 4, 3)), np.zeros((1, 3))
    for_rounding, exact = (
        solve(problem(X, y, 1e-4), W, b, optimum=Optimum(1e-10, 1000))
        for y in (soft * (1 + off), soft)
    )
    assert for_rounding.converged[0]
    assert for_rounding.objective[0] == pytest.approx(exact.objective[0], rel=1e-9)

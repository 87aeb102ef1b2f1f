"""Promise: a class without weight is left out where that is best, and back when it has rows."""

import numpy as np
import pytest

from softstep import SoftmaxRegression
from softstep.model.datasets import load_digits
from softstep.model.optimum.absent import ABSENT, are_absent, brought_back

DIGITS = load_digits()
X, Y = np.ascontiguousarray(DIGITS.X_train[::4]), DIGITS.y_train[::4]
WITHOUT_4 = (Y != 4).astype("f4")


def lone(**settings):
    return SoftmaxRegression(
        **{"loss": "cross_entropy", "solver": "lbfgs", "random_state": 0} | settings
    )


@pytest.fixture
def left_out():
    model = lone(l2=0.01).fit(X, Y, WITHOUT_4)
    assert are_absent(model.intercept_).tolist() == (np.arange(10) == 4).tolist()
    return model


def test_sgd_learns_it_again(left_out):
    left_out.set_params(solver="sgd", learning_rate=0.5)
    for _ in range(5):
        left_out.partial_fit(X, Y)
    assert (left_out.predict(X[Y == 4]) == 4).mean() > 0.7


def test_sgd_leaves_it_out_while_it_has_no_rows(left_out):
    others = Y != 4
    left_out.set_params(solver="sgd").partial_fit(X[others], Y[others])
    assert left_out.predict_proba(X)[:, 4].max() == 0


def test_sgd_with_soft_targets_learns_it_again():
    soft = np.eye(10)[Y][:, [0, 1, 2, 3, 5, 6, 7, 8, 9, 4]]
    none = soft.copy()
    none[:, 9], none[:, 0] = 0, none[:, 0] + none[:, 9]
    model = lone(l2=0.01).fit(X, none)
    assert are_absent(model.intercept_)[9]
    model.set_params(solver="sgd", learning_rate=0.5).partial_fit(X, soft)
    assert model.intercept_[9] > -100


def test_sgd_that_goes_on_from_it_learns_it_again(left_out):
    left_out.set_params(solver="sgd", warm_start=True, learning_rate=0.5, epochs=5).fit(X, Y)
    assert (left_out.predict(X[Y == 4]) == 4).mean() > 0.7


@pytest.mark.parametrize("settings", [{"l2_bias": True}, {"fit_intercept": False}])
def test_an_optimum_whose_bias_is_not_free_brings_it_back(settings, left_out):
    left_out.set_params(warm_start=True, **settings).fit(X, Y)
    assert left_out.intercept_[4] > -100
    assert left_out.converged_
    assert (left_out.predict(X[Y == 4]) == 4).mean() > 0.8


@pytest.mark.parametrize("loss", ["cross_entropy", "gce"])
def test_a_loss_of_the_label_alone_is_least_without_it(loss):
    model = lone(loss=loss, l2=0.01).fit(X, Y, WITHOUT_4)
    assert model.predict_proba(X)[:, 4].max() == 0


def test_mse_may_be_less_with_it():
    """A row that is surely wrong gives some of what it is sure of to a class that no row has."""
    x = np.array([[-1.0]] * 10 + [[1.0]] * 10)
    y = np.r_[np.zeros(10, int), np.ones(9, int), 0]
    classes = np.r_[y, 2]
    rows, weights = np.r_[x, [[0.0]]], np.r_[np.ones(20), 0]
    model = lone(loss="mse", l2=1e-3).fit(rows, classes, weights)
    assert not are_absent(model.intercept_).any()
    kept = lone(loss="cross_entropy", l2=1e-3).fit(rows, classes, weights)
    assert are_absent(kept.intercept_).tolist() == [False, False, True]


def test_those_that_come_back_are_as_rare_as_the_rarest():
    b = np.array([[1.0, ABSENT, -2.0], [ABSENT, ABSENT, 0.5], [ABSENT] * 3])
    expected = [[1.0, -2.0, -2.0], [0.5, 0.5, 0.5], [ABSENT] * 3]
    assert brought_back(b).tolist() == expected
    some = brought_back(b.astype("f4"), np.array([False, True, False]))
    assert some.dtype == np.float32
    assert some[0].tolist() == [1, -2, -2]
    assert are_absent(some[1]).tolist() == [True, False, False]


def test_what_was_known_of_the_optimum_is_not_said_of_what_sgd_makes_of_it(left_out):
    assert left_out.converged_
    left_out.set_params(solver="sgd").partial_fit(X, Y)
    for name in ("objective_", "gradient_norm_", "bound_", "converged_"):
        assert not hasattr(left_out, name)

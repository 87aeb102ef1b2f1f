"""Promise: where there is next to nothing to learn, or in unusual units, it ends and says so."""

import warnings

import numpy as np
import pytest

from softstep import SoftmaxRegression
from softstep.model import trainer
from softstep.model.optimum.curvature import Curvature
from softstep.model.optimum.problem import Problem
from softstep.model.optimum.settings import Optimum
from softstep.model.optimum.solve import solve

RNG = np.random.default_rng(0)
Y = np.arange(600) % 3


def lone(**settings):
    return SoftmaxRegression(
        **{"loss": "cross_entropy", "solver": "lbfgs", "random_state": 0} | settings
    )


@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "gce"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("x", [0.0, 0.1, 3.0])
@pytest.mark.parametrize("init", ["zeros", "normal"])
def test_columns_that_say_nothing_about_balanced_classes(loss, dtype, x, init):
    """The gradient at zero weights is 0 but for rounding: less than that is not asked for."""
    X = np.full((600, 2), x, dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = lone(loss=loss, init=init).fit(X, Y)
    assert model.converged_
    assert model.gradient_norm_ <= 1e-7 * (1 + x)
    if loss == "cross_entropy":  # the others may have other stationary points
        np.testing.assert_allclose(model.predict_proba(X), 1 / 3, atol=1e-3)


@pytest.mark.parametrize("init", ["zeros", "normal"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_class_alone_has_the_optimum_0(init, dtype):
    X = RNG.standard_normal((600, 4)).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = lone(l2=0.1, init=init).fit(X, Y, (Y == 1).astype(dtype))
    assert model.converged_
    assert model.bound_ == model.objective_ <= 1e-15


def test_of_a_tiny_optimum_it_is_not_said_that_it_is_0():
    X = np.where(Y == 1, 1.0, -1.0)[:, None]
    model = lone(l2=1e-9).fit(X, Y == 1)
    assert model.converged_
    assert model.bound_ <= 1e-6 * model.objective_


def posed_on(X):
    """The least cross-entropy on these rows."""
    return Problem(
        data=trainer.Rows(X, Y),
        loss=np.array(["cross_entropy"]),
        l2=np.zeros(1),
        l2_bias=False,
        fit_bias=True,
    )


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12, 1e23, 1e30])
@pytest.mark.parametrize("along_axes", [True, False])
def test_the_first_step_has_the_units_of_the_features(size, along_axes, monkeypatch):
    monkeypatch.setattr("softstep.model.optimum.curvature.has_axes", lambda *shape: along_axes)
    X = RNG.standard_normal((600, 3)) + np.eye(3)[Y]
    steps = []
    for scale in (1.0, size):
        posed = posed_on(X * scale)
        _, found = Curvature.of(posed, 3)
        q = (scale * np.ones((4, 3))).astype("f4")
        assert np.isfinite(found.divide(0, q.copy(), q))
        found.divide(0, q, None)
        steps.append(q[:3] * np.float64(scale))
    assert (steps[0] != 0).any()
    np.testing.assert_allclose(steps[1], steps[0], rtol=1e-3, atol=1e-6)


def test_features_in_huge_units_are_learned_from():
    X = RNG.standard_normal((600, 3)) + 3 * np.eye(3)[Y]
    accuracies = []
    for scale in (1.0, 1e23):
        posed = posed_on(X * scale)
        zero = np.zeros((1, 3, 3))
        found = solve(posed, zero, zero[:, 0], optimum=Optimum(1e-6, 200))
        logits = (X * scale) @ found.W[0] + found.b[0]
        accuracies.append((logits.argmax(axis=1) == Y).mean())
    assert accuracies[0] > 0.9
    assert accuracies[1] > accuracies[0] - 0.01


@pytest.mark.parametrize("constant", [True, False])
def test_of_what_overflows_on_the_way_the_warning_alone_tells(constant):
    X = np.full((600, 3), 2.0**63, "f4") if constant else RNG.standard_normal((600, 3)) * 1e60
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert not lone(C=1.0).fit(X, Y).converged_
    assert [w.category.__name__ for w in said] == ["ConvergenceWarning"]


@pytest.mark.parametrize("along_axes", [True, False])
@pytest.mark.parametrize("rows", [slice(None), slice(-1, None)])
def test_features_whose_variance_overflows_are_refused(rows, along_axes, monkeypatch):
    monkeypatch.setattr("softstep.model.optimum.curvature.has_axes", lambda *shape: along_axes)
    monkeypatch.setattr("softstep.model.optimum.problem.WIDENED_VALUES", 300)
    X = RNG.standard_normal((600, 3))
    X[rows] *= 1e200
    with pytest.raises(ValueError, match=r"^the features are so large, .* overflows"):
        lone(C=1.0).fit(X, Y)

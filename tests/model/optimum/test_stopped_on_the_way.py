"""Promise: what stops a descent to the optimum, Ctrl-C above all, loses nothing, and is said."""

import dataclasses

import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.model import trainer
from softstep.model.datasets import load_digits
from softstep.model.optimum import lbfgs, solve
from softstep.model.optimum.curvature import Curvature
from softstep.model.optimum.problem import Problem
from softstep.model.optimum.settings import Optimum
from softstep.model.optimum.shortfall import ConvergenceWarning

DIGITS = load_digits()
X, Y = np.ascontiguousarray(DIGITS.X_train[::4]), DIGITS.y_train[::4]
SHARED = {"loss": "cross_entropy", "solver": "lbfgs", "random_state": 0}


def objective(model):
    """That of its weights, in float64."""
    data = trainer.Rows(X, Y)
    posed = Problem(
        data=data,
        loss=np.array(["cross_entropy"]),
        l2=np.array([model.l2]),
        l2_bias=False,
        fit_bias=True,
    )
    W, b = model.coef_.T[None].astype(float), model.intercept_[None].astype(float)
    return posed.value(W, b)[0][0]


def interrupt(*arguments, **keywords):
    raise KeyboardInterrupt


@pytest.fixture
def starts(monkeypatch):
    """The arithmetics of the legs that have begun."""
    begun, start = [], lbfgs.Descent.start

    def noting(self, heads, dtype):
        begun.append(np.dtype(dtype))
        start(self, heads, dtype)

    monkeypatch.setattr(lbfgs.Descent, "start", noting)
    return begun


def test_ctrl_c_in_the_second_leg_compares_no_float32_with_what_was_proven(starts, monkeypatch):
    rounds = []

    def stop(done):
        rounds.append(done)
        if len(starts) > 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(solve, "MARGINS", (1e4, 0.3))  # the first proof falls short
    model = SoftmaxRegression(l2=1e-3, tol=1e-10, **SHARED)
    with pytest.warns(ConvergenceWarning), pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, callback=stop)
    assert starts == [np.float32, np.float64]
    assert model.objective_ == pytest.approx(objective(model), rel=1e-14)
    least = SoftmaxRegression(l2=1e-3, tol=1e-10, **SHARED).fit(X.astype(float), Y).objective_
    assert model.bound_ >= model.objective_ - least * (1 + 1e-10)
    assert np.isfinite(model.bound_)


def test_ctrl_c_after_the_last_step_loses_no_weights(monkeypatch, tmp_path):
    monkeypatch.setattr(solve._Solve, "_evaluate", interrupt)
    model = SoftmaxRegression(**{**SHARED, "loss": "mse"}, l2=1e-3)
    said = "nothing is known of its weights; it was interrupted"
    with pytest.warns(ConvergenceWarning, match=said), pytest.raises(KeyboardInterrupt):
        model.fit(X, Y)
    assert model.score(X, Y) > 0.8
    assert np.isnan(model.objective_)
    model.save(tmp_path / "model.npz")
    loaded = SoftmaxRegression.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.coef_, model.coef_)
    assert np.isnan(loaded.objective_)
    assert np.isnan(loaded.gradient_norm_)


@pytest.mark.parametrize("during", ["curvature", "round", "proof", "end"])
def test_ctrl_c_between_parts_keeps_what_is_solved(during, monkeypatch):
    """Folds that are scaled by their own rows are parts: of four the second is broken off."""
    calls, of = [], Curvature.of

    def noting(problem, c):
        calls.append(problem)
        if during == "curvature" and len(calls) == 2:
            raise KeyboardInterrupt
        return of(problem, c)

    monkeypatch.setattr(Curvature, "of", noting)
    for owner, name, when in ((solve, "prove", "proof"), (solve._Solve, "_solution", "end")):
        whole = getattr(owner, name)

        def broken(*given, whole=whole, when=when, **keywords):
            if during == when and len(calls) == 2:
                raise KeyboardInterrupt
            return whole(*given, **keywords)

        monkeypatch.setattr(owner, name, broken)

    def tell(done):
        if during == "round" and done.part == 1:
            raise KeyboardInterrupt

    fitted = SoftmaxSweep({"C": [1.0], "loss": "cross_entropy"}, cv=3, solver="lbfgs")
    fitted.set_params(param_grid=fitted.param_grid | {"scaling": ["standard"]}, random_state=0)
    with pytest.warns(ConvergenceWarning, match="3 of 4 heads"), pytest.raises(KeyboardInterrupt):
        fitted.fit(X, Y, callback=tell)
    assert len(calls) == 2
    assert fitted.results_["converged"].tolist() == [True]
    assert fitted.estimator(0).converged_
    alone = SoftmaxRegression(C=1.0, scaling="standard", **SHARED).fit(X, Y)
    np.testing.assert_array_equal(fitted.estimator(0).coef_, alone.coef_)
    left = fitted.estimator(0, split=2)
    assert np.isnan(left.bound_)
    assert not left.converged_
    assert left.n_iter_ == 0
    assert not left.coef_.any()


def test_a_callback_that_stops_begins_no_further_part():
    rounds = []
    grid = {"C": [1.0], "loss": "cross_entropy", "scaling": ["standard"]}
    fitted = SoftmaxSweep(grid, cv=3, solver="lbfgs", random_state=0)
    said = r"of the one with C=1, no step was taken; the callback stopped it$"
    with pytest.warns(ConvergenceWarning, match=said):
        fitted.fit(X, Y, callback=lambda done: rounds.append(done) or done.number == 4)
    assert [done.number for done in rounds] == list(range(5))
    assert [fitted.estimator(0, split=k).n_iter_ for k in range(3)] == [0, 0, 0]


def test_the_rounds_of_parts_are_those_of_one_descent():
    rounds = []
    grid = {"C": [0.1, 1.0], "loss": "cross_entropy", "scaling": ["standard"]}
    SoftmaxSweep(grid, cv=2, solver="lbfgs", random_state=0).fit(X, Y, callback=rounds.append)
    assert [done.number for done in rounds] == list(range(len(rounds)))
    assert {(done.part, done.parts) for done in rounds} == {(0, 3), (1, 3), (2, 3)}
    going = [done.going for done in rounds]
    assert going == sorted(going, reverse=True)
    assert (going[0], going[-1]) == (6, 0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"C": 100.0}, r"of the one with C=100, .*; the callback stopped it$"),
        ({"l2": 1e-5}, r"of the one with l2=1e-05, .*; the callback stopped it$"),
    ],
)
def test_who_was_stopped_is_not_told_to_raise_tol(settings, said):
    with pytest.warns(ConvergenceWarning, match=said):
        SoftmaxRegression(**settings, **SHARED).fit(X, Y, callback=lambda done: done.number == 3)
    with (
        pytest.warns(ConvergenceWarning, match="it was interrupted$"),
        pytest.raises(KeyboardInterrupt),
    ):
        SoftmaxRegression(**settings, **SHARED).fit(X, Y, callback=interrupt)


def test_a_proof_that_fails_takes_back_none_of_an_earlier_one(monkeypatch):
    prove, found = solve.prove, []

    def failing(*given):
        proof = prove(*given)
        found.append(proof)
        return proof if len(found) == 1 else dataclasses.replace(proof, least=proof.least * np.nan)

    monkeypatch.setattr(solve, "prove", failing)
    monkeypatch.setattr(solve, "MARGINS", (1e4, 0.3))
    posed = Problem(
        data=trainer.Rows(X, Y),
        loss=np.array(["cross_entropy"]),
        l2=np.array([1e-3]),
        l2_bias=False,
        fit_bias=True,
    )
    zero = np.zeros((1, X.shape[1], 10), X.dtype)
    solution = solve.solve(posed, zero, zero[:, 0], optimum=Optimum(1e-10, 1000))
    assert len(found) > 1
    assert solution.bound[0] == solution.objective[0] - found[0].least[0]


def test_what_is_judged_are_the_weights_that_are_returned(starts, monkeypatch):
    """Where rounding them costs too much, the float64 ones are taken closer, and rounded again."""
    whole = solve._Solve._round_off

    def coarse(self, heads):
        whole(self, heads)
        if len(starts) == 2:
            self.W[heads] *= 1.01

    monkeypatch.setattr(solve._Solve, "_round_off", coarse)
    monkeypatch.setattr(solve, "MARGINS", (1e4, 0.3, 0.03))
    model = SoftmaxRegression(l2=1e-3, tol=1e-9, **SHARED).fit(X, Y)
    assert starts == [np.float32, np.float64, np.float64]
    assert model.converged_

"""Promise: what is said to be proven of an optimum is true: no f is below what the bound says."""

import dataclasses

import numpy as np
import pytest

from softstep import SoftmaxRegression
from softstep.bench.studies import proofs
from softstep.model.datasets import load_digits

pytest.importorskip("scipy.optimize")
DIGITS = load_digits()
X, Y = DIGITS.X_train[::2], DIGITS.y_train[::2]


@pytest.mark.parametrize("number", range(4 * len(proofs.KINDS)))
def test_the_bound_holds_for_problems_of_every_kind(number):
    (problem,) = (p for i, p in enumerate(proofs.posed(number + 1)) if i == number)
    found = proofs.check(problem)
    assert found.holds
    assert found.converged
    assert 0 <= found.bound <= 1e-6


def test_a_bound_that_is_too_small_is_noticed(monkeypatch):
    """Had the fit claimed to be at the optimum, SciPy would have found less."""
    problem = next(proofs.posed(1))

    def claims(self, *rows):
        self.fit_(*rows)
        self.bound_ *= 1e-3

    monkeypatch.setattr(SoftmaxRegression, "fit_", SoftmaxRegression.fit, raising=False)
    monkeypatch.setattr(SoftmaxRegression, "fit", claims)
    assert not proofs.check(problem, tol=1e-3).holds


@pytest.mark.parametrize("tol", [1e-2, 1e-4])
def test_a_bound_is_reached_and_not_much_more(tol):
    """It stops when the proof is there: a looser `tol` takes fewer steps."""
    problem = dataclasses.replace(
        next(proofs.posed(1)), X=X.astype("f4"), y=Y, w=np.ones(len(X)), l2=1e-3
    )
    found, closer = proofs.check(problem, tol), proofs.check(problem, tol / 100)
    assert found.converged
    assert closer.converged
    assert found.steps < closer.steps
    assert found.bound <= tol
    assert closer.bound <= tol / 100


def test_float32_goes_on_in_float64_where_its_rounding_is_in_the_way():
    loose, tight = (
        SoftmaxRegression(
            loss="cross_entropy", solver="lbfgs", C=100.0, tol=tol, max_iter=5000, random_state=0
        ).fit(X, Y)
        for tol in (1e-4, 1e-10)
    )
    assert tight.coef_.dtype == np.float32
    assert tight.converged_
    assert tight.bound_ <= 1e-10 * tight.objective_
    assert tight.n_iter_ > loose.n_iter_


@pytest.mark.parametrize("C", [1e-4, 1e-2, 1.0])
def test_the_coefficients_are_those_of_scikit_learn(C):
    linear_model = pytest.importorskip("sklearn.linear_model")
    theirs = linear_model.LogisticRegression(C=C, tol=1e-12, max_iter=20_000).fit(X.astype("f8"), Y)
    ours = SoftmaxRegression(
        loss="cross_entropy", solver="lbfgs", C=C, tol=1e-12, max_iter=5000, random_state=0
    ).fit(X.astype("f8"), Y)
    assert ours.converged_
    # theirs sum to 0 over the classes only as far as they have converged
    for found, expected in ((ours.coef_, theirs.coef_), (ours.intercept_, theirs.intercept_)):
        expected = expected - expected.mean(axis=0)
        found = found - found.mean(axis=0)
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_two_classes_have_the_C_of_scikit_learn_too():
    linear_model = pytest.importorskip("sklearn.linear_model")
    y, w = np.isin(Y, (3, 5, 8)), np.random.default_rng(0).uniform(0, 2, len(Y))
    settings = {"C": 0.1, "class_weight": {False: 1.0, True: 3.0}, "tol": 1e-12}
    theirs = linear_model.LogisticRegression(**settings, max_iter=20_000).fit(X.astype("f8"), y, w)
    ours = SoftmaxRegression(loss="cross_entropy", solver="lbfgs", random_state=0, **settings)
    ours.fit(X.astype("f8"), y, w)
    found = ours.coef_[1] - ours.coef_[0]
    assert np.abs(found - theirs.coef_[0]).max() <= 1e-4 * np.abs(theirs.coef_).max()

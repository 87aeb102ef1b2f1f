"""Promise: the weights on their way to the optimum are kept, and a run goes on from them."""

import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.model import CheckpointError
from softstep.model.datasets import load_digits

DIGITS = load_digits()
X, Y = np.ascontiguousarray(DIGITS.X_train[::4]), DIGITS.y_train[::4]
SHARED = {"solver": "lbfgs", "random_state": 0, "tol": 1e-6}
GRID = {"C": [0.1, 10.0], "loss": "cross_entropy"}
VIEWS = {**GRID, "features": [(0, 64), (10, 50)], "scaling": [None, "standard"]}


def lone(**settings):
    return SoftmaxRegression(**{"loss": "cross_entropy", "C": 10.0, **SHARED, **settings})


class Died(Exception):
    """What ends a run as a kill would: nothing is saved any more."""


def dying(number):
    def die(done):
        if done.number == number:
            raise Died

    return die


def test_a_model_goes_on_from_where_it_was(tmp_path):
    whole = lone().fit(X, Y)
    with pytest.raises(Died):
        lone().fit(X, Y, checkpoint=tmp_path, checkpoint_every=0, callback=dying(25))
    resumed = lone().fit(X, Y, checkpoint=tmp_path, checkpoint_every=0, resume=True)
    assert resumed.converged_
    assert 0 < resumed.n_iter_ <= whole.n_iter_ - 10
    assert abs(resumed.objective_ - whole.objective_) <= 2e-6 * whole.objective_
    again = lone().fit(X, Y, checkpoint=tmp_path, resume=True)  # from the end
    assert again.n_iter_ <= 3
    assert abs(again.objective_ - whole.objective_) <= 2e-6 * whole.objective_


@pytest.mark.parametrize("grid", [GRID, VIEWS], ids=["one part", "parts"])
def test_a_sweep_goes_on_from_where_it_was(grid, tmp_path):
    sweep = SoftmaxSweep(grid, cv=2, **SHARED)
    f = sweep.fit(X, Y).results_["objective"].copy()
    rounds = []
    sweep.fit(X, Y, callback=rounds.append)
    with pytest.raises(Died):
        sweep.fit(
            X, Y, checkpoint=tmp_path, checkpoint_every=0, callback=dying(len(rounds) * 2 // 3)
        )
    told = []
    resumed = SoftmaxSweep(grid, cv=2, **SHARED)
    resumed.fit(X, Y, checkpoint=tmp_path, checkpoint_every=0, resume=True, callback=told.append)
    assert resumed.results_["converged"].all()
    np.testing.assert_allclose(resumed.results_["objective"], f, rtol=2e-6)
    steps = [sum(done.going for done in run) for run in (told, rounds)]
    assert 0 < steps[0] < 0.7 * steps[1]


def test_a_checkpoint_of_other_rows_or_settings_is_refused(tmp_path):
    lone().fit(X, Y, checkpoint=tmp_path)
    with pytest.raises(CheckpointError, match=r"its C was 10.0, but is 1.0 now"):
        lone(C=1.0).fit(X, Y, checkpoint=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=r"its X.rows was"):
        lone().fit(X + 1, Y, checkpoint=tmp_path, resume=True)
    with pytest.raises(ValueError, match="holds a checkpoint already"):
        lone().fit(X, Y, checkpoint=tmp_path)

"""Promise: by what rows come to unit length is kept for these rows alone, and changes no bit."""

import pickle

import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.kernels.backend import use_backend
from softstep.model import blocks, few_shot, inputs, trainer
from softstep.model.sweep import few_rows
from softstep.model.views import Part, Scaler

N, D = 240, 6
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, D)).astype(np.float32)
Y = np.arange(N) % 3
PART = Part((1, 5), Scaler(unit=True))


def kept(rows):
    """What rows, as a part of a bank sees them, keep."""
    return rows.seen(PART, np.array([0])).X.as_read("numba").factors


def test_it_is_kept_from_epoch_to_epoch_for_each_range_of_columns():
    rows = trainer.Rows(X, Y[None], factors=inputs.Factors())
    assert kept(rows).shape == (N,)
    assert kept(rows) is kept(rows)
    other = rows.seen(Part((0, 5), Scaler(unit=True)), np.array([0])).X.as_read("numba").factors
    assert other is not kept(rows)
    assert (
        rows.seen(Part((0, 5), Scaler(False, X[0], X[0])), np.array([0])).X.as_read("numba").factors
        is None
    )
    assert kept(trainer.Rows(X, Y[None])) is None


def test_other_rows_have_none_of_it():
    rows = trainer.Rows(X, Y[None], np.ones((2, N), np.float32), factors=inputs.Factors())
    mine, some = kept(rows), np.arange(5, 90)
    copies = few_rows.taken(rows, {0: some}, 1, None)[0]
    assert (kept(copies) is mine, kept(copies).shape) == (False, (85,))
    for other in (
        rows.taken(some),
        rows.taken(slice(3, 40)),
        rows.only(some),
        blocks._rows_of(rows, X[some], some),
        trainer.replace(rows, X=X.copy()),
    ):
        assert kept(other) is None
    assert kept(rows) is mine
    sent = pickle.loads(pickle.dumps(rows))
    assert (kept(sent) is mine, kept(sent).shape) == (False, (N,))


@pytest.mark.parametrize("scaling", ["l2", "l2+standard"])
def test_heads_of_all_rows_and_of_few_are_the_lone_model(scaling):
    cv = [*few_shot(Y, 9, seeds=[2]), (np.arange(0, N, 2), np.arange(1, N, 2))]
    grid = {"features": [(0, 4), (2, 6)], "scaling": scaling}
    shared = {"batch_size": 20, "epochs": 4, "random_state": 0}
    with use_backend("numba"):
        fitted = SoftmaxSweep(grid, cv=cv, **shared).fit(X, Y)
        for i in range(2):
            for split, learn in ((None, slice(None)), (0, cv[0].learn)):
                found = fitted.estimator(i, split)
                alone = SoftmaxRegression(**found.get_params()).fit(X[learn], Y[learn])
                assert np.array_equal(found.coef_, alone.coef_)
                assert found.history_[0].loss == alone.history_[0].loss

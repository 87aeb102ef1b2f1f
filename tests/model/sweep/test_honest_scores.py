"""Promise: intervals are those of bootstraps of the held-out rows, the same for all settings, and
the best setting is shown without the luck of having been chosen."""

import math

import numpy as np
import pytest

from softstep import SoftmaxSweep
from softstep.model.sweep import folds
from softstep.model.sweep.scoring import draws, judged

N, D, C = 700, 6, 3
RNG = np.random.default_rng(0)
Y = RNG.integers(C, size=N)
X = 0.5 * RNG.standard_normal((C, D))[Y] + RNG.standard_normal((N, D))
GRID = {"learning_rate": np.geomspace(1e-4, 1, 5)}
SEED = 3
COUNTS = draws.counts_of(SEED, 0, N).astype(float)  # (rows, draws)


def sweep(**settings):
    shared = {"epochs": 3, "random_state": SEED, "scoring": ["accuracy", "brier"]}
    return SoftmaxSweep(GRID, **shared | settings)


def squares(model, rows):
    return ((model.predict_proba(X[rows]) - np.eye(C)[Y[rows]]) ** 2).sum(axis=1)


def rights(model, rows):
    return (model.predict(X[rows]) == Y[rows]).astype(float)


def table(fitted, of_rows, judges):
    """Of each row and setting what it counts, and of each row with which weight: the means over
    the splits are weighted means over the rows."""
    values, weights = np.zeros((N, 5)), np.zeros(N)
    for split, rows in enumerate(judges):
        rows = np.flatnonzero(rows)
        weights[rows] += 1 / len(rows)
        for i in range(5):
            model = fitted.estimator(i, None if len(judges) == 1 else split)
            values[rows, i] += of_rows(model, rows) / len(rows)
    return values, weights


CASES = {
    "held-out rows": ({}, [np.ones(N, bool)]),
    "folds": ({"cv": 3}, folds.cross_validation(3, Y, None, Y, SEED)[1]),
    "bootstraps": ({"n_bootstrap": 3}, folds.bootstraps("poisson", 3, N, SEED)[1]),
}


@pytest.mark.parametrize("case", CASES)
def test_the_figures_are_those_of_a_table_of_all_rows_and_settings(case):
    settings, judges = CASES[case]
    held_out = {} if settings else {"X_val": X, "y_val": Y}
    fitted = sweep(refit="brier", **settings).fit(X, Y, **held_out)
    for name, of_rows in (("accuracy", rights), ("brier", squares)):
        values, weights = table(fitted, of_rows, judges)
        drawn = (COUNTS.T @ values) / (COUNTS.T @ weights)[:, None]
        low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
        np.testing.assert_allclose(fitted.results_[f"low_val_{name}"], low, rtol=1e-9)
        np.testing.assert_allclose(fitted.results_[f"high_val_{name}"], high, rtol=1e-9)
        mean = fitted.results_[f"mean_val_{name}"]
        np.testing.assert_allclose(values.sum(axis=0) / weights.sum(), mean, rtol=1e-9)
        assert ((low < mean) & (mean < high)).all()
    left = ((COUNTS.T == 0) @ values) / ((COUNTS.T == 0) @ weights)[:, None]
    order = np.argsort(fitted.results_["rank"])
    chosen = order[np.round(drawn[:, order], 12).argmin(axis=1)]
    scores = left[np.arange(1000), chosen]
    assert fitted.best_score_ == pytest.approx(scores.mean(), rel=1e-9)
    interval = np.percentile(scores, [2.5, 97.5])
    assert fitted.best_score_interval_ == pytest.approx(interval, rel=1e-9)
    assert fitted.best_wins_ == np.mean(chosen == fitted.best_index_)
    assert 0 < fitted.best_wins_ <= 1


def test_weights_of_rows_count_in_the_draws():
    weights = RNG.uniform(0, 2, N)
    fitted = sweep().fit(X, Y, X_val=X, y_val=Y, sample_weight_val=weights)
    values = np.stack([rights(fitted.estimator(i), np.arange(N)) for i in range(5)], axis=1)
    drawn = COUNTS.T @ (weights[:, None] * values) / (COUNTS.T @ weights)[:, None]
    low = np.percentile(drawn, 2.5, axis=0)
    np.testing.assert_allclose(fitted.results_["low_val_accuracy"], low, rtol=1e-9)


def test_a_draw_of_no_rows_chooses_nothing():
    fitted = sweep().fit(X, Y, X_val=X[:3], y_val=Y[:3])
    counts, order = COUNTS[:3], np.argsort(fitted.results_["rank"], kind="stable")
    values = np.stack([rights(fitted.estimator(i), np.arange(3)) for i in order], axis=1)
    some = counts.any(axis=0)
    assert 0 < (~some).sum() < 100
    means = counts.T[some] @ values / counts.T[some].sum(axis=1, keepdims=True)
    chosen = np.round(-means, 12).argmin(axis=1)
    assert fitted.best_wins_ == np.mean(chosen == 0)
    left = (counts.T == 0)[some]
    known = left.any(axis=1)
    scores = (left[known] * values.T[chosen[known]]).sum(axis=1) / left[known].sum(axis=1)
    assert fitted.best_score_ == pytest.approx(scores.mean(), rel=1e-9)


def test_only_means_over_rows_have_intervals():
    fitted = sweep(scoring=["accuracy", "ece", "macro_f1"], refit="ece").fit(X, Y, X_val=X, y_val=Y)
    names = {name for name in fitted.results_ if name.startswith(("low_", "high_"))}
    assert names == {"low_val_accuracy", "high_val_accuracy"}
    assert not hasattr(fitted, "best_score_")
    assert not hasattr(fitted, "best_wins_")


def test_refit_by_what_is_computed_anyway_is_drawn_too():
    fitted = sweep(scoring="ece", refit="loss", cv=2).fit(X, Y)
    assert fitted.results_["low_val_loss"][0] < fitted.results_["mean_val_loss"][0]
    assert 0 < fitted.best_score_ < 1


def test_the_luck_of_the_best_of_many_is_taken_off():
    """Labels that nothing tells: the best of 200 heads is right by chance, and looks better."""
    rng = np.random.default_rng(1)
    y = rng.integers(2, size=200)
    x = rng.standard_normal((200, 30))
    grid = {"learning_rate": 1e-12, "init": "normal", "init_seed": list(range(200))}
    fitted = SoftmaxSweep(grid, epochs=1, random_state=0, scoring="accuracy")
    fitted.fit(x, y, X_val=x, y_val=y)
    best = fitted.results_["mean_val_accuracy"].max()
    assert best > 0.58
    assert abs(fitted.best_score_ - 0.5) < 0.04
    low, high = fitted.best_score_interval_
    assert low < 0.5 < high
    assert fitted.best_wins_ < 0.5


def test_of_label_sets_each_has_its_winner():
    both = np.stack([Y, Y[::-1]], axis=1)  # of which nothing can be learnt
    fitted = sweep(cv=2).fit(X, both)
    first, second = fitted.best_score_
    assert first > 0.45
    assert second < 0.42
    assert len(fitted.best_wins_) == 2
    alone = sweep(cv=folds_of(both)).fit(X, Y)
    assert alone.best_score_ == pytest.approx(first, rel=1e-9)
    assert alone.best_score_interval_ == pytest.approx(fitted.best_score_interval_[0], rel=1e-9)


def folds_of(y):
    judges = folds.cross_validation(2, y, None, None, SEED)[1]
    return [(np.flatnonzero(~rows), np.flatnonzero(rows)) for rows in judges]


# the draws


def test_a_row_is_drawn_as_often_as_poisson_says():
    counts = draws._COUNTS
    assert len(counts) == 2**16
    for k in range(6):
        poisson = math.exp(-1) / math.factorial(k)
        assert np.mean(counts == k) == pytest.approx(poisson, abs=2**-16)
    assert counts.mean() == pytest.approx(1, abs=1e-4)
    assert COUNTS.mean() == pytest.approx(1, abs=0.01)
    assert COUNTS.var() == pytest.approx(1, abs=0.02)
    correlation = np.corrcoef(COUNTS[:200])
    assert np.abs(correlation - np.eye(200)).max() < 0.2


@pytest.mark.parametrize(("first", "stop"), [(0, 1), (255, 257), (256, 512), (100, 700)])
def test_draws_do_not_depend_on_the_blocks(first, stop):
    assert np.array_equal(draws.counts_of(SEED, first, stop), COUNTS[first:stop])


def test_the_figures_do_not_depend_on_the_blocks(monkeypatch):
    whole = sweep(cv=3).fit(X, Y)
    monkeypatch.setattr(judged, "ROWS", 100)
    parts = sweep(cv=3).fit(X, Y)
    for name in ("low_val_brier", "high_val_accuracy"):
        np.testing.assert_allclose(parts.results_[name], whole.results_[name], rtol=1e-9)
    assert parts.best_score_ == pytest.approx(whole.best_score_, rel=1e-12)

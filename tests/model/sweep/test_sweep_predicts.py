"""Promise: a fitted sweep predicts as its best settings do; scikit-learn takes it as a model."""

import numpy as np
import pytest

from softstep import SoftmaxSweep
from softstep.model import NotFittedError
from softstep.model.scores import SCORES

RNG = np.random.default_rng(0)
Y = np.arange(90) % 3
X = RNG.standard_normal((90, 4)) + 2 * np.eye(4)[Y]
SETS = np.stack([Y, (Y + RNG.integers(2, size=90)) % 3], axis=1)
METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")


def sweep(**settings):
    grid = {"learning_rate": [0.001, 0.1, 1.0]}
    return SoftmaxSweep(grid, **{"cv": 3, "epochs": 4, "random_state": 0, **settings})


def test_it_predicts_as_the_best():
    fitted = sweep().fit(X, Y)
    best = fitted.best_estimator_
    for name in METHODS:
        assert np.array_equal(getattr(fitted, name)(X), getattr(best, name)(X))
    weight = RNG.random(90)
    assert fitted.score(X, Y) == best.score(X, Y) > 0.8
    assert fitted.score(X, Y, weight) == best.score(X, Y, weight) != best.score(X, Y)
    assert fitted.classes_.tolist() == [0, 1, 2]
    assert fitted.n_features_in_ == 4


def test_equal_settings_have_equal_ranks_wherever_they_are():
    fitted = SoftmaxSweep({"learning_rate": [1e-30, 0.5, 2e-30]}, cv=3, epochs=2, random_state=0)
    assert fitted.fit(X, Y).results_["rank"].tolist() == [2, 1, 2]


def test_two_classes_have_one_decision():
    fitted = sweep().fit(X, Y > 0)
    assert fitted.decision_function(X).shape == (90,)
    assert np.array_equal(fitted.decision_function(X) > 0, fitted.predict(X))
    best = fitted.best_estimator_
    of_both = X @ (best.coef_[1] - best.coef_[0]) + best.intercept_[1] - best.intercept_[0]
    np.testing.assert_allclose(fitted.decision_function(X), of_both, rtol=1e-9, atol=1e-12)


def test_soft_targets_score_by_their_most_probable_class():
    soft = 0.8 * np.eye(3)[Y] + 0.2 / 3
    fitted = sweep(cv=[(range(60), range(60, 90))]).fit(X, soft)
    assert fitted.score(X, soft) == fitted.score(X, Y) > 0.8


def test_label_sets_have_a_prediction_each():
    fitted = sweep().fit(X, SETS)
    first, second = fitted.best_estimator_
    assert fitted.predict(X).shape == (90, 2)
    assert np.array_equal(fitted.predict(X), np.stack([first.predict(X), second.predict(X)], 1))
    for name in METHODS[1:]:
        one, other = getattr(fitted, name)(X)
        assert np.array_equal(one, getattr(first, name)(X))
        assert np.array_equal(other, getattr(second, name)(X))
    scores = first.score(X, SETS[:, 0]), second.score(X, SETS[:, 1])
    assert fitted.score(X, SETS) == np.mean(scores)
    assert scores[0] != scores[1]
    with pytest.raises(ValueError, match=r"y has shape \(90,\), but there are 2 label sets"):
        fitted.score(X, Y)


def test_labels_of_label_sets_come_in_the_library_of_the_rows_and_may_be_scored_as_floats():
    torch = pytest.importorskip("torch")
    pair = np.stack([Y > 0, Y == 0], axis=1).astype(int)  # of each row one is 1, as in soft targets
    fitted = sweep().fit(X, pair)
    found = fitted.predict(torch.from_numpy(X))
    assert isinstance(found, torch.Tensor)
    assert np.array_equal(found.numpy(), fitted.predict(X))
    assert [each.shape for each in fitted.predict_proba(X)] == [(90, 2), (90, 2)]
    assert fitted.score(X, pair.astype(float)) == fitted.score(X, pair)


UNEVEN = np.flatnonzero((Y < 2) | (np.arange(90) < 45))  # the last class has half as many rows


def cohen_kappa(model, x, y, sample_weight=None):
    metrics = pytest.importorskip("sklearn.metrics")
    return metrics.cohen_kappa_score(y, model.predict(x), sample_weight=sample_weight)


@pytest.mark.parametrize("weights", [None, RNG.integers(3, size=len(UNEVEN))])
@pytest.mark.parametrize("scoring", [*SCORES, cohen_kappa])
def test_with_scoring_its_score_is_that_by_which_the_best_was_chosen(scoring, weights):
    fitted = sweep(cv=None, scoring=scoring)
    x, y = X[UNEVEN], Y[UNEVEN]
    fitted.fit(X[:60], Y[:60], X_val=x, y_val=y, sample_weight_val=weights)
    name = scoring if isinstance(scoring, str) else "score"
    expected = fitted.results_[f"mean_val_{name}"][fitted.best_index_]
    found = fitted.score(x, y, weights)
    assert found == pytest.approx(expected, rel=1e-12)
    assert abs(found) > 1e-3
    if scoring != "accuracy":
        assert found != fitted.best_estimator_.score(x, y, weights)


def test_with_several_scores_it_is_that_of_refit():
    scoring = {"hits": "accuracy", "error": "brier"}
    fitted = sweep(scoring=scoring, refit="error").fit(X, Y)
    best = fitted.best_estimator_
    away = best.predict_proba(X) - np.eye(3)[Y]
    assert fitted.score(X, Y) == pytest.approx((away**2).sum(axis=1).mean(), rel=1e-9)
    fitted = sweep(scoring=scoring, refit="hits").fit(X, Y)
    assert fitted.score(X, Y) == fitted.best_estimator_.score(X, Y)
    assert fitted.score(X, np.full(90, 7)) == 0  # an unknown label is never right
    soft = 0.8 * np.eye(3)[Y] + 0.2 / 3
    fitted = sweep(cv=[(range(60), range(60, 90))], scoring="brier").fit(X, soft)
    away = fitted.predict_proba(X) - soft
    assert fitted.score(X, soft) == pytest.approx((away**2).sum(axis=1).mean(), rel=1e-9)


def test_the_score_of_label_sets_is_the_mean_over_them_of_the_labels_that_are_there():
    gaps = SETS.astype(float)
    gaps[::4, 1] = np.nan
    fitted = sweep(scoring="roc_auc_ovr").fit(X, SETS)
    aucs = []
    for t, best in enumerate(fitted.best_estimator_):
        there = ~np.isnan(gaps[:, t])
        alone = sweep(scoring="roc_auc_ovr").fit(X, SETS[:, t])
        alone.best_estimator_ = best
        aucs.append(alone.score(X[there], SETS[there, t]))
    assert fitted.score(X, gaps) == pytest.approx(np.mean(aucs), rel=1e-12)
    assert 0.5 < min(aucs) < max(aucs)


@pytest.mark.parametrize(
    ("scoring", "y", "weights", "message"),
    [
        ("roc_auc_ovr", np.minimum(Y, 1), None, "but y has none of class 2"),
        ("roc_auc_ovr", Y, Y < 2, "but y has none of class 2"),
        ("neg_log_loss", Y + 5, None, "is not one of the classes"),
        ("ece", Y, np.ones(7), r"has shape \(7,\), but there are 90 rows"),
        (cohen_kappa, Y, np.zeros(90), "the weights of the rows sum to zero"),
        ("brier", Y[:7], None, "7"),
    ],
)
def test_a_score_that_says_nothing_is_refused(scoring, y, weights, message):
    fitted = sweep(scoring=scoring).fit(X, Y)
    given = weights if weights is None else np.asarray(weights, float)
    with pytest.raises(ValueError, match=message):
        fitted.score(X, y, given)


def test_one_row_of_a_class_is_enough_to_compare_it_with_the_others():
    rows = np.r_[np.flatnonzero(Y < 2), np.flatnonzero(Y == 2)[:1]]
    fitted = sweep(scoring="roc_auc_ovr").fit(X, Y)
    assert 0.5 < fitted.score(X[rows], Y[rows]) <= 1


def test_before_fit_it_says_so():
    for name in METHODS:
        with pytest.raises(NotFittedError, match="this SoftmaxSweep is not fitted"):
            getattr(sweep(), name)(X)
    with pytest.raises(NotFittedError, match="this SoftmaxSweep is not fitted"):
        sweep().score(X, Y)


def test_names_of_columns_are_checked():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=list("abcd"))
    fitted = sweep().fit(table, Y)
    assert fitted.feature_names_in_.tolist() == list("abcd")
    assert np.array_equal(fitted.predict(table), fitted.best_estimator_.predict(table))
    with pytest.raises(ValueError, match="in the same order as they were in fit"):
        fitted.predict(table[list("dcba")])


def test_it_ends_a_pipeline_and_nests_in_searches():
    pipeline = pytest.importorskip("sklearn.pipeline")
    selection = pytest.importorskip("sklearn.model_selection")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    chain = pipeline.make_pipeline(preprocessing.StandardScaler(), sweep())
    assert chain.fit(X, Y).score(X, Y) > 0.8
    assert chain.predict_proba(X).shape == (90, 3)
    scores = selection.cross_val_score(chain, X, Y, cv=3)
    folds = selection.StratifiedKFold(3).split(X, Y)
    expected = [chain.fit(X[train], Y[train]).score(X[test], Y[test]) for train, test in folds]
    assert scores.tolist() == expected
    search = selection.GridSearchCV(chain, {"softmaxsweep__epochs": [1, 4]}, cv=2).fit(X, Y)
    assert search.score(X, Y) > 0.8
    assert selection.cross_val_score(sweep(), X, SETS, cv=2).min() > 0.5


def test_folds_may_be_given_as_they_are():
    selection = pytest.importorskip("sklearn.model_selection")
    splitter = selection.KFold(3, shuffle=True, random_state=1)
    expected = sweep(cv=splitter).fit(X, Y).results_["mean_val_loss"]
    pairs = list(splitter.split(X))
    masks = [tuple(np.isin(np.arange(90), rows) for rows in pair) for pair in pairs]
    for cv in (pairs, tuple(masks), splitter.split(X), np.array(masks)):
        assert np.array_equal(sweep(cv=cv).fit(X, Y).results_["mean_val_loss"], expected)

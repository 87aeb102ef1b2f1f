"""Promise: a sweep judges its settings as documented, and gives back plain models."""

import re
import sys

import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep, kernels
from softstep.model import NotFittedError
from softstep.model.extras import MissingExtraError
from softstep.model.sweep import folds, grid, heads

N, D, C = 240, 6, 3
RNG = np.random.default_rng(0)
Y = RNG.integers(C, size=N)
X = (2 * RNG.standard_normal((C, D))[Y] + RNG.standard_normal((N, D))).astype(np.float32)
TRAIN, VAL = slice(None, 180), slice(180, None)
HELD_OUT = {"X_val": X[VAL], "y_val": Y[VAL]}
RATES = {"learning_rate": [0.01, 0.1, 1.0], "loss": ["mse", "cross_entropy"]}


def sweep(param_grid=RATES, **settings):
    return SoftmaxSweep(param_grid, **{"epochs": 4, "random_state": 0, **settings})


# the grid


def test_the_grid_is_that_of_scikit_learn():
    selection = pytest.importorskip("sklearn.model_selection")
    grids = {"loss": ["mse", "cross_entropy"], "l2": [0.0, 0.1], "learning_rate": [1.0, 2.0, 3.0]}
    assert grid.configurations(grids) == list(selection.ParameterGrid(grids))
    several = [grids, {"momentum": [0.5]}]
    assert grid.configurations(several) == list(selection.ParameterGrid(several))


def test_plain_values_are_exact_settings():
    exact = [{"learning_rate": 0.1, "loss": "mse"}, {"l2": 1.0}]
    assert grid.configurations(exact) == exact
    mixed = {"loss": "mse", "learning_rate": np.array([1.0, 2.0]), "init_seed": range(2)}
    assert len(grid.configurations(mixed)) == 4
    assert all(type(s["learning_rate"]) is float for s in grid.configurations(mixed))
    assert grid.configurations({}) == [{}]


@pytest.mark.parametrize(
    ("param_grid", "error", "message"),
    [
        ("lr", TypeError, "a dict or a list of dicts"),
        ([1], TypeError, "a dict or a list of dicts"),
        ([], ValueError, "param_grid is empty"),
        ({"lr": [1]}, ValueError, "param_grid has 'lr'"),
        ({"batch_size": [1]}, ValueError, "a sweep goes through learning_rate, l2"),
        ({"l2": []}, ValueError, r"param_grid\['l2'\] is empty"),
        ({"l2": np.ones((2, 2))}, ValueError, "give a list of values"),
        ({"l2": [-1.0]}, ValueError, "l2 must be at least 0"),
        ({"learning_rate": [0.1, "fast"]}, TypeError, "learning_rate must be a number"),
        ({"loss": ["hinge"]}, ValueError, "loss must be one of"),
        ({"init": ["ones"]}, ValueError, "init must be one of"),
        ({"init_seed": [-1]}, ValueError, "init_seed must be at least 0"),
        ({"momentum": [1.0]}, ValueError, "momentum must be below 1"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(param_grid, error, message):
    with pytest.raises(error, match=message):
        sweep(param_grid).fit(X[TRAIN], Y[TRAIN], **HELD_OUT)


# results


def test_the_results_are_those_of_the_models(backend):
    fitted = sweep(backend=backend, eval_every=2).fit(X[TRAIN], Y[TRAIN], **HELD_OUT)
    results = fitted.results_
    assert {len(values) for values in results.values()} == {6}
    for i, params in enumerate(results["params"]):
        model = fitted.estimator(i)
        assert (model.learning_rate, model.loss) == (params["learning_rate"], params["loss"])
        assert results["param_learning_rate"][i] == params["learning_rate"]
        assert results["mean_val_accuracy"][i] == pytest.approx(model.score(X[VAL], Y[VAL]))
        loss, _ = kernels.evaluate(
            X[VAL], Y[VAL], model.coef_.T, model.intercept_, loss=model.loss, backend=backend
        )
        assert results["mean_val_loss"][i] == pytest.approx(loss[0], rel=1e-6)
        assert np.array_equal(fitted.loss_curves_[:, i], model.loss_curve_)
        assert [e.val_loss is not None for e in model.history_] == [False, True, False, True]
    assert np.isnan(results["std_val_accuracy"]).all()
    assert (results["epochs"] == 4).all()
    assert not results["diverged"].any()


@pytest.mark.parametrize("refit", ["accuracy", "loss"])
def test_the_best_is_what_refit_says(refit):
    rates = {"learning_rate": np.geomspace(1e-3, 1, 6).tolist()}
    fitted = sweep(rates, refit=refit).fit(X[TRAIN], Y[TRAIN], **HELD_OUT)
    results = fitted.results_
    figures = results["mean_val_accuracy"], -results["mean_val_loss"]
    first, second = figures if refit == "accuracy" else figures[::-1]
    best = max(range(6), key=lambda i: (first[i], second[i], -i))
    assert fitted.best_index_ == best
    assert results["rank"][best] == 1
    assert fitted.best_params_ == results["params"][best]
    assert sorted(results["rank"]) == list(range(1, 7))
    order = np.argsort(results["rank"])
    assert (np.diff(first[order]) <= 0).all()
    assert type(fitted.best_estimator_) is SoftmaxRegression
    assert np.array_equal(fitted.best_estimator_.coef_, fitted.estimator(best).coef_)


def test_losses_of_two_kinds_are_never_compared():
    with pytest.raises(ValueError, match="different losses do not compare"):
        sweep(refit="loss", cv=2).fit(X, Y)
    # So small a rate changes no answer: equal accuracy, and a smaller loss is no reason.
    grids = [
        {"loss": "cross_entropy", "learning_rate": 1e-9},
        {"loss": "mse", "learning_rate": 1e-9},
    ]
    fitted = sweep(grids, halving=True).fit(X[TRAIN], Y[TRAIN], **HELD_OUT)
    assert fitted.results_["mean_val_loss"][1] < fitted.results_["mean_val_loss"][0]
    assert fitted.best_params_["loss"] == "cross_entropy"
    fitted = sweep(grids).fit(X[TRAIN], Y[TRAIN], **HELD_OUT)
    assert fitted.results_["rank"].tolist() == [1, 1]


def test_equal_settings_have_equal_ranks():
    results = sweep([{"l2": 0.0}, {"l2": 0.0}, {"l2": 10.0}]).fit(X, Y, X_val=X, y_val=Y).results_
    assert results["rank"].tolist() == [1, 1, 3]


def test_the_best_estimator_predicts_saves_and_trains_on(tmp_path):
    best = sweep({"momentum": 0.5}).fit(X[TRAIN], Y[TRAIN], **HELD_OUT).best_estimator_
    best.save(tmp_path / "best.npz")
    loaded = SoftmaxRegression.load(tmp_path / "best.npz")
    assert np.array_equal(loaded.predict(X), best.predict(X))
    assert np.array_equal(loaded.partial_fit(X, Y).coef_, best.partial_fit(X, Y).coef_)
    alone = SoftmaxRegression(**best.get_params()).fit(X[TRAIN], Y[TRAIN]).partial_fit(X, Y)
    assert np.array_equal(alone.coef_, best.coef_)


def test_a_model_that_was_taken_out_does_not_change_the_sweep():
    fitted = sweep().fit(X, Y, X_val=X, y_val=Y)
    before = fitted.estimator(0).coef_.copy()
    fitted.estimator(0).partial_fit(X, Y)
    assert np.array_equal(fitted.estimator(0).coef_, before)


def test_a_sweep_learns_what_can_be_learnt():
    fitted = sweep().fit(X[TRAIN], Y[TRAIN], **HELD_OUT)
    assert fitted.results_["mean_val_accuracy"][fitted.best_index_] > 0.9


def test_without_a_seed_one_is_drawn_and_kept():
    drawn = sweep(random_state=None, cv=2).fit(X, Y)
    again = sweep(random_state=drawn.seed_, cv=2).fit(X, Y)
    assert np.array_equal(drawn.best_estimator_.coef_, again.best_estimator_.coef_)
    assert drawn.best_estimator_.random_state == drawn.seed_


def test_a_data_frame_is_asked_for_after_fit_and_with_pandas(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(NotFittedError):
        sweep().to_pandas()
    with pytest.raises(MissingExtraError, match=r"pip install 'softstep\[pandas\]'"):
        sweep({}, epochs=1).fit(X, Y, X_val=X, y_val=Y).to_pandas()


def test_the_best_settings_are_a_copy():
    fitted = sweep(epochs=1).fit(X, Y, X_val=X, y_val=Y)
    fitted.best_params_["l2"] = 7
    assert all("l2" not in params for params in fitted.results_["params"])


def test_values_may_come_from_pandas_or_torch():
    for module, make in (("pandas", "Series"), ("torch", "tensor")):
        values = getattr(pytest.importorskip(module), make)([0.5, 1.0])
        found = grid.configurations({"learning_rate": values})
        assert found == [{"learning_rate": 0.5}, {"learning_rate": 1.0}]
        assert all(type(setting["learning_rate"]) is float for setting in found)


def test_it_becomes_a_data_frame():
    pytest.importorskip("pandas")
    fitted = sweep().fit(X, Y, X_val=X, y_val=Y)
    frame = fitted.to_pandas()
    assert list(frame.columns) == list(fitted.results_)
    assert frame.loc[frame["rank"].idxmin(), "params"] == fitted.best_params_


# cross-validation


def test_cross_validation_is_that_of_scikit_learn_with_its_splitter(backend):
    selection = pytest.importorskip("sklearn.model_selection")
    splitter = selection.StratifiedKFold(3, shuffle=True, random_state=1)
    fitted = sweep(cv=splitter, backend=backend).fit(X, Y)
    for i in range(6):
        by_fold = [
            fitted.estimator(i, split=fold).score(X[test], Y[test])
            for fold, (_, test) in enumerate(splitter.split(X, Y))
        ]
        assert fitted.results_["mean_val_accuracy"][i] == pytest.approx(np.mean(by_fold))
        assert fitted.results_["std_val_accuracy"][i] == pytest.approx(np.std(by_fold))
    assert fitted.results_["std_val_loss"].min() > 0


def test_splits_by_groups_and_incomplete_splits_are_taken_as_they_are():
    selection = pytest.importorskip("sklearn.model_selection")
    groups = np.arange(N) // 60
    fitted = sweep({}, cv=selection.LeaveOneGroupOut()).fit(X, Y, groups=groups)
    scores = [fitted.estimator(0, split=g).score(X[groups == g], Y[groups == g]) for g in range(4)]
    assert fitted.results_["mean_val_accuracy"][0] == pytest.approx(np.mean(scores))
    splitter = selection.ShuffleSplit(2, train_size=50, test_size=30, random_state=0)
    fitted = sweep({}, cv=splitter).fit(X, Y)
    train, test = next(splitter.split(X))
    weights = np.bincount(train, minlength=N)
    model = fitted.estimator(0, split=0)
    alone = SoftmaxRegression(**model.get_params()).fit(X, Y, sample_weight=weights)
    assert np.array_equal(model.coef_, alone.coef_)
    assert model.history_[-1].val_accuracy == pytest.approx(alone.score(X[test], Y[test]))


@pytest.mark.parametrize("settings", [{"cv": 2}, {"cv": [([0, 1], [2])]}, {"n_bootstrap": 2}])
def test_groups_that_no_splitter_takes_are_warned_of(settings):
    with pytest.warns(UserWarning, match="groups are ignored: they count for a cv that splits by"):
        sweep({}, **{"cv": None, "epochs": 1, **settings}).fit(X, Y, groups=np.arange(N) // 60)


def test_a_fold_whose_rows_weigh_nothing_is_named():
    weights = 1.0 * (np.arange(N) < 50)
    folds_ = [(range(50), range(50, N)), (range(50, N), range(50))]
    with pytest.raises(ValueError, match="the rows that split 1 learns from sum to zero"):
        sweep({}, cv=folds_).fit(X, Y, weights)
    with pytest.raises(ValueError, match="the rows that a head learns from sum to zero"):
        sweep({}, cv=2).fit(X, Y, np.zeros(N))


class Splitter:
    """Yields what it is given."""

    def __init__(self, *splits):
        self.splits = splits

    def split(self, X, y=None, groups=None):
        return iter(self.splits)


def test_a_splitter_may_yield_masks_as_well_as_row_numbers():
    masks = [np.arange(N) % 3 == k for k in range(3)]
    numbers = Splitter(*((np.flatnonzero(~m), np.flatnonzero(m)) for m in masks))
    by_mask = sweep(cv=Splitter(*((~m, m) for m in masks))).fit(X, Y)
    by_number = sweep(cv=numbers).fit(X, Y)
    for name in ("mean_val_accuracy", "mean_val_loss", "std_val_loss"):
        assert np.array_equal(by_mask.results_[name], by_number.results_[name])
    assert by_mask.results_["mean_val_accuracy"].max() > 0.9


@pytest.mark.parametrize(
    ("train", "test", "error", "message"),
    [
        ([0, N], [1], ValueError, f"fold 1 learns from row {N}, but the rows are 0 to {N - 1}"),
        ([0, -1], [1], ValueError, "fold 1 learns from row -1"),
        ([0], [N], ValueError, f"fold 1 is judged on row {N}"),
        ([], [1], ValueError, "fold 1 learns from no rows"),
        ([1], [], ValueError, "fold 1 is judged on no rows"),
        ([0.5, 1], [1], TypeError, "fold 1 learns from float64 of shape"),
        ([[0], [1]], [1], TypeError, r"int64 of shape \(2, 1\)"),
        (np.ones(5, bool), [1], ValueError, f"a mask of 5 rows, but there are {N}"),
        (np.zeros(N, bool), [1], ValueError, "fold 1 learns from no rows"),
    ],
)
def test_a_splitter_that_yields_no_rows_of_these_is_refused(train, test, error, message):
    with pytest.raises(error, match=message):
        sweep(cv=Splitter(([0, 1], [2]), (train, test))).fit(X, Y)


def test_a_number_of_folds_is_stratified_shuffled_and_from_the_seed():
    learn, judge = folds.cross_validation(4, Y, None, Y, seed=3)
    assert np.array_equal(learn, ~judge)
    assert (judge.sum(axis=0) == 1).all()
    for code in range(C):
        in_fold = judge[:, code == Y].sum(axis=1)
        assert in_fold.max() - in_fold.min() <= 1
    assert np.array_equal(judge, folds.cross_validation(4, Y, None, Y, seed=3)[1])
    assert not np.array_equal(judge, folds.cross_validation(4, Y, None, Y, seed=4)[1])
    sizes = folds.cross_validation(7, Y, None, None, seed=3)[1].sum(axis=1)
    assert sizes.max() - sizes.min() <= 1


def test_a_class_of_fewer_rows_than_folds_is_warned_of():
    rare = np.where(np.arange(N) < 2, C, Y)
    with pytest.warns(UserWarning, match="a class has 2 rows, fewer than the 3 folds") as found:
        sweep({}, cv=3, epochs=1).fit(X, rare)
    assert [warning.filename for warning in found] == [__file__]  # the line that called fit
    sweep({}, cv=2, epochs=1).fit(X, rare)  # a warning would be an error


def test_fold_heads_share_the_weights_of_their_fold():
    rates = np.geomspace(0.01, 1, 100).tolist()
    seen = {}

    def spy(*arguments, **keywords):
        seen.update(keywords)
        return train(*arguments, **keywords)

    train = kernels.train
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "train", spy)
        sweep({"learning_rate": rates}, cv=5, epochs=1).fit(X, Y)
    assert seen["weight_index"].shape == (600,)
    assert seen["sample_weight"].shape == (6, N)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_weights_of_whole_numbers_have_the_gradient_of_repeated_rows(loss):
    # One step on one full batch, from which the gradient is read: float64, another order of sums.
    counts = np.random.default_rng(1).integers(0, 4, N)
    x = X.astype(np.float64)
    settings = {"loss": loss, "batch_size": 10**6, "max_steps": 1, "random_state": 0}
    weighted = SoftmaxRegression(**settings).fit(x, Y, sample_weight=counts)
    repeated = SoftmaxRegression(**settings).fit(np.repeat(x, counts, axis=0), np.repeat(Y, counts))
    largest = np.abs(repeated.coef_).max()
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=0, atol=1e-13 * largest)
    assert largest > 1e-3


# bootstraps


@pytest.mark.parametrize("kind", ["poisson", "multinomial"])
def test_bootstraps_are_judged_on_the_rows_they_left_out(kind):
    fitted = sweep(n_bootstrap=3, bootstrap=kind).fit(X, Y)
    counts, out = folds.bootstraps(kind, 3, N, 0)
    assert np.array_equal(out, counts == 0)
    assert 0.25 < out.mean() < 0.5  # e^-1 of them
    scores = [fitted.estimator(0, split=i).score(X[out[i]], Y[out[i]]) for i in range(3)]
    assert fitted.results_["mean_val_accuracy"][0] == pytest.approx(np.mean(scores))
    if kind == "multinomial":
        assert (counts.sum(axis=1) == N).all()
    else:
        assert abs(counts.mean() - 1) < 0.2
    assert len({c.tobytes() for c in counts}) == 3


def test_bootstraps_that_leave_no_row_out_can_be_judged_on_given_rows(monkeypatch):
    def all_rows(kind, count, n, seed):
        return np.ones((count, n), np.uint16), np.zeros((count, n), bool)

    monkeypatch.setattr(folds, "bootstraps", all_rows)
    sweep({}, n_bootstrap=2).fit(X, Y, X_val=X, y_val=Y)
    with pytest.raises(ValueError, match="split 0 has no rows to be judged on"):
        sweep({}, n_bootstrap=2).fit(X, Y)


def test_bootstraps_can_be_judged_on_given_rows():
    fitted = sweep(n_bootstrap=4).fit(X[TRAIN], Y[TRAIN], **HELD_OUT)
    scores = [fitted.estimator(1, split=i).score(X[VAL], Y[VAL]) for i in range(4)]
    assert fitted.results_["mean_val_accuracy"][1] == pytest.approx(np.mean(scores))
    assert fitted.results_["std_val_accuracy"][1] == pytest.approx(np.std(scores))


# several label sets, soft targets


def test_several_label_sets_have_each_their_best():
    other = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
    rates = {"learning_rate": [0.01, 0.03, 0.1, 0.3, 1.0, 3.0]}
    fitted = sweep(rates, cv=3).fit(X, np.stack([Y, other], axis=1))
    results = fitted.results_
    assert results["label_set"].tolist() == [0, 1] * 6
    for t in range(2):
        own = np.flatnonzero(results["label_set"] == t)
        assert sorted(results["rank"][own]) == [1, 2, 3, 4, 5, 6]
        assert results["rank"][fitted.best_index_[t]] == 1
        assert fitted.best_index_[t] in own
        assert fitted.best_params_[t] == results["params"][fitted.best_index_[t]]
        assert fitted.best_estimator_[t].score(X, (Y, other)[t]) > 0.7
    assert [c.tolist() for c in fitted.classes_] == [[0, 1, 2], [0, 1, 2]]


def test_label_sets_of_another_form_are_refused():
    with pytest.raises(ValueError, match=re.escape(f"one column for each label set, ({N}, t)")):
        sweep(cv=2).fit(X, np.stack([Y, Y]))
    with pytest.raises(ValueError, match="y_val has 1 label sets, but y has 2"):
        sweep().fit(X, np.stack([Y, Y], axis=1), X_val=X, y_val=Y)
    with pytest.raises(ValueError, match="one class only"):
        sweep(cv=2).fit(X, np.zeros(N, int))


def test_whole_numbers_beyond_one_are_no_soft_targets():
    both = np.stack([Y, Y[::-1]], axis=1)
    for loss in ("mse", "cross_entropy"):
        with pytest.raises(ValueError, match=r"whole numbers up to 2 as float64.*integer dtype"):
            sweep({"loss": loss}, cv=2).fit(X, both.astype(float))
    with pytest.raises(ValueError, match="y_val holds whole numbers"):
        sweep({}).fit(X, np.eye(C)[Y], X_val=X, y_val=2 * np.eye(C)[Y])
    with pytest.raises(ValueError, match="y holds whole numbers"):
        SoftmaxRegression().fit(X, both.astype(np.float32))
    with pytest.raises(ValueError, match=r"y\[0\] sums to 1.5"):
        sweep({"loss": "mse"}, cv=2).fit(X, np.eye(C)[Y] * 1.5)


def test_soft_targets_can_be_cross_validated():
    fitted = sweep(cv=3).fit(X, np.eye(C, dtype=np.float32)[Y])
    assert fitted.results_["mean_val_accuracy"][fitted.best_index_] > 0.9


# heads that fall away


def test_a_head_that_diverges_is_marked_and_harms_no_other(backend):
    rates = {"learning_rate": [0.1, 1e30, 1.0], "l2": 0.1}
    fitted = sweep(rates, backend=backend).fit(X[TRAIN], Y[TRAIN], **HELD_OUT)
    results = fitted.results_
    assert results["diverged"].tolist() == [False, True, False]
    assert results["rank"][1] == 3
    assert results["epochs"].tolist() == [4, 1, 4]
    assert np.isnan(results["mean_val_accuracy"][1])
    clean = sweep({**rates, "learning_rate": [0.1, 1.0]}, backend=backend)
    clean.fit(X[TRAIN], Y[TRAIN], **HELD_OUT)
    assert np.array_equal(fitted.estimator(2).coef_, clean.estimator(1).coef_)
    with pytest.raises(FloatingPointError, match="setting 1 diverged"):
        fitted.estimator(1)


def test_a_setting_diverges_with_any_of_its_folds():
    spoilt = X.copy()
    spoilt[3] = 3e38  # finite, but too much for the folds that learn from it
    rates = {"learning_rate": [1e-30, 1.0]}
    with pytest.warns(UserWarning, match="standard deviations up to"):
        results = sweep(rates, cv=2).fit(spoilt, Y).results_
    assert results["diverged"].tolist() == [False, True]


def test_every_setting_diverging_is_an_error():
    with pytest.raises(FloatingPointError, match="every setting diverged"):
        sweep({"learning_rate": [1e30, 1e31], "l2": 0.1}, cv=2).fit(X, Y)


def test_a_row_that_is_not_finite_is_no_divergence(backend):
    spoilt = X.copy()
    spoilt[7, 2] = np.inf
    with pytest.raises(ValueError, match=r"X\[7, 2\] is inf"):
        sweep(cv=2, backend=backend).fit(spoilt, Y)
    with pytest.raises(ValueError, match=r"X_val\[7, 2\] is inf"):
        sweep(backend=backend).fit(X, Y, X_val=spoilt, y_val=Y)


def test_halving_drops_the_worse_half_until_one_is_left():
    alive = []
    rates = np.geomspace(1e-3, 1, 8).tolist()
    fitted = sweep({"learning_rate": rates}, cv=2, halving=True, epochs=8)
    fitted.fit(X, Y, callback=lambda e: alive.append(e.alive))
    assert alive == [24, 12, 12, 6, 6, 3, 3, 3]
    results = fitted.results_
    assert sorted(results["epochs"].tolist()) == [2, 2, 2, 2, 4, 4, 6, 8]
    order = np.argsort(results["rank"])
    assert (np.diff(results["epochs"][order]) <= 0).all()
    assert fitted.best_index_ == order[0]


def test_halving_keeps_the_better_half():
    rates = np.geomspace(1e-3, 1, 4).tolist()
    states = []
    fitted = sweep({"learning_rate": rates}, halving=True, epochs=3, refit="loss")
    fitted.fit(X[TRAIN], Y[TRAIN], **HELD_OUT, callback=states.append)
    full = sweep({"learning_rate": rates}, epochs=3, eval_every=1)
    full.fit(X[TRAIN], Y[TRAIN], **HELD_OUT)
    after_one = [full.estimator(i).history_[0].val_loss for i in range(4)]
    dropped = fitted.results_["epochs"] == 1
    assert set(np.flatnonzero(dropped)) == set(np.argsort(after_one)[2:])


def test_halvings_are_spread_over_the_epochs():
    def points(settings, epochs):
        h = np.arange(settings)
        bank = heads.Heads(h, np.full(settings, -1), 0 * h, 0 * h, h, h, h, h, 0 * h)
        return sorted(heads._halvings(bank, epochs))

    assert points(40, 21) == [3, 6, 9, 12, 15, 18]
    assert points(40, 3) == [1, 2]
    assert points(40, 1) == []
    assert points(2, 2) == [1]
    assert points(1, 5) == points(9, 1) == []


@pytest.mark.parametrize(("epochs", "left"), [(2, [1, 1]), (3, [3, 1, 1]), (4, [4, 2, 1, 1])])
def test_halving_leaves_one_however_few_the_epochs(epochs, left):
    alive = []
    rates = np.geomspace(1e-3, 1, 8).tolist()
    fitted = sweep({"learning_rate": rates}, halving=True, epochs=epochs)
    fitted.fit(X[TRAIN], Y[TRAIN], **HELD_OUT, callback=lambda e: alive.append(e.alive))
    assert alive == left
    assert fitted.results_["epochs"][fitted.best_index_] == epochs


def test_patience_keeps_the_best_weights_of_each_head():
    wrong = Y.copy()
    wrong[::3] = (wrong[::3] + 1) % C
    settings = {"patience": 3, "epochs": 60, "batch_size": 5}
    grids = {"learning_rate": [0.01, 3.0], "loss": "cross_entropy"}
    fitted = sweep(grids, **settings).fit(X[:40], wrong[:40], X_val=X[VAL], y_val=Y[VAL])
    results = fitted.results_
    assert results["epochs"][1] < 60
    for i in range(2):
        model = fitted.estimator(i)
        best = min(e.val_loss for e in model.history_)
        assert results["mean_val_loss"][i] == best
        found, _ = kernels.evaluate(
            X[VAL], Y[VAL], model.coef_.T, model.intercept_, loss="cross_entropy"
        )
        assert found[0] == pytest.approx(best, rel=1e-6)


def test_a_head_on_all_rows_follows_its_folds():
    grids = {"learning_rate": [3.0], "loss": "cross_entropy"}
    wrong = np.where(np.arange(60) % 3, Y[:60], (Y[:60] + 1) % C)
    fitted = sweep(grids, cv=3, patience=2, epochs=60, batch_size=5).fit(X[:60], wrong)
    curves = fitted._trained.curves.val_loss[:, 1:]
    running, best = np.full(3, np.nan), np.full(3, np.inf)
    means = []
    for losses in curves[: fitted.results_["epochs"][0]]:
        running = np.where(np.isnan(losses), best, losses)
        best = np.fmin(best, losses)
        means.append(running.mean())
    stopped_at = int(np.argmin(means)) + 1
    assert stopped_at < len(means) < 60
    settings = fitted.best_estimator_.get_params() | {"epochs": stopped_at}
    alone = SoftmaxRegression(**settings).fit(X[:60], wrong)
    assert np.array_equal(fitted.best_estimator_.coef_, alone.coef_)


# progress, failures


def test_a_callback_sees_the_state_and_can_stop():
    states = []

    def callback(state):
        states.append(state)
        return state.number == 1

    fitted = sweep(epochs=9).fit(X[TRAIN], Y[TRAIN], **HELD_OUT, callback=callback)
    assert [(s.number, s.epochs, s.alive) for s in states] == [(0, 9, 6), (1, 9, 6)]
    assert states[0].best is None
    assert (fitted.results_["epochs"] == 2).all()
    best = fitted.best_estimator_
    assert fitted.results_["mean_val_accuracy"].max() == pytest.approx(best.score(X[VAL], Y[VAL]))
    sweep(eval_every=1).fit(X[TRAIN], Y[TRAIN], **HELD_OUT, callback=callback)
    assert states[-1].score == pytest.approx(0.95, abs=0.1)


BAD = {
    "nothing to judge by": ({}, {}, "nothing to judge by"),
    "folds and rows": ({"cv": 2}, HELD_OUT, "give cv or X_val, not both"),
    "folds and bootstraps": ({"cv": 2, "n_bootstrap": 2}, {}, "give cv or n_bootstrap, not both"),
    "one bootstrap": ({"n_bootstrap": 1}, {}, "n_bootstrap must be at least 2"),
    "another bootstrap": ({"n_bootstrap": 2, "bootstrap": "bayes"}, {}, "bootstrap must be one of"),
    "one fold": ({"cv": 1}, {}, "cv must be at least 2"),
    "too many folds": ({"cv": N + 1}, {}, "need as many rows"),
    "rows without labels": ({}, {"X_val": X}, "X_val and y_val together"),
    "another width": ({}, {"X_val": X[:, :2], "y_val": Y}, "X_val has 2 features"),
    "an unknown label": ({}, {"X_val": X, "y_val": Y + 7}, "not one of the classes"),
    "another refit": ({"refit": "f1"}, HELD_OUT, "refit must be one of"),
    "no epochs": ({"epochs": 0}, HELD_OUT, "epochs must be at least 1"),
    "no patience": ({"patience": 0}, HELD_OUT, "patience must be at least 1"),
    "weights of another length": ({"cv": 2}, {"sample_weight": np.ones(3)}, "shape"),
    "weights of nothing": ({"cv": 2}, {"sample_weight": np.zeros(N)}, "sum to zero"),
    "an unknown schedule": ({"schedule": "linear"}, HELD_OUT, "schedule must be one of"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused(case):
    settings, data, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        sweep(**settings).fit(X, Y, **data)


def test_held_out_pixels_that_are_not_scaled_are_refused():
    pixels = RNG.integers(0, 256, (N, D)).astype(np.uint8)
    message = "fitted on uint8 pixels.*X_val is float32 and reaches 2"
    with pytest.raises(ValueError, match=message):
        sweep({}).fit(pixels, Y, X_val=pixels.astype(np.float32), y_val=Y)
    with pytest.raises(ValueError, match=message):
        sweep({}, memory="5MB").fit(pixels, Y, X_val=pixels.astype(np.float32), y_val=Y)
    with pytest.raises(ValueError, match=message):
        SoftmaxRegression(epochs=1).fit(pixels, Y, X_val=pixels.astype(np.float32), y_val=Y)
    sweep({}).fit(pixels, Y, X_val=pixels.astype(np.float32) / 255, y_val=Y)


@pytest.mark.parametrize(
    "settings", [{"cv": "five"}, {"cv": 2.5}, {"halving": 1}, {"l2_bias": "yes"}]
)
def test_settings_of_another_type_are_refused(settings):
    with pytest.raises(TypeError, match=next(iter(settings))):
        sweep(**{"cv": 2, **settings}).fit(X, Y)


@pytest.mark.parametrize("cv", [[([0], [1], [2])], [3], {"train": [0], "test": [1]}])
def test_folds_that_are_no_pairs_are_refused(cv):
    with pytest.raises(TypeError, match="fold 0 of cv is not a pair: rows to learn from, rows to"):
        sweep(cv=cv).fit(X, Y)


def test_what_fails_or_is_interrupted_leaves_the_sweep_as_it_was():
    fitted = sweep(cv=2)
    with pytest.raises(NotFittedError, match="call fit first"):
        fitted.estimator(0)
    fitted.fit(X, Y)
    before, results = vars(fitted).copy(), fitted.results_

    def interrupt(state):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fitted.fit(X, Y, callback=interrupt)
    with pytest.raises(ValueError, match="rows"):
        fitted.fit(X, Y[:5])
    assert vars(fitted) == before
    assert fitted.results_ is results


def test_there_is_no_head_of_a_setting_or_split_that_is_not_there():
    fitted = sweep(cv=2).fit(X, Y)
    for arguments in ((6,), (-1,), (0, 2), (0, -1)):
        with pytest.raises(IndexError):
            fitted.estimator(*arguments)
    for arguments in ((True,), (1.5,), ("0",), (0, True), (0, 0.0)):
        with pytest.raises(TypeError, match="must be a whole number"):
            fitted.estimator(*arguments)
    assert np.array_equal(fitted.estimator(np.int64(1)).coef_, fitted.estimator(1).coef_)


def test_settings_can_be_got_set_and_shown():
    one = sweep(cv=3)
    assert one.get_params()["cv"] == 3
    assert one.set_params(cv=4).cv == 4
    assert "cv=4" in repr(one)
    base = pytest.importorskip("sklearn.base")
    assert base.clone(one).get_params() == one.get_params()

"""Promise: a sweep scores each setting as its models would be scored, however rows are read, and
goes by the score it is told to."""

import threading
import tracemalloc

import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.model.scores import SCORES, Answers, Counts, find
from softstep.model.sweep import folds
from softstep.model.sweep.scoring import judged, passes, scoring

N, D, C = 240, 6, 3
RNG = np.random.default_rng(0)
Y = RNG.integers(C, size=N)
X = RNG.standard_normal((C, D))[Y] + 2 * RNG.standard_normal((N, D))
TRAIN, VAL = slice(None, 160), slice(160, None)
HELD_OUT = {"X_val": X[VAL], "y_val": Y[VAL]}
RATES = {"learning_rate": [0.001, 0.1, 1.0], "loss": ["mse", "cross_entropy"]}
BUILT_IN = [*SCORES, "top2"]


def sweep(param_grid=RATES, **settings):
    return SoftmaxSweep(param_grid, **{"epochs": 4, "random_state": 0, **settings})


def score_of(name, model, x, y, weights=None):
    """That score of a model on these rows, all at once."""
    score = find(name)
    V = model.decision_function(x)
    if V.ndim == 1:
        V = np.stack([np.zeros(len(V)), V], axis=1)
    codes = y if y.dtype.kind == "f" else np.searchsorted(model.classes_, y)[:, None]
    answers = Answers(V[:, None], codes, model.loss)
    if score.kind == "mean":
        y = answers.targets if score.soft else answers.labels
        values = score.of(getattr(answers, score.needs), y)
        return np.average(values[:, 0], weights=weights)
    if score.kind == "counts":
        counts = Counts.of(answers.predictions, answers.labels, weights, V.shape[1])
        return score.of(counts)[0]
    return score.of(answers.probabilities[:, 0], answers.labels[:, 0], weights)


def check_splits(fitted, judges, names, x=X, y=Y, rel=1e-12):
    """The figures of the sweep are the means and deviations over its splits."""
    results, sets = fitted.results_, y.T if y.ndim == 2 and y.dtype.kind != "f" else [y]
    for name in names:
        for i in range(len(results["params"])):
            labels = sets[i % len(sets)]
            scores = [
                score_of(name, fitted.estimator(i, split), x[rows], labels[rows])
                for split, rows in enumerate(judges)
            ]
            assert results[f"mean_val_{name}"][i] == pytest.approx(np.mean(scores), rel=rel)
            assert results[f"std_val_{name}"][i] == pytest.approx(np.std(scores), abs=10 * rel)
        assert np.ptp(results[f"mean_val_{name}"]) > 0


def check_held_out(fitted, names, x=X[VAL], y=Y[VAL], weights=None, rel=1e-12):
    for name in names:
        for i in range(len(fitted.results_["params"])):
            expected = score_of(name, fitted.estimator(i), x, y, weights)
            assert fitted.results_[f"mean_val_{name}"][i] == pytest.approx(expected, rel=rel)
        assert np.isnan(fitted.results_[f"std_val_{name}"]).all()


def same(found, expected):
    """Whether all bits are."""
    return np.array_equal(found, expected, equal_nan=found.dtype.kind == "f")


# the figures are those of the models


def test_on_held_out_rows(backend):
    fitted = sweep(scoring=BUILT_IN, backend=backend).fit(X[TRAIN], Y[TRAIN], **HELD_OUT)
    check_held_out(fitted, BUILT_IN, rel=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.uint8])
def test_on_rows_as_they_are_stored(dtype):
    x = X.astype(dtype) if dtype != np.uint8 else np.clip(30 * X + 100, 0, 255).astype(dtype)
    held_out = {"X_val": x[VAL], "y_val": Y[VAL]}
    fitted = sweep(scoring=BUILT_IN).fit(x[TRAIN], Y[TRAIN], **held_out)
    check_held_out(fitted, BUILT_IN, x[VAL], rel=1e-5)


def test_on_held_out_rows_that_have_weights():
    weights = RNG.uniform(0, 2, N)[VAL]
    weights[:7] = 0
    fitted = sweep(scoring=BUILT_IN)
    fitted.fit(X[TRAIN], Y[TRAIN], **HELD_OUT, sample_weight_val=weights)
    check_held_out(fitted, BUILT_IN, weights=weights)
    without = sweep().fit(X[TRAIN], Y[TRAIN], X_val=X[VAL][7:], y_val=Y[VAL][7:])
    some = (np.arange(80) >= 7).astype(int)
    again = sweep().fit(X[TRAIN], Y[TRAIN], **HELD_OUT, sample_weight_val=some)
    for name in ("mean_val_accuracy", "mean_val_loss"):
        np.testing.assert_allclose(again.results_[name], without.results_[name], rtol=1e-12)


def test_by_folds(backend):
    fitted = sweep(scoring=BUILT_IN, cv=3, backend=backend).fit(X, Y)
    judges = folds.cross_validation(3, Y, None, Y, seed=0)[1]
    check_splits(fitted, judges, BUILT_IN, rel=1e-9)


def test_a_set_of_weights_is_summed_once_however_many_blocks_there_are(monkeypatch):
    summed, mass = [], judged.Judged.mass

    def counting(self, k):
        summed.append(k)
        return mass(self, k)

    monkeypatch.setattr(judged.Judged, "mass", counting)
    monkeypatch.setattr(judged, "ROWS", 10)
    sweep(scoring="brier", refit="accuracy", cv=3).fit(X, Y)
    assert sorted(summed) == [0, 1, 2]


def test_scores_of_all_rows_take_no_more_memory_than_is_reckoned(monkeypatch):
    n, h = 2000, 300
    for name, size in (("HELD", 1 << 22), ("WORK", 1 << 12), ("VALUES", 1 << 12)):
        monkeypatch.setattr(judged, name, size)
    y = np.arange(n) % 2
    x = np.random.default_rng(1).standard_normal((n, 2)).astype(np.float32)
    taken, hold = [], passes.of_all_rows

    def measured(*arguments):
        tracemalloc.start()
        try:
            found = hold(*arguments)
            taken.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
        return found

    monkeypatch.setattr(scoring, "of_all_rows", measured)
    rates = {"learning_rate": np.geomspace(1e-3, 1, h).tolist()}
    sweep(rates, scoring="ece", epochs=1).fit(x[:100], y[:100], X_val=x, y_val=y)
    reckoned = judged.bytes_needed([find("ece")], h, h, n, 2, 2, 4)
    assert judged.HELD // 2 < taken[0] <= reckoned


def test_by_bootstraps_on_the_rows_they_left_out_and_on_given_rows():
    judges = folds.bootstraps("poisson", 3, N, 0)[1]
    check_splits(sweep(scoring=BUILT_IN, n_bootstrap=3).fit(X, Y), judges, BUILT_IN)
    given = sweep(scoring=BUILT_IN, n_bootstrap=3).fit(X[TRAIN], Y[TRAIN], **HELD_OUT)
    check_splits(given, 3 * [np.arange(80)], BUILT_IN, X[VAL], Y[VAL])


def test_of_label_sets():
    both = np.stack([Y, (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)], axis=1)
    fitted = sweep(scoring=BUILT_IN, cv=3).fit(X, both)
    judges = folds.cross_validation(3, both, None, None, seed=0)[1]
    check_splits(fitted, judges, BUILT_IN, y=both)
    assert len(fitted.best_score_) == len(fitted.best_score_interval_) == 2
    binary = (X[:, :4] + RNG.standard_normal((N, 4)) > 0).astype(int)
    names = ["average_precision", "roc_auc_ovr", "brier"]
    fitted = sweep({"learning_rate": [0.01, 1.0]}, scoring=names, cv=2).fit(X, binary)
    judges = folds.cross_validation(2, binary, None, None, seed=0)[1]
    check_splits(fitted, judges, names, y=binary, rel=1e-9)


def test_of_soft_targets():
    soft = 0.9 * np.eye(C)[Y] + 0.1 * RNG.dirichlet(np.ones(C), N)
    fitted = sweep(scoring=BUILT_IN).fit(X[TRAIN], soft[TRAIN], X_val=X[VAL], y_val=soft[VAL])
    check_held_out(fitted, BUILT_IN, y=soft[VAL])


def test_of_settings_that_see_other_columns():
    grid = {"learning_rate": [0.1, 1.0], "features": [(0, 3), (2, 6)]}
    fitted = sweep(grid, scoring=BUILT_IN, cv=3).fit(X, Y)
    check_splits(fitted, folds.cross_validation(3, Y, None, Y, seed=0)[1], BUILT_IN)


def test_of_settings_that_see_scaled_rows():
    grid = {"learning_rate": [0.1, 1.0], "scaling": [None, "standard", "l2"]}
    fitted = sweep(grid, scoring=BUILT_IN, cv=3).fit(X, Y)
    check_splits(fitted, folds.cross_validation(3, Y, None, Y, seed=0)[1], BUILT_IN, rel=1e-9)


def test_of_settings_that_are_solved():
    grid = {"loss": "cross_entropy", "C": [1e-3, 1.0]}
    fitted = SoftmaxSweep(grid, solver="lbfgs", scoring=BUILT_IN, cv=3, random_state=0).fit(X, Y)
    check_splits(fitted, folds.cross_validation(3, Y, None, Y, seed=0)[1], BUILT_IN)


@pytest.mark.parametrize("cv", [None, 3])
def test_on_sparse_rows(cv):
    sparse = pytest.importorskip("scipy.sparse")
    x = np.where(RNG.random((N, D)) < 0.5, X, 0)
    rows = sparse.csr_array(x)
    fitted = sweep(scoring=BUILT_IN, cv=cv)
    if cv is None:
        fitted.fit(rows[TRAIN], Y[TRAIN], X_val=rows[VAL], y_val=Y[VAL])
        check_held_out(fitted, BUILT_IN, x[VAL], rel=1e-9)
    else:
        fitted.fit(rows, Y)
        judges = folds.cross_validation(3, Y, None, Y, seed=0)[1]
        check_splits(fitted, judges, BUILT_IN, x, rel=1e-9)


@pytest.mark.parametrize("cv", [None, 2])
def test_on_files_that_are_read_in_blocks(cv, tmp_path):
    n = 3000
    y = RNG.integers(C, size=n)
    x = (RNG.standard_normal((C, 30))[y] + 3 * RNG.standard_normal((n, 30))).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    grid = {"learning_rate": [0.01, 0.1]}
    held_out = {} if cv else {"X_val": mapped[:700], "y_val": y[:700]}
    settings = {"cv": cv, "scoring": BUILT_IN, "epochs": 1}
    found = sweep(grid, memory="80MB", **settings).fit(mapped, y, **held_out)
    if cv:
        check_splits(found, folds.cross_validation(2, y, None, y, 0)[1], BUILT_IN, x, y, rel=1e-5)
    else:
        check_held_out(found, BUILT_IN, x[:700], y[:700], rel=1e-5)
    with pytest.raises(ValueError, match="is too little: this sweep needs"):
        sweep(grid, memory="3MB", **settings).fit(mapped, y, **held_out)
    sweep(grid, memory="3MB", cv=cv, epochs=1).fit(mapped, y, **held_out)


def test_neither_blocks_nor_groups_of_heads_change_anything(monkeypatch):
    whole = sweep(scoring=BUILT_IN, cv=3).fit(X, Y)
    held = []
    hold = passes._held

    def watched(*arguments):
        held.append(hold(*arguments))
        return held[-1]

    monkeypatch.setattr(passes, "_held", watched)
    monkeypatch.setattr(judged, "ROWS", 17)
    monkeypatch.setattr(judged, "WORK", 17 * C * 4)
    monkeypatch.setattr(judged, "HELD", 2 * 80 * C * 8)
    parts = sweep(scoring=BUILT_IN, cv=3).fit(X, Y)
    assert held
    assert max(len(P) for P in held) == 2
    for name, values in whole.results_.items():
        if "_val_" in name:
            np.testing.assert_allclose(parts.results_[name], values, rtol=1e-9, err_msg=name)
    assert parts.best_score_ == pytest.approx(whole.best_score_, rel=1e-9)


def test_nor_does_a_process_that_can_start_no_thread(monkeypatch):
    def fitted():
        return sweep(scoring=["roc_auc_ovr", "brier"], n_threads=3).fit(X, Y, **HELD_OUT).results_

    def refuse(self):
        raise RuntimeError("can't start new thread")

    expected = fitted()
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert fitted()["mean_val_roc_auc_ovr"].tobytes() == expected["mean_val_roc_auc_ovr"].tobytes()


# functions of an estimator


def test_functions_are_given_the_models_and_the_rows_that_judge_them():
    metrics = pytest.importorskip("sklearn.metrics")
    seen = []

    def mine(model, x, y):
        assert type(model) is SoftmaxRegression
        seen.append((x, y))
        return metrics.cohen_kappa_score(y, model.predict(x))

    names = np.array(["ant", "bee", "cat"])
    scoring = {"kappa": mine, "f1": "f1_weighted", "brier": "brier"}
    fitted = sweep(cv=3, scoring=scoring, refit="kappa").fit(X, names[Y])
    judges = folds.cross_validation(3, Y, None, Y, seed=0)[1]
    for i in range(6):
        models = [fitted.estimator(i, split) for split in range(3)]
        pairs = [(m, X[rows], names[Y[rows]]) for m, rows in zip(models, judges, strict=True)]
        kappas = [metrics.cohen_kappa_score(y, m.predict(x)) for m, x, y in pairs]
        f1 = [metrics.f1_score(y, m.predict(x), average="weighted") for m, x, y in pairs]
        assert fitted.results_["mean_val_kappa"][i] == pytest.approx(np.mean(kappas), rel=1e-12)
        assert fitted.results_["std_val_kappa"][i] == pytest.approx(np.std(kappas), rel=1e-9)
        assert fitted.results_["mean_val_f1"][i] == pytest.approx(np.mean(f1), rel=1e-12)
    x, y = seen[0]
    assert np.array_equal(x, X[judges[0]])
    assert np.array_equal(y, names[Y[judges[0]]])
    assert fitted.best_index_ == fitted.results_["mean_val_kappa"].argmax()
    assert not hasattr(fitted, "best_score_")  # nothing is known of its rows


def test_a_function_is_called_score_and_given_weights_if_there_are_any():
    def mine(model, x, y, sample_weight=None):
        return 1.0 if sample_weight is None else float(sample_weight[0] / sample_weight.sum())

    def fit(**given):
        return sweep(scoring=mine).fit(X[TRAIN], Y[TRAIN], **HELD_OUT, **given)

    assert (fit().results_["mean_val_score"] == 1).all()
    weights = np.arange(80) + 1.0
    found = fit(sample_weight_val=weights).results_["mean_val_score"]
    np.testing.assert_allclose(found, 1 / weights.sum(), rtol=1e-12)


def test_a_function_sees_columns_by_name_and_sparse_rows_as_they_are():
    pandas, sparse = pytest.importorskip("pandas"), pytest.importorskip("scipy.sparse")
    table = pandas.DataFrame(X, columns=list("abcdef"))
    kinds = []

    def mine(model, x, y):
        kinds.append(sparse.issparse(x))
        return model.score(x, y)

    fitted = sweep(scoring=mine, cv=2).fit(table, Y)
    np.testing.assert_allclose(
        fitted.results_["mean_val_score"], fitted.results_["mean_val_accuracy"], rtol=1e-12
    )
    sweep(scoring=mine, cv=2).fit(sparse.csr_array(X), Y)
    assert set(kinds[: len(kinds) // 2]) == {False}
    assert set(kinds[len(kinds) // 2 :]) == {True}


@pytest.mark.parametrize(
    ("mine", "error", "message"),
    [
        (lambda model, x, y: None, TypeError, "gave None: its function must return a number"),
        (lambda model, x, y: 1.0, TypeError, "sample_weight"),
        (lambda model, x, y, sample_weight: 1 / 0, ZeroDivisionError, "division by zero"),
    ],
)
def test_a_function_that_fails_does_so_before_the_training(mine, error, message):
    epochs = []
    fitted = sweep(scoring={"own": mine})
    given = {**HELD_OUT, "sample_weight_val": np.ones(80) + np.eye(80)[0]}
    if "number" in message:
        del given["sample_weight_val"]
    with pytest.raises(error, match=message) as info:
        fitted.fit(X[TRAIN], Y[TRAIN], **given, callback=epochs.append)
    assert not epochs
    assert "scoring='own'" in str(info.value) + "".join(getattr(info.value, "__notes__", []))


def test_a_score_that_is_no_number_is_said_and_ranks_last():
    def mine(model, x, y):
        return np.nan if model.learning_rate == 0.1 else model.score(x, y)

    rates = {"learning_rate": [0.1, 0.001, 1.0]}
    with pytest.warns(
        UserWarning, match="scoring='score' is NaN for 1 of 3 settings, which rank l"
    ):
        fitted = sweep(rates, scoring=mine, cv=2).fit(X, Y)
    assert np.isnan(fitted.results_["mean_val_score"]).tolist() == [True, False, False]
    assert fitted.results_["rank"][0] == 3


# going by a score


@pytest.mark.parametrize("refit", ["brier", "roc_auc_ovr", "ece", "macro_f1"])
def test_the_best_is_best_by_refit(refit):
    fitted = sweep({"learning_rate": np.geomspace(1e-4, 3, 7)}, scoring=BUILT_IN, refit=refit)
    results = fitted.fit(X[TRAIN], Y[TRAIN], **HELD_OUT).results_
    figures = find(refit).cost(results[f"mean_val_{refit}"])
    assert fitted.best_index_ == figures.argmin()
    assert (np.diff(figures[np.argsort(results["rank"])]) >= 0).all()


def test_the_first_score_is_that_of_refit_where_none_is_named():
    fitted = sweep(scoring=["brier", "ece"]).fit(X[TRAIN], Y[TRAIN], **HELD_OUT)
    assert fitted.best_index_ == fitted.results_["mean_val_brier"].argmin()
    assert fitted.refit is None


def test_halving_goes_by_refit():
    rates = {"learning_rate": np.geomspace(1e-3, 30, 4)}
    states = []
    fitted = sweep(rates, halving=True, epochs=3, scoring="ece")
    fitted.fit(X[TRAIN], Y[TRAIN], **HELD_OUT, callback=states.append)
    after_one = sweep(rates, epochs=1, scoring="ece").fit(X[TRAIN], Y[TRAIN], **HELD_OUT)
    errors = after_one.results_["mean_val_ece"]
    dropped = np.flatnonzero(fitted.results_["epochs"] == 1)
    assert set(dropped) == set(np.argsort(errors)[2:])
    assert set(dropped) != set(np.argsort(after_one.results_["mean_val_loss"])[2:])
    best = fitted.results_["mean_val_ece"][fitted.best_index_]
    assert states[-1].score == pytest.approx(best, rel=1e-12)
    # those that are gone have the score of the weights they ended with
    check_held_out(fitted, ["ece"])


@pytest.mark.parametrize("cv", [None, 3])
def test_patience_goes_by_refit(cv):
    wrong = np.where(np.arange(N) % 3, Y, (Y + 1) % C)
    grid = {"learning_rate": [0.3, 3.0], "loss": "cross_entropy"}
    settings = {"patience": 3, "epochs": 40, "batch_size": 5, "cv": cv}
    fitted = sweep(grid, scoring=["brier", "ece"], refit="ece", **settings)
    held_out = {} if cv else HELD_OUT
    fitted.fit(X[TRAIN], wrong[TRAIN], **held_out)
    assert fitted.results_["epochs"].max() < 40
    if cv:
        judges = folds.cross_validation(3, wrong[TRAIN], None, wrong[TRAIN], seed=0)[1]
        check_splits(fitted, judges, ["brier", "ece"], X[TRAIN], wrong[TRAIN])
        return
    check_held_out(fitted, ["brier", "ece"])
    for i in range(2):
        settings = fitted.estimator(i).get_params() | {"patience": None}
        ran = fitted.results_["epochs"][i]
        errors = []
        for epochs in range(1, ran + 1):
            model = SoftmaxRegression(**settings | {"epochs": epochs}).fit(X[TRAIN], wrong[TRAIN])
            errors.append(score_of("ece", model, X[VAL], Y[VAL]))
        assert fitted.results_["mean_val_ece"][i] == pytest.approx(min(errors), rel=1e-12)
        assert ran == np.argmin(errors) + 1 + 3


def test_a_training_by_a_score_is_resumed_to_the_same_bits(tmp_path):
    settings = {"scoring": ["ece", "brier"], "cv": 2, "patience": 1, "halving": True, "epochs": 5}

    def fit(callback=None, **kept):
        return sweep(**settings).fit(X, Y, callback=callback, checkpoint_every=0, **kept)

    def stop(state):
        if state.number == 2:
            raise KeyboardInterrupt

    whole = fit()
    with pytest.raises(KeyboardInterrupt):
        fit(stop, checkpoint=tmp_path)
    resumed = fit(checkpoint=tmp_path, resume=True)
    for name, values in whole.results_.items():
        assert name == "params" or same(values, resumed.results_[name])
    assert np.array_equal(whole.best_estimator_.coef_, resumed.best_estimator_.coef_)


def test_a_setting_that_diverged_has_no_score():
    rates = {"learning_rate": [0.1, 1e300, 1.0], "l2": 0.1}
    fitted = sweep(rates, scoring=BUILT_IN).fit(X[TRAIN], Y[TRAIN], **HELD_OUT)
    for name, values in fitted.results_.items():
        if name.startswith(("mean_val_", "low_val_", "high_val_")):
            assert np.isnan(values).tolist() == [False, True, False], name
    with pytest.raises(FloatingPointError, match="every setting diverged"):
        sweep({"learning_rate": [1e300], "l2": 0.1}, scoring=BUILT_IN).fit(
            X[TRAIN], Y[TRAIN], **HELD_OUT
        )


# nothing changes without it


def test_without_scoring_the_results_are_what_they_were():
    plain = sweep(cv=2).fit(X, Y)
    assert list(plain.results_) == [
        *("params", "param_learning_rate", "param_loss", "rank"),
        *("mean_val_accuracy", "std_val_accuracy", "mean_val_loss", "std_val_loss"),
        *("diverged", "epochs", "objective", "gradient_norm", "bound"),
    ]
    assert not hasattr(plain, "best_score_")
    scored = sweep(cv=2, scoring="ece", refit="accuracy").fit(X, Y)
    for name, values in plain.results_.items():
        assert name == "params" or same(values, scored.results_[name])
    assert scored.best_score_ > 0
    scored.set_params(scoring=None).fit(X, Y)
    assert not hasattr(scored, "best_score_")


# what cannot be scored


def test_a_class_without_rows_to_judge_is_named():
    few = np.where(np.arange(N) < 2, 2, Y % 2)
    rows = [(np.arange(10, N), np.arange(10)), (np.arange(200), np.arange(200, N))]
    message = r"scoring='roc_auc_ovr' compares .* but split 1 has none of class 2: stratify"
    with pytest.raises(ValueError, match=message):
        sweep(cv=rows, scoring="roc_auc_ovr").fit(X, few)
    only = {"X_val": X[Y != 1], "y_val": Y[Y != 1]}
    with pytest.raises(ValueError, match="but y_val has none of class 1: stratify"):
        sweep(scoring="average_precision").fit(X, Y, **only)
    both = np.stack([Y, few], axis=1)
    with pytest.raises(ValueError, match="split 1 has none of class 2 of label set 1: stratify"):
        sweep(cv=rows, scoring="roc_auc_ovr").fit(X, both)
    sweep(cv=rows, scoring=["balanced_accuracy", "ece"]).fit(X, few)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"scoring": "top3"}, ValueError, "scoring='top3' is 1 for any model of 3 classes"),
        ({"scoring": "auc"}, ValueError, "scoring has 'auc'.*roc_auc_ovr"),
        ({"scoring": "ece", "refit": "brier"}, ValueError, "refit='brier' is not computed"),
        ({"scoring": lambda m, x, y: None}, TypeError, "gave None: its function must return"),
        ({"scoring": lambda m, x, y: 1.0, "memory": "1GB"}, ValueError, "memory= reads rows in b"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_a_sentence(settings, error, message):
    pytest.importorskip("sklearn")
    with pytest.raises(error, match=message) as info:
        sweep(cv=2, **settings).fit(X, Y)
    assert "\n" not in str(info.value)


def test_weights_of_no_rows_are_refused():
    with pytest.raises(ValueError, match="sample_weight_val are weights of X_val: give it too"):
        sweep(cv=2).fit(X, Y, sample_weight_val=np.ones(N))
    with pytest.raises(ValueError, match=r"sample_weight_val has shape \(3,\), but there are 80"):
        sweep().fit(X[TRAIN], Y[TRAIN], **HELD_OUT, sample_weight_val=np.ones(3))
    wrong = np.where(np.arange(80) == 1, -1, 1)
    with pytest.raises(ValueError, match=r"sample_weight_val\[1\] = -1"):
        sweep().fit(X[TRAIN], Y[TRAIN], **HELD_OUT, sample_weight_val=wrong)


@pytest.mark.parametrize("refit", ["brier", "macro_f1", "roc_auc_ovr"])
def test_a_row_that_counts_nothing_may_have_a_label_that_is_unknown(refit):
    fitted = sweep(scoring=refit, refit=refit).fit(X[TRAIN], Y[TRAIN], **HELD_OUT)
    labels, weights = Y.copy(), RNG.uniform(0.5, 2, N)
    labels[5], weights[5] = 99, 0
    assert fitted.score(X, labels, weights) == fitted.score(X, Y, weights)
    with pytest.raises(ValueError, match="99 is not one of the classes"):
        fitted.score(X, labels)

"""Promise: label sets are taken as they are, of any number of classes, in part missing or constant.

A head equals the lone model of its label set, in which a row without a label has weight 0. The
banks are of the kind a single head is (few columns), so the bits are the same.
"""

import numpy as np
import pytest
from processes import pool_of

from softstep import SoftmaxRegression, SoftmaxSweep, kernels
from softstep.kernels.verify import parity
from softstep.model import few_shot, inputs, trainer
from softstep.model.sweep import folds

N, D = 120, 5
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, D)).astype(np.float32)
TWO = (X[:, 0] + 0.5 * RNG.standard_normal(N) > 0).astype(int)
THREE = np.digitize(X[:, 1] + 0.5 * RNG.standard_normal(N), [-0.5, 0.5])
FOUR = np.digitize(X[:, 2] + 0.5 * RNG.standard_normal(N), [-0.7, 0, 0.7])
OTHER = (X[:, 3] > 0.3).astype(int)
SETS = np.stack([THREE, TWO, FOUR, OTHER], axis=1)
GONE = RNG.random(SETS.shape) < 0.25
WEIGHTS = RNG.uniform(0.5, 2, N)
SHARED = {"batch_size": 20, "epochs": 3, "random_state": 0}
HELD_OUT = slice(90, None)


def sweep(param_grid, **settings):
    return SoftmaxSweep(param_grid, **{**SHARED, **settings})


def assert_equal(found, alone):
    for name in ("coef_", "intercept_", "loss_curve_", "classes_"):
        assert np.array_equal(getattr(found, name), getattr(alone, name)), name
    assert np.abs(found.coef_).max() > 0


# numbers of classes of their own

CASES = {
    "losses": ({"loss": ["mse", "cross_entropy"]}, {}, None),
    "all settings": (
        {"learning_rate": 0.5, "l2": 0.01, "momentum": [0.0, 0.9], "init": "normal"},
        {"schedule": "cosine", "l2_bias": True},
        WEIGHTS,
    ),
    "init seeds": ({"init": "normal", "init_seed": [None, 4]}, {}, None),
    "no bias": ({"learning_rate": 0.5}, {"fit_intercept": False}, None),
    "balanced": ({"learning_rate": 0.5}, {"class_weight": "balanced"}, WEIGHTS),
    "views": ({"features": [(0, 3), (2, 5)]}, {}, None),
    "scaled": ({"scaling": ["standard", "l2"]}, {}, WEIGHTS),
}


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_a_head_equals_the_lone_regression_on_its_label_set(name, gaps, backend):
    if backend == "cupy" and name == "scaled":
        pytest.skip("rows are scaled in host memory")
    grid, settings, weights = CASES[name]
    sets = np.ma.array(SETS, mask=GONE) if gaps else SETS
    judge = np.arange(N) % 3 == 0
    folds = [(~judge, judge)]  # one, so that banks are small
    fitted = sweep(grid, cv=folds, backend=backend, **settings).fit(X, sets, weights)
    for i in range(len(fitted.results_["params"])):
        t = fitted.results_["label_set"][i]
        assert t == i % 4
        there = ~GONE[:, t] if gaps else np.ones(N, bool)
        ones = np.ones(N) if weights is None else weights
        settings_of_head = fitted.estimator(i).get_params()
        alone = SoftmaxRegression(**settings_of_head).fit(X, SETS[:, t], ones * there)
        assert_equal(fitted.estimator(i), alone)
        learn, mine = ones * there * ~judge, judge & there
        alone = SoftmaxRegression(**settings_of_head).fit(X, SETS[:, t], learn)
        assert_equal(fitted.estimator(i, split=0), alone)
        score = alone.score(X[mine], SETS[mine, t])
        assert fitted.results_["mean_val_accuracy"][i] == pytest.approx(score)


def test_given_rows_judge_each_label_set_by_its_labels(backend):
    gone = np.ma.array(SETS, mask=GONE)
    held_out = {"X_val": X[HELD_OUT], "y_val": gone[HELD_OUT]}
    fitted = sweep({"learning_rate": 0.5}, backend=backend).fit(X[:90], gone[:90], **held_out)
    for t in range(4):
        there = ~GONE[90:, t]
        model, truth = fitted.estimator(t), SETS[90:, t][there]
        score = model.score(X[HELD_OUT][there], truth)
        assert fitted.results_["mean_val_accuracy"][t] == pytest.approx(score)
        W, b = model.coef_.T, model.intercept_
        loss, _ = kernels.evaluate(X[HELD_OUT][there], truth, W, b, loss="mse", backend=backend)
        assert fitted.results_["mean_val_loss"][t] == pytest.approx(loss[0], rel=1e-5)


def test_heads_of_as_many_classes_are_one_bank_without_padding(monkeypatch):
    seen = []
    train = trainer.kernels.train

    def spy(x, y, order, size, W, b, **how):
        seen.append((W.shape, b.shape, y.shape, how["y_index"].tolist()))
        return train(x, y, order, size, W, b, **how)

    monkeypatch.setattr(trainer.kernels, "train", spy)
    sweep({"l2": [0.0, 0.1]}, epochs=1).fit(X, SETS, X_val=X, y_val=SETS)
    assert seen == [
        ((2, D, 3), (2, 3), (1, N), [0, 0]),
        ((4, D, 2), (4, 2), (2, N), [0, 1, 0, 1]),
        ((2, D, 4), (2, 4), (1, N), [0, 0]),
    ]


def test_in_a_bank_of_many_columns_a_head_agrees_with_the_lone_regression():
    rates = np.geomspace(0.01, 0.5, 20).tolist()
    fitted = sweep({"learning_rate": rates}, epochs=1, batch_size=30)
    fitted.fit(X, SETS, X_val=X, y_val=SETS)
    for i in range(0, 80, 7):
        model, y = fitted.estimator(i), SETS[:, i % 4]
        c = len(model.classes_)
        start = np.zeros((1, D, c), np.float32), np.zeros((1, c), np.float32)
        order = trainer.row_order(0, 0, N)
        job = (X, y, order, 30, *start), {"loss": "mse", "learning_rate": model.learning_rate}
        truth, bounds = parity.truth_and_bounds("train", job)
        assert parity.worst(model.coef_, truth[2][0].T, bounds[2][0].T) <= 1
        assert parity.worst(np.zeros_like(model.coef_), truth[2][0].T, bounds[2][0].T) > 1


@pytest.mark.parametrize("gaps", [False, True])
def test_the_optimum_is_that_of_the_label_set_alone(gaps):
    sets = np.ma.array(SETS, mask=GONE) if gaps else SETS
    grid = {"loss": "cross_entropy", "C": [0.1, 1.0]}
    fitted = SoftmaxSweep(grid, cv=2, solver="lbfgs", random_state=0).fit(X, sets)
    for i in range(8):
        there = ~GONE[:, i % 4] if gaps else np.ones(N, bool)
        found = fitted.estimator(i)
        alone = SoftmaxRegression(**found.get_params()).fit(X, SETS[:, i % 4], 1.0 * there)
        assert found.converged_
        assert found.objective_ == pytest.approx(alone.objective_, rel=2e-6)
        np.testing.assert_allclose(found.coef_, alone.coef_, atol=0.01)
        assert fitted.results_["bound"][i] <= 1e-6 * found.objective_


def test_certificates_after_descent():
    grid = {"loss": "cross_entropy", "l2": 0.1}
    gone = np.ma.array(SETS, mask=GONE)
    results = sweep(grid, cv=2, epochs=30).fit(X, gone).results_
    best = SoftmaxSweep(grid, cv=2, solver="lbfgs", random_state=0).fit(X, gone).results_
    gap = results["objective"] - best["objective"]
    assert (gap >= -1e-6).all()
    assert (results["bound"] >= gap).all()
    assert (results["bound"] < 1).all()


def test_files_in_blocks(tmp_path):
    rows = np.tile(X, (20, 4))
    sets = np.ma.array(np.tile(SETS, (20, 1)), mask=np.tile(GONE, (20, 1)))
    np.save(tmp_path / "x.npy", rows)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    settings = {"cv": 2, "batch_size": 100}
    fitted = sweep({"learning_rate": 0.5}, memory="2.5MB", **settings).fit(mapped, sets)
    whole = sweep({"learning_rate": 0.5}, **settings).fit(rows, sets)
    found, expected = (f.results_["mean_val_accuracy"] for f in (fitted, whole))
    np.testing.assert_allclose(found, expected, atol=0.03)
    mean = fitted.results_["mean_val_accuracy"]
    for t in range(4):
        _, judge = folds.cross_validation(2, sets, None, None, 0)
        heads = [fitted.estimator(t, split=s) for s in range(2)]
        masks = [judge[s] & ~sets.mask[:, t] for s in range(2)]
        scores = [h.score(rows[m], sets.data[m, t]) for h, m in zip(heads, masks, strict=True)]
        assert mean[t] == pytest.approx(np.mean(scores))


def test_few_shot_splits_of_label_sets():
    (split,) = few_shot(FOUR, 9, seeds=[4])
    gone = np.ma.array(SETS, mask=GONE)
    fitted = sweep({"learning_rate": 0.5}, cv=[split]).fit(X, gone)
    for t in range(4):
        alone = SoftmaxRegression(**fitted.estimator(t).get_params())
        there = 1.0 * ~GONE[split.learn, t]
        assert_equal(
            fitted.estimator(t, split=0), alone.fit(X[split.learn], SETS[split.learn, t], there)
        )


def test_heads_that_outlive_others():
    rates = [1e30, 0.01, 0.1, 0.5, 1.0]
    grid = {"learning_rate": rates, "l2": 0.1}
    fitted = sweep(grid, cv=2, halving=True, epochs=6).fit(X, SETS)
    assert fitted.results_["diverged"].sum() == 4
    assert len(set(fitted.results_["epochs"][4:])) > 1
    clean = sweep({**grid, "learning_rate": rates[1:]}, cv=2, epochs=6).fit(X, SETS)
    for best in fitted.best_index_:
        for split in (None, 0, 1):
            found, alone = fitted.estimator(best, split), clean.estimator(best - 4, split)
            assert_equal(found, alone)


# one class, or none


def test_a_label_set_of_one_class_is_skipped():
    sets = np.column_stack([TWO, np.full(N, 7), THREE])
    with pytest.warns(UserWarning, match="fewer than two classes are skipped: 1$"):
        fitted = sweep({"learning_rate": [0.1, 0.5]}, cv=2).fit(X, sets)
    assert fitted.skipped_ == [1]
    assert fitted.results_["label_set"].tolist() == [0, 2, 0, 2]
    clean = sweep({"learning_rate": [0.1, 0.5]}, cv=2).fit(X, sets[:, [0, 2]])
    for name in ("best_index_", "best_params_", "best_estimator_", "n_iter_"):
        found = getattr(fitted, name)
        assert found[1] is None
        if name != "best_estimator_":
            assert [found[0], found[2]] == getattr(clean, name)
    assert [classes.tolist() for classes in fitted.classes_] == [[0, 1], [7], [0, 1, 2]]
    predicted = fitted.predict(X)
    assert np.array_equal(predicted[:, [0, 2]], clean.predict(X))
    assert (predicted[:, 1] == 7).all()
    one, none, other = fitted.predict_proba(X)
    assert none is None
    assert (one.shape, other.shape) == ((N, 2), (N, 3))
    assert fitted.out_of_fold(X)[1] is None
    assert fitted.score(X, sets) == clean.score(X, sets[:, [0, 2]])


def test_label_sets_without_labels_are_skipped_too():
    sets = np.column_stack([TWO, np.full(N, np.nan), THREE])
    with pytest.warns(UserWarning, match="skipped: 1$"):
        fitted = sweep({}, cv=2).fit(X, sets, None)
    assert [len(classes) for classes in fitted.classes_] == [2, 0, 3]
    assert set(fitted.predict(X)[:, 1]) == {None}
    held_out = {"X_val": X, "y_val": sets}
    with pytest.warns(UserWarning, match="skipped: 1$"):
        again = sweep({}).fit(X, sets, **held_out)
    assert again.score(X, sets) == again.results_["mean_val_accuracy"].mean()


@pytest.mark.parametrize(
    ("sets", "settings", "message"),
    [
        (np.zeros((N, 3), int), {"cv": 2}, "none of the 3 label sets of y has two classes"),
        (np.full(N, -1), {"cv": 2, "missing": -1}, "y has no labels: at least two are needed"),
        (np.where(TWO, 1, -1), {"cv": 2, "missing": -1}, "y has one class only, 1"),
        (
            np.column_stack([TWO, np.where(np.arange(N) < 60, TWO, -1)]),
            {"cv": [(range(60), range(60, N))], "missing": -1},
            "label set 1 has no labels in the rows that split 0 is judged on",
        ),
        (
            np.column_stack([TWO, np.where(np.arange(N) < 60, TWO, -1)]),
            {"cv": [(range(60, N), range(60))], "missing": -1},
            "label set 1 has no labels in the rows that split 0 learns from",
        ),
        (np.where(GONE, np.nan, SETS + 0.5), {"cv": 2}, r"y\[\d+, \d+\] is nan: targets must be"),
        (SETS[:50], {"cv": 2}, rf"one column for each label set, \({N}, t\)"),
        (
            np.where(GONE, np.nan, SETS)[:50],
            {"cv": 2},
            f"y has 50 rows of labels, but there are {N}",
        ),
        (np.where(TWO, np.nan, THREE), {"cv": 2}, r"y\[\d+\] = nan: fill it, or leave its row out"),
    ],
)
def test_bad_labels_are_refused(sets, settings, message):
    with pytest.raises(ValueError, match=message):
        sweep({}, **settings).fit(X, sets)


def test_bad_settings_are_refused():
    with pytest.raises(TypeError, match="missing must be the number or the text that stands"):
        sweep({}, cv=2, missing=[-1]).fit(X, SETS)
    with pytest.raises(TypeError, match="stands for no label, not True"):
        sweep({}, cv=2, missing=True).fit(X, SETS)
    with pytest.raises(TypeError, match="refit_together must be True or False"):
        sweep({}, cv=2, refit_together="yes").fit(X, SETS)


def test_held_out_labels_are_those_of_the_same_sets():
    with pytest.raises(ValueError, match="y_val has 3 label sets, but y has 4"):
        sweep({}).fit(X, SETS, X_val=X, y_val=SETS[:, :3])
    with pytest.raises(ValueError, match=r"y_val.* is not one of the classes"):
        sweep({}).fit(X, SETS, X_val=X, y_val=SETS[:, ::-1])
    none = np.where([False, True, False, False], np.nan, SETS)
    message = "label set 1 has no labels in the rows of y_val that count"
    with pytest.raises(ValueError, match=message):
        sweep({}).fit(X, SETS, X_val=X, y_val=none)
    some = np.where([False, True, False, False] & (np.arange(N)[:, None] < 60), np.nan, SETS)
    held_out = {"X_val": X, "y_val": some, "sample_weight_val": 1.0 * (np.arange(N) < 60)}
    with pytest.raises(ValueError, match=message):
        sweep({}).fit(X, SETS, **held_out)


@pytest.mark.parametrize("gaps", [False, True])
def test_held_out_labels_of_sets_may_be_floats(gaps):
    """Also where each row has a single 1, as soft targets would."""
    pair = np.column_stack([TWO, 1 - TWO])
    sets = np.where(GONE[:, :2], np.nan, pair) if gaps else pair
    found, expected = (
        sweep({"learning_rate": [0.1, 0.5]}).fit(X, sets, X_val=X, y_val=labels).results_
        for labels in (pair.astype(float), pair)
    )
    for name in ("mean_val_accuracy", "mean_val_loss"):
        assert np.array_equal(found[name], expected[name])
    with pytest.raises(ValueError, match=r"y_val\[:, 0\]\[0\] = 0.5 is not a whole number"):
        sweep({}).fit(X, sets, X_val=X, y_val=np.full((N, 2), 0.5))


def test_label_sets_of_tables_are_matched_by_name():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(SETS, columns=list("abcd"))
    other = table[list("dbca")]
    fitted = sweep({"learning_rate": 0.5}).fit(X, table, X_val=X, y_val=other)
    expected = sweep({"learning_rate": 0.5}).fit(X, SETS, X_val=X, y_val=SETS)
    found, theirs = (f.results_["mean_val_loss"] for f in (fitted, expected))
    assert np.array_equal(found, theirs)
    assert fitted.score(X, other) == fitted.score(X, table) == expected.score(X, SETS)
    gone = other.astype(float).mask(GONE[:, ::-1])
    assert fitted.score(X, gone) == fitted.score(X, gone[list("abcd")])
    one, other = table[["a"]], table[["a"]].rename(columns={"a": "e"})
    with pytest.warns(UserWarning, match="A column-vector"):
        sweep({}).fit(X, one, X_val=X, y_val=other)  # there is nothing to be told apart
    strange = table.rename(columns={"b": "e"})
    for call in (
        lambda: fitted.score(X, strange),
        lambda: sweep({}).fit(X, table, X_val=X, y_val=strange),
    ):
        with pytest.raises(ValueError, match="has a label set 'e', which y had not, but a, b, c"):
            call()


# missing labels, however they are written


def as_objects(nothing):
    return np.where(GONE, nothing, SETS.astype(object))


def text(nothing):
    found = np.array(["a", "b", "c", "d"], object)[SETS]
    found[GONE] = nothing
    return found


WRITTEN = {
    "NaN": lambda: (np.where(GONE, np.nan, SETS), None),
    "NaN in float32": lambda: (np.where(GONE, np.nan, SETS).astype(np.float32), None),
    "masked": lambda: (np.ma.array(SETS, mask=GONE), None),
    "None": lambda: (as_objects(None), None),
    "NaN among objects": lambda: (as_objects(np.nan), None),
    "lists": lambda: (as_objects(None).tolist(), None),
    "lists of floats": lambda: (np.where(GONE, np.nan, SETS).tolist(), None),
    "-1": lambda: (np.where(GONE, -1, SETS), -1),
    "-1.0 for integers": lambda: (np.where(GONE, -1, SETS), -1.0),
    "-1 among floats": lambda: (np.where(GONE, -1.0, SETS), -1),
    "both": lambda: (np.where(GONE & (SETS > 0), np.nan, np.where(GONE, -1.0, SETS)), -1),
    "no text": lambda: (text(""), ""),
    "None among text": lambda: (text(None), None),
    "text": lambda: (text("?").astype(str), "?"),
}


@pytest.mark.parametrize("written", WRITTEN)
def test_missing_labels_however_they_are_written(written):
    sets, missing = WRITTEN[written]()
    fitted = sweep({"learning_rate": 0.5}, cv=2, missing=missing).fit(X, sets)
    expected = sweep({"learning_rate": 0.5}, cv=2).fit(X, np.ma.array(SETS, mask=GONE))
    for t in range(4):
        assert np.array_equal(fitted.estimator(t).coef_, expected.estimator(t).coef_)
    assert fitted.score(X, sets) == expected.score(X, np.ma.array(SETS, mask=GONE))
    figures = "mean_val_accuracy", "mean_val_loss"
    assert all(np.array_equal(fitted.results_[n], expected.results_[n]) for n in figures)


def test_missing_labels_of_tables():
    pandas = pytest.importorskip("pandas")
    expected = sweep({}, cv=2).fit(X, np.ma.array(SETS, mask=GONE))
    names = list("abcd")
    nullable = (
        pandas.DataFrame(SETS, columns=names)
        .astype("Int64")
        .mask(pandas.DataFrame(GONE, columns=names))
    )
    tables = [nullable, nullable.astype("float64"), pandas.DataFrame(text(None), columns=names)]
    try:
        import polars

        tables.append(polars.DataFrame(as_objects(None).tolist(), schema=names, orient="row"))
    except ImportError:
        pass
    try:
        import pyarrow

        tables.append(pyarrow.table(dict(zip(names, as_objects(None).T.tolist(), strict=True))))
    except ImportError:
        pass
    for table in tables:
        fitted = sweep({}, cv=2).fit(X, table)
        for t in range(4):
            assert np.array_equal(fitted.estimator(t).coef_, expected.estimator(t).coef_)


def test_without_its_name_it_is_a_label_like_any_other():
    fitted = sweep({}, cv=2).fit(X, np.where(GONE, -1, SETS))
    assert [len(classes) for classes in fitted.classes_] == [4, 3, 5, 3]
    named = sweep({}, cv=2, missing=-1).fit(X, SETS)  # none is missing
    assert np.array_equal(named.estimator(0).coef_, sweep({}, cv=2).fit(X, SETS).estimator(0).coef_)


def test_a_number_does_not_stand_for_true():
    found = inputs.label_sets(np.array([True, False, True]), 3, missing=1)[0]
    assert found.observed is None
    found = inputs.label_sets([True, False, 1], 3, missing=1)[0]
    assert found.observed.tolist() == [True, True, False]


def test_rows_without_a_label_are_no_rare_class():
    y = np.where(np.arange(N) < 3, -1, THREE)
    sweep({}, cv=5, missing=-1).fit(X, y)  # a warning would be an error
    rare = np.where(np.arange(N) < 3, 3, THREE)
    with pytest.warns(UserWarning, match="a class has 3 rows, fewer than the 5 folds"):
        sweep({}, cv=5, missing=-1).fit(X, rare)


def test_labels_of_one_set_may_be_missing_where_that_has_a_name():
    y = np.where(GONE[:, 0], -1, THREE)
    fitted = sweep({"learning_rate": 0.5}, cv=2, missing=-1).fit(X, y)
    alone = SoftmaxRegression(**fitted.best_estimator_.get_params())
    assert_equal(fitted.best_estimator_, alone.fit(X, THREE, 1.0 * ~GONE[:, 0]))
    there = ~GONE[:, 0]
    score = fitted.score(X, y)
    assert score == pytest.approx(alone.score(X[there], y[there]))
    weighted = fitted.score(X, y, WEIGHTS)
    assert weighted == pytest.approx(alone.score(X[there], y[there], WEIGHTS[there]))
    assert weighted != score > 0.5
    assert fitted.predict(X).shape == (N,)


def test_a_splitter_is_given_numbers_for_labels_that_are_missing():
    seen = []

    class Splitter:
        def split(self, X, y, groups=None):
            seen.append(y)
            yield np.arange(60), np.arange(60, N)

    sweep({}, cv=Splitter()).fit(X, np.ma.array(SETS, mask=GONE))
    assert np.array_equal(seen[0], np.where(GONE, -1, SETS))


def test_soft_targets_stay_soft():
    soft = RNG.dirichlet(np.ones(3), N)
    assert inputs.label_sets(soft, N, missing=-1) is None
    assert inputs.label_sets(soft.tolist(), N) is None
    assert inputs.label_sets(np.eye(3)[THREE], N) is None
    assert sweep({}, cv=2).fit(X, soft).classes_.tolist() == [0, 1, 2]


# one task of many labels


def many():
    """Settings of which some are better for one label set, others for another."""
    return np.column_stack([TWO, OTHER, (X[:, 4] + RNG.standard_normal(N) > 0.8).astype(int)])


def test_one_setting_is_chosen_by_the_mean_over_the_label_sets():
    sets, grid = many(), {"learning_rate": np.geomspace(1e-3, 30, 9).tolist()}
    apart = sweep(grid, cv=3).fit(X, sets)
    together = sweep(grid, cv=3, refit_together=True).fit(X, sets)
    accuracy = together.results_["mean_val_accuracy"].reshape(9, 3).mean(axis=1)
    loss = together.results_["mean_val_loss"].reshape(9, 3).mean(axis=1)
    best = min(range(9), key=lambda i: (-accuracy[i], loss[i]))
    assert together.best_index_ == [3 * best, 3 * best + 1, 3 * best + 2]
    assert len(set(apart.results_["rank"].reshape(9, 3)[best])) > 1
    ranks = together.results_["rank"].reshape(9, 3)
    assert (ranks == ranks[:, :1]).all()
    assert sorted(ranks[:, 0])[0] == 1
    assert together.best_params_ == 3 * [together.results_["params"][3 * best]]
    for i in range(27):
        assert np.array_equal(together.estimator(i).coef_, apart.estimator(i).coef_)


def test_together_settings_are_halved_and_diverge_as_one():
    sets = many()
    grid = {"learning_rate": [1e30, *np.geomspace(1e-3, 30, 7)], "l2": 0.01}
    fitted = sweep(grid, cv=2, refit_together=True, halving=True, epochs=6).fit(X, sets)
    epochs = fitted.results_["epochs"].reshape(8, 3)
    assert (epochs == epochs[:, :1]).all()
    assert len(set(epochs[:, 0])) > 2
    assert fitted.results_["diverged"].reshape(8, 3).tolist() == [[True] * 3] + 7 * [[False] * 3]


@pytest.mark.filterwarnings("ignore:the columns of X have")
def test_a_label_set_on_which_every_setting_diverges_is_named():
    rows = X.copy()
    rows[3] = 1e25
    sets = np.ma.array(many()[:, :2], mask=False)
    sets[3, 0] = np.ma.masked
    with pytest.raises(FloatingPointError, match="every setting diverged on label set 1: the log"):
        sweep({}, cv=[(range(80), range(80, N))], batch_size=N).fit(rows, sets)


@pytest.mark.filterwarnings("ignore:the columns of X have")
def test_a_setting_diverges_with_any_of_its_label_sets():
    """A row that is far too long has no label of the first set, whose heads it does no harm."""
    rows = X.copy()
    rows[3] = 1e25
    sets = np.ma.array(many()[:, :2], mask=False)
    sets[3, 0] = np.ma.masked
    settings = {"cv": [(range(80), range(80, N))], "batch_size": N}  # one step from zero weights
    grid = {"learning_rate": [1e-30, 0.5]}
    apart = sweep(grid, **settings).fit(rows, sets).results_["diverged"]
    both = sweep(grid, refit_together=True, **settings).fit(rows, sets).results_["diverged"]
    assert apart.tolist() == [False, False, False, True]
    assert both.tolist() == [False, False, True, True]


def test_predictions_of_one_task_are_n_by_t():
    sets = many()
    fitted = sweep({"learning_rate": [0.1, 0.5]}, cv=2, refit_together=True).fit(X, sets)
    assert fitted.predict(X).shape == (N, 3)
    for name in ("predict_proba", "predict_log_proba"):
        found = getattr(fitted, name)(X)
        expected = [getattr(best, name)(X)[:, 1] for best in fitted.best_estimator_]
        assert np.array_equal(found, np.stack(expected, axis=1))
    decisions = fitted.decision_function(X)
    assert np.array_equal(decisions > 0, fitted.predict(X) == 1)
    assert fitted.out_of_fold(X).shape == (N, 3)
    scores = [best.score(X, sets[:, t]) for t, best in enumerate(fitted.best_estimator_)]
    assert fitted.score(X, sets) == np.mean(scores)
    with pytest.warns(UserWarning, match="skipped: 1$"):
        again = sweep({}, cv=2, refit_together=True).fit(X, np.insert(sets, 1, 0, axis=1))
    proba = again.predict_proba(X)
    assert np.isnan(proba[:, 1]).all()
    assert not np.isnan(proba[:, [0, 2, 3]]).any()
    several = sweep({}, cv=2, refit_together=True).fit(X, SETS)
    assert [p.shape for p in several.predict_proba(X)] == [(N, 3), (N, 2), (N, 4), (N, 2)]


def test_text_beside_numbers_stays_apart():
    sets = np.array([TWO, np.array(["cat", "dog", "eel"])[THREE]], dtype=object).T
    fitted = sweep({"learning_rate": 0.5}, cv=2).fit(X, sets)
    predicted = fitted.predict(X)
    assert {type(v) for v in predicted[:, 0].tolist()} == {int}
    assert set(predicted[:, 1]) <= {"cat", "dog", "eel"}
    assert fitted.score(X, sets) > 0.5


def test_on_the_workers_of_an_executor_too():
    sets = np.ma.array(many(), mask=GONE[:, :3])
    sets[:, 2] = THREE
    grid = {"learning_rate": [1e30, 0.1, 0.5, 3.0], "l2": [0.1], "loss": "cross_entropy"}
    settings = {"cv": 2, "halving": True, "refit_together": True, "n_threads": 1}
    here = sweep(grid, **settings).fit(X, sets)
    with pool_of(2) as workers:
        there = sweep(grid, **settings).fit(X, sets, executor=workers, n_tasks=3)
    for name, values in here.results_.items():
        if name != "params":
            kind = np.asarray(values).dtype.kind
            assert np.array_equal(values, there.results_[name], equal_nan=kind == "f"), name
    for i in range(3, 12):
        assert_equal(there.estimator(i, split=1), here.estimator(i, split=1))


@pytest.mark.parametrize("score", ["balanced_accuracy", "roc_auc_ovr", "neg_log_loss"])
def test_scores_are_of_the_labels_that_are_there(score):
    metrics = pytest.importorskip("sklearn.metrics")
    gone = np.ma.array(SETS, mask=GONE)
    grid, held_out = {"learning_rate": 0.5}, {"X_val": X, "y_val": gone}
    fitted = sweep(grid, scoring=score).fit(X, gone, **held_out)
    in_folds = sweep(grid, scoring=score, cv=2).fit(X, gone)
    _, judge = folds.cross_validation(2, SETS, None, None, 0)

    def of(model, rows, t):
        P, y = model.predict_proba(X[rows]).astype(float), SETS[rows, t]
        P /= P.sum(axis=1, keepdims=True)
        if score == "balanced_accuracy":
            return metrics.balanced_accuracy_score(y, P.argmax(axis=1))
        if score == "neg_log_loss":
            return -metrics.log_loss(y, P)
        return metrics.roc_auc_score(y, P if P.shape[1] > 2 else P[:, 1], multi_class="ovr")

    for t in range(4):
        there = ~GONE[:, t]
        found = fitted.results_[f"mean_val_{score}"][t]
        assert found == pytest.approx(of(fitted.estimator(t), there, t), rel=1e-5)
        heads = [in_folds.estimator(t, split=s) for s in range(2)]
        scores = [of(head, there & judge[s], t) for s, head in enumerate(heads)]
        found = in_folds.results_[f"mean_val_{score}"][t]
        assert found == pytest.approx(np.mean(scores), rel=1e-5)


def test_one_setting_is_chosen_by_the_mean_of_a_score():
    sets, grid = many(), {"learning_rate": np.geomspace(1e-3, 30, 9).tolist()}
    fitted = sweep(grid, cv=3, refit_together=True, scoring="roc_auc_ovr").fit(X, sets)
    mean = fitted.results_["mean_val_roc_auc_ovr"].reshape(9, 3).mean(axis=1)
    assert fitted.best_index_[0] == 3 * mean.argmax()
    assert not hasattr(fitted, "best_score_")
    with pytest.warns(UserWarning, match="skipped: 1$"):
        apart = sweep(grid, cv=3, scoring="neg_log_loss").fit(X, np.insert(sets, 1, 0, axis=1))
    assert apart.best_score_[1] is None
    assert len(apart.best_score_) == 4

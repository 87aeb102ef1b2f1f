"""Promise: a head of a `few_shot` split is the model that is fitted on its few rows, at their cost.

The banks are of the kind a single head is (few columns), so the bits are the same.
"""

import contextlib
import itertools
import os

import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.model import FewShotSplit, few_shot, trainer
from softstep.model.resume import keeper, store

N, D, C = 240, 6, 3
RNG = np.random.default_rng(0)
Y = np.repeat([0, 1, 2], [120, 80, 40])[RNG.permutation(N)]
X = (RNG.standard_normal((C, D))[Y] + RNG.standard_normal((N, D))).astype(np.float32)
PIXELS = np.clip(40 * X + 128, 0, 255).astype(np.uint8)
WEIGHTS = RNG.uniform(0.5, 2, N)
SHARED = {"batch_size": 20, "epochs": 4, "random_state": 3}


def sweep(param_grid, **settings):
    return SoftmaxSweep(param_grid, **{**SHARED, **settings})


def assert_equal(found, alone):
    for name in ("coef_", "intercept_", "loss_curve_", "classes_"):
        assert np.array_equal(getattr(found, name), getattr(alone, name)), name
    assert [(e.number, e.steps, e.loss, e.accuracy) for e in found.history_] == [
        (e.number, e.steps, e.loss, e.accuracy) for e in alone.history_
    ]
    assert np.abs(found.coef_).max() > 0


# which rows


@pytest.mark.parametrize(("k", "counts"), [(5, [5, 5, 5]), (0.1, [12, 8, 4]), (0.001, [1, 1, 1])])
def test_each_class_has_so_many_rows_or_such_a_share(k, counts):
    splits = few_shot(Y, k, seeds=3)
    assert len({split.learn.tobytes() for split in splits}) == 3
    for learn, judge in splits:
        assert np.bincount(Y[learn]).tolist() == counts
        assert np.array_equal(np.sort(np.r_[learn, judge]), np.arange(N))
        assert (np.diff(learn) > 0).all()


def test_the_draw_is_that_of_its_seed_and_a_smaller_k_is_part_of_a_larger():
    (split,) = few_shot(Y, 7, seeds=[11])
    rows = np.random.default_rng((11, 6)).permutation(N)
    expected = np.concatenate([rows[Y[rows] == label][:7] for label in range(C)])
    assert split.learn.tolist() == sorted(expected)
    (smaller,) = few_shot(Y, 2, seeds=[11])
    assert set(smaller.learn) < set(split.learn)
    assert len(few_shot(Y, 2)) == 5
    text = np.array(["cat", "dog", "eel"])[Y]
    for label_kind in (text, text.tolist(), Y.astype(float)):
        assert np.array_equal(few_shot(label_kind, 2, seeds=[11])[0].learn, smaller.learn)


@pytest.mark.parametrize("none", [-1, "", None])
def test_rows_whose_label_is_missing_have_no_part_in_it(none):
    gone = RNG.random(N) < 0.3
    labels = np.array(["cat", "dog", "eel"] if none == "" else [0, 1, 2])[Y].astype(object)
    labels[gone] = none
    labels = labels if none is None else np.array(labels.tolist())
    told = -1 if none is None else none
    (split,) = few_shot(labels, 4, seeds=[11], missing=told)
    rows = np.random.default_rng((11, 6)).permutation(N)
    rows = rows[~gone[rows]]
    expected = np.concatenate([rows[Y[rows] == label][:4] for label in range(C)])
    assert split.learn.tolist() == sorted(expected)
    assert np.array_equal(np.sort(np.r_[split.learn, split.judge]), np.flatnonzero(~gone))
    fitted = sweep({"learning_rate": 0.1}, cv=[split], missing=told).fit(X, labels)
    alone = SoftmaxRegression(**fitted.estimator(0, 0).get_params())
    assert_equal(fitted.estimator(0, 0), alone.fit(X[split.learn], labels[split.learn].tolist()))
    with pytest.raises(ValueError, match="y must be 1-D: few_shot takes the rows of one"):
        few_shot(np.stack([labels, labels], axis=1), 4, missing=told)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((Y, 41), ValueError, "class 2 has 40 rows, fewer than k=41"),
        ((Y, 0), ValueError, "k must be a whole number of rows of each class, at least 1"),
        ((Y, 1.5), ValueError, "or a share of them, between 0 and 1, not 1.5"),
        ((Y, True), TypeError, "k must be a number of rows of each class, or a share, not True"),
        ((Y, "1%"), TypeError, "k must be a number of rows of each class"),
        ((Y, 2, 0), ValueError, "seeds must be at least 1"),
        ((Y, 2, [-1]), ValueError, "seeds must be at least 0"),
        ((Y, 2, "12"), TypeError, "seeds must be"),
        (([0, 1, 0, 1], 2), ValueError, "k=2 takes all 4 rows: none is left to be judged on"),
        ((np.stack([Y, Y], axis=1), 2), ValueError, "y must be 1-D"),
        ((np.eye(C)[Y], 2), ValueError, "give y.argmax|must be 1-D"),
    ],
)
def test_bad_input_is_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        few_shot(*arguments)


def test_with_it_no_step_is_the_last():
    with pytest.raises(ValueError, match="max_steps ends all heads after as many steps, but"):
        sweep({}, cv=few_shot(Y, 2), max_steps=3).fit(X, Y)


# a head equals the lone model

CASES = {
    "as it is": ({"learning_rate": [0.1, 0.5]}, {}, X, None),
    "all settings": (
        {"learning_rate": 0.5, "l2": [0.0, 0.01], "momentum": 0.9, "init": "normal"},
        {"schedule": "cosine", "l2_bias": True},
        X,
        None,
    ),
    "losses": ({"loss": ["mse", "cross_entropy"]}, {"schedule": "step"}, X, None),
    "row weights": ({"loss": "cross_entropy"}, {}, X, WEIGHTS),
    "balanced": ({"learning_rate": 0.5}, {"class_weight": "balanced"}, X, WEIGHTS),
    "views": ({"features": [(0, 3), (2, 6)]}, {}, X, None),
    "scaled": ({"scaling": ["standard", None]}, {}, X, WEIGHTS),
    "scaled rows": ({"scaling": ["l2", "l2+standard"], "features": (1, 6)}, {}, X, None),
    "float64": ({"learning_rate": 0.5}, {}, X.astype(np.float64), None),
    "float16": ({"learning_rate": 0.5}, {}, X.astype(np.float16), None),
    "pixels": ({"learning_rate": 0.5}, {}, PIXELS, None),
}


@pytest.mark.parametrize("name", CASES)
def test_a_head_equals_the_lone_regression_on_its_rows(name, backend):
    if backend == "cupy" and "scal" in name:
        pytest.skip("rows are scaled in host memory")
    grid, settings, rows, weights = CASES[name]
    splits = few_shot(Y, 9, seeds=[4]) + few_shot(Y, 0.3, seeds=[5])
    fitted = sweep(grid, cv=splits, backend=backend, **settings).fit(rows, Y, weights)
    for i in range(len(fitted.results_["params"])):
        for s, (learn, judge) in enumerate(splits):
            found = fitted.estimator(i, split=s)
            alone = SoftmaxRegression(**found.get_params())
            own = None if weights is None else weights[learn]
            alone.fit(rows[learn], Y[learn], own)
            assert_equal(found, alone)
            accuracy = alone.score(rows[judge], Y[judge])
            assert found.history_[-1].val_accuracy == pytest.approx(accuracy)
        whole = SoftmaxRegression(**fitted.estimator(i).get_params())
        ones = np.ones(N) if weights is None else weights
        assert_equal(fitted.estimator(i), whole.fit(rows, Y, ones))


def test_they_may_stand_beside_folds_that_visit_all_rows():
    few, folds = few_shot(Y, 9, seeds=[4]), [(range(120), range(120, N))]
    both = sweep({"learning_rate": 0.5}, cv=iter([*few, *folds])).fit(X, Y)
    for s, cv in enumerate((few, folds)):
        alone = sweep({"learning_rate": 0.5}, cv=cv).fit(X, Y)
        assert_equal(both.estimator(0, split=s), alone.estimator(0, split=0))
    by_weight = sweep({"learning_rate": 0.5}, cv=[tuple(few[0])]).fit(X, Y)
    assert not np.array_equal(by_weight.estimator(0, 0).coef_, both.estimator(0, 0).coef_)


class Splitter:
    """With scikit-learn's interface."""

    def split(self, X, y, groups=None):
        yield from few_shot(y, 9, seeds=[4])


def test_a_splitter_may_yield_them():
    found = sweep({}, cv=Splitter()).fit(X, Y)
    expected = sweep({}, cv=few_shot(Y, 9, seeds=[4])).fit(X, Y)
    assert_equal(found.estimator(0, 0), expected.estimator(0, 0))


def test_scikit_learn_takes_them_as_folds():
    selection = pytest.importorskip("sklearn.model_selection")
    model = SoftmaxRegression(learning_rate=0.5, **SHARED)
    scores = selection.cross_val_score(model, X, Y, cv=few_shot(Y, 9))
    fitted = sweep({"learning_rate": 0.5}, cv=few_shot(Y, 9)).fit(X, Y)
    assert fitted.results_["mean_val_accuracy"][0] == pytest.approx(np.mean(scores))


def test_the_optimum_is_that_of_the_rows_alone():
    grid = {"loss": "cross_entropy", "C": [0.1, 1.0], "scaling": [None, "standard"]}
    splits = few_shot(Y, 9, seeds=2)
    fitted = SoftmaxSweep(grid, cv=splits, solver="lbfgs", random_state=0).fit(X, Y)
    for i, s in itertools.product(range(4), range(2)):
        found, learn = fitted.estimator(i, split=s), splits[s].learn
        alone = SoftmaxRegression(**found.get_params()).fit(X[learn], Y[learn])
        assert np.array_equal(found.coef_, alone.coef_)
        assert (found.objective_, found.bound_) == (alone.objective_, alone.bound_)
        assert found.converged_
        (end,), (own,) = found.history_, alone.history_
        assert (end.loss, end.accuracy) == (own.loss, own.accuracy)
    assert fitted.results_["converged"].all()


def test_sparse_rows_stay_sparse():
    sparse = pytest.importorskip("scipy.sparse")
    rows = sparse.csr_matrix(np.where(RNG.random((N, 60)) < 0.02, 1, 0).astype(np.float32))
    splits = few_shot(Y, 9, seeds=2)
    fitted = sweep({"learning_rate": 0.5, "l2": 0.01}, cv=splits).fit(rows, Y)
    for s, (learn, _) in enumerate(splits):
        found = fitted.estimator(0, split=s)
        assert_equal(found, SoftmaxRegression(**found.get_params()).fit(rows[learn], Y[learn]))


def test_files_in_blocks(tmp_path):
    """Their heads have the bits of a model whose rows are in memory."""
    wide = np.tile(X, 20)
    np.save(tmp_path / "x.npy", wide)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    splits = few_shot(Y, 9, seeds=2)
    fitted = sweep({"learning_rate": 0.5}, cv=splits, memory="3MB").fit(mapped, Y)
    for s, (learn, _) in enumerate(splits):
        alone = SoftmaxRegression(**fitted.estimator(0).get_params())
        assert_equal(fitted.estimator(0, split=s), alone.fit(wide[learn], Y[learn]))
    with pytest.raises(ValueError, match="is too little: this sweep needs"):
        sweep({}, cv=few_shot(Y, 0.5, seeds=8), memory="1.7MB").fit(mapped, Y)
    solved = {"cv": splits, "solver": "lbfgs", "random_state": 0}
    fitted = SoftmaxSweep({"C": [1.0]}, memory="9MB", **solved).fit(mapped, Y)
    whole = SoftmaxSweep({"C": [1.0]}, **solved).fit(wide, Y)
    assert np.array_equal(fitted.estimator(0, split=0).coef_, whole.estimator(0, split=0).coef_)


def test_out_of_fold_is_of_the_rows_they_did_not_learn_from():
    (split,) = few_shot(Y, 9, seeds=[4])
    fitted = sweep({"learning_rate": 0.5}, cv=[split]).fit(X, Y)
    found = fitted.out_of_fold(X)
    assert np.isnan(found[split.learn]).all()
    expected = fitted.estimator(0, split=0).predict_proba(X[split.judge])
    np.testing.assert_allclose(found[split.judge], expected, rtol=1e-5)


# what it costs


def test_an_epoch_costs_its_rows(monkeypatch):
    visited = []
    train = trainer.kernels.train

    def spy(x, y, order, *rest, **how):
        visited.append((len(x), len(order), how["sample_weight"].shape))
        return train(x, y, order, *rest, **how)

    monkeypatch.setattr(trainer.kernels, "train", spy)
    sweep({"learning_rate": [0.1, 0.5]}, cv=few_shot(Y, 4, seeds=3), epochs=2).fit(X, Y)
    assert visited == 2 * [*3 * [(12, 12, (1, 12))], (N, N, (4, N))]


# heads that fall away, and breaks


def test_heads_that_outlive_others_are_those_of_a_sweep_without_them():
    rates = [1e30, 0.01, 0.1, 0.5, 1.0]
    settings = {"cv": few_shot(Y, 9, seeds=2), "epochs": 6}
    fitted = sweep({"learning_rate": rates, "l2": 0.1}, halving=True, **settings).fit(X, Y)
    assert fitted.results_["diverged"].tolist() == [True] + [False] * 4
    assert len(set(fitted.results_["epochs"][1:])) > 1
    best = fitted.best_index_
    clean = sweep({"learning_rate": rates[best], "l2": 0.1}, **settings).fit(X, Y)
    for split in (None, 0, 1):
        found, alone = fitted.estimator(best, split), clean.estimator(0, split)
        assert np.array_equal(found.coef_, alone.coef_)


class Broken(Exception):
    """The process is gone."""


def everything(folder=None, resume=False):
    """A sweep and all that its fit found."""
    cv = [*few_shot(Y, 9, seeds=2), (range(120), range(120, N))]
    grid = {"learning_rate": [0.1, 3.0, 1e30], "momentum": 0.9}
    settings = {"epochs": 5, "batch_size": 60, "patience": 1, "halving": True}
    model = sweep(grid, cv=cv, **settings)
    model.fit(X, Y, checkpoint=folder, checkpoint_every=0, resume=resume)
    bank, tables = model._trained.bank, list(model.results_.values())[1:]
    return [*bank.arrays().values(), model._trained.curves.loss, *map(np.array, tables)]


def test_broken_off_after_each_step_it_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    for name in ("SLICE", "PER_BYTE"):
        monkeypatch.setattr(keeper, name, 0.0)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    expected, write = everything(), store.Store.write
    written = []

    def counted(self, saved):
        write(self, saved)
        written.append(saved)
        if len(written) == last:
            raise Broken

    monkeypatch.setattr(store.Store, "write", counted)
    for last in itertools.count(1):
        folder = tmp_path / str(last)
        written.clear()
        with contextlib.suppress(Broken):
            everything(folder)
            break
        for a, b in zip(everything(folder, resume=True), expected, strict=True):
            assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    assert last > 8


def test_a_split_is_a_pair():
    split = few_shot(Y, 2)[0]
    assert isinstance(split, FewShotSplit)
    learn, judge = split
    assert (learn is split.learn, judge is split.judge) == (True, True)

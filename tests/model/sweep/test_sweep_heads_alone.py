"""Promise: in a sweep every head trains as if it were alone, on every backend, for every setting.

The banks are of the kind a single head is (few columns), so the bits are the same.
"""

import inspect
from dataclasses import dataclass, field

import ml_dtypes
import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep, kernels
from softstep.kernels.verify import parity
from softstep.model import trainer
from softstep.model.sweep import folds, grid

N, D, C = 90, 5, 3
RNG = np.random.default_rng(0)
Y = RNG.integers(C, size=N)
X = (RNG.standard_normal((C, D))[Y] + RNG.standard_normal((N, D))).astype(np.float32)
PIXELS = np.clip(40 * X + 128, 0, 255).astype(np.uint8)
ROW_WEIGHTS = RNG.uniform(0.5, 2, N)
SOFT = RNG.dirichlet(np.ones(C), N).astype(np.float32)
HELD_OUT = slice(60, None)


@dataclass(frozen=True)
class Case:
    """Settings of the grid, settings for all heads, and what is fitted."""

    grid: dict = field(default_factory=dict)
    shared: dict = field(default_factory=dict)
    X: np.ndarray = field(default_factory=lambda: X)
    y: np.ndarray = field(default_factory=lambda: Y)
    sample_weight: np.ndarray | None = None


CASES = {
    "learning_rate": Case({"learning_rate": [0.1, 1.0]}),
    "l2": Case({"l2": [0.0, 0.1]}),
    "momentum": Case({"momentum": [0.0, 0.9]}),
    "loss": Case({"loss": ["mse", "cross_entropy"]}),
    "init": Case({"init": ["zeros", "normal"]}),
    "features": Case({"features": [(0, 3), (1, 5)]}),
    "scaling": Case({"scaling": [None, "standard"]}),
    "init_seed": Case({"init": ["normal"], "init_seed": [None, 4]}),
    "everything at once": Case(
        {"learning_rate": [0.5], "l2": [0.01], "momentum": [0.0, 0.5], "init": ["normal"]},
        {"schedule": "cosine", "l2_bias": True, "class_weight": "balanced"},
        sample_weight=ROW_WEIGHTS,
    ),
    "batch_size": Case(shared={"batch_size": 7}),
    "one batch": Case(shared={"batch_size": 1000}),
    "epochs": Case(shared={"epochs": 1}),
    "max_steps": Case(shared={"max_steps": 4}),
    "l2_bias": Case({"l2": [0.1]}, {"l2_bias": True}),
    "fit_intercept": Case(shared={"fit_intercept": False}),
    "random_state": Case(shared={"random_state": 8}),
    "class_weight": Case(shared={"class_weight": {0: 2.0, 1: 0.5}}),
    "feature_scale": Case(shared={"feature_scale": 0.5}),
    "cosine": Case(shared={"schedule": "cosine"}),
    "step": Case(shared={"schedule": "step"}),
    "eval_every": Case(shared={"eval_every": 2}),
    "patience": Case({"learning_rate": [1.0, 30.0]}, {"patience": 2, "epochs": 12}),
    "n_threads": Case(shared={"n_threads": 1}),
    "sample_weight": Case(sample_weight=ROW_WEIGHTS),
    "float64": Case(X=X.astype(np.float64)),
    "float16": Case(X=X.astype(np.float16)),
    "bfloat16": Case(X=X.astype(ml_dtypes.bfloat16)),
    "int8": Case(shared={"feature_scale": 0.1}, X=np.rint(10 * X).astype(np.int8)),
    "pixels": Case(X=PIXELS),
    "soft targets": Case({"loss": ["mse", "cross_entropy"]}, y=SOFT),
    "text labels": Case(y=np.array(["bird", "cat", "dog"])[Y]),
}
# How the bank is judged and packed; each of these has tests below or in test_sweep.py.
NO_HEADS_SETTING = {"param_grid", "cv", "n_bootstrap", "bootstrap", "refit", "scoring", "halving"}
NO_HEADS_SETTING |= {"memory", "backend", "schedule"}
NO_HEADS_SETTING |= {"solver", "C", "tol", "max_iter"}  # tests/model/optimum
NO_HEADS_SETTING |= {"missing", "refit_together"}  # test_label_sets.py


def sweep(case, backend, **settings):
    shared = {"batch_size": 20, "epochs": 3, "random_state": 0, **case.shared, **settings}
    return SoftmaxSweep({"learning_rate": 0.5, **case.grid}, backend=backend, **shared)


def assert_equal(found, alone):
    """Weights, velocities, curves: all bits, and going on with training too."""
    for name in ("coef_", "intercept_", "loss_curve_", "classes_"):
        assert np.array_equal(getattr(found, name), getattr(alone, name)), name
    assert found.history_ == alone.history_
    assert found.get_params() == alone.get_params()
    assert np.abs(found.coef_).max() > 0


def test_every_setting_is_in_the_table():
    shared = set(inspect.signature(SoftmaxSweep).parameters) - NO_HEADS_SETTING
    assert shared <= set(CASES)
    assert set(grid.KEYS["sgd"]) <= set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_head_equals_the_lone_regression(name, backend):
    case = CASES[name]
    train, held_out = slice(None, 60), HELD_OUT
    weights = None if case.sample_weight is None else case.sample_weight[train]
    data = {"sample_weight": weights, "X_val": case.X[held_out], "y_val": case.y[held_out]}
    fitted = sweep(case, backend).fit(case.X[train], case.y[train], **data)
    for i in range(len(fitted.results_["params"])):
        found = fitted.estimator(i)
        alone = SoftmaxRegression(**found.get_params()).fit(case.X[train], case.y[train], **data)
        assert_equal(found, alone)
        losses = [e.val_loss for e in alone.history_ if e.val_loss is not None]
        judged_by = min(losses) if fitted.patience else losses[-1]
        assert fitted.results_["mean_val_loss"][i] == judged_by
        again = case.X[held_out], case.y[held_out]
        for model in (found, alone):
            model.set_params(momentum=0.5, class_weight=None)  # so that velocities count
        assert np.array_equal(found.partial_fit(*again).coef_, alone.partial_fit(*again).coef_)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_fold_equals_the_lone_regression_with_its_rows_alone_weighted(weighted, backend):
    case = Case({"learning_rate": [0.5, 1.0]}, {"class_weight": "balanced"} if weighted else {})
    weights = ROW_WEIGHTS if weighted else np.ones(N)
    fitted = sweep(case, backend, cv=2).fit(X, Y, sample_weight=weights if weighted else None)
    judge = fold_masks(fitted, 2)
    for i in range(2):
        settings = fitted.estimator(i).get_params()
        for fold in range(2):
            alone = SoftmaxRegression(**settings).fit(
                X,
                Y,
                sample_weight=weights * ~judge[fold],
                X_val=X[judge[fold]],
                y_val=Y[judge[fold]],
            )
            found = fitted.estimator(i, split=fold)
            assert np.array_equal(found.coef_, alone.coef_)
            assert found.history_[-1].val_accuracy == pytest.approx(
                alone.history_[-1].val_accuracy, rel=1e-12
            )
        alone = SoftmaxRegression(**settings).fit(X, Y, sample_weight=weights)
        assert np.array_equal(fitted.estimator(i).coef_, alone.coef_)


def fold_masks(fitted, k):
    _, judge = folds.cross_validation(k, Y, None, Y, fitted.seed_)
    return judge


def test_balanced_class_weights_count_the_rows_that_are_learned_from(backend):
    """As in scikit-learn's searches, where a fold has no other rows: here folds by groups."""
    rare = (Y == 0) & (np.arange(N) < 45)  # class 0 is rare in the second half
    y = np.where((Y == 0) & ~rare, 1, Y)
    halves = np.arange(N) < 45
    pairs = [(halves, ~halves), (~halves | rare, halves & ~rare)]
    settings = {"class_weight": "balanced", "batch_size": N, "epochs": 3, "random_state": 0}
    settings |= {"backend": backend}
    own = {"learning_rate": 0.5, "loss": "cross_entropy"}
    fitted = SoftmaxSweep(own, cv=pairs, **settings).fit(X, y)
    for fold, (learn, _) in enumerate(pairs):
        alone = SoftmaxRegression(**own, **settings).fit(X[learn], y[learn])
        found = fitted.estimator(0, split=fold).coef_
        np.testing.assert_allclose(found, alone.coef_, rtol=1e-4, atol=1e-5)
        assert np.abs(found).max() > 0.1
    whole = SoftmaxRegression(**own, **settings).fit(X, y)
    assert np.array_equal(fitted.estimator(0).coef_, whole.coef_)


@pytest.mark.parametrize("kind", ["poisson", "multinomial"])
def test_a_bootstrap_equals_the_lone_regression_with_its_counts_as_weights(kind, backend):
    case = Case()
    fitted = sweep(case, backend, n_bootstrap=3, bootstrap=kind).fit(X, Y)
    counts, _ = folds.bootstraps(kind, 3, N, fitted.seed_)
    for i in range(3):
        alone = SoftmaxRegression(**fitted.estimator(0).get_params())
        alone.fit(X, Y, sample_weight=counts[i])
        assert np.array_equal(fitted.estimator(0, split=i).coef_, alone.coef_)


def test_a_label_set_equals_the_lone_regression_on_its_labels(backend):
    other = (Y + (X[:, 0] > 0)) % C
    both = np.stack([Y, np.array(["a", "b", "c"])[other]], axis=1, dtype=object)
    both[:, 0] = both[:, 0].astype(str)
    case = Case({"learning_rate": [0.5, 1.0]})
    held_out = {"X_val": X[HELD_OUT], "y_val": both[HELD_OUT]}
    fitted = sweep(case, backend).fit(X, both, **held_out)
    for i in range(4):
        t = fitted.results_["label_set"][i]
        assert t == i % 2
        alone = SoftmaxRegression(**fitted.estimator(i).get_params())
        alone.fit(X, both[:, t], X_val=X[HELD_OUT], y_val=both[HELD_OUT, t])
        assert_equal(fitted.estimator(i), alone)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_a_fold_of_a_label_set_equals_the_lone_regression(class_weight):
    """Where classes have weights, each label set has row weights of its own."""
    sets = np.stack([Y, np.minimum(Y, RNG.integers(C, size=N))], axis=1)
    shared = {"class_weight": class_weight, "epochs": 2, "backend": "numpy", "random_state": 5}
    sweep = SoftmaxSweep({"learning_rate": [0.5]}, cv=2, **shared).fit(X, sets)
    for t in range(2):
        alone = SoftmaxRegression(learning_rate=0.5, **shared).fit(X, sets[:, t])
        assert np.array_equal(sweep.estimator(t).coef_, alone.coef_)


def test_heads_that_outlive_others_equal_the_lone_regression(backend):
    # one diverges at once, halving drops others, the bank is packed again and again
    rates = [1e30, 0.01, 0.1, 0.5, 1.0, 2.0]
    case = Case({"learning_rate": rates, "l2": [1e-3], "momentum": [0.5]}, {"epochs": 6})
    held_out = {"X_val": X[HELD_OUT], "y_val": Y[HELD_OUT]}
    fitted = sweep(case, backend, halving=True).fit(X, Y, **held_out)
    assert fitted.results_["diverged"].tolist() == [True] + [False] * 5
    assert fitted.results_["rank"][0] == 6
    assert len(set(fitted.results_["epochs"][1:])) > 2
    for i in range(1, 6):
        settings = fitted.estimator(i).get_params()
        steps = int(fitted.results_["epochs"][i]) * -(-N // 20)
        alone = SoftmaxRegression(**settings | {"max_steps": steps}).fit(X, Y)
        assert np.array_equal(fitted.estimator(i).coef_, alone.coef_)
        with pytest.raises(FloatingPointError):
            fitted.estimator(0)


MANY = {"learning_rate": np.geomspace(0.01, 0.5, 10).tolist(), "loss": ["mse", "cross_entropy"]}


def many_columns(backend):
    """A sweep of 60 columns, which no lone head's kind of kernel trains, and its heads."""
    case = Case(MANY, {"epochs": 1, "batch_size": 30})  # the error bound grows fast
    fitted = sweep(case, backend).fit(X, Y, X_val=X, y_val=Y)
    return fitted, [fitted.estimator(i) for i in range(20)]


def job(model):
    """What training `model` is: arguments for `kernels.train`."""
    order = trainer.row_order(0, 0, N)
    start = np.zeros((1, D, C), np.float32), np.zeros((1, C), np.float32)
    return (X, Y, order, 30, *start), {"loss": model.loss, "learning_rate": model.learning_rate}


def test_in_a_bank_of_many_columns_a_head_equals_a_lone_one_of_the_same_kind(backend):
    for model in many_columns(backend)[1]:
        positional, options = job(model)
        kernels.train(*positional, **options, columns=20 * C, backend=backend)
        W, b = positional[-2:]
        assert np.array_equal(W[0].T, model.coef_)
        assert np.array_equal(b[0], model.intercept_)


def test_in_a_bank_of_many_columns_a_head_agrees_with_the_lone_regression(backend):
    for model in many_columns(backend)[1]:
        alone = SoftmaxRegression(**model.get_params()).fit(X, Y)
        truth, bounds = parity.truth_and_bounds("train", job(model))
        for name, i in (("coef_", 2), ("intercept_", 3)):
            exact, bound = truth[i][0].T, bounds[i][0].T
            for found in (model, alone):  # so they differ by two bounds at most
                assert parity.worst(getattr(found, name), exact, bound) <= 1
            assert parity.worst(np.zeros_like(exact), exact, bound) > 1


def test_a_bank_of_many_columns_keeps_its_bits_while_it_loses_heads(backend):
    # 60 columns at first, in the end 3: fewer than where the kind of kernel would change
    case = Case(MANY, {"epochs": 6, "batch_size": 30})
    fitted = sweep(case, backend, halving=True).fit(X, Y, X_val=X, y_val=Y)
    whole = sweep(case, backend).fit(X, Y, X_val=X, y_val=Y)
    assert (fitted.results_["epochs"] == 6).sum() == 1
    assert np.array_equal(fitted.best_estimator_.coef_, whole.estimator(fitted.best_index_).coef_)

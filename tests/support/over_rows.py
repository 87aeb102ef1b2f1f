"""Problems whose rows are dealt to several processes, and what must be true of their optimum."""

from itertools import pairwise

import numpy as np
from scipy import sparse

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.model import trainer
from softstep.model.optimum.problem import Problem
from softstep.model.sweep.few_rows import few_shot

N, D, C, TOL = 600, 10, 4, 1e-6
RNG = np.random.default_rng(0)
# Sorted, as rows in files often are: most shards lack some class.
Y = np.sort(RNG.integers(C, size=N))
LABELS = np.array(["ash", "birch", "cedar", "dogwood"])[Y]
X = (RNG.standard_normal((C, D))[Y] + RNG.standard_normal((N, D))).astype(np.float32)
PIXELS = RNG.integers(256, size=(N, D)).astype(np.uint8)
WEIGHTS = RNG.uniform(0.5, 2, N)
SOFT = RNG.dirichlet(np.ones(C), N).astype(np.float32)
SPARSE = sparse.csr_array(X * (RNG.random((N, D)) < 0.3))
HIDDEN = RNG.random((N, 2)) < 0.2
SETS = np.ma.array(np.where(HIDDEN, 0, np.stack([Y, Y % 2], axis=1)), mask=HIDDEN)
SHARED = {"loss": "cross_entropy", "solver": "lbfgs", "tol": TOL, "random_state": 0}

# What is fitted: settings, and by name the arrays of all rows, in `fit`'s words.
MODELS = {
    "plain": ({"l2": 1e-3}, {"X": X, "y": Y}),
    "balanced, scaled, of float64": (
        {"C": 0.5, "class_weight": "balanced", "scaling": "standard"},
        {"X": X.astype(np.float64) * 3 + 5, "y": LABELS, "sample_weight": WEIGHTS},
    ),
    "held out": ({"C": 1.0, "scaling": "l2"}, {"X": X, "y": Y, "X_val": X[::3], "y_val": Y[::3]}),
    "pixels, soft targets": ({"l2": 0.01, "l2_bias": True}, {"X": PIXELS, "y": SOFT}),
    "sparse": ({"C": 0.5}, {"X": SPARSE, "y": Y}),
    "of float16": ({"C": 0.5, "scaling": "standard"}, {"X": X.astype(np.float16), "y": Y}),
    "far from zero": ({"C": 1e7}, {"X": X, "y": Y}),  # by the curvature of each class
    "without a bound": ({"loss": "mse", "l2": 0.01}, {"X": X, "y": Y}),
}
GRID = [
    {"C": [0.01, 0.1], "loss": "cross_entropy", "features": [(0, D), (2, 7)]},
    {"C": 0.1, "loss": "cross_entropy", "scaling": "standard"},
]


def model(name):
    settings, given = MODELS[name]
    return SoftmaxRegression(**{**SHARED, **settings}), given


def sweep(name=None, **settings):
    """That of all folds, or that of this name."""
    settings |= {} if name is None else SWEEPS[name][1]
    shared = {name: value for name, value in SHARED.items() if name != "loss"}
    return SoftmaxSweep(GRID, **{"cv": 2, **shared, **settings})


# Sweeps besides that of all folds: what is fitted, and settings.
SWEEPS = {
    "few": ({"X": X, "y": Y}, {"cv": few_shot(Y, 30, 2)}),
    "masked": ({"X": X, "y": SETS}, {}),
}


def dealt(array, parts):
    """The rows of an array in so many parts of unlike length."""
    n = array.shape[0]
    ends = np.cumsum(np.arange(1, parts) * 2 * n // parts**2)
    return [array[first:stop] for first, stop in pairwise([0, *ends.tolist(), n])]


def assert_same_optimum(found, alone):
    """Both are as near to it as `tol` says, and the bound of each holds for the other."""
    assert found.converged_ == alone.converged_
    assert abs(found.objective_ - alone.objective_) <= 2 * TOL * alone.objective_
    if alone.loss == "cross_entropy":
        assert found.bound_ <= TOL * found.objective_
        assert found.objective_ - found.bound_ <= alone.objective_
        assert alone.objective_ - alone.bound_ <= found.objective_
    else:
        assert np.isnan(found.bound_)
    assert np.array_equal(found.classes_, alone.classes_)
    assert found.feature_scale_ == alone.feature_scale_
    assert found.origin_["data"] == alone.origin_["data"]
    (ends,), (expected,) = found.history_, alone.history_
    assert np.isclose(ends.loss, expected.loss, rtol=1e-2)
    assert np.isclose(ends.accuracy, expected.accuracy, atol=2 / N)
    assert (ends.val_loss is None) == (expected.val_loss is None)
    if ends.val_loss is not None:
        assert np.isclose(ends.val_loss, expected.val_loss, rtol=1e-2)


def objective(fitted, given):
    """That of a model's weights over all rows at once."""
    data = trainer.Rows(given["X"], given["y"], feature_scale=fitted.feature_scale_)
    posed = Problem(
        data=data,
        loss=np.array([fitted.loss]),
        l2=np.array([fitted.l2]),
        l2_bias=fitted.l2_bias,
        fit_bias=True,
    )
    W, b = fitted.coef_.T[None].astype(float), fitted.intercept_[None].astype(float)
    return posed.value(W, b)[0][0]


def assert_same_sweep(found, alone):
    """The heads of all settings and folds are at the same optima, and are judged alike."""
    f = alone.results_["objective"]
    assert found.results_["converged"].all()
    np.testing.assert_allclose(found.results_["objective"], f, rtol=2 * TOL)
    for name in ("mean_val_accuracy", "std_val_accuracy"):
        expected = alone.results_[name]
        np.testing.assert_allclose(found.results_[name], expected, atol=6 / N)
    loss = alone.results_["mean_val_loss"]
    np.testing.assert_allclose(found.results_["mean_val_loss"], loss, rtol=1e-2)
    for split in range(2):
        one, other = found.estimator(4, split), alone.estimator(4, split)
        assert abs(one.objective_ - other.objective_) <= 2 * TOL * other.objective_
        assert one.converged_


def assert_goes_on(kept):
    """One process goes on from what was kept there, to the same optimum in fewer steps."""
    resumed, given = model("plain")
    resumed.fit(**given, checkpoint=kept, resume=True)
    fresh, _ = model("plain")
    fresh.fit(**given)
    assert_same_optimum(resumed, fresh)
    assert resumed.n_iter_ < fresh.n_iter_

"""Promise: with solver="lbfgs" every head ends as the lone model does; what cannot is said."""

import warnings

import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.model import WeightPath
from softstep.model.datasets import load_digits
from softstep.model.optimum import curvature, solve
from softstep.model.optimum.shortfall import ConvergenceWarning

DIGITS = load_digits()
X, Y = np.ascontiguousarray(DIGITS.X_train[::4]), DIGITS.y_train[::4]
SHARED = {"solver": "lbfgs", "random_state": 0}


def lone(**settings):
    return SoftmaxRegression(**{"loss": "cross_entropy", **SHARED, **settings})


def sweep(grid, **settings):
    return SoftmaxSweep({"loss": "cross_entropy", **grid}, **SHARED, **settings)


def same_bits(a, b):
    np.testing.assert_array_equal(a.coef_, b.coef_)
    np.testing.assert_array_equal(a.intercept_, b.intercept_)


def test_a_head_is_the_lone_model_with_its_settings():
    fitted = sweep({"C": [1e-3, 0.1, 10.0]}, cv=2).fit(X, Y)
    for i, params in enumerate(fitted.results_["params"]):
        alone = lone(**params).fit(X, Y)
        same_bits(fitted.estimator(i), alone)
        assert fitted.results_["n_iter"][i] == alone.n_iter_
        assert fitted.results_["bound"][i] == alone.bound_
        np.testing.assert_array_equal(fitted.estimator(i).loss_curve_, alone.loss_curve_)
    assert fitted.results_["converged"].all()


def test_the_head_of_a_fold_is_the_model_with_its_rows_weights_and_its_own_C():
    weights = np.random.default_rng(1).uniform(0.5, 2, len(X)).astype("f4")
    rows = np.arange(len(X))
    folds = [(rows[rows % 3 != k], rows[rows % 3 == k]) for k in range(3)]
    fitted = sweep({"C": [0.1]}, cv=folds, class_weight="balanced")
    fitted.fit(X, Y, sample_weight=weights)
    for k in range(3):
        own = weights * (rows % 3 != k)
        same_bits(
            fitted.estimator(0, split=k),
            lone(C=0.1, class_weight="balanced").fit(X, Y, own),
        )


def test_label_sets_and_soft_targets_are_solved_alike():
    labels = np.stack([Y, (Y + 3) % 10], axis=1)
    fitted = sweep({"l2": [0.01, 0.1]}).fit(X, labels, X_val=X[:50], y_val=labels[:50])
    assert fitted.results_["converged"].all()
    same_bits(fitted.estimator(1), lone(l2=0.01).fit(X, labels[:, 1]))
    soft = np.eye(10, dtype="f4")[Y] * 0.9 + 0.01
    assert lone(l2=0.01).fit(X, soft).converged_


def test_a_file_in_blocks_gives_the_same_optimum(tmp_path):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    grid, held_out = {"l2": [1e-3, 0.1]}, {"X_val": np.ascontiguousarray(X[:50]), "y_val": Y[:50]}
    whole = sweep(grid).fit(X, Y, **held_out)
    in_blocks = sweep(grid, memory="40 MB").fit(mapped, Y, **held_out)
    assert in_blocks.results_["converged"].all()
    f = whole.results_["objective"]
    np.testing.assert_allclose(in_blocks.results_["objective"], f, rtol=2e-6)


def test_a_class_without_weight_gets_no_probability_and_the_others_are_proven():
    weights = (Y != 4).astype("f4")
    model = lone(l2=0.01).fit(X, Y, weights)
    without = lone(l2=0.01, tol=1e-10).fit(X[Y != 4], Y[Y != 4])
    assert model.converged_
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.intercept_).all()
    assert model.predict_proba(X)[:, 4].max() == 0
    assert model.objective_ == pytest.approx(without.objective_, rel=2e-6)


@pytest.mark.parametrize("settings", [{"loss": "mse"}, {"loss": "gce"}, {"l2": 0.0}])
def test_without_a_proof_it_goes_to_a_stationary_point(settings):
    model = lone(**{"l2": 1e-3, **settings}).fit(X, Y)
    assert np.isnan(model.bound_)
    assert model.converged_
    start = lone(**{"l2": 1e-3, **settings}, max_iter=1)
    with pytest.warns(ConvergenceWarning, match="no bound"):
        start.fit(X, Y)
    assert model.gradient_norm_ < start.gradient_norm_ / 5


def test_a_fit_whose_rounds_run_out_is_usable_and_says_so():
    with pytest.warns(ConvergenceWarning, match=r"1 of 1 heads .* l2=1e-05.*raise max_iter=5$"):
        model = lone(l2=1e-5, max_iter=5).fit(X, Y)
    assert (model.converged_, model.n_iter_, len(model.loss_curve_)) == (False, 5, 5)
    assert model.score(X, Y) > 0.8
    assert model.bound_ > 1e-6 * model.objective_


def test_the_warning_is_that_of_scikit_learn_too():
    exceptions = pytest.importorskip("sklearn.exceptions")
    with pytest.warns(exceptions.ConvergenceWarning):
        lone(l2=1e-5, max_iter=2).fit(X, Y)


def test_what_converges_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        lone(C=0.1).fit(X, Y)


def test_a_callback_is_told_each_round_and_may_end_it():
    told = []
    with pytest.warns(ConvergenceWarning):
        sweep({"C": [0.1, 100.0]}).fit(
            X, Y, X_val=X, y_val=Y, callback=lambda done: told.append(done) or done.number == 9
        )
    assert [t.number for t in told] == list(range(10))
    assert {t.going for t in told} == {2}
    assert all(t.bound > 1e-6 for t in told)


def test_ctrl_c_after_a_round_leaves_a_usable_model():
    def interrupt(done):
        if done.number == 9:
            raise KeyboardInterrupt

    model = lone(C=100.0)
    with pytest.warns(ConvergenceWarning), pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, callback=interrupt)
    assert model.score(X, Y) > 0.8
    assert 5 <= model.n_iter_ <= 10


def test_a_model_is_saved_and_loaded(tmp_path):
    model = lone(C=0.1).fit(X, Y)
    model.save(tmp_path / "model.npz")
    loaded = SoftmaxRegression.load(tmp_path / "model.npz")
    same_bits(loaded, model)
    assert (loaded.solver, loaded.C, loaded.n_iter_) == ("lbfgs", 0.1, model.n_iter_)


def test_a_better_start_takes_fewer_steps():
    model = lone(C=1.0, warm_start=True).fit(X, Y)
    first = model.n_iter_
    assert model.fit(X, Y).n_iter_ < first / 2


def test_what_is_known_of_a_head_goes_with_its_model(tmp_path):
    fitted = sweep({"C": [0.1, 10.0]}, cv=2).fit(X, Y)
    alone = lone(C=10.0).fit(X, Y)
    for model in (fitted.estimator(1), alone):
        model.save(tmp_path / "model.npz")
        loaded = SoftmaxRegression.load(tmp_path / "model.npz")
        for name in ("objective_", "gradient_norm_", "bound_", "converged_"):
            assert getattr(loaded, name) == getattr(model, name) == getattr(alone, name)
    assert fitted.estimator(1, split=0).converged_
    assert not hasattr(SoftmaxRegression(epochs=1).fit(X, Y), "bound_")


def test_a_model_without_a_bound_is_saved_too(tmp_path):
    model = lone(l2=0.1, loss="mse").fit(X, Y)
    model.save(tmp_path / "model.npz")
    assert np.isnan(SoftmaxRegression.load(tmp_path / "model.npz").bound_)


@pytest.mark.parametrize("settings", [{"loss": "mse", "l2": 1e-3}, {"l2": 1e-3}])
def test_who_begins_at_the_optimum_is_there(settings):
    model = lone(**settings, warm_start=True).fit(X, Y)
    assert model.fit(X, Y).n_iter_ <= 1
    assert model.converged_


def test_a_class_that_was_left_out_comes_back_by_a_warm_start():
    model = lone(l2=0.01, warm_start=True).fit(X, Y, (Y != 4).astype("f4"))
    model.fit(X, Y)
    assert model.converged_
    assert model.objective_ == pytest.approx(lone(l2=0.01).fit(X, Y).objective_, rel=2e-6)


def test_ctrl_c_during_a_proof_leaves_a_usable_model(monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(solve, "prove", interrupt)
    model = lone(C=1.0)
    with pytest.warns(ConvergenceWarning, match="no bound"), pytest.raises(KeyboardInterrupt):
        model.fit(X, Y)
    assert model.score(X, Y) > 0.8
    assert np.isnan(model.bound_)
    assert model.objective_ > 0


@pytest.mark.filterwarnings("ignore:the columns of X have standard deviations")
@pytest.mark.parametrize("axes", [True, False])
def test_a_column_of_another_size_does_not_hold_up_the_others(axes, monkeypatch):
    monkeypatch.setattr(curvature, "has_axes", lambda *shape: axes)
    wild = X.copy()
    wild[:, 20] *= 1000
    steps = [lone(l2=1e-3, feature_scale=1.0).fit(x, Y).n_iter_ for x in (X, wild)]
    assert steps[1] <= 4 * steps[0]  # with the mean variance for the usual one it is 30 times


@pytest.mark.parametrize("judge", ["held out", "folds"])
def test_the_history_of_a_head_is_its_end_as_of_the_lone_model(judge):
    held_out = {"X_val": X[:60], "y_val": Y[:60]} if judge == "held out" else {}
    fitted = sweep({"C": [0.1, 10.0]}, cv=None if held_out else 2).fit(X, Y, **held_out)
    for i, params in enumerate(fitted.results_["params"]):
        (found,) = fitted.estimator(i).history_
        (alone,) = lone(**params).fit(X, Y, **held_out).history_
        assert (found.number, found.steps) == (0, alone.steps)
        assert found.loss == pytest.approx(alone.loss, rel=1e-6)
        assert found.accuracy == alone.accuracy
        assert (found.val_loss is None) == (alone.val_loss is None) == (not held_out)
        if held_out:
            assert found.val_loss == pytest.approx(alone.val_loss, rel=1e-6)
            assert found.val_accuracy == alone.val_accuracy
    if not held_out:
        (fold,) = fitted.estimator(0, split=1).history_
        assert np.isfinite([fold.loss, fold.accuracy, fold.val_loss, fold.val_accuracy]).all()


def test_the_history_of_heads_that_are_scaled_or_read_in_blocks_is_their_end_too():
    held_out = {"X_val": X[:60], "y_val": Y[:60]}
    for settings in ({"memory": "40 MB"}, {}):
        grid = {"C": [0.1]} if settings else {"C": [0.1], "scaling": ["standard"]}
        (found,) = sweep(grid, **settings).fit(X, Y, **held_out).estimator(0).history_
        scaling = None if settings else "standard"
        (alone,) = lone(C=0.1, scaling=scaling).fit(X, Y, **held_out).history_
        assert found.loss == pytest.approx(alone.loss, rel=1e-3)
        assert found.accuracy == pytest.approx(alone.accuracy, abs=0.01)


@pytest.mark.parametrize("scaling", [None, "standard"])
def test_held_out_rows_that_are_not_finite_are_named(scaling, monkeypatch):
    spoilt = X[:20].copy()
    spoilt[3, 5] = np.nan
    monkeypatch.setattr(solve, "Descent", None)  # before anything is solved
    with pytest.raises(ValueError, match=r"^X_val\[3, 5\] is nan"):
        lone(C=1.0, scaling=scaling).fit(X, Y, X_val=spoilt, y_val=Y[:20])
    with pytest.raises(ValueError, match=r"^X_val\[3, 5\] is nan"):
        sweep({"C": [1.0], "scaling": [scaling]}).fit(X, Y, X_val=spoilt, y_val=Y[:20])


SGD_HAS_NO_C = "C is a setting of solver='lbfgs': with solver='sgd' give l2"
OF_ROWS, NEARER = (
    f" with rows of weight {len(X)} in all is an l2 of ",
    ": give a C that is nearer to 1",
)
OF_SGD = " is a setting of solver='sgd': leave it out with 'lbfgs'"
REFUSED = [
    ({"solver": "newton"}, ValueError, "solver must be one of 'sgd', 'lbfgs', not 'newton'"),
    ({"C": -1.0}, ValueError, "C must be above 0, not -1"),
    ({"C": 0.0}, ValueError, "C must be above 0, not 0"),
    ({"C": np.nan}, ValueError, "C must be finite, not nan"),
    ({"C": 10**400}, ValueError, "C must be finite, not inf"),
    ({"C": 1e-320}, ValueError, f"C=9.99989e-321{OF_ROWS}inf{NEARER}"),
    ({"C": 1e308}, ValueError, f"C=1e+308{OF_ROWS}0{NEARER}"),
    ({"C": "1"}, TypeError, "C must be a number, not '1'"),
    ({"C": 1.0, "l2": 0.1}, ValueError, "C and l2 both set the weight of ‖W‖²: give one of them"),
    ({"C": 1.0, "solver": "sgd"}, ValueError, SGD_HAS_NO_C),
    ({"tol": 0.0}, ValueError, "tol must be above 0, not 0"),
    ({"tol": -1e-6}, ValueError, "tol must be above 0, not -1e-06"),
    ({"max_iter": 0}, ValueError, "max_iter must be at least 1, not 0"),
    *(
        ({name: value}, ValueError, f"{name}{OF_SGD}")
        for name, value in {
            "momentum": 0.9, "learning_rate": 0.1, "schedule": "cosine", "patience": 3,
        }.items()
    ),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "error", "message"), REFUSED)
def test_what_cannot_be_meant_is_refused_in_one_sentence(settings, error, message):
    with pytest.raises(error) as raised:
        lone(**settings).fit(X, Y)
    assert str(raised.value) == message


@pytest.mark.parametrize("key", ["learning_rate", "momentum"])
def test_the_grid_of_another_solver_is_refused(key):
    message = (
        f"param_grid has '{key}', but a sweep by solver='lbfgs' goes through l2, C, loss, init"
    )
    with pytest.raises(ValueError, match=message):
        sweep({key: [0.1]}, cv=2).fit(X, Y)
    message = "param_grid has 'C', but a sweep by solver='sgd' .*; C goes with solver='lbfgs'$"
    with pytest.raises(ValueError, match=message):
        SoftmaxSweep({"C": [1.0]}, cv=2).fit(X, Y)


def test_a_C_that_float64_does_not_hold_is_refused_in_a_grid():
    with pytest.raises(ValueError, match=f"^C=1e\\+308 .* is an l2 of 0{NEARER}$"):
        sweep({"C": [1.0, 1e308]}, cv=2).fit(X, Y)


def test_what_goes_with_sgd_alone_is_refused():
    with pytest.raises(ValueError, match=r"^path goes with solver='sgd'"):
        lone().fit(X, Y, path=WeightPath())
    with pytest.raises(ValueError, match=r"^halving is a setting of solver='sgd'"):
        sweep({"l2": [0.1]}, cv=2, halving=True).fit(X, Y)
    with pytest.raises(ValueError, match="partial_fit trains by solver='sgd'"):
        lone().partial_fit(X, Y)

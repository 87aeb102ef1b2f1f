"""Promise: `scaling=` trains as on a scaled copy, without one; a head equals the lone model."""

import tracemalloc

import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.model.sweep import folds

pytestmark = pytest.mark.filterwarnings("ignore:the columns of X have")

N, D, C = 90, 6, 3
RNG = np.random.default_rng(0)
Y = RNG.integers(C, size=N)
SPREAD = np.array([0.01, 0.1, 1, 10, 100, 3])
X = (RNG.standard_normal((C, D))[Y] + RNG.standard_normal((N, D))) * SPREAD + 5 * SPREAD
KINDS = {
    "float32": X.astype(np.float32),
    "float64": X,
    "float16": X.astype(np.float16),
    "uint8": np.clip(40 * X / SPREAD - 60, 0, 255).astype(np.uint8),
}
SCALINGS = ["standard", "l2", "l2+standard"]
SHARED = {"batch_size": 20, "epochs": 5, "random_state": 0, "learning_rate": 0.5}
WEIGHTS = RNG.uniform(0.5, 2, N)


def lone(**settings):
    return SoftmaxRegression(**{**SHARED, "backend": "numba", **settings})


def scaled_copy(rows, scaling, weights=None, *, centers=True):
    """In float64, by the formulas."""
    u = rows.astype(np.float64)
    if scaling.startswith("l2"):
        u = u / np.linalg.norm(u, axis=1, keepdims=True)
    if "standard" in scaling:
        mean = np.average(u, axis=0, weights=weights)
        scale = np.sqrt(np.average((u - mean) ** 2, axis=0, weights=weights))
        u = (u - mean * centers) / scale
    return u


def close(found, expected, tolerance=2e-4):
    assert np.abs(expected - 1 / C).max() > 0.01
    np.testing.assert_allclose(found, expected, atol=tolerance)


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_trains_as_on_a_scaled_copy(kind, scaling, backend):
    rows = KINDS[kind]
    settings = {"backend": backend, "l2": 0.01, "momentum": 0.5, "schedule": "cosine"}
    found = lone(scaling=scaling, **settings).fit(rows, Y, sample_weight=WEIGHTS)
    copy = scaled_copy(rows, scaling, WEIGHTS)
    alone = lone(**settings).fit(copy, Y, sample_weight=WEIGHTS)
    tolerance = 1e-9 if kind == "float64" else 2e-4
    close(found.predict_proba(rows), alone.predict_proba(copy), tolerance)
    np.testing.assert_allclose(found.loss_curve_, alone.loss_curve_, rtol=10 * tolerance)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_it_is_scikit_learns_pipeline(scaling):
    pipeline = pytest.importorskip("sklearn.pipeline")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    steps = {"l2": preprocessing.Normalizer(), "standard": preprocessing.StandardScaler()}
    model = pipeline.make_pipeline(*(steps[name] for name in scaling.split("+")), lone())
    found = lone(scaling=scaling).fit(X, Y)
    close(found.predict_proba(X), model.fit(X, Y).predict_proba(X), 1e-9)
    if "standard" in scaling:
        scaler = model[-2]
        np.testing.assert_allclose(found.mean_, scaler.mean_, rtol=1e-10)
        np.testing.assert_allclose(found.scale_, scaler.scale_, rtol=1e-10)


@pytest.mark.parametrize("away", [1e3, 1e4])
def test_no_figures_are_lost_far_from_zero(away, backend):
    rows = (RNG.standard_normal((N, D)) + np.eye(D)[Y] * 2 + away).astype(np.float32)
    found = lone(scaling="standard", backend=backend).fit(rows, Y)
    copy = scaled_copy(rows, "standard")
    close(found.predict_proba(rows), lone(backend=backend).fit(copy, Y).predict_proba(copy), 1e-5)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_coefficients_are_those_of_the_features_as_given(scaling):
    found = lone(scaling=scaling).fit(X, Y)
    u = scaled_copy(X, "l2") if scaling.startswith("l2") else X
    V = u @ found.coef_.T + found.intercept_
    np.testing.assert_allclose(V, found.decision_function(X), atol=1e-9)


def test_l2_acts_on_the_weights_of_scaled_rows():
    strong = lone(scaling="standard", l2=1.0, epochs=200).fit(X, Y)
    sizes = np.linalg.norm(strong.coef_, axis=0) * SPREAD
    assert sizes.max() / sizes.min() < 20  # of raw weights it would be 10⁴


def test_without_an_intercept_the_mean_stays():
    found = lone(scaling="standard", fit_intercept=False).fit(X, Y)
    copy = scaled_copy(X, "standard", centers=False)
    close(found.predict_proba(X), lone(fit_intercept=False).fit(copy, Y).predict_proba(copy), 1e-9)
    assert not found.mean_.any()
    assert not found.intercept_.any()


@pytest.mark.parametrize("init", ["zeros", "normal"])
def test_a_constant_column_has_weight_0(init, backend):
    rows = KINDS["float32"].copy()
    rows[:, 2] = 7.3
    found = lone(scaling="standard", init=init, backend=backend).fit(rows, Y)
    assert found.scale_[2] == 0
    assert not found.coef_[:, 2].any()
    assert np.isfinite(found.coef_).all()
    assert found.coef_[:, [0, 1, 3]].all()
    rows[:, 2] = 1e6
    assert np.isfinite(found.predict_proba(rows)).all()


def test_rows_of_zeros_stay():
    rows = KINDS["float32"].copy()
    rows[3] = 0
    assert np.isfinite(lone(scaling="l2").fit(rows, Y).predict_proba(rows)).all()


@pytest.mark.parametrize("scaling", SCALINGS)
def test_it_is_saved_and_goes_on(scaling, tmp_path):
    model = lone(scaling=scaling).fit(X, Y)
    model.save(tmp_path / "model.npz")
    loaded = SoftmaxRegression.load(tmp_path / "model.npz")
    assert loaded.scaling == scaling
    for name in ("coef_", "intercept_", *(("mean_", "scale_") if "standard" in scaling else ())):
        assert np.array_equal(getattr(loaded, name), getattr(model, name))
    assert np.array_equal(loaded.predict_proba(X), model.predict_proba(X))
    before = model.scale_.copy() if "standard" in scaling else None
    assert np.array_equal(
        loaded.partial_fit(X[:40], Y[:40]).coef_, model.partial_fit(X[:40], Y[:40]).coef_
    )
    if before is not None:
        assert np.array_equal(model.scale_, before)


def test_weights_set_by_hand_count():
    model = lone(scaling="standard").fit(X, Y)
    expected = model.decision_function(X) + 1
    model.intercept_ = model.intercept_ + 1
    np.testing.assert_allclose(model.decision_function(X), expected, atol=1e-9)


def test_warm_start_goes_on_from_the_weights():
    model = lone(scaling="standard", warm_start=True).fit(X, Y)
    before = model.predict_proba(X)
    model.set_params(learning_rate=1e-12, epochs=1).fit(X, Y)
    np.testing.assert_allclose(model.predict_proba(X), before, atol=1e-9)
    with pytest.raises(ValueError, match="warm_start goes on with scaling='standard'"):
        model.set_params(scaling="l2").fit(X, Y)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_warm_start_loses_no_figures_far_from_zero(kind):
    rows = (RNG.standard_normal((N, D)) + np.eye(D)[Y] * 2 + 1e3).astype(kind)
    model = lone(scaling="standard", warm_start=True).fit(rows, Y)
    before = model.decision_function(rows)
    assert np.abs(before).max() > 1
    model.set_params(learning_rate=1e-30).fit(rows, Y)
    loss = 0 if kind == np.float32 else 1e-10  # all are rounded back
    np.testing.assert_allclose(model.decision_function(rows), before, rtol=0, atol=loss)
    other = rows + kind(0.5)  # and by other statistics
    expected = model.decision_function(other)
    np.testing.assert_allclose(model.fit(other, Y).decision_function(other), expected, atol=1e-4)


@pytest.mark.parametrize("scaling", SCALINGS)
def test_what_leaves_it(scaling):
    pytest.importorskip("sklearn")
    model = lone(scaling=scaling).fit(X, Y)
    estimator = model.to_sklearn()
    np.testing.assert_allclose(estimator.predict_proba(X), model.predict_proba(X), atol=1e-6)
    if scaling.startswith("l2"):
        with pytest.raises(
            ValueError, match="brings rows to unit length, which a linear layer does not"
        ):
            model.to_safetensors("never")
        part = lone(scaling=scaling, features=(0, 4)).fit(X, Y)
        with pytest.raises(ValueError, match="fit on these columns alone"):
            part.to_sklearn()


def test_a_view_is_scaled_by_its_columns(backend):
    for scaling in SCALINGS:
        found = lone(scaling=scaling, features=(1, 4), backend=backend).fit(X, Y)
        alone = lone(scaling=scaling, backend=backend).fit(X[:, 1:4].copy(), Y)
        assert np.array_equal(found.coef_, alone.coef_)
        assert np.array_equal(found.predict_proba(X), alone.predict_proba(X[:, 1:4]))


def test_the_optimum_is_that_of_the_scaled_copy():
    settings = {"loss": "cross_entropy", "solver": "lbfgs", "C": 1.0, "tol": 1e-9}
    found = SoftmaxRegression(**settings, scaling="standard").fit(X, Y)
    copy = scaled_copy(X, "standard")
    alone = SoftmaxRegression(**settings).fit(copy, Y)
    assert found.converged_
    assert found.objective_ == pytest.approx(alone.objective_, rel=1e-8)
    close(found.predict_proba(X), alone.predict_proba(copy), 1e-4)


def test_sparse_rows_are_scaled_too():
    sparse = pytest.importorskip("scipy.sparse")
    rows = np.where(np.abs(X - 5 * SPREAD) > SPREAD, X, 0)
    found = lone(scaling="standard").fit(sparse.csr_matrix(rows), Y)
    assert np.array_equal(found.coef_, lone(scaling="standard").fit(rows, Y).coef_)


def test_predictions_make_some_rows_at_a_time(backend):
    rows = np.tile(X.astype(np.float16), (600, 50))  # 32 MB, a scaled copy takes 65
    model = lone(scaling="l2+standard", epochs=1, backend=backend).fit(rows[:N], Y)
    for predict in (model.decision_function, model.predict):
        few = predict(rows[:N])
        tracemalloc.start()
        found = predict(rows)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < rows.nbytes
        np.testing.assert_allclose(found[:N], few, rtol=1e-4, atol=1e-5)


def test_what_is_no_scaling_is_refused_in_a_sentence():
    text = r"^scaling must be one of None, 'standard', 'l2', 'l2\+standard', not 'z'$"
    with pytest.raises(ValueError, match=text):
        lone(scaling="z").fit(X, Y)
    with pytest.raises(ValueError, match=text):
        SoftmaxSweep({"scaling": [None, "z"]}, cv=2).fit(X, Y)
    rows = X.copy()
    rows[4, 2] = np.nan
    with pytest.raises(ValueError, match=r"^X\[4, 2\] is nan"):
        lone(scaling="standard").fit(rows, Y)
    with pytest.raises(ValueError, match=r"^X\[4, 2\] is nan"):
        SoftmaxSweep({"scaling": ["standard"]}, cv=2).fit(rows, Y)


# ---- sweeps


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_equals_the_lone_model(kind, backend):
    rows = KINDS[kind]
    grid = {"scaling": [None, *SCALINGS], "features": [(0, 3), (1, 6)], "learning_rate": 0.1}
    shared = {"batch_size": 20, "epochs": 3, "random_state": 0, "backend": backend}
    held_out = {"X_val": rows[60:], "y_val": Y[60:]}
    fitted = SoftmaxSweep(grid, **shared).fit(rows[:60], Y[:60], **held_out)
    for i in range(8):
        found = fitted.estimator(i)
        alone = SoftmaxRegression(**found.get_params()).fit(rows[:60], Y[:60], **held_out)
        assert np.array_equal(found.coef_, alone.coef_)
        assert np.array_equal(found.intercept_, alone.intercept_)
        assert found.history_ == alone.history_
        assert np.array_equal(found.predict_proba(rows), alone.predict_proba(rows))
        again = rows[60:], Y[60:]
        assert np.array_equal(found.partial_fit(*again).coef_, alone.partial_fit(*again).coef_)


@pytest.mark.parametrize("weighted", [False, True])
def test_a_fold_is_scaled_by_its_own_rows(weighted, backend):
    rows, weights = KINDS["float32"], WEIGHTS if weighted else np.ones(N)
    grid = {"scaling": ["standard", "l2+standard"], "learning_rate": 0.1}
    shared = {"batch_size": 20, "epochs": 3, "random_state": 0, "backend": backend}
    fitted = SoftmaxSweep(grid, cv=2, **shared)
    fitted.fit(rows, Y, sample_weight=weights if weighted else None)
    _, judge = folds.cross_validation(2, Y, None, Y, fitted.seed_)
    for i in range(2):
        for fold in range(2):
            found = fitted.estimator(i, fold)
            alone = SoftmaxRegression(**found.get_params())
            alone.fit(rows, Y, sample_weight=weights * ~judge[fold])
            assert np.array_equal(found.coef_, alone.coef_)
            assert np.array_equal(found.mean_, alone.mean_)
            cut = SoftmaxRegression(**found.get_params()).fit(
                rows[~judge[fold]], Y[~judge[fold]], sample_weight=weights[~judge[fold]]
            )
            np.testing.assert_allclose(found.scale_, cut.scale_, rtol=1e-5)
        assert fitted.results_["mean_val_accuracy"][i] > 0.4


def test_a_file_in_blocks_is_scaled_as_in_memory(tmp_path):
    rows, y = np.tile(KINDS["float32"], (200, 1)), np.tile(Y, 200)
    np.save(tmp_path / "X.npy", rows)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    grid = {"scaling": ["standard", "l2"], "learning_rate": [0.1]}
    shared = {"batch_size": 100, "epochs": 2, "random_state": 0}
    held_out = {"X_val": rows[:900], "y_val": y[:900]}
    found = SoftmaxSweep(grid, memory="30MB", **shared).fit(mapped, y, **held_out)
    at_once = SoftmaxSweep(grid, **shared).fit(rows, y, **held_out)
    assert np.array_equal(found.estimator(0).mean_, at_once.estimator(0).mean_)
    assert np.array_equal(found.estimator(0).scale_, at_once.estimator(0).scale_)
    np.testing.assert_allclose(
        found.results_["mean_val_accuracy"], at_once.results_["mean_val_accuracy"], atol=0.05
    )


def test_a_sweep_to_the_optimum_scales_too():
    grid = {"loss": "cross_entropy", "C": [1.0], "scaling": [None, "standard"]}
    fitted = SoftmaxSweep(grid, solver="lbfgs", cv=2, tol=1e-9).fit(X, Y)
    for i in range(2):
        alone = SoftmaxRegression(**fitted.estimator(i).get_params()).fit(X, Y)
        assert fitted.results_["objective"][i] == pytest.approx(alone.objective_, rel=1e-7)


def test_rows_on_a_gpu_are_refused_in_a_sentence(machine):
    from softstep.kernels._cupy.arrays import asarray

    with pytest.raises(ValueError, match=r"^scaling= scales rows in host memory, but X is on"):
        lone(scaling="standard", backend=None).fit(asarray(KINDS["float32"]), Y)

"""Promise: the estimators read int8 and bfloat16 as stored, as the numbers they are."""

import ml_dtypes
import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.model import inputs
from softstep.model.explain import explain

N, D, C = 60, 6, 3
RNG = np.random.default_rng(0)
Y = np.arange(N) % C
X = RNG.standard_normal((N, D)) + 2 * np.eye(D)[Y]
HALVES = X.astype(ml_dtypes.bfloat16)
BYTES = np.clip(np.rint(30 * X), -127, 127).astype(np.int8)
SHARED = {"batch_size": 10, "epochs": 3, "random_state": 0, "learning_rate": 0.5}
OPTIMUM = {"solver": "lbfgs", "l2": 0.1, "loss": "cross_entropy"}
ROWS = pytest.mark.parametrize("rows", [HALVES, BYTES], ids=["bfloat16", "int8"])


def lone(**settings):
    return SoftmaxRegression(**{**SHARED, **settings})


def assert_alike(found, expected, rows, same):
    """Two models, and what they say of rows that are the same numbers."""
    for name in ("coef_", "intercept_", "loss_curve_"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), strict=True)
    assert found.history_ == expected.history_
    assert np.abs(found.coef_).max() > 0.01
    np.testing.assert_array_equal(found.predict_proba(rows), expected.predict_proba(same))
    assert found.score(rows, Y) == expected.score(same, Y)


@pytest.mark.parametrize("solver", [SHARED, OPTIMUM], ids=["sgd", "lbfgs"])
@pytest.mark.parametrize("scaling", [None, "standard", "l2+standard"])
@ROWS
def test_a_model_is_that_of_the_same_numbers_in_float32(rows, scaling, solver):
    settings = {"feature_scale": 0.05, "scaling": scaling, "features": (1, 6), **solver}
    same = rows.astype(np.float32)
    assert np.shares_memory(inputs.features(rows).X, rows)
    found, expected = (
        SoftmaxRegression(**settings).fit(x, Y, X_val=x[:20], y_val=Y[:20]) for x in (rows, same)
    )
    assert_alike(found, expected, rows, same)


def test_bfloat16_of_other_libraries_is_the_same_and_predictions_go_back():
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    tensor = torch.from_numpy(HALVES.view(np.int16)).view(torch.bfloat16)
    assert np.shares_memory(inputs.features(tensor.requires_grad_()).X, HALVES)
    expected = lone().fit(HALVES, Y)
    for rows, kind in ((tensor, torch.Tensor), (jax.numpy.asarray(HALVES), jax.Array)):
        found = lone().fit(rows, Y)
        assert isinstance(found.predict_proba(rows), kind)
        assert_alike(found, expected, rows, HALVES)


def test_int8_are_numbers_and_never_pixels():
    model = lone(feature_scale="auto")
    with pytest.warns(UserWarning, match="columns of X have .* or set feature_scale"):
        model.fit(BYTES, Y)
    assert (model.learned_from_, model.feature_scale_) == ("integers or booleans", 1.0)
    assert model.coef_.dtype == np.float32
    small = (BYTES // 16).astype(np.int8)
    signs = np.sign(BYTES)
    of_pixels = lone().fit(np.abs(BYTES).astype(np.uint8), Y)
    with pytest.raises(ValueError, match=r"fitted on uint8 pixels, .* but X is int8 and"):
        of_pixels.predict(small)
    of_unit = lone().fit(np.clip(X, 0, 1), Y)
    with pytest.raises(ValueError, match=r"fitted on floats within \[0, 1\], but X is int8 and"):
        of_unit.predict(small)
    of_unit.predict((signs > 0).astype(np.int8))


def test_a_model_of_wider_integers_reads_int8_as_them():
    whole = (BYTES // 16).astype(np.int64)
    model = lone().fit(whole, Y)
    narrow = whole.astype(np.int8)
    assert model.coef_.dtype == np.float64
    assert np.array_equal(model.predict_proba(narrow), model.predict_proba(whole))
    found, expected = (lone().fit(whole, Y).partial_fit(rows, Y) for rows in (narrow, whole))
    assert np.array_equal(found.coef_, expected.coef_)
    found, expected = (lone().fit(whole, Y, X_val=rows, y_val=Y) for rows in (narrow, whole))
    assert found.history_ == expected.history_


def test_bfloat16_within_0_and_1_are_told_from_others():
    unit = np.clip(X, 0, 1).astype(ml_dtypes.bfloat16)
    assert lone().fit(unit, Y).learned_from_ == "floats within [0, 1]"
    assert lone().fit(HALVES, Y).learned_from_ == "floats beyond [0, 1]"
    of_pixels = lone().fit(np.abs(BYTES).astype(np.uint8), Y)
    of_pixels.predict(unit)
    with pytest.raises(ValueError, match=r"fitted on uint8 pixels, .* but X is bfloat16 and"):
        of_pixels.predict(HALVES)
    with pytest.warns(UserWarning, match="X holds fractions"):
        lone().fit(np.rint(X).astype(int), Y).predict(HALVES)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bfloat16_that_is_not_finite_is_named(value):
    bad = HALVES.copy()
    bad[7, 2] = value
    with pytest.raises(ValueError, match=rf"X\[7, 2\] is {value}: X must hold neither"):
        lone().fit(HALVES, Y).predict(bad)


def test_sparse_rows_of_int8_are_the_numbers_of_float32():
    sparse = pytest.importorskip("scipy.sparse")
    few = np.where(RNG.random((N, 40)) < 0.1, RNG.integers(-9, 9, (N, 40)), 0).astype(np.int8)
    models = [lone().fit(sparse.csr_array(few.astype(dtype)), Y) for dtype in ("int8", "float32")]
    assert models[0].learned_from_ == "integers or booleans"
    assert np.array_equal(models[0].coef_, models[1].coef_)


@ROWS
def test_one_row_is_explained(rows):
    model = lone(feature_scale=0.05).fit(rows, Y)
    steps = explain(model, rows[3], int(Y[3]))
    np.testing.assert_allclose(steps.x, 0.05 * rows[3].astype(np.float64))


@ROWS
def test_a_training_on_them_goes_on_from_a_checkpoint(rows, tmp_path):
    make = {"feature_scale": 0.05, "learning_rate": 0.5}
    whole = lone(**make).fit(rows, Y)
    kept = lone(**make).fit(rows, Y, checkpoint=tmp_path / "a", checkpoint_every=0)
    again = lone(**make).fit(rows, Y, checkpoint=tmp_path / "a", resume=True)
    for model in (kept, again):
        assert np.array_equal(model.coef_, whole.coef_)


def test_a_mapped_file_of_bfloat16_says_what_it_is_by_a_view(tmp_path):
    rows = np.tile(HALVES, (40, 1))
    labels = np.tile(Y, 40)
    np.save(tmp_path / "X.npy", rows)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")

    def swept(X):
        return SoftmaxSweep({"learning_rate": [0.1, 0.5]}, cv=2, epochs=2, random_state=0,
                            memory="2MB").fit(X, labels)  # fmt: skip

    cure = r"not \|V2: if they are bfloat16, give X\.view\(ml_dtypes\.bfloat16\)"
    with pytest.raises(TypeError, match=cure):
        swept(mapped)
    with pytest.raises(TypeError, match=cure):
        lone().fit(mapped, labels)
    found = swept(mapped.view(ml_dtypes.bfloat16)).best_estimator_
    assert np.array_equal(found.coef_, swept(rows).best_estimator_.coef_)

"""Promise: features are read as they were when the model learned, in whatever holds them."""

import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep, kernels
from softstep.model import CheckpointError, checkpoint, inputs
from softstep.model.datasets import load_file
from softstep.model.explain import explain
from softstep.model.inputs import NamedColumns

N = 60
RNG = np.random.default_rng(0)
Y = np.arange(N) % 3
X = RNG.standard_normal((N, 4)) + 2 * np.eye(4)[Y]
COUNTS = RNG.integers(0, 5, (N, 4)) + 3 * np.eye(4, dtype=int)[Y]
PIXELS = (COUNTS * 25).astype(np.uint8)
UNIT = PIXELS / 255
NAMES = ("a", "b", "c", "d")


def model(**settings):
    return SoftmaxRegression(**{"epochs": 3, "random_state": 0, **settings})


def sweep(**settings):
    return SoftmaxSweep({}, cv=2, epochs=2, random_state=0, **settings)


# Bytes in either order, in tables and sparse matrices too.


@pytest.mark.parametrize("dtype", [">f8", ">f4", ">i4"])
@pytest.mark.parametrize("container", ["pandas, one block", "pandas, columns", "sparse", "array"])
def test_the_other_byte_order_is_read_in_every_container(container, dtype):
    native = (2 * X).round().astype(np.dtype(dtype).newbyteorder("="))
    other = native.astype(dtype)
    if container == "sparse":
        sparse = pytest.importorskip("scipy.sparse")
        try:
            given = sparse.csr_matrix(other)
        except ValueError:
            pytest.skip("SciPy refuses it")
    elif container == "array":
        given = other
    else:
        pandas = pytest.importorskip("pandas")
        columns = dict(zip(NAMES, other.T, strict=True))
        given = pandas.DataFrame(other) if "block" in container else pandas.DataFrame(columns)
    fitted = model().fit(given, Y)
    assert fitted.coef_.tobytes() == model().fit(native, Y).coef_.tobytes()
    fitted.predict_proba(given)
    fitted.partial_fit(given, Y)
    sweep().fit(given, Y)


# Hidden values.


def test_rows_that_hide_values_are_refused_in_lists_and_blocks(tmp_path):
    rows = [np.ma.array(row, mask=[False, i == 3, False, False]) for i, row in enumerate(X)]
    for call in (lambda: model().fit(rows, Y), lambda: model().fit(X, Y).predict(rows)):
        with pytest.raises(ValueError, match=r"X\[3, 1\] is masked"):
            call()
    with pytest.raises(TypeError, match="without its mask"):
        sweep(memory="20MB").fit(np.ma.array(X, mask=False), Y)


def test_records_are_refused_with_the_cure():
    records = np.zeros(N, dtype=[("a", "f8"), ("b", "f8")])
    with pytest.raises(TypeError, match=r"X holds records with the fields a, b: give them"):
        model().fit(records, Y)


# Names follow columns.


@pytest.fixture
def named(tmp_path):
    lines = [",".join((*NAMES, "kind"))]
    lines += [",".join(map(repr, [*row, int(y)])) for row, y in zip(X.tolist(), Y, strict=True)]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    return load_file(tmp_path / "rows.csv").X_train


@pytest.mark.parametrize(
    ("take", "names"),
    [
        (lambda X: X[3:9], NAMES),
        (lambda X: X[[5, 1]], NAMES),
        (lambda X: X[Y == 1], NAMES),
        (lambda X: X[::2, :], NAMES),
        (lambda X: X[:, ::-1], NAMES[::-1]),
        (lambda X: X[:, [2, 0]], ("c", "a")),
        (lambda X: X[:, 1:3], ("b", "c")),
        (lambda X: X[:, np.array([True, False, True, False])], ("a", "c")),
        (lambda X: X.astype(np.float32), NAMES),
        (lambda X: X.copy(), ()),
        (lambda X: X[:4].T, ()),
        (lambda X: X @ np.eye(4)[::-1], ()),
        (lambda X: np.roll(X, 1, axis=1), ()),
        (lambda X: np.sort(X, axis=1), ()),
        (lambda X: X[:, 0], ()),
        (lambda X: X[0], ()),
        (lambda X: X[[0, 1, 2, 3], [0, 1, 2, 3]], ()),
        (lambda X: X.reshape(4, -1), ()),
    ],
)
def test_names_stay_with_the_columns_they_are_of(take, names, named):
    assert isinstance(named, NamedColumns)
    assert take(named).columns == names
    assert np.array_equal(np.asarray(take(named)), take(np.asarray(named)))


def test_columns_of_a_file_in_another_order_are_refused(named):
    fitted = model().fit(named, Y)
    assert fitted.feature_names_in_.tolist() == list(NAMES)
    for other in (named[:, ::-1], named[:, [1, 0, 2, 3]]):
        with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
            fitted.predict(other)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        fitted.predict(named @ np.eye(4)[::-1])
    explain(fitted, named[0], 0)
    explain(fitted, named[:1], 0)
    with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
        explain(fitted, named[:1, ::-1], 0)


@pytest.mark.parametrize(
    "keys",
    [
        [0, 1, 2, 3],
        [400, 410, 420, 430],
        [("p", 1), ("p", 2), ("q", 1), ("q", 2)],
        [0.5, 1.5, 2.5, 3.5],
        [np.datetime64("2024-01-01") + day for day in range(4)],
    ],
    ids=["counted", "numbers", "tuples", "fractions", "dates"],
)
def test_columns_without_names_are_refused_in_another_order(keys, tmp_path):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=pandas.Index(keys))
    other = table[table.columns[::-1]]
    fitted, swept = model().fit(table, Y), sweep().fit(table, Y)
    assert not hasattr(fitted, "feature_names_in_")
    fitted.save(tmp_path / "m.npz")
    for predict in (
        fitted.predict,
        fitted.predict_log_proba,
        swept.predict,
        lambda X: fitted.score(X, Y),
        lambda X: fitted.partial_fit(X, Y),
        lambda X: model().fit(table, Y, X_val=X, y_val=Y),
        *([SoftmaxRegression.load(tmp_path / "m.npz").predict] if type(keys[0]) is int else []),
    ):
        predict(table)
        with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
            predict(other)
    fitted.predict(pandas.DataFrame(X))
    fitted.predict(pandas.DataFrame(X[:, ::-1]))
    fitted.predict(X[:, ::-1])
    fitted.fit(other, Y).predict(other)


def test_keys_of_columns_in_a_file_are_checked(tmp_path):
    pandas = pytest.importorskip("pandas")
    model().fit(pandas.DataFrame(X), Y).save(tmp_path / "m.npz")
    arrays, settings = checkpoint.load(tmp_path / "m.npz")
    assert settings["feature_keys"] == [0, 1, 2, 3]
    for damage in ([0, 1], "0123", [0, 1, 2, "3"], [0, 1, 2, None]):
        checkpoint.save(tmp_path / "m.npz", arrays, settings | {"feature_keys": damage})
        with pytest.raises(CheckpointError, match="of the features"):
            SoftmaxRegression.load(tmp_path / "m.npz")


# What no array of NumPy's is at once.


def test_a_tensor_whose_sign_is_yet_to_be_turned_is_read_with_it():
    """PyTorch turns it when it is computed with: as the imaginary part of conj()."""
    torch = pytest.importorskip("torch")
    turned = torch.complex(torch.zeros(N, 4), -torch.tensor(X, dtype=torch.float32)).conj().imag
    assert turned.is_neg()
    expected = model().fit(torch.tensor(X, dtype=torch.float32), Y)
    fitted = model().fit(turned, Y)
    assert np.array_equal(fitted.coef_, expected.coef_)
    assert torch.equal(fitted.predict_proba(turned), expected.predict_proba(turned.resolve_neg()))
    W, b = np.ones((4, 3), np.float32), np.zeros(3, np.float32)
    logits = kernels.linear_forward(turned, W, b)
    assert torch.equal(logits, kernels.linear_forward(turned.resolve_neg(), W, b))


def test_columns_that_hold_no_numbers_are_named():
    polars = pytest.importorskip("polars")
    of_arrays = polars.Series(X.astype(np.float32), dtype=polars.Array(polars.Float32, 4))
    for column, words in (
        (of_arrays, "holds 4 values in each row: give each a column"),
        (polars.Series([{"a": 1.0, "b": 2.0}] * N), "holds 2 values in each row"),
        (polars.Series(Y).cast(polars.Int128), "cannot be read as a NumPy array: .*128"),
    ):
        with pytest.raises(TypeError, match=rf"X\[:, 'e'\] {words}"):
            model().fit(polars.DataFrame({"a": X[:, 0], "e": column}), Y)
    with pytest.raises(TypeError, match=r"y \(Series\) cannot be read as a NumPy array"):
        model().fit(X, polars.Series(Y).cast(polars.Int128))
    assert np.array_equal(model().fit(of_arrays, Y).predict(X), model().fit(X, Y).predict(X))


# The scale is that of the fit.


def test_a_setting_that_is_changed_later_is_that_of_the_next_fit(tmp_path):
    for rows, first, then in (
        (X, 0.5, "auto"),
        (PIXELS, "auto", 0.01),
        (X, "auto", 2.0),
    ):
        fitted = model(feature_scale=first, learning_rate=0.01).fit(rows, Y)
        expected = fitted.predict_proba(rows)
        fitted.set_params(feature_scale=then)
        assert np.array_equal(fitted.predict_proba(rows), expected)
        fitted.save(tmp_path / "m.npz")
        loaded = SoftmaxRegression.load(tmp_path / "m.npz")
        assert np.array_equal(loaded.predict_proba(rows), expected)
        assert fitted.fit(rows, Y).feature_scale_ == (then if then != "auto" else 1.0)


@pytest.mark.parametrize("other", [UNIT.astype(np.float32), UNIT.tolist(), (UNIT > 0.3), PIXELS])
def test_rows_of_another_dtype_are_learned_from_in_parts(other):
    fitted = model().fit(UNIT, Y)
    before = fitted.coef_
    fitted.partial_fit(other, Y)
    assert fitted.coef_.dtype == np.float64
    assert not np.array_equal(fitted.coef_, before)
    narrow = model().fit(UNIT.astype(np.float32), Y).partial_fit(UNIT, Y)
    assert narrow.coef_.dtype == np.float32


# Features that are hardly what they seem.


def test_floats_that_are_scaled_otherwise_are_said():
    fitted = model().fit(UNIT, Y)
    with pytest.warns(
        UserWarning, match=r"floats within \[0, 1\], but X reaches \d+: give rows that"
    ):
        fitted.predict(PIXELS.astype(float))
    fitted.predict(UNIT * 2)  # an outlier
    whole = model().fit(COUNTS, Y)
    with pytest.warns(UserWarning, match="fitted on integers or booleans, but X holds fractions"):
        whole.predict(COUNTS / 255)
    whole.predict(COUNTS.astype(float))


FLAGS = (COUNTS > 3).astype(np.uint8)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (FLAGS, "if these uint8 are numbers and no pixels, set feature_scale=1"),
        (COUNTS.astype(np.uint8), "if these uint8 are numbers and no pixels"),
        (X * 1e-4, "standard deviations up to 0.000.* alone"),
        (X + 2005, r'means up to 2\.01e\+03 .*give scaling="standard"'),
        (np.hstack([X, np.full((N, 1), 1e6)]), r"means up to 1e\+06 \(column 4\)"),
    ],
)
def test_features_that_a_step_hardly_sees_are_warned_of(rows, words):
    for estimator in (model(), sweep()):
        with pytest.warns(UserWarning, match=words):
            estimator.fit(rows, Y)
    model(feature_scale=1.0).fit(COUNTS.astype(np.uint8), Y)


@pytest.mark.parametrize("rows", [X * 1e3, X * 1e-4])
def test_the_optimum_needs_no_scaling(rows):
    SoftmaxRegression(solver="lbfgs", loss="cross_entropy", l2=1.0).fit(rows, Y)


def test_the_kind_of_sparse_rows_is_told_by_all_of_them():
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.zeros((5000, 40))
    dense[:, 0] = np.arange(5000) % 2
    dense[1, 3] = 7.0  # which a sample of rows may miss
    assert inputs.Kind.of(inputs.features(sparse.csr_array(dense))) == "floats beyond [0, 1]"
    dense[1, 3] = 0.5
    assert inputs.Kind.of(inputs.features(sparse.csr_array(dense))) == "floats within [0, 1]"


def test_a_sparse_vector_is_no_matrix():
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(ValueError, match="must be 2-D"):
        model().fit(sparse.coo_array(np.arange(5.0)), Y)

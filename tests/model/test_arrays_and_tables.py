"""Promise: tables, tensors and columns of other libraries are what their numbers and labels are."""

import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.model import inputs

N, D = 60, 5
RNG = np.random.default_rng(0)
Y = np.arange(N) % 3
X = (RNG.standard_normal((N, D)) + 2 * np.eye(D)[Y]).astype(np.float32)
WHOLE = (4 * X).astype(np.int64)
TEXTS = np.array(["a", "b", "c"])[Y]
NAMES = list("vwxyz")


def pandas_table(pandas, values, dtype=None):
    frame = pandas.DataFrame(values, columns=NAMES)
    return frame if dtype is None else frame.astype(dtype)


def fitted(rows, labels=Y, **more):
    return SoftmaxRegression(epochs=3, random_state=0).fit(rows, labels, **more)


def dense_of(rows):
    return inputs.features(rows).X


@pytest.mark.parametrize(
    ("values", "dtype", "read"),
    [
        (X, None, np.float32),
        (X, "Float32", np.float32),
        (X, "Float64", np.float64),
        (X, {"v": "float64"}, np.float64),
        (WHOLE, "Int64", np.float64),
        (WHOLE, {"v": "int8", "w": "Int16"}, np.float64),
        (WHOLE, "int8", np.int8),
        (WHOLE, "Int8", np.int8),
        (X > 0, "boolean", np.float64),
        (X, {"v": object}, np.float64),
        (WHOLE, {"x": "Sparse[int64]"}, np.float64),
        (WHOLE % 9, "uint8", np.uint8),
    ],
)
def test_tables_of_pandas_are_their_numbers(values, dtype, read):
    table = pandas_table(pytest.importorskip("pandas"), values, dtype)
    found = inputs.features(table)
    assert found.X.dtype == read
    assert np.array_equal(found.X, values)
    assert found.names.tolist() == NAMES
    assert found.are_whole == (values is not X and read != np.uint8)


def test_tables_of_arrow_are_their_numbers():
    pandas, arrow = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    columns = dict(zip(NAMES, X.T, strict=True))
    whole = arrow.table(columns)
    chunked = arrow.concat_tables([whole[:7], whole[7:]])
    batch = arrow.record_batch(columns)
    for table in (whole, chunked, batch, pandas_table(pandas, X, "float32[pyarrow]")):
        assert dense_of(table).dtype == np.float32
        assert np.array_equal(dense_of(table), X)
    flags = arrow.table({name: x > 0 for name, x in columns.items()})
    assert np.array_equal(dense_of(flags), X > 0)


def test_tables_of_polars_are_their_numbers():
    polars = pytest.importorskip("polars")
    for values in (X, X.astype(np.float64), WHOLE, X > 0, (WHOLE % 9).astype(np.uint8)):
        table = polars.DataFrame(dict(zip(NAMES, values.T, strict=True)))
        assert np.array_equal(dense_of(table), values)
    mixed = polars.DataFrame(dict(zip(NAMES, X.T, strict=True)) | {"w": X[:, 1] > 0})
    assert dense_of(mixed).dtype == np.float32
    assert np.array_equal(dense_of(mixed)[:, 1], X[:, 1] > 0)
    with pytest.raises(TypeError, match=r"X is a LazyFrame, which has no values yet: .*collect"):
        fitted(mixed.lazy())
    with pytest.raises(TypeError, match=r"X\[0, 'a'\] is '1.5': an argument must be neither"):
        fitted(polars.DataFrame({"a": ["1.5"] * len(X)}))


def test_bytes_beside_booleans_are_numbers_and_not_pixels():
    pandas = pytest.importorskip("pandas")
    table = pandas_table(pandas, (WHOLE % 9).astype(np.uint8)).assign(w=X[:, 1] > 0)
    assert inputs.features(table).are_whole
    assert fitted(table).feature_scale_ == 1.0


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_what_is_missing_is_named_by_row_and_column(library):
    module = pytest.importorskip(library)
    values = [1.0, 2.0, None] * (N // 3)
    columns = dict(zip(NAMES, X.T, strict=True))
    if library == "pandas":
        table = module.DataFrame(columns).assign(y=module.array(values, "Float64"))
        series = module.Series(values, dtype="Int64")
    elif library == "polars":
        table, series = module.DataFrame(columns | {"y": values}), module.Series(values)
    else:
        table, series = module.table(columns | {"y": values}), module.array(values)
    with pytest.raises(ValueError, match=r"X\[2, 'y'\] is missing \(null\): fill it, or leave"):
        fitted(table)
    with pytest.raises(ValueError, match=r"X\[2, 'y'\] is missing"):
        fitted(X).predict(table)
    with pytest.raises(ValueError, match=r"y\[2\] is missing"):
        fitted(X, series)
    with pytest.raises(ValueError, match=r"sample_weight\[2\] is missing"):
        fitted(X, sample_weight=series)


def test_columns_that_are_no_numbers_are_named():
    pandas = pytest.importorskip("pandas")
    table = pandas_table(pandas, X)
    with pytest.raises(TypeError, match=r"X\[0, 'x'\] is 'a': an argument must be neither a str"):
        fitted(table.assign(x=TEXTS))
    with pytest.raises(TypeError, match=r"X\[:, 'x'\] holds datetime64.*: features must be numb"):
        fitted(table.assign(x=pandas.date_range("2020", periods=N)))
    nameless = pandas.DataFrame({0: X[:, 0], 1: TEXTS})
    with pytest.raises(TypeError, match=r"X\[0, 1\] is 'a'"):
        fitted(nameless)


def text_labels():
    """Columns of labels that are text, by what they are."""
    yield "StringDType", "numpy", lambda _: TEXTS.astype(np.dtypes.StringDType())
    for dtype in ("str", "string", "category", "string[pyarrow]"):
        yield f"pandas {dtype}", "pandas", lambda p, dtype=dtype: p.Series(TEXTS, dtype=dtype)
    for dtype in ("String", "Categorical"):
        yield f"polars {dtype}", "polars", lambda p, d=dtype: p.Series(TEXTS, dtype=getattr(p, d))
    yield "polars Enum", "polars", lambda p: p.Series(TEXTS, dtype=p.Enum(["a", "b", "c"]))
    yield "pyarrow string", "pyarrow", lambda arrow: arrow.array(TEXTS)
    yield "pyarrow dictionary", "pyarrow", lambda arrow: arrow.array(TEXTS).dictionary_encode()


@pytest.mark.parametrize(
    ("library", "make"), [t[1:] for t in text_labels()], ids=[t[0] for t in text_labels()]
)
def test_labels_that_are_text_are_classes(library, make):
    labels = make(pytest.importorskip(library))
    expected = fitted(X, TEXTS)
    found = fitted(X, labels)
    assert found.classes_.tolist() == ["a", "b", "c"]
    assert np.array_equal(found.coef_, expected.coef_)
    assert found.score(X, labels) == expected.score(X, TEXTS)
    sweep = SoftmaxSweep({}, cv=2, epochs=2, random_state=0).fit(X, labels)
    assert sweep.classes_.tolist() == ["a", "b", "c"]
    folds = pytest.importorskip("sklearn.model_selection").StratifiedKFold(2)
    assert np.isfinite(sweep.set_params(cv=folds).fit(X, labels).results_["mean_val_loss"])


def test_columns_of_whole_numbers_are_labels_and_weights():
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    arrow = pytest.importorskip("pyarrow")
    weights = np.arange(1.0, N + 1)
    expected = fitted(X, sample_weight=weights).coef_
    for labels, column in (
        (pandas.Series(Y, dtype="Int64"), pandas.Series(weights, dtype="Float64")),
        (pandas.Series(Y, dtype="int64[pyarrow]"), pandas.Series(weights, index=range(N, 2 * N))),
        (polars.Series(Y), polars.Series(weights)),
        (arrow.array(Y), arrow.array(weights)),
        (arrow.chunked_array([Y[:9], Y[9:]]), arrow.chunked_array([weights[:9], weights[9:]])),
    ):
        assert np.array_equal(fitted(X, labels, sample_weight=column).coef_, expected)
        sweep = SoftmaxSweep({}, cv=2, epochs=3, random_state=0)
        sweep.fit(X, labels, sample_weight=column)
        np.testing.assert_allclose(sweep.best_estimator_.coef_, expected, rtol=1e-5, atol=1e-6)


def test_tensors_that_require_a_gradient_are_their_values():
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(X.copy()).requires_grad_()
    assert np.shares_memory(dense_of(tensor), tensor.detach().numpy())
    model = fitted(tensor, torch.from_numpy(Y), sample_weight=torch.ones(N, requires_grad=True))
    assert np.array_equal(model.coef_, fitted(X).coef_)
    assert isinstance(model.predict_proba(tensor), torch.Tensor)


def test_numbers_that_are_not_read_are_refused_with_the_cure():
    torch, kinds = pytest.importorskip("torch"), pytest.importorskip("ml_dtypes")
    with pytest.raises(TypeError, match=r"X is float8_e5m2, which is not .*: give X\.float\(\)"):
        fitted(torch.from_numpy(X).to(torch.float8_e5m2))
    soft, weights = np.eye(3, dtype=np.float32)[Y], np.ones(N, np.float32)
    with pytest.raises(TypeError, match=r"y is bfloat16, which is not read .*: give y\.float\(\)"):
        fitted(X, torch.from_numpy(soft).bfloat16())
    with pytest.raises(TypeError, match=r"y is bfloat16, .*: give y\.astype\('float32'\)"):
        fitted(X, soft.astype(kinds.bfloat16))
    with pytest.raises(TypeError, match="sample_weight is bfloat16, which is not read"):
        fitted(X, sample_weight=weights.astype(kinds.bfloat16))


def test_a_table_of_one_array_by_rows_is_not_copied():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=NAMES, copy=False)
    assert np.shares_memory(dense_of(table), X)

"""Promise: sparse rows give what their dense array gives, in the memory of one block of rows.

Made dense in blocks, they have its bits; read as they are stored, they agree within rounding.
"""

import tracemalloc

import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep, kernels
from softstep.model import WeightPath
from softstep.model.inputs import sparse as door
from softstep.model.resume import keeper

scipy_sparse = pytest.importorskip("scipy.sparse")

N, D = 150, 12
RNG = np.random.default_rng(0)
Y = np.arange(N) % 3
DENSE = np.where(RNG.random((N, D)) < 0.3, RNG.random((N, D)), 0) + 0.5 * np.eye(D)[Y]
X = scipy_sparse.csr_array(DENSE)
QUICK = {"batch_size": 20, "epochs": 3, "random_state": 0}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Blocks of 33 rows in float64, so that there are several."""
    monkeypatch.setattr(door, "BLOCK_BYTES", 33 * D * 8)


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.9, "schedule": "cosine", "l2": 0.01}])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_fit_has_the_bits_of_the_dense_one(settings, dtype):
    weight = RNG.random(N)
    found, expected = (
        SoftmaxRegression(**QUICK, **settings).fit(rows.astype(dtype), Y, sample_weight=weight)
        for rows in (X, DENSE)
    )
    assert np.array_equal(found.coef_, expected.coef_)
    assert np.array_equal(found.loss_curve_, expected.loss_curve_)
    again = (model.partial_fit(r.astype(dtype), Y) for model, r in ((found, X), (expected, DENSE)))
    assert np.array_equal(next(again).coef_, next(again).coef_)


@pytest.mark.parametrize("form", ["csr", "csc", "coo", "lil"])
def test_predictions_are_those_of_the_dense_rows(form):
    model = SoftmaxRegression(**QUICK).fit(DENSE, Y)
    rows = X.asformat(form)
    for name in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        assert np.array_equal(getattr(model, name)(rows), getattr(model, name)(DENSE))
    assert model.score(rows, Y) == model.score(DENSE, Y)


def test_integers_and_soft_targets_are_read_alike():
    soft = 0.7 * np.eye(3)[Y] + 0.1
    for rows, y in ((X > 0.5, Y), ((9 * X).astype(np.int32), Y), (X, soft)):
        found = SoftmaxRegression(**QUICK).fit(rows, y)
        expected = SoftmaxRegression(**QUICK).fit(rows.toarray(), y)
        assert np.array_equal(found.coef_, expected.coef_)
        assert found.learned_from_ == expected.learned_from_


def test_held_out_rows_and_sweeps_are_judged_as_dense_ones():
    def fits(rows):
        alone = SoftmaxRegression(**QUICK, patience=2).fit(rows, Y, X_val=rows, y_val=Y)
        grid = {"learning_rate": [0.1, 1.0], "l2": [0.1], "loss": ["cross_entropy"]}
        sweeps = [
            SoftmaxSweep(grid, cv=3, l2_bias=True, **QUICK).fit(rows, Y),
            SoftmaxSweep(grid, n_bootstrap=2, **QUICK).fit(rows, Y),
            SoftmaxSweep(grid, **QUICK).fit(rows, Y, X_val=rows, y_val=Y),
        ]
        return alone, sweeps

    (one, found), (other, expected) = fits(X), fits(DENSE)
    assert one.history_[-1].val_loss == pytest.approx(other.history_[-1].val_loss, rel=1e-12)
    for a, b in zip(found, expected, strict=True):
        assert np.array_equal(a.best_estimator_.coef_, b.best_estimator_.coef_)
        assert np.array_equal(a.predict(X), b.predict(DENSE))
        for name in ("mean_val_loss", "mean_val_accuracy", "objective", "bound"):
            np.testing.assert_allclose(a.results_[name], b.results_[name], rtol=1e-9)


def test_the_first_value_that_is_not_finite_is_named():
    rows = X.copy()
    rows.data[-1] = np.nan
    with pytest.raises(ValueError, match=rf"X\[{N - 1}, \d+\] is nan"):
        SoftmaxRegression(**QUICK).fit(rows, Y)
    with pytest.raises(ValueError, match=rf"X\[{N - 1}, \d+\] is nan"):
        SoftmaxRegression(**QUICK).fit(X, Y).predict(rows)


def test_it_takes_the_memory_of_a_block(monkeypatch):
    n, d = 3000, 20_000  # 240 MB if it were dense
    monkeypatch.setattr(door, "BLOCK_BYTES", 4_000_000)
    wide = scipy_sparse.random_array((n, d), density=0.001, rng=RNG, dtype=np.float32).tocsr()
    y = np.arange(n) % 3
    model = SoftmaxRegression(max_steps=5, batch_size=50, random_state=0).fit(wide[:200], y[:200])
    tracemalloc.start()
    model.fit(wide, y).predict_proba(wide)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 30e6


def test_words_become_a_model():
    text = pytest.importorskip("sklearn.feature_extraction.text")
    pipeline = pytest.importorskip("sklearn.pipeline")
    said = ["cats purr", "dogs bark", "cats sleep", "dogs run"] * 20
    labels = ["cat", "dog"] * 40
    for model in (
        SoftmaxRegression(learning_rate=2, **QUICK),
        SoftmaxSweep({"learning_rate": [1, 2]}, cv=2, **QUICK),
    ):
        chain = pipeline.make_pipeline(text.TfidfVectorizer(), model).fit(said, labels)
        assert chain.predict(["cats", "dogs"]).tolist() == ["cat", "dog"]


def test_a_training_that_was_broken_off_goes_on(tmp_path):
    def interrupt(epoch):
        raise KeyboardInterrupt

    keep = {"checkpoint": tmp_path / "run", "checkpoint_every": 0.001}
    with pytest.raises(KeyboardInterrupt):
        SoftmaxRegression(**QUICK).fit(X, Y, callback=interrupt, **keep)
    found = SoftmaxRegression(**QUICK).fit(X, Y, resume=True, **keep)
    assert np.array_equal(found.coef_, SoftmaxRegression(**QUICK).fit(DENSE, Y).coef_)


def test_the_optimum_is_that_of_the_dense_rows():
    settings = {"loss": "cross_entropy", "solver": "lbfgs", "C": 1.0, "tol": 1e-12}
    found, expected = (SoftmaxRegression(**settings).fit(rows, Y) for rows in (X, DENSE))
    assert found.converged_
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=1e-5, atol=1e-6)


# These rows are too dense for the kernels on CSR to pay. From here on they are used all the same.


@pytest.fixture
def on_csr(monkeypatch):
    monkeypatch.setattr(door, "densest_csr", lambda backend: 1.0)


@pytest.mark.usefixtures("on_csr")
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_on_csr_everything_is_as_on_dense_rows_within_rounding(backend):
    settings = {**QUICK, "l2": 0.01, "schedule": "cosine", "backend": backend}
    found, expected = (
        SoftmaxRegression(**settings, patience=2).fit(rows, Y, X_val=rows, y_val=Y)
        for rows in (X, DENSE)
    )
    assert (found.coef_ != expected.coef_).any()  # other kernels
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.loss_curve_, expected.loss_curve_, rtol=1e-12)
    assert found.history_[-1].val_loss == pytest.approx(expected.history_[-1].val_loss, rel=1e-12)
    for name in ("predict_proba", "decision_function"):
        a, b = getattr(found, name)(X), getattr(expected, name)(DENSE)
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert np.array_equal(found.predict(X), expected.predict(DENSE))


@pytest.mark.usefixtures("on_csr")
def test_on_csr_momentum_has_the_bits_of_dense_rows():
    settings = {**QUICK, "momentum": 0.9}
    found, expected = (SoftmaxRegression(**settings).fit(rows, Y) for rows in (X, DENSE))
    assert np.array_equal(found.coef_, expected.coef_)


@pytest.mark.usefixtures("on_csr")
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_on_csr_a_head_of_a_sweep_has_the_bits_of_the_model_alone(momentum):
    """Also where heads are dropped on the way; with momentum in the bank all rows are dense."""
    grid = {"learning_rate": [0.1, 0.3, 1.0], "l2": [0.0, 0.02], "momentum": [momentum]}
    sweep = SoftmaxSweep(grid, halving=True, **QUICK).fit(X, Y, X_val=X, y_val=Y)
    model = SoftmaxRegression(**QUICK, **sweep.best_params_).fit(X, Y)
    assert np.array_equal(sweep.best_estimator_.coef_, model.coef_)
    assert model.n_iter_ == QUICK["epochs"]


@pytest.mark.usefixtures("on_csr")
def test_on_csr_a_head_that_sees_some_columns_has_the_bits_of_the_model_alone():
    grid = {"learning_rate": [0.3, 1.0], "l2": [0.02], "features": [(0, 7), (2, 12)]}
    sweep = SoftmaxSweep(grid, **QUICK).fit(X, Y, X_val=X, y_val=Y)
    for i, params in enumerate(sweep.results_["params"]):
        alone = SoftmaxRegression(**QUICK, **params).fit(X, Y)
        assert np.array_equal(sweep.estimator(i).coef_, alone.coef_)
        assert np.array_equal(alone.predict(X), sweep.estimator(i).predict(X))


class Broken(Exception):
    pass


@pytest.mark.usefixtures("on_csr")
@pytest.mark.parametrize("of_sweep", [False, True])
@pytest.mark.parametrize("calls", [1, 3, 11])
def test_on_csr_a_training_broken_within_an_epoch_goes_on_to_the_same_bits(
    calls, of_sweep, tmp_path, monkeypatch
):
    """With l2, of which a factor is still to be applied at the break."""

    def fit(**keep):
        if of_sweep:
            grid = {"learning_rate": [0.1, 1.0], "l2": [0.1]}
            return SoftmaxSweep(grid, **QUICK).fit(X, Y, X_val=X, y_val=Y, **keep).best_estimator_
        return SoftmaxRegression(**QUICK, l2=0.1).fit(X, Y, **keep)

    train, count = kernels.train, 0

    def breaks(*given, **options):
        nonlocal count
        count += 1
        if count > calls:
            raise Broken
        return train(*given, **options)

    keep = {"checkpoint": tmp_path / "run", "checkpoint_every": 0}
    expected = fit()
    with monkeypatch.context() as patched:
        patched.setattr(kernels, "train", breaks)
        patched.setattr(keeper, "SLICE", 0.0)  # a step in each call
        patched.setattr(keeper, "PER_BYTE", 0.0)
        with pytest.raises(Broken):
            fit(**keep)
    found = fit(**keep, resume=True)
    assert np.array_equal(found.coef_, expected.coef_)
    assert np.array_equal(found.loss_curve_, expected.loss_curve_)


@pytest.mark.usefixtures("on_csr")
def test_on_csr_a_path_has_the_weights_and_changes_none():
    path, settings = WeightPath(), {**QUICK, "l2": 0.1}
    model = SoftmaxRegression(**settings).fit(X, Y, path=path)
    assert np.array_equal(model.coef_, SoftmaxRegression(**settings).fit(X, Y).coef_)
    short = SoftmaxRegression(**settings, max_steps=5).fit(X, Y)
    assert np.array_equal(path.W[list(path.steps).index(5)], short.coef_.T)


def test_memory_is_refused_for_what_is_in_memory():
    with pytest.raises(TypeError, match="memory= is for files, but X is a sparse matrix"):
        SoftmaxSweep({"l2": [0.0]}, cv=3, memory="1 GB", **QUICK).fit(X, Y)


# ---- values that are stored twice


def twice(values, dtype, form):
    """X, but row 1 stores `values` at column 2, and the columns of row 0 come in another order."""
    rows = scipy_sparse.coo_array(DENSE.astype(dtype))
    row, column = rows.row, rows.col
    kept = (row != 1) | (column != 2)
    data = np.r_[rows.data[kept], np.array(values, dtype)]
    row = np.r_[row[kept], [1] * len(values)]
    column = np.r_[column[kept], [2] * len(values)]
    if form == "coo":
        return scipy_sparse.coo_array((data, (row, column)), (N, D))
    order = np.lexsort((-column, row))
    starts = np.r_[0, np.cumsum(np.bincount(row, minlength=N))]
    made = scipy_sparse.csr_array((data[order], column[order], starts), (N, D))
    assert not made.has_canonical_format
    return made


TWICE = {
    "float32": ((0.5, 0.25, 1.0), np.float32, 1.75),
    "float64": ((0.5, -0.5), np.float64, 0.0),
    "uint8": ((200, 50), np.uint8, 250),
    "int8": ((100, 20), np.int8, 120),
    "bool": ((True, True), bool, 1),
}


@pytest.mark.filterwarnings("ignore:the columns of X have")
@pytest.mark.parametrize("densest", [0.0, 1.0])
@pytest.mark.parametrize("form", ["csr", "coo"])
@pytest.mark.parametrize("kind", TWICE)
def test_values_that_are_stored_twice_are_added(kind, form, densest, monkeypatch):
    monkeypatch.setattr(door, "densest_csr", lambda backend: densest)
    values, dtype, total = TWICE[kind]
    given, dense = twice(values, dtype, form), DENSE.astype(dtype)
    dense[1, 2] = total
    before = given.data.copy()
    settings = {**QUICK, "feature_scale": 0.01}
    found = SoftmaxRegression(**settings).fit(given, Y)
    expected = SoftmaxRegression(**settings).fit(scipy_sparse.csr_array(dense), Y)
    for a, b in ((found, expected), (found, SoftmaxRegression(**settings).fit(dense, Y))):
        np.testing.assert_allclose(a.coef_, b.coef_, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.predict_proba(given), found.predict_proba(dense), rtol=1e-4)
    assert np.array_equal(given.data, before)


@pytest.mark.filterwarnings("ignore:the columns of X have")
@pytest.mark.parametrize("form", ["csr", "coo"])
def test_what_adds_up_to_more_than_its_type_holds_is_refused(form):
    given = twice((200, 100), np.uint8, form)
    with pytest.raises(ValueError, match=r"^X stores values twice, .* add up to 300, beyond uint8"):
        SoftmaxRegression(**QUICK).fit(given, Y)
    below = twice((-100, -100), np.int8, form)
    with pytest.raises(ValueError, match=r"^X stores values twice, .* add up to -200, beyond int8"):
        SoftmaxRegression(**QUICK).fit(below, Y)
    model = SoftmaxRegression(**QUICK).fit(DENSE.astype(np.uint8), Y)
    with pytest.raises(ValueError, match=r"^X_val stores values twice"):
        SoftmaxRegression(**QUICK).fit(DENSE.astype(np.uint8), Y, X_val=given, y_val=Y)
    with pytest.raises(ValueError, match=r"^X stores values twice"):
        model.predict(given)


def test_columns_are_cut_out_once(monkeypatch):
    made = 0

    class Counted(door.SparseRows):
        def __init__(self, matrix):
            nonlocal made
            made += 1
            super().__init__(matrix)

    monkeypatch.setattr(door, "SparseRows", Counted)
    rows = Counted(X)
    assert rows[:, 2:9] is rows[:, 2:9]
    assert rows[:, 2:9] is not rows[:, 2:8]
    np.testing.assert_array_equal(rows[:, 2:9][:], DENSE[:, 2:9])
    for some in (np.array([5, 3]), np.array([1]), slice(2, 4)):
        np.testing.assert_array_equal(rows[some, :][:], DENSE[some])
    counts = []
    for epochs in (1, 5):
        made = 0
        grid = {"learning_rate": [0.3], "features": [(0, 7), (2, 12)]}
        settings = {**QUICK, "epochs": epochs, "eval_every": 1}
        SoftmaxSweep(grid, cv=2, **settings).fit(X, Y)
        counts.append(made)
    assert counts[0] == counts[1] > 0

"""Promise: `features=` makes a model of some columns of X, and a sweep one of each range, uncopied.

A model equals the one that is given these columns alone, and a head of a sweep the lone model.
"""

import ml_dtypes
import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.kernels.arrays import row_length
from softstep.model import inputs, trainer
from softstep.model.inputs.sparse import SparseRows

N, D, C = 90, 12, 3
RNG = np.random.default_rng(0)
Y = RNG.integers(C, size=N)
X = (RNG.standard_normal((C, D))[Y] + RNG.standard_normal((N, D))).astype(np.float32)
KINDS = {
    "float32": X,
    "float64": X.astype(np.float64),
    "float16": X.astype(np.float16),
    "bfloat16": X.astype(ml_dtypes.bfloat16),
    "int8": np.rint(X).astype(np.int8),
    "uint8": np.clip(40 * X + 128, 0, 255).astype(np.uint8),
}
VIEWS = {"first": (0, 5), "second": slice(5, -3), "both": slice(None, 9), "all": None}
RANGES = [(0, 5), (5, 9), (0, 9), (0, 12)]
BOTH_RATES = [columns for columns in RANGES for _ in range(2)]  # the last key runs fastest
SHARED = {"batch_size": 20, "epochs": 3, "random_state": 0}
HELD_OUT = slice(60, None)


def lone(backend="numba", **settings):
    return SoftmaxRegression(**{"learning_rate": 0.5, **SHARED, "backend": backend, **settings})


def sweep(backend="numba", views=VIEWS, **settings):
    grid = {"learning_rate": [0.1, 0.5], "features": views}
    return SoftmaxSweep(grid, backend=backend, **{**SHARED, **settings})


def assert_equal(found, alone):
    for name in ("coef_", "intercept_", "loss_curve_", "features_", "learned_from_"):
        assert np.array_equal(getattr(found, name), getattr(alone, name)), name
    assert found.history_ == alone.history_
    assert found.get_params() == alone.get_params()
    assert np.abs(found.coef_).max() > 0


# ---- one model


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("columns", [(0, 5), (3, 9), (11, 12)])
def test_a_model_equals_that_of_its_columns_alone(kind, columns, backend):
    rows = KINDS[kind]
    mine = rows[:, slice(*columns)]
    found = lone(backend, features=columns, init="normal").fit(rows, Y, X_val=rows, y_val=Y)
    alone = lone(backend, init="normal").fit(mine, Y, X_val=mine, y_val=Y)
    assert (found.n_features_in_, found.features_) == (D, columns)
    assert found.coef_.shape == (C, columns[1] - columns[0])
    for name in ("coef_", "intercept_", "learned_from_"):
        assert np.array_equal(getattr(found, name), getattr(alone, name))
    assert found.history_ == alone.history_
    assert np.abs(found.coef_).max() > 0
    assert np.array_equal(found.predict(rows), alone.predict(mine))
    assert np.array_equal(found.predict_proba(rows), alone.predict_proba(mine))
    assert found.score(rows, Y) == alone.score(mine, Y)


@pytest.mark.parametrize("features", [slice(3, 9), slice(-9, -3), (np.int64(3), 9)])
def test_a_range_may_be_written_in_several_ways(features):
    found = lone(features=features).fit(X, Y)
    assert found.features_ == (3, 9)
    assert np.array_equal(found.coef_, lone(features=(3, 9)).fit(X, Y).coef_)


def test_the_optimum_is_that_of_the_columns_alone(backend):
    settings = {"loss": "cross_entropy", "solver": "lbfgs", "C": 1.0, "backend": backend}
    found = SoftmaxRegression(**settings, features=(3, 9)).fit(X, Y)
    alone = SoftmaxRegression(**settings).fit(X[:, 3:9].copy(), Y)
    np.testing.assert_allclose(found.coef_, alone.coef_, atol=1e-3 * np.abs(alone.coef_).max())
    assert found.converged_


def test_what_it_does_not_see_may_be_anything(backend):
    rows = X.copy()
    rows[:, :3] = np.nan
    rows[:, 9:] = np.inf
    found = lone(backend, features=(3, 9)).fit(rows, Y)
    assert np.array_equal(found.coef_, lone(backend, features=(3, 9)).fit(X, Y).coef_)
    assert np.array_equal(found.predict(rows), found.predict(X))


def test_a_bad_value_is_named_by_its_place_in_x():
    rows = X.copy()
    rows[7, 5] = np.nan
    with pytest.raises(ValueError, match=r"X\[7, 5\] is nan"):
        lone(features=(3, 9)).fit(rows, Y)
    with pytest.raises(ValueError, match=r"X\[7, 5\] is nan"):
        lone(features=(3, 9)).fit(X, Y).predict(rows)
    with pytest.raises(ValueError, match=r"X\[7, 5\] is nan"):
        sweep(views=[(0, 3), (4, 9)]).fit(rows, Y, X_val=X, y_val=Y)


def test_nothing_is_copied(monkeypatch):
    given = []
    run = trainer.kernels.train
    monkeypatch.setattr(
        trainer.kernels, "train", lambda x, *rest, **how: given.append(x) or run(x, *rest, **how)
    )
    lone(features=(3, 9)).fit(X, Y)
    sweep().fit(X, Y, X_val=X[HELD_OUT], y_val=Y[HELD_OUT])
    assert {x.shape[1] for x in given} == {6, 5, 4, 9, 12}
    assert all(np.shares_memory(x, X) and row_length(x) == D for x in given)


def test_it_is_saved_and_goes_on(tmp_path):
    model = lone(features=slice(3, -3)).fit(X, Y)
    model.save(tmp_path / "model.npz")
    loaded = SoftmaxRegression.load(tmp_path / "model.npz")
    assert (loaded.features, loaded.features_, loaded.n_features_in_) == ((3, 9), (3, 9), D)
    assert np.array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert np.array_equal(loaded.partial_fit(X, Y).coef_, model.partial_fit(X, Y).coef_)
    sees = "features as input: of these it sees the columns 3 to 8"
    with pytest.raises(ValueError, match=rf"^X has 6 features, but \w+ is expecting 12 {sees}$"):
        loaded.predict(X[:, 3:9])


def test_what_leaves_it_takes_all_columns():
    pytest.importorskip("sklearn")
    model = lone(features=(3, 9), epochs=20).fit(X, Y)
    estimator = model.to_sklearn()
    assert estimator.n_features_in_ == D
    assert not estimator.coef_[:, :3].any()
    np.testing.assert_allclose(estimator.predict_proba(X), model.predict_proba(X), atol=1e-6)
    back = SoftmaxRegression.from_sklearn(estimator)
    np.testing.assert_allclose(back.predict_proba(X), model.predict_proba(X), atol=1e-6)


def test_names_are_those_of_all_columns():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=[f"c{i}" for i in range(D)])
    model = lone(features=(3, 9)).fit(table, Y)
    assert model.feature_names_in_.tolist() == list(table.columns)
    assert np.array_equal(model.predict(table), model.predict(table))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(table[table.columns[::-1]])
    table.loc[2, "c4"] = np.nan
    with pytest.raises(ValueError, match=r"X\[2, 'c4'\] is nan"):
        model.predict(table)


def test_sparse_rows_have_views_too():
    sparse = pytest.importorskip("scipy.sparse")
    rows = sparse.csr_matrix(np.where(np.abs(X) > 1, X, 0))
    assert isinstance(inputs.features(rows).seen((3, 9)).X, SparseRows)
    found = lone(features=(3, 9)).fit(rows, Y)
    alone = lone(features=(3, 9)).fit(rows.toarray(), Y)
    assert np.array_equal(found.coef_, alone.coef_)
    fitted = sweep().fit(rows, Y, X_val=rows, y_val=Y)
    dense = sweep().fit(rows.toarray(), Y, X_val=rows.toarray(), y_val=Y)
    for i in range(8):
        assert np.array_equal(fitted.estimator(i).coef_, dense.estimator(i).coef_)


def test_warm_start_goes_on_with_the_same_columns_only():
    model = lone(features=(3, 9), warm_start=True).fit(X, Y)
    with pytest.raises(ValueError, match=r"warm_start goes on with the columns \(3, 9\) of X"):
        model.set_params(features=(0, 6)).fit(X, Y)


BAD = [
    ((5, 5), ValueError, r"features=\(5, 5\) is empty: give a start that is below the stop"),
    (slice(5, 5), ValueError, r"features=slice\(5, 5\) is empty"),
    ((9, 3), ValueError, r"features=\(9, 3\) is reversed: give a start that is below the stop"),
    ((3, 13), ValueError, r"features=\(3, 13\) reaches beyond the 12 columns of X, 0 to 11"),
    (slice(3, 13), ValueError, r"features=slice\(3, 13\) reaches beyond the 12 columns of X"),
    ((-1, 3), ValueError, r"features=\(-1, 3\) reaches beyond"),
    (slice(0, 9, 2), ValueError, r"features=slice\(0, 9, 2\) has a step"),
    (slice(0.5, 9), TypeError, "features must be a range of columns, slice"),
    ((0, True), TypeError, r"features must be a range of columns, .* not \(0, True\)"),
    ([0, 5], TypeError, r"features must be a range of columns, .* not \[0, 5\]"),
    ("0:5", TypeError, "features must be a range of columns, .* not '0:5'"),
]


@pytest.mark.parametrize(("features", "error", "text"), BAD)
def test_what_is_no_range_is_refused_in_a_sentence(features, error, text):
    with pytest.raises(error, match=rf"^{text}"):
        lone(features=features).fit(X, Y)
    if isinstance(features, str | list):
        return
    with pytest.raises(error, match=rf"^{text}"):
        sweep(views=[features, (0, 3)]).fit(X, Y, X_val=X, y_val=Y)


@pytest.mark.parametrize(
    ("views", "error", "text"),
    [
        ([], ValueError, r"param_grid\['features'\] is empty"),
        ({}, ValueError, r"param_grid\['features'\] is empty"),
        ([0, 5], TypeError, r"features must be a range of columns, .* not \[0, 5\]"),
        ((0, 2.5), TypeError, r"features must be a range of columns, .* not \(0, 2.5\)"),
        ("0:5", TypeError, "features must be a range of columns, .* not '0:5'"),
        ({1: (0, 5)}, TypeError, r"the name of a range in param_grid\['features'\] is 1, no text"),
    ],
)
def test_what_is_no_list_of_ranges_is_refused_in_a_sentence(views, error, text):
    with pytest.raises(error, match=rf"^{text}$"):
        sweep(views=views).fit(X, Y, X_val=X, y_val=Y)


# ---- sweeps


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_equals_the_lone_model(kind, backend):
    rows = KINDS[kind]
    held_out = {"X_val": rows[HELD_OUT], "y_val": Y[HELD_OUT]}
    grid = {"momentum": [0.0, 0.9], "init": "normal", "features": VIEWS}
    fitted = SoftmaxSweep(grid, backend=backend, **SHARED).fit(rows[:60], Y[:60], **held_out)
    assert fitted.n_features_in_ == D
    for i in range(8):
        found = fitted.estimator(i)
        alone = SoftmaxRegression(**found.get_params()).fit(rows[:60], Y[:60], **held_out)
        assert_equal(found, alone)
        assert fitted.results_["mean_val_loss"][i] == alone.history_[-1].val_loss
        assert np.array_equal(found.predict(rows), alone.predict(rows))
        again = rows[HELD_OUT], Y[HELD_OUT]
        assert np.array_equal(found.partial_fit(*again).coef_, alone.partial_fit(*again).coef_)


@pytest.mark.parametrize("settings", [{"cv": 2}, {"n_bootstrap": 2}, {"cv": 2, "halving": True}])
def test_folds_bootstraps_and_halving_are_those_of_one_view(settings, backend):
    fitted = sweep(backend, epochs=4, **settings).fit(X, Y)
    assert fitted.results_["param_features"].tolist() == BOTH_RATES
    for v, columns in enumerate(RANGES):
        alone = sweep(backend, views=columns, epochs=4, **settings).fit(X, Y)
        for i, j in ((2 * v, 0), (2 * v + 1, 1)):
            if fitted.results_["epochs"][i] != alone.results_["epochs"][j]:
                assert "halving" in settings
                continue
            for split in (None, 0, 1):
                found, expected = fitted.estimator(i, split), alone.estimator(j, split)
                assert np.array_equal(found.coef_, expected.coef_)
            assert fitted.results_["mean_val_loss"][i] == alone.results_["mean_val_loss"][j]
            assert fitted.results_["bound"][i] == pytest.approx(
                alone.results_["bound"][j], nan_ok=True
            )


def test_patience_keeps_the_best_weights_of_each_view(backend):
    grid = {"learning_rate": [1.0, 30.0], "features": VIEWS}
    shared = {**SHARED, "epochs": 12, "patience": 2, "backend": backend}
    held_out = {"X_val": X[HELD_OUT], "y_val": Y[HELD_OUT]}
    fitted = SoftmaxSweep(grid, **shared).fit(X[:60], Y[:60], **held_out)
    assert len(set(fitted.results_["epochs"])) > 1
    for i in range(8):
        alone = SoftmaxRegression(**fitted.estimator(i).get_params())
        assert_equal(fitted.estimator(i), alone.fit(X[:60], Y[:60], **held_out))


@pytest.mark.filterwarnings("ignore:the columns of X have")
def test_a_view_that_diverges_leaves_the_others(backend):
    rows = X.copy()
    rows[:, :5] *= 1e30
    fitted = sweep(backend, views=[(0, 5), (5, 12)]).fit(rows, Y, X_val=rows, y_val=Y)
    assert fitted.results_["diverged"].tolist() == [True, True, False, False]
    alone = sweep(backend, views=(5, 12)).fit(rows, Y, X_val=rows, y_val=Y)
    assert np.array_equal(fitted.estimator(2).coef_, alone.estimator(0).coef_)


def test_every_range_has_its_name():
    found = sweep().fit(X, Y, X_val=X, y_val=Y).results_
    assert found["features_name"].tolist() == [name for name in VIEWS for _ in range(2)]
    assert [params["features"] for params in found["params"]] == BOTH_RATES
    found = sweep(views=(3, 9)).fit(X, Y, X_val=X, y_val=Y)
    assert found.results_["features_name"].tolist() == ["3:9", "3:9"]
    assert found.best_params_["features"] == found.best_estimator_.features_ == (3, 9)
    found = SoftmaxSweep([{"features": (0, 3)}, {"learning_rate": 1.0}], cv=2, epochs=1).fit(X, Y)
    assert found.results_["param_features"].tolist() == [(0, 3), (0, D)]
    assert found.results_["features_name"].tolist() == ["0:3", "0:12"]


def test_label_sets_are_learned_from_each_view(backend):
    sets = np.stack([Y, (Y + (X[:, 0] > 0)) % C], axis=1)
    fitted = sweep(backend).fit(X, sets, X_val=X, y_val=sets)
    for i in range(16):
        found = fitted.estimator(i)
        alone = SoftmaxRegression(**found.get_params()).fit(X, sets[:, i % 2])
        assert np.array_equal(found.coef_, alone.coef_)
    assert fitted.predict(X).shape == (N, 2)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_blocks_of_a_file_are_read_once_for_all_views(dtype, tmp_path, monkeypatch):
    rows = np.tile(KINDS[dtype], (200, 1))
    y = np.tile(Y, 200)
    np.save(tmp_path / "X.npy", rows)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    shared = {"memory": "6MB", "epochs": 1, "batch_size": 100}
    held_out = {"X_val": rows[:900], "y_val": y[:900]}

    read = []
    page_release = trainer_blocks().page_release

    def counting(X):
        release = page_release(X)
        return lambda start, stop: (read.append(stop - start), release(start, stop))

    monkeypatch.setattr(trainer_blocks(), "page_release", counting)
    sweep(views=(0, 5), **shared).fit(mapped, y, **held_out)
    of_one_view = sum(read)
    read.clear()
    fitted = sweep(**shared).fit(mapped, y, **held_out)
    assert sum(read) == of_one_view >= len(rows) + 900  # one epoch, one evaluation
    for i, columns in enumerate(BOTH_RATES):
        found = fitted.estimator(i)
        assert found.features_ == columns
        alone = SoftmaxRegression(**found.get_params()).fit(rows, y)
        assert found.score(rows, y) == pytest.approx(alone.score(rows, y), abs=0.05)


def trainer_blocks():
    from softstep.model import blocks

    return blocks


def test_blocks_have_the_bits_of_rows_in_their_order(monkeypatch):
    blocks = trainer_blocks()
    rows, y = np.tile(X, (200, 1)), np.tile(Y, 200)
    held_out = {"X_val": rows[:900], "y_val": y[:900]}
    layouts = []
    of = blocks.layout
    monkeypatch.setattr(
        blocks, "layout", lambda *a, **how: layouts.append(of(*a, **how)) or layouts[-1]
    )
    fitted = sweep(memory="6MB", epochs=2, batch_size=100).fit(rows, y, **held_out)
    (layout,) = layouts
    monkeypatch.setattr(
        trainer, "row_order", lambda seed, epoch, n: blocks.row_order(seed, epoch, n, layout)
    )
    for i in range(8):
        settings = fitted.estimator(i).get_params()
        alone = SoftmaxRegression(**settings).fit(rows, y)
        assert np.array_equal(fitted.estimator(i).coef_, alone.coef_)


def test_all_views_go_to_their_optimum(backend):
    grid = {"loss": "cross_entropy", "C": [0.1, 1.0], "features": VIEWS}
    rounds = []
    fitted = SoftmaxSweep(grid, solver="lbfgs", cv=2, backend=backend)
    fitted.fit(X, Y, callback=rounds.append)
    assert rounds
    assert fitted.results_["converged"].all()
    for i in range(8):
        found = fitted.estimator(i)
        alone = SoftmaxRegression(**found.get_params()).fit(X, Y)
        least = alone.coef_.astype(float)
        np.testing.assert_allclose(found.coef_, least, atol=2e-3 * np.abs(least).max())
        assert fitted.results_["objective"][i] == pytest.approx(alone.objective_, rel=2e-6)
        norm = np.sqrt((found.coef_.astype(float) ** 2).sum())
        assert fitted.results_["weight_norm"][i] == pytest.approx(norm)


def test_a_callback_that_stops_the_optimum_stops_every_view():
    grid = {"loss": "cross_entropy", "C": [1.0], "features": VIEWS}
    with pytest.warns(UserWarning, match="stopped short"):
        fitted = SoftmaxSweep(grid, solver="lbfgs", cv=2).fit(X, Y, callback=lambda _: True)
    assert (fitted.results_["n_iter"] <= 2).all()


def test_a_sweep_of_views_is_resumed_to_its_bits(tmp_path):
    shared = {"epochs": 4, "patience": 3, "random_state": 1}
    held_out = {"X_val": X[HELD_OUT], "y_val": Y[HELD_OUT]}
    whole = sweep(**shared).fit(X, Y, **held_out)

    def stop(state):
        if state.number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(**shared).fit(X, Y, **held_out, callback=stop, checkpoint=tmp_path)
    resumed = sweep(**shared).fit(X, Y, **held_out, checkpoint=tmp_path, resume=True)
    for i in range(8):
        assert_equal(resumed.estimator(i), whole.estimator(i))


def test_the_figure_of_a_sweep_of_views_is_drawn():
    pytest.importorskip("matplotlib")
    fitted = sweep().fit(X, Y, X_val=X, y_val=Y)
    assert len(fitted.plot().axes) == 3

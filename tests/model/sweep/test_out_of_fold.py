"""Promise: `out_of_fold` has, for each row, what a head says that did not learn from it."""

import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.model import NotFittedError
from softstep.model.sweep import folds

N, D, C = 90, 6, 3
RNG = np.random.default_rng(0)
Y = RNG.integers(C, size=N)
X = (RNG.standard_normal((C, D))[Y] + RNG.standard_normal((N, D))).astype(np.float32)
KINDS = {
    "float32": X,
    "float64": X.astype(np.float64),
    "float16": X.astype(np.float16),
    "uint8": np.clip(40 * X + 128, 0, 255).astype(np.uint8),
}
GRID = {"learning_rate": [0.1, 0.5]}


def sweep(param_grid=GRID, **settings):
    shared = {"cv": 3, "epochs": 3, "batch_size": 20, "random_state": 0, **settings}
    return SoftmaxSweep(param_grid, **shared)


def close(found, expected):
    """To within the rounding of a block of rows, and no zeros."""
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert (found > 0).all()
    assert found.std() > 0.001


@pytest.mark.parametrize("kind", KINDS)
def test_each_row_has_the_probabilities_of_the_fold_that_left_it_out(kind, backend):
    rows = KINDS[kind]
    fitted = sweep(backend=backend).fit(rows, Y)
    _, judge = folds.cross_validation(3, Y, None, Y, fitted.seed_)
    for index in range(2):
        found = fitted.out_of_fold(rows, index)
        for fold in range(3):
            head = fitted.estimator(index, split=fold)
            close(found[judge[fold]], head.predict_proba(rows[judge[fold]]))
        assert found.dtype == fitted.estimator(index).predict_proba(rows).dtype
    best = fitted.out_of_fold(rows, fitted.best_index_)
    assert np.array_equal(fitted.out_of_fold(rows), best)
    accuracy = np.mean([(best.argmax(axis=1) == Y)[mask].mean() for mask in judge])
    judged = fitted.results_["mean_val_accuracy"][fitted.best_index_]
    assert accuracy == pytest.approx(judged)


def test_it_is_cross_val_predict():
    selection = pytest.importorskip("sklearn.model_selection")
    splitter = selection.StratifiedKFold(3, shuffle=True, random_state=1)
    fitted = sweep({"learning_rate": 0.5}, cv=splitter, epochs=200, batch_size=N).fit(X, Y)
    lone = SoftmaxRegression(learning_rate=0.5, epochs=200, batch_size=N, random_state=0)
    expected = selection.cross_val_predict(lone, X, Y, cv=splitter, method="predict_proba")
    np.testing.assert_allclose(fitted.out_of_fold(X), expected, atol=2e-3)


@pytest.mark.parametrize("scaling", ["standard", "l2+standard"])
def test_each_head_scales_by_its_own_rows(scaling):
    grid = {"learning_rate": 0.5, "scaling": scaling, "features": (1, 5)}
    fitted = sweep(grid).fit(X, Y)
    _, judge = folds.cross_validation(3, Y, None, Y, fitted.seed_)
    for fold in range(3):
        head = fitted.estimator(0, split=fold)
        close(fitted.out_of_fold(X)[judge[fold]], head.predict_proba(X[judge[fold]]))


def test_where_several_left_a_row_out_it_is_their_mean_and_nan_where_none_did():
    fitted = sweep(cv=None, n_bootstrap=4).fit(X, Y)
    counts, out = folds.bootstraps("poisson", 4, N, 0)
    found = fitted.out_of_fold(X, 1)
    all_heads = [fitted.estimator(1, split=i).predict_proba(X).astype(float) for i in range(4)]
    times = out.sum(axis=0)
    assert set(times) >= {0, 1, 2}
    assert np.isnan(found[times == 0]).all()
    some = times > 0
    mean = np.einsum("kn,knc->nc", out, all_heads)[some] / times[some, None]
    close(found[some], mean)
    assert counts[:, ~some].all()


def test_bootstraps_judged_on_given_rows_have_left_rows_out_too():
    settings = {"cv": None, "n_bootstrap": 4}
    fitted = sweep(**settings).fit(X, Y, X_val=X, y_val=Y)
    expected = sweep(**settings).fit(X, Y).out_of_fold(X, 0)
    assert np.array_equal(fitted.out_of_fold(X, 0), expected, equal_nan=True)


def test_a_row_that_a_fold_learns_from_and_is_judged_on_is_not_held_out():
    pairs = [(range(60), range(50, 90)), (range(30, 90), range(30))]
    fitted = sweep(cv=pairs).fit(X, Y)
    found = fitted.out_of_fold(X)
    assert np.flatnonzero(np.isnan(found[:, 0])).tolist() == list(range(30, 60))
    head = fitted.estimator(fitted.best_index_, split=0)
    close(found[60:], head.predict_proba(X[60:]))


def test_label_sets_have_a_list_of_them():
    sets = np.stack([Y, (Y + (X[:, 0] > 0)) % C], axis=1)
    fitted = sweep().fit(X, sets)
    found = fitted.out_of_fold(X)
    for t, index in enumerate(fitted.best_index_):
        assert np.array_equal(found[t], fitted.out_of_fold(X, index))
    assert not np.array_equal(*found)


def test_rows_of_other_kinds():
    sparse = pytest.importorskip("scipy.sparse")
    for density in (0.02, 1.0):
        rows = X * (RNG.random(X.shape) < density)
        fitted = sweep().fit(rows, Y)
        close(fitted.out_of_fold(sparse.csr_matrix(rows)), fitted.out_of_fold(rows))
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=list("abcdef"))
    fitted = sweep().fit(table, Y)
    assert np.array_equal(fitted.out_of_fold(table), sweep().fit(X, Y).out_of_fold(X))
    with pytest.raises(ValueError, match="in the same order as they were in fit"):
        fitted.out_of_fold(table[list("fedcba")])


def test_torch_gets_what_it_gave():
    torch = pytest.importorskip("torch")
    fitted = sweep().fit(torch.from_numpy(X), Y)
    found = fitted.out_of_fold(torch.from_numpy(X))
    assert isinstance(found, torch.Tensor)
    assert np.array_equal(found.numpy(), fitted.out_of_fold(X))


def test_after_training_in_blocks_too(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    fitted = sweep(memory="5MB").fit(mapped, Y)
    assert np.array_equal(fitted.out_of_fold(mapped), fitted.out_of_fold(X))


@pytest.mark.parametrize("kind", [*KINDS, "sparse"])
def test_rows_in_another_order_are_refused(kind):
    rows = KINDS.get(kind)
    if rows is None:
        rows = pytest.importorskip("scipy.sparse").csr_array(X * (RNG.random(X.shape) < 0.2))
    fitted = sweep({"features": [(1, 4), (3, 6)]}).fit(rows, Y)
    fitted.out_of_fold(rows)
    for others in (rows[::-1], rows[np.r_[1, 0, 2:N]]):
        with pytest.raises(ValueError, match="X holds other rows than fit was given, or in anoth"):
            fitted.out_of_fold(others)


def test_bad_input_is_refused():
    with pytest.raises(NotFittedError, match="this SoftmaxSweep is not fitted"):
        sweep().out_of_fold(X)
    fitted = sweep().fit(X, Y)
    with pytest.raises(ValueError, match="X has 60 rows, but fit was given 90: give these, in"):
        fitted.out_of_fold(X[:60])
    with pytest.raises(ValueError, match="X has 3 features"):
        fitted.out_of_fold(X[:, :3])
    with pytest.raises(IndexError, match="there is no setting 2"):
        fitted.out_of_fold(X, 2)
    with pytest.raises(TypeError, match="index must be a whole number"):
        fitted.out_of_fold(X, 0.5)
    spoilt = X.copy()
    spoilt[7, 2] = np.nan
    with pytest.raises(ValueError, match=r"X\[7, 2\] is nan"):
        fitted.out_of_fold(spoilt)
    with pytest.raises(ValueError, match="there are no folds: fit with cv or n_bootstrap"):
        sweep(cv=None).fit(X, Y, X_val=X, y_val=Y).out_of_fold(X)
    rates = {"learning_rate": [0.1, 1e30], "l2": 0.1}
    with pytest.raises(FloatingPointError, match="setting 1 diverged"):
        sweep(rates).fit(X, Y).out_of_fold(X, 1)

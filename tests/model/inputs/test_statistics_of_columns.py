"""Promise: rows are scaled by the rows that count, of any size, or refused in a sentence."""

import importlib
import tracemalloc

import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.kernels.scaled import lengths, to_unit_length, widened
from softstep.model.fitted import Fitted
from softstep.model.sweep import folds, memory
from softstep.model.views import Scaler

door = importlib.import_module("softstep.model.inputs.scaled")  # where a function has its name

pytestmark = pytest.mark.filterwarnings("ignore:the columns of X have")

N, D = 300, 5
RNG = np.random.default_rng(0)
Y = np.arange(N) % 3
X = RNG.standard_normal((N, D)) + np.eye(D)[Y]
WEIGHTS = RNG.uniform(0.5, 2, N)
SHARED = {"batch_size": 20, "epochs": 3, "random_state": 0}
QUICK = {**SHARED, "loss": "cross_entropy"}


def lone(**settings):
    return SoftmaxRegression(**{**QUICK, "scaling": "standard", **settings})


def statistics(rows, weights=None, scaling="standard", **options):
    (found,) = door.measured(
        rows, scaling, 1.0, weights, [0], **{"centers": True, "names": None, **options}
    )
    return found.mean, found.scale


def exact(rows, weights=None):
    """μ and σ in long double, in two passes."""
    wide = rows.astype(np.longdouble)
    w = np.ones(len(rows), np.longdouble) if weights is None else weights.astype(np.longdouble)
    mean = w @ wide / w.sum()
    return mean, np.sqrt(w @ (wide - mean) ** 2 / w.sum())


# ---- which rows count


@pytest.mark.parametrize("far", [1e9, 1e140, np.float64(np.finfo(np.float32).max)])
def test_rows_of_weight_0_have_no_part_wherever_they_are(far):
    for place in (0, N // 2, N - 1):
        rows, weights = X.copy(), WEIGHTS.copy()
        rows[place], weights[place] = far, 0
        found = statistics(rows, weights)
        cut = statistics(np.delete(rows, place, axis=0), np.delete(weights, place))
        for a, b in zip(found, cut, strict=True):
            assert np.array_equal(a, b)


def test_many_chunks_are_as_one(monkeypatch):
    rows = X + np.array([0, 10, 1e3, 1e6, 1e8])
    for weights in (None, WEIGHTS, WEIGHTS * (RNG.random(N) < 0.7)):
        for values in (1, 7 * D, 64 * D, 1 << 17):
            monkeypatch.setattr(door, "MOMENT_VALUES", values)
            found = statistics(rows, weights)
            for figure, truth in zip(found, exact(rows, weights), strict=True):
                np.testing.assert_allclose(figure, truth.astype(float), rtol=1e-12)


def test_an_outlier_comes_first_and_counts():
    rows = X.copy()
    rows[0] = 1e10
    weights = np.ones(N)
    weights[0] = 1e-30
    mean, scale = statistics(rows, weights)
    truth = exact(rows, weights)
    np.testing.assert_allclose(mean, truth[0].astype(float), atol=1e-4)
    np.testing.assert_allclose(scale, truth[1].astype(float), rtol=1e-3)


def test_a_fold_is_not_told_of_the_far_row_that_it_leaves_out():
    rows = X.copy()
    rows[0, 2] = 1e9
    fitted = SoftmaxSweep({"scaling": "standard"}, cv=5, **SHARED)
    fitted.fit(rows, Y)
    _, judge = folds.cross_validation(5, Y, None, Y, fitted.seed_)
    assert judge[:, 0].sum() == 1
    for fold in range(5):
        learn = rows[~judge[fold]]
        found = fitted.estimator(0, fold)
        np.testing.assert_allclose(found.scale_, learn.std(axis=0), rtol=1e-6)
        np.testing.assert_allclose(found.mean_, learn.mean(axis=0), rtol=1e-6, atol=1e-9)


def test_rows_that_all_weigh_0_are_refused():
    text = "^scaling= takes mean and deviation of the columns by the weights .* all 0"
    with pytest.raises(ValueError, match=text):
        lone().partial_fit(X, Y, sample_weight=np.zeros(N))
    model = lone().partial_fit(X, Y)
    before = model.coef_.copy()
    model.partial_fit(X, Y, sample_weight=np.zeros(N))
    assert np.array_equal(model.coef_, before)


# ---- columns that are constant


def test_what_is_constant_at_first_is_learned_from_later():
    model = lone().partial_fit(X[:1], Y[:1], classes=[0, 1, 2])
    assert not model.scale_.any()
    assert not model.coef_.any()
    for _ in range(10):
        model.partial_fit(X, Y)
    assert model.coef_.all()
    assert model.score(X, Y) > 0.5
    alone = SoftmaxRegression(**QUICK)
    for rows, y in ((X[:1], Y[:1]), *[(X, Y)] * 10):
        alone.partial_fit(rows - X[0], y, classes=[0, 1, 2])  # centred, divided by 1
    np.testing.assert_allclose(model.predict_proba(X), alone.predict_proba(X - X[0]), atol=1e-9)


def test_a_constant_column_of_one_chunk_varies_in_the_next():
    rows = X.astype(np.float32)
    rows[: N // 2, 1] = 7.3
    model = lone(init="normal").partial_fit(rows[: N // 2], Y[: N // 2])
    assert model.scale_[1] == 0
    assert not model.coef_[:, 1].any()
    model.partial_fit(rows[N // 2 :], Y[N // 2 :])
    assert model.coef_[:, 1].all()


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_what_is_not_centred_stays_if_it_is_constant(backend):
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    rows = X.copy()
    rows[:, 1], rows[:, 3] = 2.5, 0
    copy = preprocessing.StandardScaler(with_mean=False).fit(rows)
    settings = {"fit_intercept": False, "init": "normal", "l2": 0.01, "backend": backend}
    found = lone(**settings).fit(rows, Y)
    alone = SoftmaxRegression(**QUICK, **settings).fit(copy.transform(rows), Y)
    assert (found.scale_[1], found.scale_[3]) == (1, 0)
    assert found.coef_[:, 1].all()
    np.testing.assert_allclose(
        found.predict_proba(rows), alone.predict_proba(copy.transform(rows)), atol=1e-9
    )


def test_a_sweep_begins_with_weight_0_for_constant_columns_too():
    rows = X.copy()
    rows[:, 1] = 7.3
    fitted = SoftmaxSweep({"scaling": [None, "standard"], "init": "normal"}, cv=2, **SHARED)
    fitted.fit(rows, Y)
    for i, is_0 in enumerate((False, True)):
        found = fitted.estimator(i)
        assert found.coef_[:, 1].any() != is_0
        alone = SoftmaxRegression(**found.get_params()).fit(rows, Y)
        assert np.array_equal(found.coef_, alone.coef_)


def test_a_weight_that_is_set_by_hand_counts_for_a_constant_column_too():
    rows = X.copy()
    rows[:, 1] = 7.3
    model = lone().fit(rows, Y)
    later = X.copy()
    expected = model.decision_function(later) + later[:, [1]] * np.array([0.5, 0, 0])
    model.coef_ = model.coef_.copy()
    model.coef_[0, 1] += 0.5
    np.testing.assert_allclose(model.decision_function(later), expected, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_rounding_makes_of_collinear_rows_is_no_feature(dtype):
    rows = (RNG.uniform(0.1, 10, (N, 1)) * np.array([1, -2, 3, 0.1, 5])).astype(dtype)
    assert not statistics(rows, scaling="l2+standard")[1].any()
    # what is larger than that is one
    eps = np.finfo(dtype).eps
    rows[:, 1] *= 1 + 1000 * eps * RNG.standard_normal(N).astype(dtype)
    assert statistics(rows, scaling="l2+standard")[1][1] > 0
    # and nearly all is, however many rows there are, where no lengths are taken
    near = (1e4 + RNG.standard_normal((5000, D))).astype(dtype)
    assert statistics(near)[1].all()


@pytest.mark.parametrize("factor", [0.3, -0.3])
def test_nothing_is_left_of_a_constant_column_whatever_the_factor(factor, tmp_path):
    rows = X.copy()
    rows[:, 1] = next(m for m in RNG.uniform(1, 2, 100) if factor * m / factor != m)
    model = lone(feature_scale=factor, init="normal").fit(rows, Y)
    assert model.scale_[1] == 0
    model.save(tmp_path / "model.npz")
    for each in (model, SoftmaxRegression.load(tmp_path / "model.npz")):
        read, _ = Fitted.of(each).features(rows)
        assert not read[:][:, 1].any()
        assert not each.coef_[:, 1].any()
        assert np.array_equal(each.decision_function(rows), model.decision_function(rows))


def test_a_column_that_scikit_learn_takes_for_constant_is():
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    for noise in (0, 1, 1e4):
        rows = X.copy()
        rows[:, 1] = 1e6 * (1 + noise * np.finfo(float).eps * np.sign(RNG.standard_normal(N)))
        theirs = preprocessing.StandardScaler().fit(rows)
        assert (statistics(rows)[1][1] == 0) == (theirs.scale_[1] == 1)


# ---- rows and columns of any size


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_of_any_length_are_brought_to_unit_length(dtype):
    limits = np.finfo(dtype)
    rows = RNG.uniform(0.5, 0.99, (40, 7)).astype(dtype)
    expected = rows * (1 / lengths(rows))[:, None].astype(dtype)
    for power in (limits.maxexp, limits.maxexp // 2 + 3, -50, limits.minexp + 1):
        scaled = np.ldexp(rows, power)
        assert np.isfinite(scaled).all()
        to_unit_length(scaled)
        assert np.array_equal(scaled, expected)
    short = np.full((3, 2), limits.smallest_subnormal)
    short[1] = 0
    to_unit_length(short)
    np.testing.assert_allclose(short, [[0.5**0.5] * 2, [0, 0], [0.5**0.5] * 2], rtol=1e-6)


def test_two_huge_values_in_float32_keep_their_direction():
    rows = X.astype(np.float32)
    rows[0] = 3e38
    scaled = door.ScaledRows(rows, Scaler(unit=True), 1.0)
    np.testing.assert_allclose(scaled[:1], np.full((1, D), D**-0.5), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("d", [1, 3, 768, 8192, 10_001])
def test_the_length_of_a_row_has_the_same_bits_in_any_company(dtype, d):
    rows = RNG.standard_normal((50, d)).astype(dtype)
    together = lengths(rows)
    for count in (1, 2, 11):
        parts = [lengths(rows[start : start + count]) for start in range(0, 50, count)]
        assert np.array_equal(np.concatenate(parts), together)
    np.testing.assert_allclose(together, np.linalg.norm(rows.astype(np.longdouble), axis=1))


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1e155, -1e155], np.float64),
        ([1e160, -1e160], np.float64),
        ([1e308, -1e308], np.float64),
        ([1e-45, 0], np.float32),
    ],
)
def test_columns_whose_statistics_overflow_are_refused_by_name(values, dtype):
    rows = X.astype(dtype)
    rows[:, 3] = np.resize(values, N)
    text = r"^scaling='standard' squares the deviations .* those of column 3 of X are too"
    with pytest.raises(ValueError, match=text):
        lone().fit(rows, Y)
    with pytest.raises(ValueError, match=text.replace("3", "2")):
        lone(features=(1, 5)).fit(np.roll(rows, -1, axis=1), Y)
    with pytest.raises(ValueError, match=text):
        SoftmaxSweep({"scaling": "standard", "features": (1, 5)}, cv=2).fit(rows, Y)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("scaling", ["standard", "l2", "l2+standard"])
def test_what_is_not_finite_is_an_error_without_a_warning(scaling, bad):
    rows = X.astype(np.float32)
    rows[17, 2] = bad
    with pytest.raises(ValueError, match=rf"^X\[17, 2\] is {bad}"):
        lone(scaling=scaling).fit(rows, Y)
    with pytest.raises(ValueError, match=rf"^X\[17, 2\] is {bad}"):
        SoftmaxSweep({"scaling": [scaling]}, cv=2).fit(rows, Y)
    with pytest.raises(ValueError, match=rf"^X\[17, 2\] is {bad}"):
        lone(scaling=scaling).fit(X, Y).predict(rows)


# ---- what is published, and what it takes


def test_the_published_statistics_cannot_be_written_to():
    model = lone().fit(X, Y)
    before = model.predict_proba(X)
    for name in ("mean_", "scale_"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(model, name)[0] = 1
        setattr(model, name, getattr(model, name) + 1)
    assert np.array_equal(model.predict_proba(X), before)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("scaling", ["standard", "l2+standard"])
def test_statistics_of_wide_rows_take_the_memory_that_is_reckoned(scaling, dtype):
    n, d, sets = 600, 4000, 6
    rows = np.ones((n, d), dtype)
    weights = (np.arange(n) % sets != np.arange(sets)[:, None]).astype(np.float32)
    tracemalloc.start()
    door.measured(rows, scaling, 1.0, weights, range(sets), centers=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < memory.SCALED + (memory.MOMENTS * sets + memory.WIDENED) * d


def test_every_float16_is_widened_to_the_bit():
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    for halves in (every, every[np.isfinite(every)]):
        found = widened(halves[::-1, None], np.empty((len(halves), 1), np.float32))
        expected = halves[::-1, None].astype(np.float32)
        assert found.tobytes() == expected.tobytes()

"""Promise: what an estimator would misread it refuses or warns of, and says what to do instead."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.model import CheckpointError, checkpoint
from softstep.model.landscape import loss_surface

RNG = np.random.default_rng(0)
Y = np.arange(60) % 3
X = (RNG.standard_normal((60, 4)) + 2 * np.eye(4)[Y]).astype(np.float32)
NAMES = ["width", "height", "depth", "weight"]


def model(**settings):
    return SoftmaxRegression(**{"epochs": 3, "learning_rate": 1.0, "random_state": 0, **settings})


def sweep(**settings):
    return SoftmaxSweep({"learning_rate": [0.1, 1.0]}, epochs=2, random_state=0, **settings)


# Columns have names.


class Table:
    """A table that is no DataFrame of pandas': names, and the values when they are asked for."""

    def __init__(self, values, columns):
        self.values, self.columns = values, columns

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


class Column:
    """Labels that have no ndim, as polars' Series have none."""

    def __init__(self, values):
        self.values = values
        self.dtype = "a type of its own"

    def __len__(self):
        return len(self.values)

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)


@pytest.fixture(params=["pandas", "another library"])
def table(request):
    kind = pytest.importorskip("pandas").DataFrame if request.param == "pandas" else Table
    return lambda columns=NAMES: kind(X[:, [NAMES.index(n) for n in columns]], columns=columns)


ESTIMATORS = {
    "model": lambda table: model().fit(table, Y),
    "loaded": lambda table: through_a_file(model().fit(table, Y)),
    "of a sweep": lambda table: sweep(cv=2).fit(table, Y).best_estimator_,
    "in parts": lambda table: model().partial_fit(table, Y),
}


def through_a_file(fitted):
    with tempfile.TemporaryDirectory() as folder:
        fitted.save(Path(folder) / "model.npz")
        return SoftmaxRegression.load(Path(folder) / "model.npz")


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_columns_in_another_order_are_refused_in_scikit_learns_words(kind, table):
    fitted = ESTIMATORS[kind](table())
    assert fitted.feature_names_in_.tolist() == NAMES
    assert fitted.feature_names_in_.dtype == object
    fitted.predict(table())
    other = table(NAMES[::-1])
    for call in (fitted.predict, fitted.predict_proba, fitted.decision_function):
        with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
            call(other)
    for call in (lambda: fitted.score(other, Y), lambda: fitted.partial_fit(other, Y)):
        with pytest.raises(ValueError, match="must be in the same order as they were in fit"):
            call()
    with pytest.raises(ValueError, match="yet now missing:\n- weight"):
        fitted.predict(table(NAMES[:3]))
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        fitted.predict(X)


@pytest.mark.parametrize("estimator", [model(), sweep(), sweep(memory="20MB")])
def test_held_out_columns_in_another_order_are_refused(estimator):
    pandas = pytest.importorskip("pandas")
    rows, held_out = pandas.DataFrame(X, columns=NAMES), pandas.DataFrame(X, columns=NAMES[::-1])
    if getattr(estimator, "memory", None):
        with pytest.raises(TypeError, match="it must be a NumPy array"):
            estimator.fit(rows, Y, X_val=held_out, y_val=Y)
        return
    with pytest.raises(ValueError, match="same order as they were in fit"):
        estimator.fit(rows, Y, X_val=held_out, y_val=Y)


def test_columns_that_are_partly_named_are_refused_and_numbers_are_no_names():
    pandas = pytest.importorskip("pandas")
    with pytest.raises(TypeError, match="only supported if all input features have string names"):
        model().fit(pandas.DataFrame(X, columns=["a", 1, 2, 3]), Y)
    fitted = model().fit(pandas.DataFrame(X), Y)
    assert not hasattr(fitted, "feature_names_in_")
    fitted.predict(X)
    with pytest.warns(UserWarning, match="was fitted without feature names"):
        fitted.predict(pandas.DataFrame(X, columns=NAMES))


def test_a_value_that_is_missing_is_named_by_its_column():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(X, columns=NAMES)
    fitted = model().fit(table, Y)
    table.loc[7, "depth"] = np.nan
    for call in (lambda: fitted.predict(table), lambda: model().fit(table, Y)):
        with pytest.raises(ValueError, match=r"X\[7, 'depth'\] is nan"):
            call()


def test_a_later_fit_forgets_the_names():
    pandas = pytest.importorskip("pandas")
    fitted = model().fit(pandas.DataFrame(X, columns=NAMES), Y)
    assert not hasattr(fitted.fit(X, Y), "feature_names_in_")
    assert sweep(cv=2).fit(pandas.DataFrame(X, columns=NAMES), Y).feature_names_in_[0] == "width"


def rewritten(path, **changes):
    """The file of a model with other settings; None takes one away."""
    arrays, settings = checkpoint.load(path)
    settings |= changes
    checkpoint.save(path, arrays, {k: v for k, v in settings.items() if v is not None})
    return SoftmaxRegression.load(path)


def test_files_without_names_still_load_and_damaged_names_do_not(tmp_path):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "model.npz"
    model().fit(pandas.DataFrame(X, columns=NAMES), Y).save(path)
    for damage in (["a"], [1, 2, 3, 4], "abcd"):
        with pytest.raises(CheckpointError, match="feature name"):
            rewritten(path, feature_names=damage)
    with pytest.raises(CheckpointError, match="not a valid Kind"):
        rewritten(path, learned_from="dreams")
    old = rewritten(path, feature_names=None, learned_from=None)
    old.predict(X)
    with pytest.raises(ValueError, match="fitted before it was kept on what"):
        old.predict(np.ones((1, 4), np.uint8))
    assert json.dumps(old.get_params())


# A model remembers what it learned from.

COUNTS = RNG.integers(0, 5, (60, 4)) + 3 * np.eye(4, dtype=int)[Y]
FLAGS = COUNTS > 3
PIXELS = (COUNTS * 25).astype(np.uint8)
UNIT = PIXELS.astype(np.float32) / 255


@pytest.mark.parametrize("load", [lambda m: m, through_a_file])
def test_bytes_are_numbers_for_a_model_of_integers(load):
    for learned in (COUNTS, COUNTS.astype(np.int8), FLAGS):
        fitted = load(model().fit(learned, Y))
        as_bytes = learned.astype(np.uint8)
        for call in (fitted.predict_proba, fitted.decision_function):
            assert np.array_equal(call(as_bytes), call(learned))
        assert fitted.score(as_bytes, Y) == fitted.score(learned, Y)
        assert fitted.learned_from_ == "integers or booleans"


def test_bytes_train_on_and_judge_as_the_integers_they_are():
    as_bytes = COUNTS.astype(np.uint8)
    one = model().fit(COUNTS, Y, X_val=COUNTS, y_val=Y)
    other = model().fit(COUNTS, Y, X_val=as_bytes, y_val=Y)
    assert one.history_[-1].val_loss == other.history_[-1].val_loss
    one.partial_fit(COUNTS, Y)
    assert np.array_equal(other.partial_fit(as_bytes, Y).coef_, one.coef_)
    swept = sweep().fit(COUNTS, Y, X_val=as_bytes, y_val=Y).results_["mean_val_loss"]
    assert np.array_equal(
        swept, sweep().fit(COUNTS, Y, X_val=COUNTS, y_val=Y).results_["mean_val_loss"]
    )


def test_bytes_are_pixels_for_a_model_of_floats_within_0_and_1_unless_in_doubt():
    fitted = model().fit(UNIT, Y)
    np.testing.assert_allclose(
        fitted.predict_proba(PIXELS), fitted.predict_proba(UNIT), rtol=1e-5, atol=1e-6
    )
    doubtful = FLAGS.astype(np.uint8)
    with pytest.raises(ValueError, match=r"pixels or zeros and ones; give X\.astype"):
        fitted.predict(doubtful)
    with pytest.raises(ValueError, match="X_val is uint8 without a value above 1"):
        fitted.fit(UNIT, Y, X_val=doubtful, y_val=Y)
    with pytest.raises(ValueError, match="X_val is uint8 without a value above 1"):
        sweep().fit(UNIT, Y, X_val=doubtful, y_val=Y)
    with pytest.raises(ValueError, match="but X is int64 and reaches"):
        fitted.predict(PIXELS.astype(int))
    fitted.predict(FLAGS)  # zeros and ones, as they are


def test_bytes_are_refused_by_a_model_of_other_floats():
    fitted = model().fit(X, Y)
    for call in (
        lambda: fitted.predict(PIXELS),
        lambda: fitted.partial_fit(PIXELS, Y),
        lambda: model().fit(X, Y, X_val=PIXELS, y_val=Y),
        lambda: sweep().fit(X, Y, X_val=PIXELS, y_val=Y),
        lambda: sweep(memory="20MB").fit(X, Y, X_val=PIXELS, y_val=Y),
        lambda: through_a_file(fitted).score(PIXELS, Y),
        lambda: loss_surface(fitted, PIXELS, Y, steps=2),
    ):
        with pytest.raises(ValueError, match="is uint8, which may be pixels or numbers: give"):
            call()
    model(feature_scale=1.0).fit(X, Y).predict(PIXELS)  # it was said


@pytest.mark.parametrize("rows", [COUNTS, FLAGS, PIXELS.astype(np.float64), -UNIT])
def test_a_model_of_pixels_refuses_what_is_not_scaled(rows):
    fitted = model().fit(PIXELS, Y)
    with pytest.raises(ValueError, match="fitted on uint8 pixels, read as"):
        fitted.predict(rows)
    fitted.predict(UNIT)


def test_a_model_that_learned_from_several_kinds_remembers_the_widest():
    fitted = model().partial_fit(UNIT, Y)
    fitted.partial_fit(X, Y)
    with pytest.raises(ValueError, match="fitted on floats beyond"):
        fitted.predict(PIXELS)


# Targets are probabilities for every loss.


@pytest.mark.parametrize("loss", ["mse", "cross_entropy", "gce"])
@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (RNG.standard_normal((60, 2)), "regression"),
        (np.abs(RNG.standard_normal((60, 3))), r"y\[0\] sums to .*regression"),
        (np.tile([1.5, -0.5], (60, 1)), r"y\[0\] holds -0.5, .*regression"),
        (np.tile([1.0, 1.0, 0.0], (60, 1)), r"y\[0\] has 2 ones.*multi-label.*OneVsRest"),
        (np.tile([0.0, 0.0, 0.0], (60, 1)), r"y\[0\] has 0 ones.*multi-label"),
        (X[:, 0], "continuous targets call for regression"),
    ],
)
def test_targets_that_are_no_probabilities_are_called_what_they_are(loss, targets, message):
    for estimator in (model(loss=loss), sweep(cv=2)):
        with pytest.raises(ValueError, match=message):
            estimator.fit(X, targets)
    known = np.eye(targets.shape[1])[Y % targets.shape[1]] if targets.ndim > 1 else Y
    with pytest.raises(ValueError, match=message.replace(r"y\[", r"y_val\[")):
        model().fit(X, known, X_val=X, y_val=targets)


def test_multi_hot_integers_are_called_multi_label():
    with pytest.raises(ValueError, match="multi-label"):
        model().fit(X, np.tile([1, 1, 0], (60, 1)))


def test_soft_targets_are_scored_by_their_most_probable_class():
    soft = np.full((60, 3), 0.2) + 0.4 * np.eye(3)[Y]
    fitted = model().fit(X, soft)
    assert fitted.score(X, soft) == fitted.score(X, Y) > 0.5
    with pytest.raises(ValueError, match="regression"):
        fitted.score(X, 2 * soft)


def test_targets_rounded_to_float16_are_probabilities_still():
    soft = RNG.dirichlet(np.ones(50), 60).astype(np.float16)
    assert model().fit(X, soft).coef_.shape == (50, 4)


# What spans calls keeps its size.


def test_class_weights_mean_the_same_in_a_batch_of_one_class():
    weights = {0: 1.0, 1: 5.0, 2: 0.5}
    weighted = model(class_weight=weights, batch_size=60)
    by_hand = model(batch_size=60)
    for label in (0, 1, 2, 1):
        rows = X[label == Y]
        weighted.partial_fit(rows, Y[label == Y], classes=[0, 1, 2])
        given = np.full(len(rows), weights[label])
        by_hand.partial_fit(rows, Y[label == Y], classes=[0, 1, 2], sample_weight=given)
    assert np.array_equal(weighted.coef_, by_hand.coef_)
    plain, heavy = (
        model(class_weight=w, epochs=1).partial_fit(X[Y == 1], Y[Y == 1], classes=[0, 1, 2]).coef_
        for w in (None, {1: 5.0})
    )
    assert np.abs(heavy).max() > 2 * np.abs(plain).max()


def test_class_weights_that_need_all_rows_are_refused_in_parts():
    with pytest.raises(ValueError, match="'balanced' is not supported for partial_fit"):
        model(class_weight="balanced").partial_fit(X, Y)


def test_a_batch_without_weight_changes_nothing():
    fitted = model(class_weight={0: 0.0}).partial_fit(X, Y)
    before = fitted.coef_.copy()
    assert np.array_equal(fitted.partial_fit(X[Y == 0], Y[Y == 0]).coef_, before)


def test_other_classes_than_at_the_first_call_are_refused():
    fitted = model().partial_fit(X, Y, classes=[0, 1, 2])
    fitted.partial_fit(X, Y, classes=[2, 1, 0])
    for other in ([0, 1], [0, 1, 2, 3], ["a", "b", "c"]):
        with pytest.raises(ValueError, match="not the same as on last call to partial_fit, was"):
            fitted.partial_fit(X, Y, classes=other)


# Columns that are not scaled are said.


def test_columns_that_are_not_scaled_are_warned_of_once():
    pandas = pytest.importorskip("pandas")
    uneven = X * [1, 1, 1e-3, 1]
    for rows, words in (
        (PIXELS.astype(float), r"columns of X have standard deviations up to \d+"),
        (PIXELS.astype(int), r'give scaling="standard" \(--scaling standard\), or pixels as uint8'),
        (uneven, r"from 0.00\d+ \(column 2\) to"),
        (pandas.DataFrame(uneven, columns=NAMES), r"\(column 'depth'\)"),
    ):
        for estimator in (model(), sweep(cv=2)):
            with pytest.warns(UserWarning, match=words) as found:
                estimator.fit(rows, Y)
            assert len(found) == 1
            assert "\n" not in str(found[0].message)
            assert found[0].filename == __file__
    for rows in (X, PIXELS, UNIT, COUNTS):  # a warning would be an error
        model().fit(rows, Y)


# Bytes in whatever order.


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">f2", ">i4", "<f8"])
def test_the_other_byte_order_goes_through_every_method(dtype, tmp_path):
    other = (2 * X).round().astype(dtype) if dtype == ">i4" else X.astype(dtype)
    native = other.astype(other.dtype.newbyteorder("="))
    labels = Y.astype(">i8")
    one, two = model().fit(native, Y), model().fit(other, labels, X_val=other, y_val=labels)
    assert np.array_equal(one.coef_, two.coef_)
    for name in ("predict", "predict_proba", "decision_function"):
        assert np.array_equal(getattr(one, name)(native), getattr(two, name)(other))
    assert one.score(native, Y) == two.score(other, labels)
    assert np.array_equal(
        loss_surface(one, native, Y, steps=3).loss, loss_surface(two, other, labels, steps=3).loss
    )
    one.partial_fit(native, Y)
    two.partial_fit(other, labels, sample_weight=np.ones(60, ">f8"))
    assert np.allclose(one.coef_, two.coef_)
    two.save(tmp_path / "model.npz")
    SoftmaxRegression.load(tmp_path / "model.npz").predict(other)
    sweep(cv=2).fit(other, labels)
    soft = np.eye(3)[Y].astype(">f8")
    sweep(cv=2).fit(other, soft)
    model().fit(other, soft)


# Containers are converted before they are asked.


def test_containers_are_converted_first():
    rows = X.astype(object)
    np.testing.assert_allclose(model().fit(rows, Y).coef_, model().fit(X.astype(float), Y).coef_)
    masked = np.ma.array(X, mask=np.zeros_like(X, bool))
    model().fit(masked, Y)
    masked[3, 1] = np.ma.masked
    with pytest.raises(ValueError, match=r"X\[3, 1\] is masked"):
        model().fit(masked, Y)
    with pytest.raises(ValueError, match=r"y\[2\] is masked"):
        model().fit(X, np.ma.array(Y, mask=np.arange(60) == 2))
    sparse = pytest.importorskip("scipy.sparse")
    with pytest.raises(TypeError, match=r"sparse csr_matrix.*toarray"):
        model().fit(X, sparse.csr_matrix(Y[None]))


def test_labels_of_any_container_train_alike():
    expected = model().fit(X, Y).coef_
    for labels in (Y.tolist(), Y.astype(object), np.array(Y, ">i2")):
        assert np.array_equal(model().fit(X, labels).coef_, expected)
    names = np.array(["a", "b", "c"], np.dtypes.StringDType())[Y]
    assert np.array_equal(model().fit(X, names).coef_, expected)
    assert np.array_equal(model().fit(X, Column(Y), X_val=X, y_val=Column(Y)).coef_, expected)
    assert model().fit(X, Y).score(X, Column(Y)) > 0.5
    sweep(cv=2).fit(X, Column(Y))

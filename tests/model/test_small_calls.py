"""Promise: a call on few rows costs little, and nothing that a call must see goes unseen for it."""

import copy
import operator
import sys

import numpy as np
import pytest

from softstep import SoftmaxRegression, kernels
from softstep.model import trainer

N, D, C = 100, 784, 10
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, D)).astype(np.float32)
Y = RNG.integers(C, size=N)
CLASSES = np.arange(C)


def warm(**settings):
    """A model that has learned from the rows, and been called in each way."""
    settings = {"learning_rate": 0.05, "random_state": 0, "backend": "numba", **settings}
    model = SoftmaxRegression(**settings)
    for _ in range(2):
        model.partial_fit(X, Y, CLASSES)
    for call in (model.predict, model.predict_proba, model.decision_function):
        call(X[:1])
    return model


def python_calls(function, *arguments):
    """How many Python functions run in a call: the machine's other work does not count."""
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(
    ("name", "rows", "most"),
    [
        ("partial_fit", (X, Y, CLASSES), 330),
        ("partial_fit", (X, Y), 330),
        ("predict", (X[:1],), 115),
        ("decision_function", (X[:1],), 115),
        ("predict_proba", (X[:1],), 195),
    ],
)
def test_few_functions_run(name, rows, most):
    call = getattr(warm(), name)
    assert 10 < python_calls(call, *rows) <= most


def trained(*rates):
    """W (d, c) after a call for each of these rates, by the op alone."""
    W, b = np.zeros((1, D, C), np.float32), np.zeros((1, C), np.float32)
    for epoch, rate in enumerate(rates):
        order = trainer.row_order(0, epoch, N)
        kernels.train(X, Y, order, 100, W, b, loss="mse", learning_rate=rate, backend="numba")
    return W[0]


def test_a_setting_that_is_changed_between_calls_counts_from_the_next():
    model = warm()
    model.set_params(learning_rate=5.0).partial_fit(X, Y)
    model.learning_rate = 0.5
    model.partial_fit(X, Y)
    assert np.array_equal(model.coef_.T, trained(0.05, 0.05, 5.0, 0.5))


BAD = {
    "loss": "hinge",
    "learning_rate": -1,
    "batch_size": 0,
    "epochs": True,
    "max_steps": 0,
    "l2": False,
    "l2_bias": 1,
    "momentum": 1.0,
    "schedule": "linear",
    "fit_intercept": 1,
    "init": "ones",
    "init_seed": -1,
    "random_state": -1,
    "class_weight": {0: -1.0},
    "feature_scale": 0,
    "eval_every": 0,
    "patience": 0,
    "warm_start": 1,
    "backend": "tpu",
    "n_threads": 0,
    "solver": "adam",
    "tol": 0,
    "max_iter": 0,
    "C": 1.0,
    "features": 3,
    "scaling": "robust",
}


def test_every_setting_has_a_bad_value():
    assert BAD.keys() == SoftmaxRegression().get_params().keys()


@pytest.mark.parametrize("name", BAD)
def test_a_setting_that_becomes_bad_is_refused_as_at_first(name):
    model = warm(epochs=1, l2=0)
    with pytest.raises((TypeError, ValueError)) as at_first:
        SoftmaxRegression(**{"backend": "numba", name: BAD[name]}).partial_fit(X, Y, CLASSES)
    good, before = getattr(model, name), model.coef_
    setattr(model, name, BAD[name])
    for _ in range(2):
        with pytest.raises(at_first.type) as later:
            model.partial_fit(X, Y, CLASSES)
        assert str(later.value) == str(at_first.value)
    assert model.coef_ is before
    setattr(model, name, good)
    model.partial_fit(X, Y, CLASSES)
    assert model.n_iter_ == 3


def test_class_weights_that_change_where_they_are_are_checked_again():
    weights = {0: 2.0}
    model = warm(class_weight=weights)
    before = copy.deepcopy(model).partial_fit(X, Y).coef_
    weights[0] = 0.0
    assert not np.array_equal(copy.deepcopy(model).partial_fit(X, Y).coef_, before)
    weights[0] = -1.0
    with pytest.raises(ValueError, match=r"class_weight\[0\] must be at least 0"):
        model.partial_fit(X, Y)


@pytest.mark.parametrize(
    "same", [CLASSES, CLASSES.tolist(), CLASSES[::-1], CLASSES.astype(np.int32), None]
)
def test_the_same_classes_in_any_form_are_the_same(same):
    model = warm().partial_fit(X, Y, same)
    assert np.array_equal(model.coef_, warm().partial_fit(X, Y).coef_)


@pytest.mark.parametrize("other", [CLASSES + 1, CLASSES[:-1], np.arange(11), CLASSES.astype(str)])
def test_other_classes_are_refused_also_after_the_same(other):
    model = warm()
    before = model.coef_
    for _ in range(2):
        with pytest.raises(ValueError, match="not the same as on last call to partial_fit"):
            model.partial_fit(X, Y, other)
    assert model.coef_ is before


def test_classes_that_are_changed_where_they_are_are_other_classes():
    classes = CLASSES.copy()
    model = warm().partial_fit(X, Y, classes)
    classes[0] = 77
    with pytest.raises(ValueError, match="not the same as on last call to partial_fit"):
        model.partial_fit(X, Y, classes)
    assert model.classes_[0] == 0


FORMS = {
    "by columns": np.asfortranarray,
    "rows that lie apart": lambda X: np.hstack([X, X])[:, :D],
    "every other column": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "from the last row": lambda X: X[::-1].copy()[::-1],
    "another byte order": lambda X: X.astype(">f4"),
    "float64": lambda X: X.astype(np.float64),
    "a list": lambda X: X.tolist(),
    "a subclass": lambda X: X.view(type("Rows", (np.ndarray,), {})),
    "read only": lambda X: np.frombuffer(X.tobytes(), np.float32).reshape(X.shape),
    "not aligned": lambda X: np.frombuffer(b"x" + X.tobytes(), np.float32, offset=1).reshape(
        X.shape
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_rows_in_another_form_are_the_same_rows(form):
    given = FORMS[form](X)
    one, other = warm(), warm()
    assert np.array_equal(one.predict(given), other.predict(X))
    assert np.array_equal(one.partial_fit(given, Y).coef_, other.partial_fit(X, Y).coef_)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, ">i8", np.float32, object, list])
def test_labels_of_another_type_are_the_same_labels(dtype):
    labels = Y.tolist() if dtype is list else Y.astype(dtype)
    assert np.array_equal(warm().partial_fit(X, labels).coef_, warm().partial_fit(X, Y).coef_)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (X.astype(np.complex64), "Complex data not supported"),
        (X.astype(np.longdouble), "X must hold numbers"),
        (X[:, :-1], "X has 783 features, but SoftmaxRegression is expecting 784 features"),
        (X[0], "X must be 2-D"),
        (X[:0], "X is empty: 0 sample"),
        (np.ma.masked_array(X, X > 0), "is masked"),
        (np.ones((N, D), np.uint8), "is uint8, which may be pixels or numbers"),
    ],
)
def test_rows_of_another_kind_are_refused_by_a_model_that_is_warm(given, said):
    model = warm()
    before = model.coef_
    with pytest.raises((TypeError, ValueError), match=said):
        model.predict(given)
    with pytest.raises((TypeError, ValueError), match=said):
        model.partial_fit(given, Y[: len(given)])
    assert model.coef_ is before


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [0, 57, 99])
def test_a_row_that_is_not_finite_is_named_and_changes_nothing(bad, row):
    model, rows = warm(), X.copy()
    rows[row, 3] = bad
    before = model.coef_, model.n_iter_, model.loss_curve_
    for call in (lambda: model.predict(rows), lambda: model.partial_fit(rows, Y)):
        with pytest.raises(ValueError, match=rf"^X\[{row}, 3\] is {bad}"):
            call()
    after = model.coef_, model.n_iter_, model.loss_curve_
    assert all(map(operator.is_, after, before))
    with pytest.raises(ValueError, match=r"^X\[0, 3\]"):
        model.predict(rows[row : row + 1])


def test_values_whose_sum_overflows_are_finite():
    rows = np.full((1, D), np.finfo(np.float32).max, np.float32)
    assert warm().predict(rows).shape == (1,)


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (10, r"y\[4\] = 10 is not one of the classes"),
        (-1, r"y\[4\] = -1 is not one of the classes"),
    ],
)
def test_a_label_that_is_no_class_is_named(label, said):
    labels = Y.copy()
    labels[4] = label
    with pytest.raises(ValueError, match=said):
        warm().partial_fit(X, labels)


def test_weights_that_were_set_by_hand_are_gone_on_with():
    model = warm()
    model.coef_ = np.zeros_like(model.coef_)
    model.intercept_ = np.zeros_like(model.intercept_)
    model.seed_, model.n_iter_ = 0, 0
    assert np.array_equal(model.partial_fit(X, Y).coef_.T, trained(0.05))


def test_what_a_model_learned_from_is_told_from_all_rows_it_was_given():
    unit = (X - X.min()) / (X.max() - X.min())
    model = SoftmaxRegression().partial_fit(unit, Y, CLASSES)
    assert model.partial_fit(unit, Y).learned_from_ == "floats within [0, 1]"
    assert model.partial_fit(X, Y).learned_from_ == "floats beyond [0, 1]"
    with pytest.warns(UserWarning, match="reaches 50"):
        SoftmaxRegression().partial_fit(unit, Y, CLASSES).predict(50 * unit)

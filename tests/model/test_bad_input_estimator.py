"""Promise: the estimator refuses bad input with a clear error, the same on every backend."""

import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 4)).astype(np.float32)
Y = np.arange(12) % 3


def with_value(value, dtype=np.float32):
    bad = X.astype(dtype)
    bad[5, 2] = value
    bad[7, 0] = value
    return bad


BAD_ROWS = {
    "one dimension": (X[0], Y, ValueError, "2-D"),
    "three dimensions": (
        X[None],
        Y,
        ValueError,
        r"2-D.* X\.reshape\(len\(X\), -1\) keeps its rows",
    ),
    "no rows": (X[:0], Y[:0], ValueError, "empty"),
    "no columns": (X[:, :0], Y, ValueError, "empty"),
    "NaN": (with_value(np.nan), Y, ValueError, r"X\[5, 2\] is nan"),
    "inf": (with_value(np.inf), Y, ValueError, r"X\[5, 2\] is inf"),
    "inf of both signs": (
        with_value(np.inf) * np.array([[1], [-1]] * 6, np.float32),
        Y,
        ValueError,
        r"X\[5, 2\] is -inf",
    ),
    "NaN in float16": (with_value(np.nan, np.float16), Y, ValueError, r"X\[5, 2\]"),
    "NaN in float64": (with_value(np.nan, np.float64), Y, ValueError, r"X\[5, 2\]"),
    "complex": (X.astype(complex), Y, ValueError, "complex128. Complex data not supported"),
    "objects": (with_value({}, object), Y, TypeError, r"X\[5, 2\] is {}"),
    "numbers as text": (with_value("1.5", object), Y, TypeError, r"X\[5, 2\] is '1.5'"),
    "strings": (X.astype(str), Y, TypeError, "must hold numbers"),
    "too many labels": (X, np.arange(13) % 3, ValueError, "13 labels.*12 rows"),
    "fractional labels": (X, Y + np.where(np.arange(12) == 4, 0.5, 0), ValueError, r"y\[4\] = 1.5"),
    "NaN labels": (X, np.where(np.arange(12) == 4, np.nan, Y), ValueError, r"y\[4\] = nan"),
    "inf labels": (X, np.where(np.arange(12) == 4, np.inf, Y), ValueError, r"y\[4\] = inf"),
    "complex labels": (X, Y.astype(complex), TypeError, "complex"),
    "mixed labels": (X, np.array([*Y[:-1], "a"], dtype=object), TypeError, r"y\[0\]"),
    "labels in two columns": (X, np.stack([Y, Y], axis=1), ValueError, "1-D"),
    "one class": (X, np.zeros(12, int), ValueError, "one class"),
    "soft targets of another length": (X, np.full((11, 3), 1 / 3), ValueError, "12 rows"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_rows_are_refused(case, backend):
    rows, labels, error, message = BAD_ROWS[case]
    estimator = SoftmaxRegression(random_state=0, epochs=1, backend=backend)
    with pytest.raises(error, match=message):
        estimator.fit(rows, labels)


BAD_SETTINGS = {
    "loss": ("hinge", ValueError),
    "learning_rate": (0.0, ValueError),
    "batch_size": (0, ValueError),
    "epochs": (0, ValueError),
    "max_steps": (0, ValueError),
    "l2": (-1.0, ValueError),
    "l2_bias": (1, TypeError),
    "momentum": (1.0, ValueError),
    "schedule": ("linear", ValueError),
    "fit_intercept": ("yes", TypeError),
    "init": ("ones", ValueError),
    "init_seed": (-1, ValueError),
    "random_state": (1.5, TypeError),
    "class_weight": ("even", ValueError),
    "feature_scale": ("none", ValueError),
    "eval_every": (0, ValueError),
    "patience": (0, ValueError),
    "warm_start": (1, TypeError),
    "solver": ("newton", ValueError),
    "tol": (0.0, ValueError),
    "max_iter": (0, ValueError),
    "C": (-1.0, ValueError),
    "features": ("0:5", TypeError),
    "scaling": ("z", ValueError),
    "n_threads": (0, ValueError),
    "backend": ("cuda", ValueError),
}


def test_every_setting_has_a_bad_value_here():
    assert set(BAD_SETTINGS) == set(SoftmaxRegression().get_params())


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_bad_settings_are_refused_and_named(name, backend):
    value, error = BAD_SETTINGS[name]
    estimator = SoftmaxRegression(**{"random_state": 0, "backend": backend, name: value})
    with pytest.raises(error, match=name):
        estimator.fit(X, Y, X_val=X, y_val=Y)


class Unread:
    """Rows that nobody may look at."""

    def __getattr__(self, name):
        raise AssertionError("the rows were read")


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_bad_settings_are_refused_before_the_rows_are_read(name):
    value, error = BAD_SETTINGS[name]
    rows = Unread()
    for fit in (
        lambda model: model.fit(rows, rows, X_val=rows, y_val=rows),
        lambda model: model.partial_fit(rows, rows),
    ):
        with pytest.raises(error, match=name):
            fit(SoftmaxRegression(**{name: value}))


BAD_IN_A_SWEEP = {
    "param_grid": ({"lr": [1.0]}, ValueError),
    "cv": (1, ValueError),
    "n_bootstrap": (1, ValueError),
    "bootstrap": ("bayes", ValueError),
    "refit": ("f1", ValueError),
    "scoring": ("no score", ValueError),
    "halving": (1, TypeError),
    "memory": ("lots", ValueError),
    "missing": ([-1], TypeError),
    "refit_together": (1, TypeError),
}


@pytest.mark.parametrize("name", SoftmaxSweep({}).get_params())
def test_bad_settings_of_a_sweep_are_refused_before_the_rows_are_read(name):
    value, error = (BAD_SETTINGS | BAD_IN_A_SWEEP)[name]
    rows = Unread()
    with pytest.raises(error, match=name):
        SoftmaxSweep(**{"param_grid": {}, name: value}).fit(rows, rows, X_val=rows, y_val=rows)


@pytest.mark.parametrize("at", [0, 2])
def test_a_bad_entry_of_a_grid_is_refused_before_the_rows_are_read(at):
    for name in ("learning_rate", "l2", "momentum", "loss", "init", "init_seed"):
        value, error = BAD_SETTINGS[name]
        entries = [{}, {}, {}]
        entries[at] = {name: value}
        with pytest.raises(error, match=name):
            SoftmaxSweep(entries, cv=2).fit(Unread(), Unread())


@pytest.mark.parametrize("rate", [np.nan, np.inf, "fast", True, None])
def test_a_learning_rate_that_is_no_number_is_refused(rate):
    with pytest.raises((TypeError, ValueError), match="learning_rate must be"):
        SoftmaxRegression(learning_rate=rate).fit(X, Y)


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.ones(11), ValueError, "12 rows"),
        (-np.ones(12), ValueError, r"sample_weight\[0\]"),
        (np.where(np.arange(12) == 3, np.nan, 1), ValueError, r"sample_weight\[3\]"),
        (np.zeros(12), ValueError, "sum to zero"),
        (np.ones(12, complex), TypeError, "complex"),
    ],
)
def test_bad_weights_are_refused(weights, error, message):
    with pytest.raises(error, match=message):
        SoftmaxRegression().fit(X, Y, sample_weight=weights)


def test_bad_held_out_rows_are_refused():
    def fit(**held_out):
        SoftmaxRegression(random_state=0).fit(X, Y, **held_out)

    with pytest.raises(ValueError, match="X_val and y_val together"):
        fit(X_val=X)
    with pytest.raises(
        ValueError, match="X_val has 3 features, but SoftmaxRegression is expecting 4"
    ):
        fit(X_val=X[:, :3], y_val=Y)
    with pytest.raises(ValueError, match=r"X_val\[5, 2\] is nan"):
        fit(X_val=with_value(np.nan), y_val=Y)
    with pytest.raises(ValueError, match=r"y_val\[0\] = 8 is not one of the classes"):
        fit(X_val=X, y_val=Y + 8)
    with pytest.raises(ValueError, match="patience needs held-out rows"):
        SoftmaxRegression(patience=2).fit(X, Y)


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_bad_rows_are_refused_when_predicting_too(method, backend):
    call = getattr(SoftmaxRegression(random_state=0, epochs=1, backend=backend).fit(X, Y), method)
    with pytest.raises(ValueError, match="X has 3 features, but SoftmaxRegression is expecting 4"):
        call(X[:, :3])
    with pytest.raises(ValueError, match=r"X\[5, 2\] is nan"):
        call(with_value(np.nan))
    with pytest.raises(TypeError, match=r"X\[5, 2\] is None"):
        call(with_value(None, object))


def test_huge_finite_values_are_not_taken_for_infinities():
    wide = np.full((12, 4), 3e38, np.float32)
    wide[:, 0] = np.where(Y == 0, 3e38, -3e38)
    fitted = SoftmaxRegression(random_state=0, epochs=1, max_steps=1, learning_rate=1e-39)
    with pytest.warns(UserWarning, match="standard deviations"):
        fitted.fit(wide, Y)
    assert fitted.predict(wide).shape == (12,)


def test_a_class_weight_for_an_unknown_class_is_refused():
    with pytest.raises(ValueError, match="class_weight names 9"):
        SoftmaxRegression(class_weight={9: 1.0}).fit(X, Y)
    with pytest.raises(ValueError, match="class_weight needs labels"):
        SoftmaxRegression(class_weight="balanced").fit(X, np.full((12, 3), 1 / 3))


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_a_warning_names_the_line_of_the_user(method):
    table = pytest.importorskip("pandas").DataFrame(X, columns=list("abcd"))
    model = SoftmaxRegression(epochs=1, random_state=0).fit(table, Y)
    with pytest.warns(UserWarning, match="X does not have valid feature names") as found:
        getattr(model, method)(X)
    assert found[0].filename == __file__

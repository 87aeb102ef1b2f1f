"""Promise: SoftmaxRegression keeps scikit-learn's contract, as scikit-learn itself checks it."""

import pickle
import warnings

import numpy as np
import pytest

from softstep import SoftmaxRegression
from softstep.model import NotFittedError

checks = pytest.importorskip("sklearn.utils.estimator_checks")
exceptions = pytest.importorskip("sklearn.exceptions")

RNG = np.random.default_rng(0)
Y = np.arange(60) % 3
X = RNG.standard_normal((60, 4)) + 2 * np.eye(4)[Y]

PATIENT = SoftmaxRegression("cross_entropy", learning_rate=0.01, epochs=200)
FAILS = {
    "check_class_weight_classifiers": "rows of standard deviation 20 as they are: the default rate "
    "is too large for them, its epochs too few for a smaller one; PATIENT passes",
}


with warnings.catch_warnings():  # it warns of estimators that need no scikit-learn
    warnings.simplefilter("ignore")
    every_check = checks.parametrize_with_checks(
        [SoftmaxRegression(), PATIENT],
        expected_failed_checks=lambda estimator: {} if estimator.epochs == 200 else FAILS,
    )


@every_check
def test_scikit_learns_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its data are not scaled, which is warned of
        check(estimator)


def test_its_error_is_scikit_learns_too():
    with pytest.raises(exceptions.NotFittedError, match="call fit first") as found:
        SoftmaxRegression().predict(X)
    assert isinstance(found.value, NotFittedError)
    assert str(pickle.loads(pickle.dumps(found.value))) == str(found.value)


def test_log_probabilities_are_finite_where_probabilities_underflow():
    fitted = SoftmaxRegression(random_state=0).fit(X, Y)
    np.testing.assert_allclose(
        fitted.predict_log_proba(X), np.log(fitted.predict_proba(X)), rtol=1e-12, atol=1e-12
    )
    far = fitted.predict_log_proba(1e6 * X)
    assert np.isfinite(far).all()
    assert far.min() < -1e3


def test_a_column_of_labels_is_taken_with_a_warning():
    expected = SoftmaxRegression(random_state=0).fit(X, Y).coef_
    for column in (Y[:, None], Y[:, None].astype(float)):
        with pytest.warns(exceptions.DataConversionWarning, match="A column-vector y was passed"):
            found = SoftmaxRegression(random_state=0).fit(X, column)
        assert np.array_equal(found.coef_, expected)


def test_a_random_state_gives_the_seed_and_is_saved_as_it(tmp_path):
    one, other = (
        SoftmaxRegression(random_state=np.random.RandomState(3)).fit(X, Y) for _ in range(2)
    )
    assert np.array_equal(one.coef_, other.coef_)
    one.save(tmp_path / "model.npz")
    assert SoftmaxRegression.load(tmp_path / "model.npz").random_state == one.seed_


def test_repr_takes_settings_that_are_arrays():
    assert "learning_rate=array" in repr(SoftmaxRegression(learning_rate=np.ones(2)))

"""Promise: the estimators keep scikit-learn's contract, as scikit-learn itself checks it."""

import inspect
import os
import pickle
import sys
import warnings

import numpy as np
import pytest
from processes import run

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.bench.studies import interop
from softstep.model import NotFittedError

checks = pytest.importorskip("sklearn.utils.estimator_checks")
exceptions = pytest.importorskip("sklearn.exceptions")
base = pytest.importorskip("sklearn.base")
pipeline = pytest.importorskip("sklearn.pipeline")
preprocessing = pytest.importorskip("sklearn.preprocessing")
selection = pytest.importorskip("sklearn.model_selection")
sklearn_utils = pytest.importorskip("sklearn.utils")

RNG = np.random.default_rng(0)
Y = np.arange(60) % 3
X = RNG.standard_normal((60, 4)) + 2 * np.eye(4)[Y]

ALONE, SWEEP = map(base.clone, interop.CHECKED)
QUICK = {"epochs": 5, "random_state": 0}


def either(**settings):
    """Both estimators, to learn a few epochs."""
    return (
        SoftmaxRegression(**QUICK, **settings),
        SoftmaxSweep({"learning_rate": [0.1, 0.5]}, cv=2, **QUICK, **settings),
    )


with warnings.catch_warnings():  # it warns of estimators that need no scikit-learn
    warnings.simplefilter("ignore")
    every_check = checks.parametrize_with_checks([ALONE, SWEEP])


@every_check
def test_scikit_learns_checks(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its data are not scaled, which is warned of
        check(estimator)


@pytest.mark.parametrize("estimator", [ALONE, SWEEP])
def test_its_error_is_scikit_learns_too(estimator):
    with pytest.raises(exceptions.NotFittedError, match="call fit first") as found:
        estimator.predict(X)
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
    for estimator in either():
        expected = estimator.fit(X, Y).predict_proba(X)
        for column in (Y[:, None], Y[:, None].astype(float)):
            with pytest.warns(exceptions.DataConversionWarning, match="A column-vector y was"):
                estimator.fit(X, column)
            assert np.array_equal(estimator.predict_proba(X), expected)


def test_a_random_state_gives_the_seed_and_is_saved_as_it(tmp_path):
    one, other = (
        SoftmaxRegression(random_state=np.random.RandomState(3)).fit(X, Y) for _ in range(2)
    )
    assert np.array_equal(one.coef_, other.coef_)
    one.save(tmp_path / "model.npz")
    assert SoftmaxRegression.load(tmp_path / "model.npz").random_state == one.seed_

    state = np.random.RandomState(3)
    sweeps = [SWEEP.set_params(random_state=state, epochs=2).fit(X, Y).seed_ for _ in range(2)]
    assert sweeps[0] == one.seed_ != sweeps[1]


def test_repr_takes_settings_that_are_arrays():
    assert "learning_rate=array" in repr(SoftmaxRegression(learning_rate=np.ones(2)))
    assert "learning_rate': array" in repr(SoftmaxSweep({"learning_rate": np.ones(2)}, cv=[X, X]))


def test_notebooks_show_scikit_learns_diagram():
    for estimator in either():
        assert "sk-top-container" in estimator._repr_html_()
        assert "sk-top-container" in pipeline.make_pipeline(estimator)._repr_html_()


def test_nothing_needs_scikit_learn():
    """Where it is not loaded, nothing loads it."""
    program = """
import sys
import numpy as np
from softstep import SoftmaxRegression, SoftmaxSweep
X, y = np.eye(4).repeat(5, axis=0), np.arange(4).repeat(5)
for model in (SoftmaxRegression(warm_start=True), SoftmaxSweep({}, cv=2)):
    assert model._repr_html_() is None
    assert not hasattr(model, "set_fit_request")
    assert not hasattr(model, "get_metadata_routing")
    model.fit(X, y).score(X, y)
    repr(model)
print("sklearn" in sys.modules)
"""
    assert run(sys.executable, "-c", program).strip() == "False"


# metadata routing


@pytest.fixture
def routing():
    sklearn = pytest.importorskip("sklearn")
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def test_weights_are_routed_through_pipelines_and_searches(routing):
    weight = RNG.random(60)
    for estimator in either():
        asked = estimator.set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        assert asked is estimator
        scaler = preprocessing.StandardScaler().set_fit_request(sample_weight=False)
        chain = pipeline.make_pipeline(scaler, estimator).fit(X, Y, sample_weight=weight)
        scaled = chain[0].transform(X)
        alone = base.clone(estimator).fit(scaled, Y, sample_weight=weight)
        assert np.array_equal(chain.predict_proba(X), alone.predict_proba(scaled))
        expected = alone.score(scaled, Y, sample_weight=weight)
        assert chain.score(X, Y, sample_weight=weight) == expected != alone.score(scaled, Y)
        search = selection.GridSearchCV(chain, {f"{chain.steps[1][0]}__epochs": [1, 5]}, cv=2)
        search.fit(X, Y, sample_weight=weight)
        assert search.best_estimator_[-1].get_metadata_routing().fit.requests["sample_weight"]


def test_weights_nobody_asked_for_are_refused(routing):
    for estimator in either():
        assert not hasattr(estimator, "set_transform_request")
        with pytest.raises(exceptions.UnsetMetadataPassedError, match="sample_weight"):
            pipeline.make_pipeline(estimator).fit(X, Y, sample_weight=np.ones(60))
    assert hasattr(SoftmaxRegression(), "set_partial_fit_request")
    assert not hasattr(SWEEP, "set_partial_fit_request")


def test_the_tags_say_what_the_estimators_are():
    for estimator in either():
        tags = sklearn_utils.get_tags(estimator)
        assert tags.estimator_type == "classifier"
        assert tags.target_tags.required
        assert base.is_classifier(estimator)


# settings


def test_a_warm_start_goes_on_from_the_last_fit():
    momentum = {"learning_rate": 0.1, **QUICK}
    one = SoftmaxRegression(**momentum).fit(X, Y)
    cold = one.coef_
    assert np.array_equal(one.fit(X, Y).coef_, cold)
    one.set_params(warm_start=True)
    warm = one.fit(X, Y).coef_
    assert not np.array_equal(warm, cold)
    assert one.loss_curve_[0] < SoftmaxRegression(**momentum).fit(X, Y).loss_curve_[0]
    again = SoftmaxRegression(**momentum, warm_start=True).fit(X, Y)
    assert np.array_equal(again.coef_, cold)
    assert np.array_equal(again.fit(X, Y).coef_, warm)


def test_a_warm_start_needs_the_same_columns_and_classes():
    one = SoftmaxRegression(**QUICK, warm_start=True).fit(X, Y)
    before = one.coef_
    with pytest.raises(ValueError, match=r"warm_start goes on with the classes \[0 1 2\]"):
        one.fit(X, Y % 2)
    with pytest.raises(ValueError, match="3 features, but SoftmaxRegression is expecting 4"):
        one.fit(X[:, :3], Y)
    with pytest.raises(TypeError, match="warm_start must be True or False"):
        one.set_params(warm_start=1).fit(X, Y)
    assert one.coef_ is before


def test_weights_come_third_and_all_else_by_name():
    """In another place they would be taken for held-out rows, or for a callback."""
    weight = np.where(Y == 1, 5.0, 1.0)
    for estimator in either():
        given = inspect.signature(estimator.fit).parameters
        assert list(given)[:3] == ["X", "y", "sample_weight"]
        assert {p.kind for p in list(given.values())[3:]} == {inspect.Parameter.KEYWORD_ONLY}
        by_place, by_name, plain = (
            estimator.fit(X, Y, *more, **named).predict_proba(X)
            for more, named in (((weight,), {}), ((), {"sample_weight": weight}), ((), {}))
        )
        assert np.array_equal(by_place, by_name)
        assert not np.array_equal(by_place, plain)
        with pytest.raises(TypeError, match="positional"):
            estimator.fit(X, Y, None, X, Y)


def test_iterations_are_those_of_the_best():
    alone, swept = either()
    for estimator in (alone, swept):
        assert not hasattr(estimator, "n_iter_")
        assert estimator.fit(X, Y).n_iter_ == 5
        assert "n_iter_" in vars(estimator)
    assert swept.fit(X, np.stack([Y, Y[::-1]], axis=1)).n_iter_ == [5, 5]


def test_class_weights_may_name_a_class_that_is_missing_here():
    weights = {0: 1.0, 1: 2.0, 2: 3.0}
    few = Y != 2
    for estimator in either():
        expected = estimator.set_params(class_weight={0: 1.0, 1: 2.0}).fit(X[few], Y[few])
        expected = expected.predict_proba(X)
        with pytest.warns(UserWarning, match="class_weight names 2, which is not one of"):
            found = estimator.set_params(class_weight=weights).fit(X[few], Y[few])
        assert np.array_equal(found.predict_proba(X), expected)
        with pytest.raises(ValueError, match="class_weight names '0', which is not one of"):
            estimator.set_params(class_weight={"0": 1.0}).fit(X, Y)
    solved = SoftmaxRegression(solver="lbfgs", C=1.0, class_weight=weights)
    with pytest.warns(UserWarning, match="class_weight names 2") as found:
        solved.fit(X[few], Y[few])
    assert len(found) == 1  # it is said once


# arrays of other libraries


DISPATCHED = """
import numpy as np
import sklearn
import torch
from sklearn import metrics, model_selection
from softstep import SoftmaxRegression, SoftmaxSweep

Y = np.arange(60) % 3
X = np.random.default_rng(0).standard_normal((60, 4)) + 2 * np.eye(4)[Y]
tensor, labels = torch.from_numpy(X), torch.from_numpy(Y)
QUICK = {"epochs": 5, "random_state": 0}
sklearn.set_config(array_api_dispatch=True)
for model in (SoftmaxRegression(**QUICK), SoftmaxSweep({"learning_rate": [0.1]}, cv=2, **QUICK)):
    expected = model.fit(X, Y).predict_proba(X)
    model.fit(tensor, labels)
    for method in ("decision_function", "predict_log_proba", "predict_proba", "predict"):
        assert isinstance(getattr(model, method)(tensor), torch.Tensor), method
    assert np.array_equal(model.predict_proba(tensor).numpy(), expected)
    accuracy = metrics.accuracy_score(labels, model.predict(tensor))
    assert abs(accuracy - model.score(tensor, labels)) < 1e-6  # torch's is a float32
    found = model_selection.cross_val_score(model, tensor, labels, cv=3)
    assert np.array_equal(found, model_selection.cross_val_score(model, X, Y, cv=3))
    search = model_selection.GridSearchCV(model, {"epochs": [1, 5]}, cv=3)
    assert search.fit(tensor, labels).best_score_ > 0.6
print("done")
"""


def test_array_api_dispatch_with_torch():
    """scikit-learn's metrics, folds and searches on tensors; results are tensors."""
    pytest.importorskip("torch")
    environment = os.environ | {"SCIPY_ARRAY_API": "1"}  # which SciPy reads as it is imported
    assert run(sys.executable, "-c", DISPATCHED, env=environment).strip() == "done"


def test_labels_that_are_text_stay_numpy_arrays():
    torch = pytest.importorskip("torch")
    names = np.array(["a", "b", "c"])[Y]
    for estimator in either():
        estimator.fit(X, names)
        assert np.array_equal(estimator.predict(torch.from_numpy(X)), estimator.predict(X))

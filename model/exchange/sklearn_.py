"""scikit-learn's LogisticRegression."""

from typing import Any

import numpy as np

from softstep.kernels.checks import Array
from softstep.model import inputs
from softstep.model.exchange.linear import Linear
from softstep.model.extras import load
from softstep.model.fitted import Fitted, not_fitted


def to_estimator(linear: Linear) -> Any:
    """The estimator, as if fitted."""
    estimator = load("sklearn.linear_model", extra="sklearn").LogisticRegression()
    weight, bias = linear.weight, linear.bias
    if len(weight) == 2:
        weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
    estimator.coef_, estimator.intercept_ = weight, bias
    estimator.classes_, estimator.n_iter_ = linear.classes, np.zeros(1, np.int32)
    estimator.n_features_in_ = weight.shape[1]
    if linear.names is not None:
        estimator.feature_names_in_ = linear.names
    return estimator


def from_estimator(estimator: Any) -> Linear:
    """What it computes."""
    kind = load("sklearn.linear_model", extra="sklearn").LogisticRegression
    if not isinstance(estimator, kind):
        raise TypeError(f"this takes a LogisticRegression, not {type(estimator).__name__}")
    if not hasattr(estimator, "coef_"):
        raise not_fitted(type(estimator).__name__)
    weight, classes = _floats(estimator.coef_, "coef_"), estimator.classes_
    bias = np.broadcast_to(_floats(estimator.intercept_, "intercept_"), len(weight))
    if len(classes) == 2 and getattr(estimator, "multi_class", None) == "multinomial":
        raise ValueError(
            'it has two classes and multi_class="multinomial", which doubles what its coefficients '
            "say: fit it without that setting"
        )
    if len(classes) == 2:
        weight, bias = (np.concatenate([-half, half]) for half in (weight / 2, bias / 2))
    elif estimator.solver == "liblinear" or getattr(estimator, "multi_class", None) == "ovr":
        raise ValueError(
            f"it has {len(classes)} classes, each learned against the rest: that is no softmax. "
            'Fit it with solver="lbfgs"'
        )
    names = getattr(estimator, "feature_names_in_", None)
    return Linear(weight, bias.astype(weight.dtype), classes, names)


def _floats(values: Any, name: str) -> Array:
    found = inputs.host_array(values, name)
    return found if found.dtype == np.float32 else found.astype(np.float64)


def after_scaling(estimator: Any, fitted: Fitted) -> Any:
    """The estimator, after rows are brought to unit length, where the model does that.

    Raises:
        ValueError: the length is that of some of the columns.
    """
    if fitted.scaler is None or not fitted.scaler.unit:
        return estimator
    if fitted.schema.seen != fitted.schema.width:
        raise ValueError(
            f"scaling={fitted.scaler.scaling!r} brings the columns {fitted.schema.columns} to unit "
            "length, and no pipeline of scikit-learn's Normalizer does: fit on these columns alone"
        )
    pipeline, preprocessing = (
        load(f"sklearn.{name}", extra="sklearn") for name in ("pipeline", "preprocessing")
    )
    normalizer = preprocessing.Normalizer()  # it is given the columns, and gives none with names
    normalizer.n_features_in_ = fitted.schema.width
    if fitted.schema.names is not None:
        normalizer.feature_names_in_ = fitted.schema.names
        del estimator.feature_names_in_
    return pipeline.make_pipeline(normalizer, estimator)

"""Settings that cannot be meant are refused before anything is trained, in one sentence."""

import numpy as np
import pytest

from softstep import SoftmaxRegression
from softstep.model import SoftmaxSweep

X, Y = np.random.default_rng(0).random((12, 3)), np.arange(12) % 2


@pytest.mark.parametrize(
    ("setting", "error", "text"),
    [
        ({"loss": ["mse"]}, ValueError, "loss must be one of 'mse'"),
        ({"schedule": {}}, ValueError, "schedule must be one of"),
        ({"init": 3}, ValueError, "init must be one of"),
        ({"feature_scale": "x"}, ValueError, "feature_scale must be 'auto' or a number, not 'x'"),
        ({"feature_scale": 0}, ValueError, "feature_scale must not be 0"),
        ({"feature_scale": ["auto"]}, TypeError, "feature_scale must be a number"),
    ],
)
def test_a_setting_of_no_meaning_is_named(setting, error, text):
    with pytest.raises(error, match=text):
        SoftmaxRegression(**setting).fit(X, Y)


@pytest.mark.parametrize("make", [SoftmaxRegression, lambda: SoftmaxSweep({"l2": [0.0]}, cv=2)])
def test_a_callback_that_cannot_be_called_is_refused_before_the_first_epoch(make):
    model = make()
    with pytest.raises(TypeError, match="callback must be a function, not 3"):
        model.fit(X, Y, callback=3)
    assert not [name for name in vars(model) if name.endswith("_")]


@pytest.mark.parametrize("classes", [[], [1]])
def test_fewer_than_two_classes_are_refused(classes):
    with pytest.raises(ValueError, match="at least two are needed"):
        SoftmaxRegression().partial_fit(X, Y, classes=classes)

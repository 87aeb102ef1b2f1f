"""Promise: whatever the table of losses holds can be trained, swept and certified as it says."""

import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep, kernels
from softstep.kernels.losses import LOSSES, Targets
from softstep.model.datasets import load_digits
from softstep.model.optimum.problem import PROVEN

DIGITS = load_digits()
EVERY_LOSS = pytest.mark.parametrize("loss", LOSSES)


@EVERY_LOSS
def test_a_model_learns_digits_with_every_loss(loss):
    model = SoftmaxRegression(loss, learning_rate=0.5, momentum=0.9, epochs=60, random_state=0)
    model.fit(DIGITS.X_train, DIGITS.y_train)
    assert model.score(DIGITS.X_test, DIGITS.y_test) > 0.9


def test_no_two_losses_train_alike():
    models = [
        SoftmaxRegression(loss, learning_rate=0.5, epochs=1, random_state=0).fit(
            DIGITS.X_train, DIGITS.y_train
        )
        for loss in LOSSES
    ]
    for i, one in enumerate(models):
        for other in models[:i]:
            difference = np.abs(one.coef_ - other.coef_).max()
            assert difference > 1e-3 * np.abs(one.coef_).max()


@EVERY_LOSS
def test_the_loss_curve_ends_at_the_loss_of_the_op(loss):
    model = SoftmaxRegression(loss, learning_rate=0.01, epochs=1, batch_size=2000, random_state=0)
    rows, labels = DIGITS.X_train, DIGITS.y_train.astype(np.int64)
    model.fit(rows, labels)  # one step: its loss is that of zero weights
    V = np.zeros((len(rows), 10))
    row = LOSSES[loss]
    given = V if row.forward_input == "V" else kernels.softmax_forward(V)
    expected = getattr(kernels, row.forward)(given, labels).mean()
    # a mean of equal float32 losses, each within an ULP or two of the loss in float64
    np.testing.assert_allclose(model.loss_curve_[0], expected, rtol=4 * np.finfo(np.float32).eps)


@pytest.mark.parametrize(
    "loss", [row.name for row in LOSSES.values() if row.targets is Targets.LABELS]
)
def test_soft_targets_are_refused_where_a_loss_has_no_meaning_for_them(loss):
    targets = np.full((len(DIGITS.X_train), 10), 0.1)
    with pytest.raises(TypeError, match=f"the loss '{loss}' is defined for integer labels only"):
        SoftmaxRegression(loss, epochs=1).fit(DIGITS.X_train, targets)
    grid = {"loss": ["mse", loss]}
    with pytest.raises(TypeError, match=f"the loss '{loss}' is defined for integer labels only"):
        SoftmaxSweep(grid, cv=2, epochs=1).fit(DIGITS.X_train, targets)


def test_an_unknown_loss_is_refused_before_anything_is_trained():
    with pytest.raises(ValueError, match="loss must be one of 'mse', 'cross_entropy', 'gce'"):
        SoftmaxRegression("hinge").fit(DIGITS.X_train, DIGITS.y_train)
    with pytest.raises(ValueError, match="loss must be one of"):
        SoftmaxSweep({"loss": "hinge"}, cv=2).fit(DIGITS.X_train, DIGITS.y_train)


def test_every_convex_loss_has_a_certificate_and_no_other():
    assert set(PROVEN) == {row.name for row in LOSSES.values() if row.is_convex}


def test_a_head_of_a_grid_over_all_losses_equals_the_lone_model():
    settings = {"loss": list(LOSSES), "learning_rate": [0.1, 1.0]}
    rows, labels = DIGITS.X_train[:300], DIGITS.y_train[:300]
    sweep = SoftmaxSweep(settings, cv=2, epochs=2, random_state=0).fit(rows, labels)
    for index, setting in enumerate(sweep.results_["params"]):
        # the bank is wide, the lone model narrow: equal up to rounding, not to the bit
        lone = SoftmaxRegression(**setting, epochs=2, random_state=0).fit(rows, labels)
        found = sweep.estimator(index)
        np.testing.assert_allclose(found.coef_, lone.coef_, rtol=1e-3, atol=1e-5)

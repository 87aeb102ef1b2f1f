"""Promise: a schedule changes the learning rate over the steps of a fit as documented."""

import numpy as np
import pytest

from softstep import SoftmaxRegression, kernels
from softstep.model import schedules, trainer

RNG = np.random.default_rng(0)
X = RNG.standard_normal((50, 4)).astype(np.float32)
Y = X[:, :3].argmax(axis=1)


def test_the_rates_are_those_of_the_formulas():
    t = np.arange(8) / 8
    cosine = schedules.rates("cosine", 2.0, 8, first=0, total=8)
    np.testing.assert_allclose(cosine[:, 0], 1 + np.cos(np.pi * t), rtol=1e-15)
    step = schedules.rates("step", np.array([1.0, 3.0]), 8, first=0, total=8)
    np.testing.assert_allclose(step[:, 1] / 3, [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01], rtol=1e-15)
    assert step.shape == (8, 2)
    assert schedules.rates("constant", 0.5, 8, first=0, total=8) == 0.5


@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_parts_of_a_descent_have_the_rates_of_the_whole(schedule):
    whole = schedules.rates(schedule, 1.0, 10, first=0, total=10)
    parts = [schedules.rates(schedule, 1.0, 5, first=first, total=10) for first in (0, 5)]
    assert np.array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize("schedule", ["cosine", "step"])
def test_a_fit_takes_the_rates_of_all_its_steps(schedule):
    # 3 steps an epoch, the last short; the second epoch ends early
    fitted = SoftmaxRegression(
        learning_rate=0.5, schedule=schedule, batch_size=20, epochs=3, max_steps=5, random_state=3
    ).fit(X, Y)
    W, b = np.zeros((1, 4, 3), np.float32), np.zeros((1, 3), np.float32)
    rates = schedules.rates(schedule, 0.5, 5, first=0, total=5)
    orders = trainer.row_order(3, 0, 50), trainer.row_order(3, 1, 50)[:40]
    for order, part in zip(orders, (rates[:3], rates[3:]), strict=True):
        kernels.train(X, Y, order, 20, W, b, loss="mse", learning_rate=part)
    assert np.array_equal(fitted.coef_, W[0].T)
    constant = fitted.get_params() | {"schedule": "constant"}
    assert not np.array_equal(fitted.coef_, SoftmaxRegression(**constant).fit(X, Y).coef_)


def test_partial_fit_takes_the_rate_as_it_is():
    one, other = (SoftmaxRegression(schedule=s, random_state=0) for s in ("cosine", "constant"))
    for _ in range(2):
        one.partial_fit(X, Y)
        other.partial_fit(X, Y)
    assert np.array_equal(one.coef_, other.coef_)

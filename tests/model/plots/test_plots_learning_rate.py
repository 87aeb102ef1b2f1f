"""Promise: the learning-rate figure shows descents on the true loss, at rates found as stated."""

import numpy as np
import pytest

from softstep import SoftmaxRegression, kernels
from softstep.kernels.losses import LOSSES
from softstep.model import inputs
from softstep.model.datasets import load_digits
from softstep.model.fitted import Fitted
from softstep.model.landscape.line_descent import LineDescent
from softstep.model.plots import learning_rate, three_rates
from softstep.model.plots.learning_rate import NAMES, STEPS, apart

pytest.importorskip("matplotlib")
DIGITS = load_digits()
START, OFFSETS = -20.0, np.linspace(-30, 30, 61)


def a_line(loss, rows=300, dtype=np.float64):
    """Through some weights that classify, in a random direction of any length."""
    X, y = DIGITS.X_train[:rows].astype(dtype), DIGITS.y_train[:rows]
    W, b = np.zeros((1, 64, 10), dtype), np.zeros((1, 10), dtype)
    order = np.tile(np.arange(rows), 100)
    kernels.train(X, y, order, rows, W, b, loss=loss, learning_rate=1.0)
    rng = np.random.default_rng(3)
    direction = 5 * rng.standard_normal((64, 10)), 5 * rng.standard_normal(10)
    direction = tuple(part.astype(dtype) for part in direction)
    return X, y, LineDescent.through(X, y, (W[0], b[0]), direction, loss=loss)


def mean_loss(X, y, W, b, loss):
    return kernels.evaluate(X, y, W[None], b[None], loss=loss, backend="numpy")[0][0]


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_on_the_line_are_those_of_the_oracle_there(loss):
    X, y, line = a_line(loss)
    offsets = np.array([-11.0, 0.0, 0.25, 17.5])
    expected = [mean_loss(X, y, *line.at(t), loss) for t in offsets]
    np.testing.assert_allclose(line.losses(offsets), expected, rtol=1e-11)


def test_a_line_reads_scaled_rows_as_the_kernels_do(monkeypatch):
    some, asked = inputs.ScaledRows.__getitem__, []

    def watched(rows, which):
        asked.append(which)
        return some(rows, which)

    monkeypatch.setattr(inputs.ScaledRows, "__getitem__", watched)
    model = SoftmaxRegression(scaling="l2+standard", epochs=1, random_state=0)
    fitted = Fitted.of(model.fit(DIGITS.X_train, DIGITS.y_train))
    X, scale = fitted.features(DIGITS.X_train)
    W, b = fitted.weights(X)
    line = LineDescent.through(
        X, DIGITS.y_train, (W, b), (W, b), loss=model.loss, feature_scale=scale
    )
    np.testing.assert_array_equal(line.V0, model.decision_function(DIGITS.X_train))
    assert all(isinstance(which, slice) for which in asked)  # one by one it would take minutes


@pytest.mark.parametrize("loss", LOSSES)
def test_the_slope_is_that_of_the_loss(loss):
    X, y, line = a_line(loss)
    dW, db = line.direction
    assert np.sum(dW**2) + np.sum(db**2) == pytest.approx(1, rel=1e-14)
    for t in (-9.0, 0.5, 13.0):
        W, b = line.at(t)
        slope = complex_step(X, y, W, b, dW, db, loss)
        assert line.slope(t) == pytest.approx(slope, rel=1e-9)
        assert abs(slope) > 1e-5


def complex_step(X, y, W, b, dW, db, loss):
    """dL/dt of plain formulas, without differences."""
    V = X @ (W + 1e-30j * dW) + (b + 1e-30j * db)
    P = np.exp(V - V.real.max(axis=1, keepdims=True))
    P /= P.sum(axis=1, keepdims=True)
    if loss == "mse":
        return np.mean((np.eye(10)[y] - P) ** 2).imag / 1e-30
    right = P[np.arange(len(y)), y]
    if loss == "cross_entropy":
        return -np.mean(np.log(right)).imag / 1e-30
    assert loss == "gce"
    return np.mean((1 - right**0.7) / 0.7).imag / 1e-30


def test_descent_follows_the_recurrence():
    _, _, line = a_line("mse")
    t, velocity, expected = START, 0.0, [START]
    for _ in range(4):
        velocity = 0.7 * velocity + line.slope(t)
        t -= 50 * velocity
        expected.append(t)
    assert line.descend(START, 50, 4, momentum=0.7) == pytest.approx(expected, rel=1e-12)
    assert np.ptp(expected) > 0.1


@pytest.mark.parametrize("loss", LOSSES)
def test_the_rates_do_what_they_are_called(loss):
    _, _, line = a_line(loss)
    small, good, large = three_rates(line, START, OFFSETS)
    assert small == good / 4
    assert large > good
    ends = [line.losses(line.descend(START, rate, STEPS)[-1:])[0] for rate in (small, good, large)]
    first, least = line.losses([START])[0], line.losses(OFFSETS).min()
    assert ends[1] - least <= 0.02 * (first - least) < ends[0] - least
    assert ends[0] < first < ends[2]


def test_a_start_that_leads_away_is_refused():
    _, _, line = a_line("mse")
    with pytest.raises(ValueError, match="does not fall"):
        three_rates(line, 3.0, np.linspace(10, 30, 21))


def test_a_direction_without_length_is_refused():
    X, y, line = a_line("mse")
    zero = tuple(np.zeros_like(part) for part in line.direction)
    with pytest.raises(ValueError, match="length must be above 0"):
        LineDescent.through(X, y, line.origin, zero, loss="mse")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_figure_shows_the_balls_on_the_loss(theme):
    _, _, line = a_line("cross_entropy")
    rates = three_rates(line, START, OFFSETS)
    figure = learning_rate(line, START, rates, OFFSETS, theme=theme)
    *panels, _ = figure.axes
    assert len(panels) == 3
    for panel, name, rate in zip(panels, NAMES, rates, strict=True):
        assert panel.get_title(loc="left").startswith(f"{name}: rate ")
        assert panel.get_xlabel().startswith("distance along the line")
        at = line.descend(START, rate, STEPS)
        curve, walk, *_ = panel.lines
        balls, start = panel.collections
        np.testing.assert_array_equal(walk.get_xydata()[:, 0], at)
        np.testing.assert_allclose(balls.get_offsets(), walk.get_xydata(), rtol=1e-12)
        np.testing.assert_allclose(walk.get_ydata(), line.losses(at), rtol=1e-12)
        np.testing.assert_allclose(curve.get_ydata(), line.losses(curve.get_xdata()), rtol=1e-12)
        assert set(at) <= set(curve.get_xdata())  # so that no ball is beside the curve
        assert start.get_offsets()[0][0] == START
        assert start.get_zorder() < balls.get_zorder()
        (low, high), (bottom, top) = panel.get_xlim(), panel.get_ylim()
        assert low < at.min() < at.max() < high
        assert bottom < walk.get_ydata().min() < walk.get_ydata().max() < top
    assert panels[0].get_ylabel() == "cross-entropy (nats)"
    assert panels[0].get_xlim() == panels[1].get_xlim()
    assert panels[0].get_ylim() == panels[1].get_ylim()


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_by_step_is_that_above_the_least_of_the_line(loss):
    _, _, line = a_line(loss)
    rates = three_rates(line, START, OFFSETS)
    steps = learning_rate(line, START, rates, OFFSETS).axes[-1]
    least = line.losses(np.linspace(-30, 30, 60001)).min()
    for curve, rate in zip(steps.lines, rates, strict=True):
        above = line.losses(line.descend(START, rate, STEPS)) - least
        np.testing.assert_allclose(curve.get_ydata(), above, rtol=1e-3)
    assert steps.get_xlabel() == "step"
    expected = {
        "mse": "MSE\nabove the least",
        "cross_entropy": "cross-entropy\nabove the least (nats)",
        "gce": "generalised cross-entropy\nabove the least",
    }
    assert steps.get_ylabel() == expected[loss]
    assert steps.get_yscale() == "log"
    assert [text.get_text() for text in steps.texts] == list(NAMES)


def test_a_rate_that_leads_far_away_does_not_press_the_others_together():
    """They keep a range of their own, which is a box in that of the last."""
    _, _, line = a_line("cross_entropy")
    small, good, _ = three_rates(line, -3.0, np.linspace(-4, 4, 61))
    near, _, far, _ = learning_rate(line, -3.0, (small, good, 500.0), np.linspace(-4, 4, 61)).axes
    walk = line.descend(-3.0, 500.0, STEPS)
    assert np.ptp(walk) > 3 * 8
    assert np.ptp(near.get_xlim()) < 10
    assert far.get_xlim()[0] < walk.min() < walk.max() < far.get_xlim()[1]
    x, y = far.lines[-1].get_data()
    assert (min(x), max(x)) == near.get_xlim()
    assert (min(y), max(y)) == near.get_ylim()
    assert "box: the other panels" in far.get_xlabel()
    together = learning_rate(line, -3.0, (small, good, 1.1 * good), np.linspace(-4, 4, 61)).axes
    assert together[0].get_xlim() == together[2].get_xlim()
    assert len(together[2].lines) == 2


def test_names_that_would_meet_are_moved_apart_in_their_order():
    np.testing.assert_allclose(apart([0.5, 0.1, 0.9], 0.1), [0.5, 0.1, 0.9])
    np.testing.assert_allclose(apart([0.5, 0.48, 0.9], 0.1), [0.54, 0.44, 0.9])
    moved = apart([0.3, 0.3, 0.3], 0.1)
    np.testing.assert_allclose(moved, [0.2, 0.3, 0.4])


def test_a_ball_at_the_lowest_point_does_not_break_the_scale():
    """The loss above the least is 0 there, which a logarithmic scale does not hold."""
    *_, line = a_line("mse")
    start = -23.97315
    for rates in (three_rates(line, start, OFFSETS), (1.0, 30.0, 900.0)):
        figure = learning_rate(line, start, rates, OFFSETS)
        steps = figure.axes[-1]
        figure.draw_without_rendering()
        for text in steps.texts:
            assert -0.2 < text.get_position()[1] < 1.2

"""Promise: the momentum figure shows a place where plain descent stalls, found as stated."""

import numpy as np
import pytest

from softstep import kernels
from softstep.model.datasets import load_digits
from softstep.model.landscape import local_minimum as search
from softstep.model.plots import momentum

pytest.importorskip("matplotlib")
DIGITS = load_digits()
SEED = 24  # what the search of all lines finds on the digits


@pytest.fixture(scope="module")
def found():
    return search.find_local_minimum(DIGITS.X_train, DIGITS.y_train)


@pytest.fixture(scope="module")
def free(found):
    return search.losses_in_all_weights(found, DIGITS.X_train, DIGITS.y_train)


def oracle(found, offset):
    W, b = found.line.at(offset)
    X, y = DIGITS.X_train, DIGITS.y_train
    return kernels.evaluate(X, y, W[None], b[None], loss="mse", backend="numpy")[0][0]


def test_the_line_has_two_minima_and_a_crest_between(found):
    assert found.seed == SEED
    local_minimum, crest, valley, start = (
        oracle(found, t) for t in (found.local_minimum, found.crest, found.valley, found.start)
    )
    assert start > crest > local_minimum > valley
    assert start - crest >= crest - local_minimum > 0.004
    assert local_minimum - valley > 0.004
    for minimum in (found.local_minimum, found.valley):
        assert oracle(found, minimum) < min(oracle(found, minimum + s) for s in (-2, 2))


def test_plain_descent_stalls_and_momentum_arrives(found):
    line, rate = found.line, found.learning_rate
    steps = search.STEPS
    np.testing.assert_array_equal(found.plain, line.descend(found.start, rate, steps))
    np.testing.assert_array_equal(
        found.with_momentum, line.descend(found.start, rate, steps, momentum=search.MOMENTUM)
    )
    assert abs(found.plain[-1] - found.local_minimum) < search.NEAR
    assert abs(found.with_momentum[-1] - found.valley) < search.NEAR
    assert abs(found.faster[-1] - found.valley) > search.NEAR
    assert line.slope(found.plain[-1]) == pytest.approx(0, abs=1e-6)  # at rest
    longest = np.abs(np.diff(found.with_momentum)).max()
    assert longest <= (found.valley - found.local_minimum) / 4  # it rolls, it does not jump


def test_off_the_line_it_is_no_minimum(found, free):
    assert len(free) == search.STEPS + 1
    assert free[0] == pytest.approx(oracle(found, found.start), rel=1e-5)
    assert free[-1] < 0.6 * oracle(found, found.valley)


def test_rows_without_such_a_line_are_refused(monkeypatch):
    monkeypatch.setattr(search, "LINES", 2)
    with pytest.raises(ValueError, match="on none of 2 lines"):
        search.find_local_minimum(DIGITS.X_train[:200], DIGITS.y_train[:200])


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_figure_shows_both_walks_on_the_loss(found, free, theme):
    top, middle, bottom = momentum(found, free, theme=theme).axes
    curve, with_momentum, plain = top.lines
    np.testing.assert_array_equal(curve.get_xydata().T, [found.offsets, found.losses])
    np.testing.assert_array_equal(plain.get_xdata(), found.plain)
    np.testing.assert_array_equal(with_momentum.get_xdata(), found.with_momentum)
    for walk in (plain, with_momentum):
        np.testing.assert_array_equal(walk.get_ydata(), found.line.losses(walk.get_xdata()))
    places = [text.get_text() for text in top.texts]
    expected = [
        f"{name.replace('_', ' ')}\n{oracle(found, getattr(found, name)):.4f}"
        for name in ("start", "local_minimum", "crest", "valley")
    ]
    assert places == expected
    assert (top.get_xlabel(), top.get_ylabel()) == ("distance along the line", "MSE")
    assert (bottom.get_xlabel(), bottom.get_ylabel()) == ("step", "MSE")
    for axes, curves in (
        (
            middle,
            [found.line.losses(at) for at in (found.faster, found.plain, found.with_momentum)],
        ),
        (bottom, [found.line.losses(found.plain), free]),
    ):
        for line, losses in zip(axes.lines, curves, strict=True):
            np.testing.assert_array_equal(line.get_ydata(), losses)
        assert len(axes.get_legend().get_texts()) == len(curves)


def test_the_losses_on_the_line_can_be_told_apart(found, free):
    """The last ones are a tenth of their panel apart at least."""
    _, middle, _ = momentum(found, free).axes
    faster, plain, rolled = (line.get_ydata() for line in middle.lines)
    tenth = np.ptp(middle.get_ylim()) / 10
    assert plain[-1] - rolled[-1] > tenth
    assert faster[-50:].max() - plain[-1] > tenth

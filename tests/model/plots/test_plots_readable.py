"""Promise: every figure can be read at 600 pixels: no text is small, cut or over another.

The themes differ in colours alone, so one is enough here.
"""

import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.kernels.losses import LOSSES
from softstep.model import WeightPath
from softstep.model.datasets import load_digits
from softstep.model.landscape import loss_surface, plane_slopes
from softstep.model.landscape.line_descent import LineDescent
from softstep.model.landscape.local_minimum import find_local_minimum, losses_in_all_weights
from softstep.model.plots import (
    arrow_points,
    confusion,
    contours,
    forward,
    gradient,
    learning_rate,
    momentum,
    style,
    surface,
    three_rates,
    weights,
)
from softstep.model.plots.surface import direction_names

pytest.importorskip("matplotlib")
DIGITS = load_digits()
X, Y = DIGITS.X_train[:300], DIGITS.y_train[:300]
LONG = [f"a rather long class name no. {k}" for k in range(40)]


def faults(figure):
    """What cannot be read: texts that are small, beyond the edge or over one another."""
    from matplotlib.text import Text

    drawn = []
    with pytest.MonkeyPatch.context() as patch:
        draw = Text.draw

        def spy(text, renderer):
            if text.get_visible() and text.get_text().strip():
                drawn.append(text)
            return draw(text, renderer)

        patch.setattr(Text, "draw", spy)
        figure.draw_without_rendering()
    width, height = figure.canvas.get_width_height()
    texts = list(dict.fromkeys(drawn))
    boxes = [text.get_window_extent().padded(-1).extents for text in texts]
    x0, y0, x1, y1 = np.reshape(boxes, (-1, 4)).T[..., None]
    found = [f"{t.get_text()!r} is small" for t in drawn if t.get_fontsize() < style.SMALL]
    for k in np.flatnonzero((x0 < 0) | (y0 < 0) | (x1 > width) | (y1 > height)):
        found.append(f"{texts[k].get_text()!r} is cut")
    meets = (x0 < x1.T) & (x1 > x0.T) & (y0 < y1.T) & (y1 > y0.T)
    for j, k in np.argwhere(np.triu(meets, 1)):
        found.append(f"{texts[j].get_text()!r} is over {texts[k].get_text()!r}")
    if figure.get_size_inches()[0] != style.WIDTH:
        found.append("not 1200 pixels wide")
    return found


def test_what_cannot_be_read_is_found():
    figure = style.new_figure(style.LIGHT)
    for x, text, size in ((0.1, "one", 11), (0.12, "two", 11), (0.5, "three", 8), (1, "four", 11)):
        figure.text(x, 0.5, text, fontsize=size)
    assert faults(figure) == ["'three' is small", "'four' is cut", "'one' is over 'two'"]
    narrow = style.new_figure(style.LIGHT)
    narrow.set_figwidth(6)
    assert faults(narrow) == ["not 1200 pixels wide"]


def a_row(classes, scale=0.4, shape=(8, 8)):
    """Pixels, and weights that give logits of about 5 · scale."""
    rng = np.random.default_rng(0)
    d = shape[0] * shape[1]
    return rng.random(d), scale * rng.standard_normal((d, classes)), np.zeros(classes)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("classes", [2, 3, 10, 20])
def test_the_forward_pass_of_few_and_many_classes(classes, loss):
    for names in (None, LONG[:classes], ["W" * 30] * classes):
        x, W, b = a_row(classes)
        figure = forward(x, 1, W, b, (8, 8), loss=loss, names=names)
        assert faults(figure) == []


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("scale", [0, 1e-4, 10, 180])
@pytest.mark.parametrize("shape", [(8, 8), (4, 28), (28, 4)])
def test_the_forward_pass_of_small_and_huge_logits(scale, loss, shape):
    x, W, b = a_row(6, scale, shape)
    figure = forward(x, 1, W, b, shape, loss=loss, names=LONG[:6])
    assert (np.abs(x @ W).max() > 1000) == (scale == 180)
    assert faults(figure) == []


def answers(classes, rows, share=0.9):
    """Counts of which about that share is right."""
    rng = np.random.default_rng(0)
    chances = np.full((classes, classes), (1 - share) / max(classes - 1, 1))
    np.fill_diagonal(chances, share)
    return rng.multinomial(rows, chances / chances.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("names", [list(range(40)), LONG], ids=["short", "long"])
@pytest.mark.parametrize("classes", [1, 2, 3, 10, 40])
def test_the_confusion_of_few_and_many_classes(classes, names):
    for rows in (30, 1000, 997_000, 5_000_000):
        figure = confusion(answers(classes, rows), names[:classes])
        assert faults(figure) == []


@pytest.mark.parametrize("classes", [1, 2, 5, 10, 20])
@pytest.mark.parametrize("shape", [(8, 8), (4, 28), (28, 4)])
def test_the_weights_of_few_and_many_classes(classes, shape):
    rng = np.random.default_rng(0)
    for scale in (0, 1e-5, 0.3, 1e6):
        coef = scale * rng.standard_normal((classes, shape[0] * shape[1]))
        assert faults(weights(coef, LONG[:classes], shape)) == []


@pytest.fixture(scope="module", params=LOSSES)
def trained(request):
    path = WeightPath()
    model = SoftmaxRegression(loss=request.param, learning_rate=2, epochs=20, random_state=0)
    return model.fit(X, Y, path=path), path


@pytest.mark.parametrize("directions", ["pca", "random"])
@pytest.mark.parametrize("span", [0.3, 1.0, 8.0])
def test_a_plane_around_a_model(trained, directions, span):
    model, path = trained
    plane = loss_surface(model, X, Y, directions, span=span, steps=21, path=path)
    assert faults(contours(plane, of="training rows")) == []
    at = arrow_points(plane)
    slopes = plane_slopes(model, X, Y, plane, plane.path[at])
    assert faults(gradient(plane, slopes, of="training rows")) == []
    slanting = {*(loss.axis for loss in LOSSES.values()), *direction_names(plane)}
    slanting |= {name.replace(" (", "\n(") for name in slanting}
    slanting = set(map(repr, slanting))  # their boxes are larger than they
    over = [
        f
        for f in faults(surface(plane, of="training rows"))
        if not slanting & {*f.split(" is over ")}
    ]
    assert over == []


def test_three_learning_rates(trained):
    model, _ = trained
    rng = np.random.default_rng(3)
    origin = np.ascontiguousarray(model.coef_.T), model.intercept_
    direction = tuple(rng.standard_normal(part.shape).astype(part.dtype) for part in origin)
    line = LineDescent.through(X, Y, origin, direction, loss=model.loss)
    offsets = np.linspace(-30, 30, 61)
    for start in (-20.0, 20.0):
        rates = three_rates(line, start, offsets)
        assert faults(learning_rate(line, start, rates, offsets)) == []
        assert faults(learning_rate(line, start, (*rates[:2], 10 * rates[2]), offsets)) == []


def test_where_plain_descent_stalls():
    minimum = find_local_minimum(DIGITS.X_train, DIGITS.y_train)
    free = losses_in_all_weights(minimum, DIGITS.X_train, DIGITS.y_train)
    assert faults(momentum(minimum, free)) == []


@pytest.mark.parametrize(
    "rates", [np.geomspace(1e-3, 100, 13), [0.1, 0.11], [1.0], np.geomspace(1e-5, 1e-2, 5)]
)
@pytest.mark.parametrize("losses", [["mse"], ["mse", "cross_entropy"], [*LOSSES]])
def test_a_sweep_of_few_and_many_rates(rates, losses):
    settings = {"learning_rate": list(rates), "loss": losses}
    order = np.random.default_rng(0).permutation(len(Y))
    heads = SoftmaxSweep(settings, epochs=3, random_state=0, cv=2).fit(X[order], Y[order])
    figure = heads.plot()
    assert faults(figure) == []
    for axes in figure.axes:  # each has some numbers
        for ticks, (low, high) in (
            (axes.get_xticks(), axes.get_xlim()),
            (axes.get_yticks(), axes.get_ylim()),
        ):
            assert sum(low <= tick <= high for tick in ticks) >= 1

"""The figures of a report: those of the model, the sweep, and what a learning rate does."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from softstep import SoftmaxRegression, landscape_figures
from softstep.landscape_figures import Landscape
from softstep.model import datasets, plots
from softstep.model.hollow import FREE_RATE, LINES, find_hollow, losses_in_all_weights
from softstep.model.inputs import encode
from softstep.model.line_descent import LineDescent
from softstep.model.plots.confusion import SHOWN
from softstep.picture import Picture
from softstep.recipe import known_rows
from softstep.report_subject import Subject

FEW = 20  # classes that have room in the pictures of a row and of the weights
SURE = 0.9
TELLING_ROWS = 1000  # are looked through for the row of the forward pass
POINTS = 241  # at which the learning-rate figure's curve is drawn
SPAN, START = 2.0, -0.7  # of that line, in norms of the weights; where its descents begin, in spans


def pictures(subject: Subject, landscape: Landscape | None) -> Iterator[Picture]:
    """In the order of a report; each is computed when it is asked for."""
    if subject.results is not None:
        yield sweep(subject.results, subject.loss_curves)
    shape = subject.data.image_shape
    if shape is not None and len(subject.model.classes_) <= FEW:
        yield _forward(subject, shape)
        yield _weights(subject, shape)
    yield _confusion(subject)
    if landscape is not None:
        yield from landscape_figures.pictures(landscape)
    yield _learning_rate(subject)
    yield _momentum()


def sweep(results: dict[str, Any], loss_curves: Any) -> Picture:
    """Of `results` and `loss_curves` as `SoftmaxSweep` has them."""
    return Picture(
        "sweep",
        "Accuracy and loss against the learning rate",
        "Each point is a setting, judged on rows it did not learn from; each line is how the "
        "training loss of one fell. Losses of different kinds do not compare.",
        lambda theme: plots.sweep(results, loss_curves, theme=theme),
    )


def _forward(subject: Subject, shape: tuple[int, int]) -> Picture:
    model = subject.model
    X, labels = subject.test_rows
    title, known = "The forward pass of one test row", known_rows(model, labels)
    if not known.any():
        return Picture("forward", title, "Not drawn: no test row has a label the model knows.")
    row = _telling_row(model, X, labels, int(known.argmax()))
    (x,), scale = model._features_to_predict(X[row : row + 1])
    y, (W, b) = encode(labels[row : row + 1], model.classes_)[0], model._weights(x)
    return Picture(
        "forward",
        title,
        f"Test row {row}: a weighted sum of its pixels for each class, made positive and 1 in "
        "all by the softmax, compared with the right class by the loss.",
        lambda theme: plots.forward(
            x,
            int(y),
            W,
            b,
            shape,
            loss=model.loss,
            names=model.classes_,
            feature_scale=scale,
            theme=theme,
        ),
    )


def _telling_row(model: SoftmaxRegression, X: Any, labels: Any, otherwise: int) -> int:
    """The first row that is answered right, but with a probability under SURE, if there is one."""
    first = slice(TELLING_ROWS)
    right = model.predict(X[first]) == labels[first]
    telling = right & (model.predict_proba(X[first]).max(axis=1) < SURE)
    return int(telling.argmax()) if telling.any() else otherwise


def _weights(subject: Subject, shape: tuple[int, int]) -> Picture:
    model = subject.model
    return Picture(
        "weights",
        "The weights of each class",
        "Ink on blue speaks for the class, ink on orange against it.",
        lambda theme: plots.weights(model.coef_, model.classes_, shape, theme=theme),
    )


def _confusion(subject: Subject) -> Picture:
    model = subject.model
    X, labels = subject.test_rows
    matrix = plots.counts(labels, model.predict(X), model.classes_)
    c, note, lost = len(model.classes_), "", len(labels) - matrix.sum()
    if lost:
        note = f" {lost} test rows have a label that the model does not know: left out."
    if c > SHOWN:
        note += f" Of {c} classes the {SHOWN} with the most mistakes are drawn."
    return Picture(
        "confusion",
        "What is taken for what",
        "Test rows: right answers on the diagonal, the mistakes beside it, drawn stronger than "
        f"their shares, as the key says.{note}",
        lambda theme: plots.confusion(matrix, model.classes_, theme=theme),
    )


def _learning_rate(subject: Subject) -> Picture:
    title = "One start, three learning rates"
    try:
        line, start, offsets = _line(subject)
        rates = plots.three_rates(line, start, offsets)
    except ValueError as error:
        return Picture("learning-rate", title, f"Not drawn: {error}.")
    return Picture(
        "learning-rate",
        title,
        "Descent on the training loss along a random line through the weights: the offset from "
        "them is all there is to learn. Too small creeps, good arrives, too large is thrown from "
        "side to side. Below, on a scale of powers of ten, how far each step is above the lowest "
        "point. The rates are found by search: good is the smallest that arrives. They are "
        "rates of that offset, and do not compare with one for all weights.",
        lambda theme: plots.learning_rate(line, start, rates, offsets, theme=theme),
    )


def _line(subject: Subject) -> tuple[LineDescent, float, Any]:
    """A random line through the weights, where to begin on it, and where to draw it."""
    model, data = subject.model, subject.data
    X, y = landscape_figures.rows_of(model, data, "train")
    X, scale = model._features_to_predict(X)
    W, b = model._weights(X)
    rng = np.random.default_rng(0)
    dW, db = (np.asarray(rng.standard_normal(part.shape), part.dtype) for part in (W, b))
    line = LineDescent.through(
        X,
        encode(y, model.classes_),
        (W, b),
        (dW, db),
        loss=model.loss,
        feature_scale=scale,
    )
    span = SPAN * float(np.linalg.norm(W))
    return line, START * span, np.linspace(-span, span, POINTS)


def _momentum() -> Picture:
    data = datasets.load_digits()
    hollow = find_hollow(data.X_train, data.y_train)
    free = losses_in_all_weights(hollow, data.X_train, data.y_train)
    return Picture(
        "momentum",
        "Where plain descent stalls",
        f"The MSE of the digits on a line through random weights, one of {LINES} that were "
        "searched for a second minimum. Plain descent ends in the higher one, the hollow; with "
        "momentum it rolls over the crest. Ten times the rate without momentum does not end in the "
        "valley. Off the line the hollow is none: plain descent in all weights (rate "
        f"{FREE_RATE:g}) goes on.",
        lambda theme: plots.momentum(hollow, free, theme=theme),
    )

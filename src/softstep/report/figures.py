"""The figures of a report: of the sweep, the model, the loss around it, and of learning rates."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from softstep.model import SoftmaxRegression, datasets, plots
from softstep.model.fitted import Fitted
from softstep.model.inputs import encode
from softstep.model.landscape.line_descent import LineDescent
from softstep.model.landscape.local_minimum import (
    FREE_RATE,
    LINES,
    find_local_minimum,
    losses_in_all_weights,
)
from softstep.model.plots.confusion import SHOWN
from softstep.model.plots.regularisation import has_path
from softstep.report import landscape_figures
from softstep.report.picture import Picture
from softstep.report.subject import Subject
from softstep.runs.landscape import Landscape, rows_of
from softstep.runs.recipe import known_rows

MOST_CLASSES = 20  # that the figures of a row and of the weights have room for
SURE = 0.9
CANDIDATES = 1000  # test rows that are considered for the figure of the forward pass
POINTS = 241  # at which the curve of the learning-rate figure is drawn
SPAN, START = 2.0, -0.7  # of its line, in norms of the weights; where the descents start, in spans


def all_of(subject: Subject, landscape: Landscape | None) -> Iterator[Picture]:
    """Every figure, in the order of a report; each is computed when it is asked for."""
    if subject.results is not None:
        yield sweep(subject)
    start, stop = subject.model.features_  # a part of an image is none
    sees_all = stop - start == subject.model.n_features_in_
    shape = subject.data.image_shape if sees_all else None
    if shape is not None and len(subject.model.classes_) <= MOST_CLASSES:
        yield _forward(subject, shape)
        yield _weights(subject, shape)
    yield confusion(subject)
    if landscape is not None:
        yield from landscape_figures.pictures(landscape)
    yield _learning_rate(subject)
    yield _momentum()


def sweep(subject: Subject) -> Picture:
    """The figure of a subject with `results` and `loss_curves`."""
    results: Any = subject.results
    if has_path(results):
        return Picture(
            "path",
            "Accuracy, loss and the size of the weights along the path of optima",
            "Each point is what L-BFGS came to for one strength of L2, judged on rows it did not "
            "learn from; the band is one standard deviation over the folds. To the left the "
            "weights are held at 0, to the right they are free to fit every row.",
            lambda theme: plots.regularisation(results, theme=theme),
        )
    return Picture(
        "sweep",
        "Accuracy and loss against learning rate",
        "Each point is a setting, judged on rows it did not learn from; each line shows how the "
        "training loss of a setting fell. Losses of different kinds cannot be compared.",
        lambda theme: plots.sweep(results, subject.loss_curves, theme=theme),
    )


def _forward(subject: Subject, shape: tuple[int, int]) -> Picture:
    model = subject.model
    X, labels = subject.test_rows
    title, known = "Forward pass of one test row", known_rows(model, labels)
    if not known.any():
        return Picture("forward", title, "Not drawn: no test row has a label that the model knows.")
    row = _instructive_row(model, X, labels, int(known.argmax()))
    fitted = Fitted.of(model)
    (x,), scale = fitted.features(X[row : row + 1])
    y, (W, b) = encode(labels[row : row + 1], model.classes_)[0], fitted.weights(x)
    return Picture(
        "forward",
        title,
        f"Test row {row}: each class gets a weighted sum of the pixels, the softmax turns the sums "
        "into probabilities, and the loss compares these with the right class.",
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


def _instructive_row(model: SoftmaxRegression, X: Any, labels: Any, otherwise: int) -> int:
    """The first row that is predicted correctly with a probability below SURE, if there is one."""
    first = slice(CANDIDATES)
    right = model.predict(X[first]) == labels[first]
    unsure = right & (model.predict_proba(X[first]).max(axis=1) < SURE)
    return int(unsure.argmax()) if unsure.any() else otherwise


def _weights(subject: Subject, shape: tuple[int, int]) -> Picture:
    model = subject.model
    return Picture(
        "weights",
        "Weights of each class",
        "Ink on blue counts for the class, ink on orange against it.",
        lambda theme: plots.weights(model.coef_, model.classes_, shape, theme=theme),
    )


def confusion(subject: Subject) -> Picture:
    """The confusion matrix on the test rows."""
    model = subject.model
    X, labels = subject.test_rows
    matrix = plots.counts(labels, model.predict(X), model.classes_)
    c, note, lost = len(model.classes_), "", len(labels) - matrix.sum()
    if lost:
        note = f" {lost} test rows have a label that the model does not know: left out."
    if c > SHOWN:
        note += f" Of the {c} classes, the {SHOWN} with the most mistakes are drawn."
    return Picture(
        "confusion",
        "Confusion matrix",
        "Test rows: right answers on the diagonal, mistakes off it. Mistakes are drawn stronger "
        f"than right answers of the same share; see the key.{note}",
        lambda theme: plots.confusion(matrix, model.classes_, theme=theme),
    )


def _learning_rate(subject: Subject) -> Picture:
    title = "Three learning rates from one start"
    try:
        line, start, offsets = _line(subject)
        rates = plots.three_rates(line, start, offsets)
    except ValueError as error:
        return Picture("learning-rate", title, f"Not drawn: {error}.")
    return Picture(
        "learning-rate",
        title,
        "Gradient descent on the training loss along a random line through the weights, where the "
        "offset from them is the only parameter. A rate that is too small creeps, a good one "
        "arrives, one that is too large jumps from side to side. Below, on a logarithmic scale, "
        "how far each step is above the lowest point. The rates were found by a search; the good "
        "one is the smallest that arrives. They apply to the offset and cannot be compared with a "
        "rate for all weights.",
        lambda theme: plots.learning_rate(line, start, rates, offsets, theme=theme),
    )


def _line(subject: Subject) -> tuple[LineDescent, float, Any]:
    """A random line through the weights, where to start on it, and where to draw it."""
    model, data = subject.model, subject.data
    X, y = rows_of(model, data, "train")
    fitted = Fitted.of(model)
    X, scale = fitted.features(X)
    W, b = fitted.weights(X)
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
    minimum = find_local_minimum(data.X_train, data.y_train)
    free = losses_in_all_weights(minimum, data.X_train, data.y_train)
    return Picture(
        "momentum",
        "A local minimum, with and without momentum",
        f"The MSE of the digits on a line through random weights, one of {LINES} that were "
        "searched for a second minimum. Plain descent ends in the higher one, the local minimum; "
        "with momentum, descent rolls over the crest into the valley. Ten times the rate without "
        "momentum does not end there. In all weights this is not a minimum: plain descent that may "
        f"leave the line (rate {FREE_RATE:g}) goes further down.",
        lambda theme: plots.momentum(minimum, free, theme=theme),
    )

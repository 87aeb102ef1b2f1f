"""The confusion matrix."""

from typing import Any

import numpy as np

from softstep.model.plots import style

SHOWN = 40  # classes at most that can be read


def counts(y_true: Any, y_predicted: Any, classes: Any) -> Any:
    """How many rows of class i were taken for class j, (c, c); rows of other classes are left out.

    y_true, y_predicted: labels, (n,). classes: sorted, (c,).
    """
    known = np.isin(y_true, classes)
    true, answer = (np.searchsorted(classes, y[known]) for y in (y_true, y_predicted))
    c = len(classes)
    return np.bincount(true * c + answer, minlength=c * c).reshape(c, c)


def most_mistaken(matrix: Any) -> Any:
    """The classes a picture has room for, sorted: the SHOWN with the most mistakes of `counts`."""
    wrong = matrix.sum(axis=1) - matrix.diagonal()
    return np.sort(np.argsort(-wrong, kind="stable")[:SHOWN])


def confusion(matrix: Any, classes: Any, *, theme: str = "light") -> Any:
    """A figure of `counts`: each row's shares as colour, the counts as numbers.

    Right answers and mistakes each have a colour, and a mistake is as strong as a right answer of
    four times its share, so that the few there are can be seen.
    """
    look = style.theme_named(theme)
    c = len(classes)
    figure = style.new_figure(look, width=6.4, height=5.8)
    axes = style.dress(figure.subplots(), look, x="answer", y="true class")
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    right = np.eye(c, dtype=bool)
    grounds = np.tile(style.rgb(look.page), (c, c, 1))
    for cells, colour, gain in ((right, look.good, 0.85), (~right, look.bad, 4.0)):
        ground = np.zeros((c, c, 4))
        ground[..., :3] = style.rgb(colour)
        ground[..., 3] = np.where(cells, np.minimum(gain * shares, 0.85), 0)
        axes.imshow(ground)
        grounds += ground[..., 3:] * (ground[..., :3] - grounds)
    for (i, j), count in np.ndenumerate(matrix):
        if count:
            ink = style.ink_on(look, grounds[i, j])
            axes.text(j, i, f"{count}", ha="center", va="center", color=ink, fontsize=style.TEXT)
    ticks, names = np.arange(c), [style.plain(label) for label in classes]
    axes.set_xticks(ticks, names)
    axes.set_yticks(ticks, names)
    axes.set_xticks(ticks[1:] - 0.5, minor=True)
    axes.set_yticks(ticks[1:] - 0.5, minor=True)
    axes.tick_params(which="minor", length=0)
    axes.grid(False)
    axes.grid(True, which="minor", color=look.page, linewidth=2)
    axes.set_axisbelow(False)
    total, hits = matrix.sum(), np.trace(matrix)
    title = f"{hits} of {total} right ({hits / max(total, 1):.1%})"
    axes.set_title(title, color=look.ink, fontsize=style.TITLE, loc="left")
    return figure

"""The confusion matrix."""

from typing import Any

import numpy as np

from softstep.model.plots import style

SHOWN = 30  # the most classes that stay readable
STRONGEST = 0.85  # opacity
TOPS = (0.25, 0.5, 1.0)  # shares of a row at which mistakes may reach the strongest colour
# Inches: a cell, the matrix and a name at most; a line of text; the key.
CELL, SIDE, NAME, LINE, KEY = 0.8, 5.0, 1.0, 0.24, 1.2
EDGE, LEAST_HEIGHT = 0.1, 1.9


def counts(y_true: Any, y_predicted: Any, classes: Any) -> Any:
    """How many rows of class i were predicted as class j, (c, c).

    y_true, y_predicted: labels, (n,); rows with a label outside `classes` are left out.
    classes: sorted, (c,).
    """
    y_true, y_predicted, classes = map(np.asarray, (y_true, y_predicted, classes))
    known = np.isin(y_true, classes) & np.isin(y_predicted, classes)
    true, answer = (np.searchsorted(classes, y[known]) for y in (y_true, y_predicted))
    c = len(classes)
    return np.bincount(true * c + answer, minlength=c * c).reshape(c, c)


def most_mistaken(matrix: Any) -> Any:
    """The SHOWN classes with the most mistakes in `counts`, sorted: a figure has room for these."""
    wrong = matrix.sum(axis=1) - matrix.diagonal()
    return np.sort(np.argsort(-wrong, kind="stable")[:SHOWN])


def confusion(matrix: Any, classes: Any, *, theme: str = "light") -> Any:
    """A figure of `counts`: shares of each row as colour, counts as numbers where they fit.

    Right answers have one colour, mistakes another. To make rare mistakes visible, their colour is
    strongest at a quarter of the row, or at half or all of it if some mistake is that frequent. A
    key says which. Long names are shortened; a number too wide for its cell is rounded to thousands
    or millions, or left out. Of more than SHOWN classes, `most_mistaken` are drawn; shares and
    title still refer to all.

    Raises:
        ValueError: the matrix is not (c, c) for c classes.
    """
    look = style.theme_named(theme)
    matrix, c = np.asarray(matrix), len(classes)
    if matrix.shape != (c, c):
        raise ValueError(f"the matrix of {c} classes must be {(c, c)}, not {matrix.shape}")
    total, hits = matrix.sum(), np.trace(matrix)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    if c > SHOWN:
        shown = most_mistaken(matrix)
        matrix, shares = matrix[np.ix_(shown, shown)], shares[np.ix_(shown, shown)]
        classes, c = [classes[k] for k in shown], SHOWN
    names = [style.fitted(label, NAME, style.SMALL) for label in classes]
    figure, axes, cell = _frame(look, names)
    right = np.eye(c, dtype=bool)
    most = shares[~right].max(initial=0)
    top = next(top for top in TOPS if most <= top)
    grounds = np.tile(style.rgb(look.page), (c, c, 1))
    for cells, colour, full in ((right, look.good, 1.0), (~right, look.bad, top)):
        ground = _shades(colour, np.where(cells, shares / full, 0))
        axes.imshow(ground)
        grounds += ground[..., 3:] * (ground[..., :3] - grounds)
    _numbers(axes, look, matrix, grounds, cell)
    _lines(axes, look, c, cell)
    title = f"{hits} of {total} right ({hits / max(total, 1):.1%})"
    axes.set_title(title, color=look.ink, fontsize=style.TITLE, loc="left")
    _key(figure, look, axes.get_position().y1, top)
    return figure


def _frame(look: style.Theme, names: list[str]) -> tuple[Any, Any, float]:
    """The figure, the axes of the matrix labelled with its classes, and the size of a cell."""
    c = len(names)
    widest = max(style.text_width(name, style.SMALL) for name in names)
    left = EDGE + LINE + widest + 0.1
    side = min(c * CELL, SIDE, style.WIDTH - left - KEY - 3 * EDGE)
    upright = widest + 0.04 > side / c
    below = EDGE + LINE + (widest if upright else LINE) + 0.1
    height = max(below + side + LINE + 2 * EDGE, LEAST_HEIGHT)
    figure = style.new_figure(look, height=height)
    figure.set_layout_engine("none")
    axes = style.axes_at(figure, left, below, side, side)
    style.dress(axes, look, x="answer", y="true class")
    axes.set_xticks(np.arange(c), names, rotation=90 if upright else 0)
    axes.set_yticks(np.arange(c), names)
    axes.tick_params(which="major", length=0, pad=4)
    return figure, axes, side / c


def _shades(colour: str, strength: Any) -> Any:
    """The colour at these strengths, 0 to 1: red, green, blue and opacity."""
    shades = np.empty((*strength.shape, 4))
    shades[..., :3] = style.rgb(colour)
    shades[..., 3] = STRONGEST * strength
    return shades


def _numbers(axes: Any, look: style.Theme, matrix: Any, grounds: Any, cell: float) -> None:
    """The counts, all in one size: the larger one if every count fits."""
    widest = max(style.text_width(f"{count}", style.TEXT) for count in matrix.flat)
    size = style.TEXT if widest <= 0.9 * cell else style.SMALL
    for (i, j), count in np.ndenumerate(matrix):
        if count and (text := _fitting(int(count), 0.96 * cell, size)):
            ink = style.ink_on(look, grounds[i, j])
            axes.text(j, i, text, ha="center", va="center_baseline", color=ink, fontsize=size)


def _fitting(count: int, width: float, size: float) -> str:
    """The count, as precise as the width allows."""
    texts = f"{count}", f"{count / 1e3:.0f}k", f"{count / 1e6:.0f}M"
    exact = texts[: 1 + (count >= 1e3) + (count >= 1e6)]
    return next((text for text in exact if style.text_width(text, size) <= width), "")


def _lines(axes: Any, look: style.Theme, c: int, cell: float) -> None:
    """Lines between the cells, in the colour of the background."""
    between = np.arange(1, c) - 0.5
    axes.set_xticks(between, minor=True)
    axes.set_yticks(between, minor=True)
    axes.tick_params(which="minor", length=0)
    axes.grid(False)
    axes.grid(True, which="minor", color=look.page, linewidth=2 if cell > 0.3 else 0.8)
    axes.set_axisbelow(False)


def _key(figure: Any, look: style.Theme, up: float, top: float) -> None:
    """What the colours mean, on the right, downwards from `up`."""
    bottom = up * figure.get_size_inches()[1] - 2 * LINE
    for colour, full, name in (
        (look.good, 1.0, "right answers"),
        (look.bad, top, "mistakes"),
    ):
        left = style.WIDTH - KEY - EDGE
        bar = style.axes_at(figure, left, bottom, KEY, 0.13)
        bar.set_facecolor(look.page)
        bar.imshow(_shades(colour, np.linspace(0, 1, 64)[None]), aspect="auto", extent=(0, 1, 0, 1))
        bar.set_title(name, color=look.ink, fontsize=style.SMALL, loc="left", pad=3)
        bar.set_yticks([])
        bar.set_xticks([0.0, 1.0], ["0", f"{full:.0%} of its row"])
        start, end = bar.get_xticklabels()
        start.set_ha("left")
        end.set_ha("right")
        bar.tick_params(colors=look.muted, labelsize=style.SMALL, length=0, pad=3)
        for spine in bar.spines.values():
            spine.set_color(look.grid)
        bottom -= 3 * LINE

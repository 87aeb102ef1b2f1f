"""The weights of each class as an image."""

import math
from typing import Any

import numpy as np

from softstep.model.plots import style

ACROSS = 5
# Inches: an image's width, the gap between two, an image's height at most, the name above it, the
# scale with the text below it, the scale's length.
CELL, GAP, TALLEST, NAME, FOOT, BAR = 1.36, 0.1, 2.4, 0.34, 0.75, 4.2


def weights(coef: Any, classes: Any, shape: tuple[int, int], *, theme: str = "light") -> Any:
    """A figure with an image for each class: where ink counts for it, and where against it.

    Args:
        coef: weights as in `SoftmaxRegression.coef_`, (c, d).
        classes: their labels, (c,); long ones are shortened.
        shape: rows and columns of an image; their product is d.
        theme: "light" or "dark".

    Raises:
        ValueError: the shape does not match the weights.
    """
    look = style.theme_named(theme)
    c, d = coef.shape
    if shape[0] * shape[1] != d or len(classes) != c:
        raise ValueError(f"weights {coef.shape} are no {len(classes)} images of {shape}")
    most = float(np.abs(coef).max()) or 1.0
    figure, grid = _image_grid(look, c, shape)
    for axes, row, label in zip(grid, coef, classes, strict=True):
        image = axes.imshow(
            row.reshape(shape), cmap=style.sign_colours(look), vmin=-most, vmax=most
        )
        name = style.fitted(label, CELL, style.TITLE)
        axes.set_title(name, color=look.ink, fontsize=style.TITLE, pad=4)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_color(look.grid)
    scale = style.axes_at(figure, (style.WIDTH - BAR) / 2, 0.5, BAR, 0.13)
    bar = figure.colorbar(image, cax=scale, orientation="horizontal")
    bar.set_label("weight: against the class (−), for it (+)", color=look.ink, fontsize=style.TEXT)
    bar.ax.tick_params(colors=look.muted, labelsize=style.SMALL)
    bar.outline.set_edgecolor(look.grid)
    return figure


def _image_grid(look: style.Theme, count: int, shape: tuple[int, int]) -> tuple[Any, list[Any]]:
    """The figure, and axes for the images: rows of ACROSS, a shorter last row centred."""
    down = math.ceil(count / ACROSS)
    high = min(CELL * shape[0] / shape[1], TALLEST)
    figure = style.new_figure(look, height=down * (high + NAME) + FOOT)
    figure.set_layout_engine("none")
    grid = []
    for k in range(count):
        row, column = divmod(k, ACROSS)
        here = min(ACROSS, count - row * ACROSS)
        left = style.WIDTH / 2 + (column - here / 2) * (CELL + GAP) + GAP / 2
        bottom = FOOT + (down - 1 - row) * (high + NAME)
        grid.append(style.axes_at(figure, left, bottom, CELL, high))
    return figure, grid

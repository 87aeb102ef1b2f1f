"""The weights of each class as an image."""

import math
from typing import Any

import numpy as np

from softstep.model.plots import style

ACROSS = 5


def weights(coef: Any, classes: Any, shape: tuple[int, int], *, theme: str = "light") -> Any:
    """A figure with an image for each class: where ink speaks for it, and where against it.

    Args:
        coef: weights as `SoftmaxRegression.coef_`, (c, d). classes: their labels, (c,).
        shape: rows and columns of an image, their product d.
        theme: "light" or "dark".

    Raises:
        ValueError: the shape does not go with the weights.
    """
    look = style.theme_named(theme)
    c, d = coef.shape
    if shape[0] * shape[1] != d or len(classes) != c:
        raise ValueError(f"weights {coef.shape} are no {len(classes)} images of {shape}")
    down = math.ceil(c / ACROSS)
    figure = style.new_figure(look, height=0.6 + 1.55 * down)
    grid = figure.subplots(down, ACROSS, squeeze=False)
    most = float(np.abs(coef).max()) or 1.0
    for axes in grid.flat[c:]:
        axes.set_axis_off()
    for axes, row, label in zip(grid.flat, coef, classes, strict=False):
        image = axes.imshow(
            row.reshape(shape), cmap=style.sign_colours(look), vmin=-most, vmax=most
        )
        axes.set_title(style.plain(label), color=look.ink, fontsize=style.TITLE)
        axes.set(xticks=[], yticks=[])
        for spine in axes.spines.values():
            spine.set_color(look.grid)
    bar = figure.colorbar(image, ax=grid, shrink=0.8, aspect=30)
    bar.set_label("weight: against the class (−), for it (+)", color=look.ink, fontsize=style.TEXT)
    bar.ax.tick_params(colors=look.muted, labelsize=style.SMALL)
    bar.outline.set_edgecolor(look.grid)
    return figure

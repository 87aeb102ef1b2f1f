"""The loss on a line through a model's weights, with tangents that show its slope."""

from typing import Any

import numpy as np

from softstep.kernels import losses
from softstep.model.landscape import Line
from softstep.model.plots import style

AT = (-0.75, -0.4, 0.0)  # where the tangents touch, as shares of the span
REACH = 0.2  # of a tangent to either side, as a share of the span


def line(line: Line, *, name: str = "the direction", of: str = "rows", theme: str = "light") -> Any:
    """A figure of the loss along a line, with tangents at up to three points.

    Args:
        line: from `loss_line`; the tangents have the slopes it holds.
        name: what the axis calls the line. of: what its rows are, such as "training rows".
        theme: "light" or "dark".
    """
    look, loss = style.theme_named(theme), losses.find(line.loss_name)
    figure = style.new_figure(look)
    axes = style.dress(
        figure.add_subplot(),
        look,
        x=f"offset along {name}",
        y=loss.axis,
        title=f"{loss.title} of {line.rows} {of} on a line, and its slope",
    )
    axes.plot(line.x, line.loss, color=look.muted, linewidth=2.4, label="loss")
    for colour, k in zip(look.colours, tangent_points(line), strict=False):
        x, height, slope = line.x[k], line.loss[k], line.slope[k]
        reach = REACH * line.x[-1] * np.array([-1, 1])
        label = f"slope {slope:+.3g} at {x:.3g}".replace("-", "−")
        axes.plot(x + reach, height + slope * reach, color=colour, linewidth=2.4, label=label)
        axes.plot(x, height, "o", color=colour, markeredgecolor=look.ink, markersize=9)
    axes.set_xlim(line.x[0], line.x[-1])
    style.legend(axes, look)
    return figure


def tangent_points(line: Line) -> list[int]:
    """The indices of the points that get tangents."""
    nearest = (int(np.abs(line.x - share * line.x[-1]).argmin()) for share in AT)
    return list(dict.fromkeys(nearest))

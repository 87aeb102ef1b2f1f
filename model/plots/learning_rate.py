"""Descent on one line with three learning rates: too small, good, too large."""

from typing import Any

import numpy as np

from softstep.model.line_descent import LineDescent
from softstep.model.plots import style

STEPS = 8  # of each descent
NAMES = ("too small", "good", "too large")
CLOSE = 0.02  # of the way down: a good rate comes at least so near the least loss
FACTOR = 2 ** (np.arange(-20, 21) / 2)  # the rates tried, times that which would be there at once


def three_rates(line: LineDescent, start: float, offsets: Any) -> tuple[float, float, float]:
    """A rate too small, a good one and one too large, for STEPS steps from `start`.

    Of rates a root of two apart, good is the smallest that comes within CLOSE of the least
    loss at `offsets`; too small is a sixteenth of it; too large is the smallest above it that ends
    higher than it began.

    Raises:
        ValueError: there are no such rates from there.
    """
    losses = line.losses(offsets)
    bottom, least, first = offsets[np.argmin(losses)], losses.min(), line.losses([start])[0]
    slope = line.slope(start)
    if not slope * (start - bottom) > 0:
        raise ValueError(f"the loss does not fall from offset {start:g} towards the least one")
    good = None
    for rate in FACTOR * (start - bottom) / slope:
        last = line.losses(line.descend(start, rate, STEPS)[-1:])[0]
        if good is None and last - least <= CLOSE * (first - least):
            good = rate
        elif good is not None and last > first:
            return good / 16, good, rate
    raise ValueError(f"no good and too large rates from offset {start:g}")


def learning_rate(
    line: LineDescent,
    start: float,
    rates: tuple[float, float, float],
    offsets: Any,
    *,
    theme: str = "light",
) -> Any:
    """A figure: the same start and three rates, on the true loss of the rows; then loss by step.

    Args:
        line: the loss along a line. start: the offset all begin at.
        rates: such as `three_rates` gives. offsets: where the loss is drawn at least, (k,).
        theme: "light" or "dark".
    """
    look = style.theme_named(theme)
    figure = style.new_figure(look, height=5.4)
    axes = figure.subplot_mosaic([["0", "1", "2"], ["steps"] * 3], height_ratios=[3, 2])
    steps = style.dress(axes["steps"], look, x="step", y="loss")
    steps.set_xlim(-0.3, STEPS + 1.7)
    steps.margins(y=0.15)
    walks = [line.descend(start, rate, STEPS) for rate in rates]
    reached = np.append(offsets, walks)
    where = np.union1d(np.linspace(reached.min(), reached.max(), len(offsets)), walks)
    curve = line.losses(where)
    last = line.losses([at[-1] for at in walks])
    for k, (name, rate, at) in enumerate(zip(NAMES, rates, walks, strict=True)):
        heights = line.losses(at)
        panel, colour = axes[str(k)], look.colours[(0, 2, 1)[k]]
        if k:
            panel.sharex(axes["0"])
            panel.sharey(axes["0"])
        style.dress(panel, look, x="distance on the line", y="" if k else "loss")
        panel.tick_params(labelleft=not k)
        panel.set_title(
            f"{name}: rate {float(f'{rate:.3g}'):,g}", color=colour, fontsize=style.TEXT, loc="left"
        )
        panel.plot(where, curve, color=look.muted, linewidth=1.5)
        _balls(panel, look, at, heights, colour)
        steps.plot(heights, "o-", color=colour, label=name, markersize=5)
        steps.annotate(
            name,
            (STEPS, heights[-1]),
            textcoords="offset points",
            xytext=(9, 7 * (np.sum(last < last[k]) - 1)),  # apart, where the ends are close
            color=colour,
            va="center",
            fontsize=style.SMALL,
        )
    return figure


def _balls(axes: Any, look: style.Theme, at: Any, heights: Any, colour: str) -> None:
    """The walk: a line from each position to the next, a ball at each, fuller as time goes."""
    axes.plot(at, heights, color=colour, linewidth=1, alpha=0.7)
    shades = np.linspace(0.35, 1, len(at))
    axes.scatter(at, heights, s=42, c=colour, alpha=shades, edgecolors=look.page, zorder=3)
    ring = {"s": 42, "facecolors": look.page, "edgecolors": look.ink, "linewidths": 1.4}
    axes.scatter(at[:1], heights[:1], zorder=4, **ring)
    axes.annotate(
        "start",
        (at[0], heights[0]),
        textcoords="offset points",
        xytext=(7, 4),
        color=look.ink,
        fontsize=style.SMALL,
    )

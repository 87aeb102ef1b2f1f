"""Gradient descent along one line with three learning rates: too small, good, too large."""

from typing import Any

import numpy as np

from softstep.kernels import losses
from softstep.model.landscape.line_descent import LineDescent
from softstep.model.plots import style

STEPS = 8  # of each descent
NAMES, COLOURS = ("too small", "good", "too large"), (0, 2, 1)
CLOSE = 0.02  # of the way down: how near to the least loss a good rate has to come
FAR = 1.4  # times the range of the other rates, from which "too large" gets a range of its own
FACTOR = 2 ** (np.arange(-20, 21) / 2)  # the rates tried, times the one that gets there in one step


def three_rates(line: LineDescent, start: float, offsets: Any) -> tuple[float, float, float]:
    """A rate that is too small, a good one and one that is too large, for STEPS steps from `start`.

    Candidates are a factor √2 apart. Good is the smallest that comes within CLOSE of the least loss
    at `offsets`; too small is a quarter of it; too large is the smallest above it that ends higher
    than it started.

    Raises:
        NothingToDrawError: there are no such rates for this start.
    """
    heights = line.losses(offsets)
    bottom, least, first = offsets[np.argmin(heights)], heights.min(), line.losses([start])[0]
    slope = line.slope(start)
    if not slope * (start - bottom) > 0:
        raise style.NothingToDrawError(
            f"the loss does not fall from offset {start:g} towards its minimum"
        )
    good = None
    for rate in FACTOR * (start - bottom) / slope:
        last = line.losses(line.descend(start, rate, STEPS)[-1:])[0]
        if good is None and last - least <= CLOSE * (first - least):
            good = rate
        elif good is not None and last > first:
            return good / 4, good, rate
    raise style.NothingToDrawError(
        f"from offset {start:g} no learning rate is good, or none is too large"
    )


def learning_rate(
    line: LineDescent,
    start: float,
    rates: tuple[float, float, float],
    offsets: Any,
    *,
    theme: str = "light",
) -> Any:
    """A figure: three rates from one start, on the true loss of the rows; below, the loss by step,
    measured from the least on the line.

    Where the last rate leads far away, its panel shows more of the line, with the range of the
    others as a box.

    Args:
        line: the loss along a line. start: the offset from which all three start.
        rates: such as `three_rates` gives. offsets: the range to draw at least, (k,).
        theme: "light" or "dark".
    """
    look = style.theme_named(theme)
    figure = style.new_figure(look, height=6)
    axes = figure.subplot_mosaic([["0", "1", "2"], ["steps"] * 3], height_ratios=[3, 2])
    walks = [line.descend(start, rate, STEPS) for rate in rates]
    reached = np.append(offsets, walks)
    where = np.union1d(np.linspace(reached.min(), reached.max(), 2 * len(offsets)), walks)
    curve = line.losses(where)
    loss = losses.find(line.loss)
    for k, (rate, at) in enumerate(zip(rates, walks, strict=True)):
        panel, colour = axes[str(k)], look.colours[COLOURS[k]]
        style.dress(panel, look, x="distance along the line", y="" if k else loss.axis)
        title = f"{NAMES[k]}: rate {float(f'{rate:.3g}'):,g}"
        panel.set_title(title, color=colour, fontsize=style.TEXT, loc="left")
        panel.plot(where, curve, color=look.muted, linewidth=1.5)
        _balls(panel, look, at, line.losses(at), colour)
    _name_start(axes["0"], look, walks[0], curve[np.searchsorted(where, start)])
    near = np.append(offsets, walks[:2])
    is_far = np.ptp(where) > FAR * np.ptp(near)
    low, high = (near.min(), near.max()) if is_far else (where[0], where[-1])
    _look_at(axes["0"], where, curve, low, high)
    _look_at(axes["2"], where, curve, where[0], where[-1])
    axes["1"].sharex(axes["0"])
    axes["1"].sharey(axes["0"])
    axes["1"].tick_params(labelleft=False)
    if is_far:
        _box(axes["2"], look, axes["0"])
    else:
        axes["2"].tick_params(labelleft=False)
    least = _least(line, where, curve)
    _by_step(axes["steps"], look, loss, [line.losses(at) - least for at in walks])
    return figure


def _balls(axes: Any, look: style.Theme, at: Any, heights: Any, colour: str) -> None:
    """The descent: a ball at each position, later ones more opaque, and lines between them."""
    axes.plot(at, heights, color=colour, linewidth=1, alpha=0.7)
    shades = np.linspace(0.35, 1, len(at))
    axes.scatter(at, heights, s=42, c=colour, alpha=shades, edgecolors=look.page, zorder=3)
    ring = {"s": 90, "facecolors": "none", "edgecolors": look.ink, "linewidths": 1.4}
    axes.scatter(at[:1], heights[:1], zorder=2.5, **ring)  # around the first ball, behind them all


def _name_start(axes: Any, look: style.Theme, at: Any, height: float) -> None:
    """Label the start on the outer side of the valley, where there are no balls."""
    outward = np.sign(at[0] - at[-1])
    axes.annotate(
        "start",
        (at[0], height),
        textcoords="offset points",
        xytext=(2 * outward, -7),
        ha="right" if outward < 0 else "left",
        va="top",
        color=look.ink,
        fontsize=style.SMALL,
    )


def _look_at(axes: Any, where: Any, curve: Any, low: float, high: float) -> None:
    """Show the curve from `low` to `high`, with some room around it."""
    seen = curve[(where >= low) & (where <= high)]
    x, y = 0.09 * (high - low), 0.07 * np.ptp(seen)
    axes.set(xlim=(low - x, high + x), ylim=(seen.min() - y, seen.max() + y))


def _box(axes: Any, look: style.Theme, others: Any) -> None:
    """The range of `others`, as a box."""
    (x0, x1), (y0, y1) = others.get_xlim(), others.get_ylim()
    box = [x0, x1, x1, x0, x0], [y0, y0, y1, y1, y0]
    axes.plot(*box, color=look.muted, linewidth=1, linestyle=(0, (3, 2)))
    axes.set_xlabel("distance along the line\n(box: the other panels)", fontsize=style.TEXT)


def _least(line: LineDescent, where: Any, curve: Any) -> float:
    """The least loss on the line: that of the curve, refined around its lowest point."""
    k = int(np.argmin(curve))
    left, right = where[max(k - 1, 0)], where[min(k + 1, len(where) - 1)]
    return min(float(curve[k]), float(line.losses(np.linspace(left, right, 201)).min()))


def _by_step(axes: Any, look: style.Theme, loss: losses.Loss, heights: list[Any]) -> None:
    """How far above the least loss each descent is, by step, with its name at the end."""
    unit = loss.axis.removeprefix(loss.title)
    style.dress(axes, look, x="step", y=f"{loss.title}\nabove the least{unit}")
    axes.set_yscale("log")
    axes.set_xlim(-0.3, STEPS + 1.5)
    seen = [np.where(above > 0, above, np.nan) for above in heights]  # 0 has no logarithm
    for k, above in enumerate(seen):
        axes.plot(above, "o-", color=look.colours[COLOURS[k]], markersize=5)
    axes.margins(y=0.12)
    axes.autoscale_view()
    style.plain_logs(axes.yaxis)
    ends = axes.transAxes.inverted().transform(
        axes.transData.transform([(STEPS, above[np.isfinite(above)][-1]) for above in seen])
    )[:, 1]
    for k, at in enumerate(apart(ends, 0.13)):
        colour = look.colours[COLOURS[k]]
        axes.text(
            STEPS + 0.2,
            at,
            NAMES[k],
            transform=axes.get_xaxis_transform(),
            color=colour,
            va="center",
            fontsize=style.SMALL,
        )


def apart(positions: Any, least: float) -> Any:
    """The positions, moved as little as possible so that they are `least` apart, (k,)."""
    order = np.argsort(positions, kind="stable")
    steps = least * np.arange(len(positions))
    rising = np.asarray(positions)[order] - steps
    low = np.maximum.accumulate(rising)
    high = np.minimum.accumulate(rising[::-1])[::-1]
    moved = np.empty(len(positions))
    moved[order] = (low + high) / 2 + steps
    return moved

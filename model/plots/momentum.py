"""Gradient descent with and without momentum, where plain descent stalls in a local minimum."""

from typing import Any

import numpy as np

from softstep.model.landscape.local_minimum import FREE_RATE, MOMENTUM, LocalMinimum
from softstep.model.plots import style


def momentum(minimum: LocalMinimum, losses_in_all_weights: Any, *, theme: str = "light") -> Any:
    """A figure: both descents on the true loss of a line; losses by step, on and off the line.

    Args:
        minimum: what `find_local_minimum` found.
        losses_in_all_weights: those of a plain descent that may leave the line, (steps + 1,).
        theme: "light" or "dark".
    """
    look = style.theme_named(theme)
    blue, orange, green = look.colours[:3]
    figure = style.new_figure(look, height=7.6)
    top, middle, bottom = figure.subplots(3, 1, height_ratios=[3, 2, 2])
    title = f"MSE on a line through random weights (rate {minimum.learning_rate:,g})"
    style.dress(top, look, x="distance along the line", y="MSE", title=title)
    top.plot(minimum.offsets, minimum.losses, color=look.muted, linewidth=1.5)
    height = np.ptp(minimum.losses)
    walks = (
        (minimum.with_momentum, orange, "s", f"momentum {MOMENTUM:g}"),
        (minimum.plain, blue, "o", "plain descent"),
    )
    for at, colour, marker, name in walks:
        heights = minimum.line.losses(at)
        top.plot(at, heights, marker, color=colour, markersize=5, alpha=0.75, label=name)
    _label_points(top, look, minimum, 0.09 * height)
    style.legend(top, look, loc="lower left")

    faster = minimum.learning_rate / (1 - MOMENTUM)
    plain, rolled = (minimum.line.losses(at) for at in (minimum.plain, minimum.with_momentum))
    _curves(
        middle,
        look,
        "on the line",
        (minimum.line.losses(minimum.faster), look.muted, ":", f"plain, rate {faster:,.0f}"),
        (plain, blue, "-", "plain"),
        (rolled, orange, "-", f"momentum {MOMENTUM:g}"),
    )
    _curves(
        bottom,
        look,
        "off the line",
        (plain, blue, "-", "plain, on the line"),
        (losses_in_all_weights, green, "--", f"plain in all weights, rate {FREE_RATE:g}"),
    )
    bottom.set_xlabel("step", color=look.ink, fontsize=style.TEXT)
    middle.sharex(bottom)
    middle.tick_params(labelbottom=False)
    figure.align_ylabels()
    return figure


def _curves(axes: Any, look: style.Theme, title: str, *curves: tuple[Any, str, str, str]) -> None:
    """Losses by step, with their legend beside the title."""
    style.dress(axes, look, y="MSE", title=title)
    for losses, colour, dash, name in curves:
        axes.plot(losses, dash, color=colour, label=name)
    anchor = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.1}
    style.legend(axes, look, ncols=3, frameon=False, **anchor)


def _label_points(axes: Any, look: style.Theme, minimum: LocalMinimum, shift: float) -> None:
    """Name the start, the minima and the crest, with their losses, `shift` above or below them."""
    for name in ("start", "local_minimum", "crest", "valley"):
        at = getattr(minimum, name)
        height = minimum.line.losses([at])[0]
        dy, va = (shift, "bottom") if name in ("start", "crest") else (-shift, "top")
        axes.annotate(
            f"{name}\n{height:.4f}".replace("_", " "),
            (at, height + dy),
            ha="center",
            va=va,
            color=look.ink,
            fontsize=style.SMALL,
        )
    axes.margins(y=0.32)

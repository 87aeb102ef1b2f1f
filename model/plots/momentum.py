"""Descent with momentum against plain descent, where plain descent stalls."""

from typing import Any

import numpy as np

from softstep.model.hollow import FREE_RATE, MOMENTUM, Hollow
from softstep.model.plots import style


def momentum(hollow: Hollow, losses_in_all_weights: Any, *, theme: str = "light") -> Any:
    """A figure: both walks on the true loss of a line, the loss by step there, and off the line.

    Args:
        hollow: what `find_hollow` found.
        losses_in_all_weights: of a plain descent that may leave the line, (steps + 1,).
        theme: "light" or "dark".
    """
    look = style.theme_named(theme)
    blue, orange, green = look.colours[:3]
    figure = style.new_figure(look, height=7.6)
    top, middle, bottom = figure.subplots(3, 1, height_ratios=[3, 2, 2])
    title = f"MSE on a line through random weights (rate {hollow.learning_rate:,g})"
    style.dress(top, look, x="distance on the line", y="MSE", title=title)
    top.plot(hollow.offsets, hollow.losses, color=look.muted, linewidth=1.5)
    height = np.ptp(hollow.losses)
    walks = (
        (hollow.with_momentum, orange, "s", f"momentum {MOMENTUM:g}"),
        (hollow.plain, blue, "o", "plain descent"),
    )
    for at, colour, marker, name in walks:
        heights = hollow.line.losses(at)
        top.plot(at, heights, marker, color=colour, markersize=5, alpha=0.75, label=name)
    _name_places(top, look, hollow, 0.09 * height)
    style.legend(top, look, loc="lower left")

    faster = hollow.learning_rate / (1 - MOMENTUM)
    plain, rolled = (hollow.line.losses(at) for at in (hollow.plain, hollow.with_momentum))
    _curves(
        middle,
        look,
        "on the line",
        (hollow.line.losses(hollow.faster), look.muted, ":", f"plain, rate {faster:,.0f}"),
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
    """Losses by step, and what each is, beside the title."""
    style.dress(axes, look, y="MSE", title=title)
    for losses, colour, dash, name in curves:
        axes.plot(losses, dash, color=colour, label=name)
    above = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderaxespad": 0.1}
    style.legend(axes, look, ncols=3, frameon=False, **above)


def _name_places(axes: Any, look: style.Theme, hollow: Hollow, above: float) -> None:
    for name in ("start", "hollow", "crest", "valley"):
        at = getattr(hollow, name)
        height = hollow.line.losses([at])[0]
        shift, side = (above, "bottom") if name in ("start", "crest") else (-above, "top")
        axes.annotate(
            f"{name}\n{height:.4f}",
            (at, height + shift),
            ha="center",
            va=side,
            color=look.ink,
            fontsize=style.SMALL,
        )
    axes.margins(y=0.32)

"""Gradient arrows on the contours: the steepest ascent against the way the weights went."""

from typing import Any

import numpy as np

from softstep.model.directions import steepest
from softstep.model.landscape import Surface
from softstep.model.plots import style
from softstep.model.plots.surface import descent_name, direction_names, in_plane, levels, title

COUNT = 6  # arrows of each kind
LENGTH = 0.115  # of an arrow, in units of the picture's width
MARGIN = 0.25  # around the path, in units of its width


def arrow_points(surface: Surface) -> np.ndarray:
    """Which points of the path get arrows, (k,): about evenly along its way, the last left out.

    Only the part is counted after which the path does not leave the plane; none where that is the
    last point alone.
    """
    _need_path(surface)
    outside = np.flatnonzero(~in_plane(surface))
    first = outside[-1] + 1 if len(outside) else 0
    steps = np.diff(surface.path[first:], axis=0)
    if not steps.any():
        return np.empty(0, dtype=np.int64)
    way = np.linalg.norm(steps, axis=1).cumsum()
    at = np.linspace(0, way[-1], COUNT, endpoint=False)
    return first + np.unique(np.searchsorted(way, at, side="right"))


def gradient(surface: Surface, slopes: Any, *, of: str = "rows", theme: str = "light") -> Any:
    """A figure of the path with two arrows at some of its points: steepest ascent, and the way on.

    The way on is that to the next point that the path holds, many steps later where it is long;
    a single step goes down the slope of its batch. Both are in the plane, and of one length: they
    show directions. Where the contours are drawn
    with D1 and D2 upright and equally long, as with "pca", the ascent stands upright on them.

    Args:
        surface: with a path.
        slopes: (k, 2), `plane_slopes` of the loss at surface.path[arrow_points(surface)].
        of: what the rows are, in the title. theme: "light" or "dark".
    """
    look = style.theme_named(theme)
    at = arrow_points(surface)
    if not len(at):
        raise ValueError("the path has no part in this plane: give loss_surface a larger span")
    slopes = np.asarray(slopes)
    if slopes.shape != (len(at), 2):
        raise ValueError(f"slopes must have shape {(len(at), 2)}, one row for each arrow point")
    ascent = steepest(surface.D1, surface.D2, slopes)
    onward = surface.path[at + 1] - surface.path[at]
    figure = style.new_figure(look)
    first, second = direction_names(surface)
    axes = style.dress(figure.add_subplot(), look, x=first, y=second)
    width = _frame(axes, surface)
    axes.grid(False)
    plane = surface.x, surface.y, surface.loss
    axes.contour(*plane, _dense(surface), colors=look.muted, linewidths=0.8, alpha=0.6)
    way = {"color": look.muted, "linewidth": 1.6, "linestyle": (0, (4, 2))}
    axes.plot(*surface.path.T, label=descent_name(surface), **way)
    axes.plot(*surface.path[at].T, "o", color=look.ink, markersize=5, zorder=5)
    axes.plot(*surface.path[-1], "*", color=look.ink, markersize=14, zorder=5, label="end")
    for vectors, colour, label in (
        (ascent, look.bad, "steepest ascent: the gradient"),
        (onward, look.good, "the way the weights went"),
    ):
        unit = LENGTH * width * vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        axes.quiver(
            *surface.path[at].T,
            *unit.T,
            angles="xy",
            scale_units="xy",
            scale=1,
            color=colour,
            width=0.006,
            zorder=4,
            label=label,
        )
    turned = angles(onward, -ascent)
    axes.set_title(
        f"{title(surface, of)}\nthe way is {turned.min():.0f}° to {turned.max():.0f}° off the "
        "steepest descent",
        color=look.ink,
        fontsize=style.TITLE,
        loc="left",
    )
    style.legend(axes, look, loc="lower left", framealpha=1)
    return figure


def angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Between vectors (k, 2), in degrees."""
    cosine = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def _frame(axes: Any, surface: Surface) -> float:
    """Look at the path, both axes to one scale; the width of what is seen."""
    low, high = surface.path.min(axis=0), surface.path.max(axis=0)
    margin = MARGIN * (high - low).max()
    low = np.maximum(low - margin, (surface.x[0], surface.y[0]))
    high = np.minimum(high + margin, (surface.x[-1], surface.y[-1]))
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes.set_aspect("equal")
    return float(high[0] - low[0])


def _dense(surface: Surface) -> np.ndarray:
    """Twice as many contours: it is a part of the plane."""
    rings = levels(surface)
    return np.sort(np.concatenate([rings, (rings[1:] + rings[:-1]) / 2]))


def _need_path(surface: Surface) -> None:
    if surface.path is None:
        raise ValueError("this surface has no path: give loss_surface the path of the training")

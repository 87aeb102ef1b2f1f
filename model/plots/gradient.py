"""Gradient arrows on the contours: the steepest ascent against the way the weights went."""

from typing import Any

import numpy as np

from softstep.model.directions import angles, steepest
from softstep.model.landscape import Surface
from softstep.model.plots import style
from softstep.model.plots.surface import descent_name, direction_names, in_plane, levels, title

COUNT = 6  # arrows of each kind
SHARE = 0.43  # of the distance between two points: their arrows do not meet
LEAST = 0.1  # distance of points with arrows, in units of the picture's width
MARGIN = 0.12  # around the path, in units of its width
WIDEST = 1.1, 1.9  # of what is seen, width to height, at least and at most
# Inches: of what is seen at most, left of it, above and below it, around all.
BOX, LEFT, HEAD, FOOT, EDGE = np.array([6.5, 4.4]), 0.85, 0.65, 1.35, 0.1


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
    a single step goes down the slope of its batch. Both are in the plane, and of one length, short
    enough to keep clear of the next point's: they show directions. Where the contours are drawn
    with D1 and D2 upright and equally long, as with "pca", the ascent stands upright on them.

    Args:
        surface: with a path.
        slopes: (k, 2), `plane_slopes` of the loss at surface.path[arrow_points(surface)].
        of: what the rows are, in the title. theme: "light" or "dark".
    """
    look = style.theme_named(theme)
    at = arrow_points(surface)
    if not len(at):
        raise style.NothingToDrawError(
            "the path has no part in this plane: give loss_surface a larger span"
        )
    slopes = np.asarray(slopes)
    if slopes.shape != (len(at), 2):
        raise ValueError(f"slopes must have shape {(len(at), 2)}, one row for each arrow point")
    if not slopes.any(axis=1).all():
        raise style.NothingToDrawError("the loss is flat at a point of the path")
    figure, axes, inside = _frame(look, surface, at[0])
    first, second = direction_names(surface)
    style.dress(axes, look, x=first, y=second)
    axes.grid(False)
    width = np.ptp(axes.get_xlim())
    shown, length = _clear(surface.path[[*at, -1]], LEAST * width)
    at, slopes = at[shown], slopes[shown]
    ascent = steepest(surface.D1, surface.D2, slopes)
    onward = surface.path[at + 1] - surface.path[at]
    turned = angles(surface.D1, surface.D2, onward, -ascent)
    rings, plane = levels(surface, inside), (surface.x, surface.y, surface.loss)
    axes.contour(*plane, rings, colors=look.muted, linewidths=0.8, alpha=0.6)
    way = {"color": look.muted, "linewidth": 1.6, "linestyle": (0, (4, 2))}
    axes.plot(*surface.path.T, label=descent_name(surface), **way)
    for vectors, colour, label in (
        (ascent, look.bad, "steepest ascent: the gradient"),
        (onward, look.good, "the way the weights went"),
    ):
        unit = length * vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        axes.quiver(
            *surface.path[at].T,
            *unit.T,
            angles="xy",
            scale_units="xy",
            scale=1,
            color=colour,
            width=min(0.006, 0.11 * length / width),
            zorder=4,
            label=label,
        )
    dots = {"color": look.ink, "linestyle": "none", "zorder": 5}
    axes.plot(*surface.path[at].T, marker="o", markersize=5, label="points of the way", **dots)
    axes.plot(*surface.path[-1], marker="*", markersize=14, label="end", **dots)
    figure.text(
        EDGE / style.WIDTH,
        1 - EDGE / figure.get_figheight(),
        f"{title(surface, of)}\nthe way is {turned.min():.0f}° to {turned.max():.0f}° off the "
        "steepest descent",
        va="top",
        color=look.ink,
        fontsize=style.TITLE,
    )
    style.legend(figure, look, loc="lower center", ncols=2)
    return figure


def _frame(look: style.Theme, surface: Surface, first: int) -> tuple[Any, Any, Any]:
    """A figure that looks at the path from its point `first` on, both axes to one scale: the
    figure, the axes, and which of the plane's points are seen, or next to it, (steps, steps)."""
    seen = surface.path[first:]
    low, high = seen.min(axis=0), seen.max(axis=0)
    width, height = (high - low) + 2 * MARGIN * (high - low).max()
    size = max(width, WIDEST[0] * height), max(height, width / WIDEST[1])
    middle, edge = (low + high) / 2, np.array([surface.x[-1], surface.y[-1]])
    low = np.maximum(middle - np.array(size) / 2, -edge)
    high = np.minimum(middle + np.array(size) / 2, edge)
    scale = (BOX / (high - low)).min()
    across, up = scale * (high - low)
    figure = style.new_figure(look, height=HEAD + up + FOOT)
    figure.set_layout_engine("none")
    left = max(LEFT, (style.WIDTH - across) / 2)
    axes = style.axes_at(figure, left, FOOT, across, up)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes.set_aspect("equal")
    columns, rows = (
        (at >= low[k] - at[1] + at[0]) & (at <= high[k] + at[1] - at[0])
        for k, at in enumerate((surface.x, surface.y))
    )
    return figure, axes, rows[:, None] & columns


def _clear(points: np.ndarray, least: float) -> tuple[list[int], float]:
    """Which points but the last keep `least` from one another and from that, or else the one
    farthest from it; and how long the arrows at them may be, that none meets another point's."""
    kept: list[int] = []
    for k in range(len(points) - 1):
        if np.linalg.norm(points[[*kept, -1]] - points[k], axis=1).min() >= least:
            kept.append(k)
    kept = kept or [int(np.linalg.norm(points - points[-1], axis=1).argmax())]
    ends = points[[*kept, -1]]
    apart = np.linalg.norm(ends[:, None] - ends, axis=2)
    return kept, SHARE * float(apart[~np.eye(len(ends), dtype=bool)].min())


def _need_path(surface: Surface) -> None:
    if surface.path is None:
        raise ValueError("this surface has no path: give loss_surface the path of the training")

"""Gradient arrows on the contours: the steepest ascent against the direction of the path."""

from typing import Any

import numpy as np

from softstep.model.landscape import Surface
from softstep.model.landscape.directions import angles, steepest
from softstep.model.plots import style
from softstep.model.plots.surface import descent_name, direction_names, in_plane, levels, title

COUNT = 6  # arrows of each kind
SHARE = 0.43  # of the distance between two points, below which their arrows cannot meet
LEAST = 0.1  # distance between points with arrows, as a share of the figure's width
MARGIN = 0.12  # around the path, as a share of its width
WIDEST = 1.1, 1.9  # width to height of what is visible, at least and at most
# Inches: what is visible at most; left of it, above it and below it; around everything.
BOX, LEFT, HEAD, FOOT, EDGE = np.array([6.5, 4.4]), 0.85, 0.65, 1.35, 0.1


def arrow_points(surface: Surface) -> np.ndarray:
    """The points of the path that get arrows, (k,): evenly along it, the last one left out.

    Only the part after which the path stays in the plane counts; there are none if that is the last
    point alone.
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

    The way on leads to the next recorded point, on a long path many steps later; a single step
    descends the loss of its batch only. Both arrows lie in the plane and have the same length,
    short enough to stay clear of the next point's: they show directions alone. Where D1 and D2 are
    at right angles and equally long, as with "pca", the ascent is perpendicular to the contours.

    Args:
        surface: with a path.
        slopes: (k, 2), `plane_slopes` of the loss at surface.path[arrow_points(surface)].
        of: what the title calls its rows. theme: "light" or "dark".
    """
    look = style.theme_named(theme)
    at = arrow_points(surface)
    slopes = _checked(slopes, len(at))
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
    dashed = {"color": look.muted, "linewidth": 1.6, "linestyle": (0, (4, 2))}
    axes.plot(*surface.path.T, label=descent_name(surface), **dashed)
    thin = min(0.006, 0.11 * length / width)
    _arrows(axes, surface.path[at], length, ascent, look.bad, thin, "steepest ascent: the gradient")
    _arrows(axes, surface.path[at], length, onward, look.good, thin, "direction of the path")
    dots = {"color": look.ink, "linestyle": "none", "zorder": 5}
    axes.plot(*surface.path[at].T, marker="o", markersize=5, label="points on the path", **dots)
    axes.plot(*surface.path[-1], marker="*", markersize=14, label="end", **dots)
    figure.text(
        EDGE / style.WIDTH,
        1 - EDGE / figure.get_figheight(),
        f"{title(surface, of)}\nthe path is {turned.min():.0f}° to {turned.max():.0f}° off the "
        "steepest descent",
        va="top",
        color=look.ink,
        fontsize=style.TITLE,
    )
    style.legend(figure, look, loc="lower center", ncols=2)
    return figure


def _checked(slopes: Any, count: int) -> Any:
    """The slopes at `count` arrow points, (count, 2).

    Raises:
        ValueError: another shape. NothingToDrawError: there are no points, or no slope at one.
    """
    if not count:
        raise style.NothingToDrawError(
            "no part of the path lies in this plane: give loss_surface a larger span"
        )
    slopes = np.asarray(slopes)
    if slopes.shape != (count, 2):
        raise ValueError(f"slopes must have shape {(count, 2)}, one row for each arrow point")
    if not slopes.any(axis=1).all():
        raise style.NothingToDrawError("the loss is flat at a point of the path")
    return slopes


def _arrows(
    axes: Any, points: Any, length: float, vectors: Any, colour: str, width: float, label: str
) -> None:
    """Arrows of one length at the points, in the directions of the vectors, (k, 2)."""
    unit = length * vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    axes.quiver(
        *points.T,
        *unit.T,
        angles="xy",
        scale_units="xy",
        scale=1,
        color=colour,
        width=width,
        zorder=4,
        label=label,
    )


def _frame(look: style.Theme, surface: Surface, first: int) -> tuple[Any, Any, Any]:
    """The figure, axes around the path from its point `first` on, both to one scale, and which of
    the plane's points are visible or next to those, (steps, steps)."""
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
    """Which points keep the distance `least` from one another and from the last one, or else the
    one farthest from that; and how long their arrows may be without meeting another point's."""
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

"""The loss on a plane through a model's weights: in three dimensions, and as contours."""

from typing import Any

import numpy as np

from softstep.kernels import losses
from softstep.model import extras
from softstep.model.landscape import Surface
from softstep.model.plots import style

LEVELS = 16
MESH = 51  # lines of the surface in each direction, at most
VIEW = (36, -62)  # elevation and azimuth, degrees
BOX, EYE = (1, 1, 0.66), 8.0  # the box's edges; the distance of matplotlib's eye from its centre
PALE = 0.55  # opacity of what lies behind the surface
TITLE = 5.8  # inches: the longest title that fits on one line above the contours
# As shares of the range of the loss: how far the floor lies below, the path above the surface.
FLOOR, LIFT = 0.38, 0.012
ENDS: Any = {  # of the path; the start is smaller and on top, so that it is seen even on the end
    0: {"marker": "o", "markersize": 9, "label": "start", "zorder": 7},
    -1: {"marker": "*", "markersize": 16, "label": "end", "zorder": 6},
}


def surface(surface: Surface, *, of: str = "rows", theme: str = "light") -> Any:
    """A 3-D figure of the loss, its contours on the floor, and the descent path if there is one.

    Args:
        surface: from `loss_surface`. of: what the title calls its rows, such as "training rows".
        theme: "light" or "dark".
    """
    look = style.theme_named(theme)
    figure = style.new_figure(look, height=6)
    figure.set_layout_engine("none")  # it underestimates the labels of 3-D axes
    axes = figure.add_axes((-0.05, 0.055, 1.0, 0.875), projection="3d", computed_zorder=False)
    x, y, loss = surface.x, surface.y, surface.loss
    colours = {"norm": heights(surface), "cmap": value_colours(look)}
    floor = loss.min() - FLOOR * np.ptp(loss)
    axes.contourf(
        x, y, loss, levels(surface), zdir="z", offset=floor, alpha=0.75, zorder=0, **colours
    )
    axes.plot_surface(
        x[None],
        y[:, None],
        loss,
        rcount=MESH,
        ccount=MESH,
        edgecolor=look.ink,
        linewidth=0.12,
        zorder=1,
        **colours,
    )
    if surface.path is not None:
        _descent_3d(axes, surface, look, floor)
        anchor = {"loc": "upper left", "bbox_to_anchor": (0.01, 0.95)}
        style.legend(figure, look, ncols=3, frameon=False, **anchor)
    first, second = (name.replace(" (", "\n(") for name in direction_names(surface))
    style.dress(axes, look, x=first, y=second)
    figure.suptitle(title(surface, of), x=0.02, ha="left", color=look.ink, fontsize=style.TITLE)
    _dress_3d(axes, surface, look, floor)
    return figure


def contours(surface: Surface, *, of: str = "rows", theme: str = "light") -> Any:
    """A figure of the loss contours, denser where the loss is low, and the descent path.

    The arguments are those of `surface`.
    """
    look = style.theme_named(theme)
    figure = style.new_figure(look, height=5.6)
    first, second = direction_names(surface)
    heading = title(surface, of)
    if style.text_width(heading, style.TITLE) > TITLE:
        heading = heading.replace(" around ", "\naround ")
    axes = style.dress(figure.add_subplot(), look, x=first, y=second, title=heading)
    draw_contours(axes, surface, look)
    if surface.path is not None:
        descent(axes, surface, look)
        style.legend(axes, look, loc="best")  # clear of the path
    axes.set_aspect("equal")
    return figure


def draw_contours(axes: Any, surface: Surface, look: style.Theme) -> None:
    """Filled contours, and beside them a scale with the loss of every third."""
    given = (surface.x, surface.y, surface.loss, levels(surface))
    filled = axes.contourf(*given, norm=heights(surface), cmap=value_colours(look))
    axes.contour(*given, colors=look.page, linewidths=0.6, alpha=0.6)
    ticks = filled.levels[::3]
    bar = axes.figure.colorbar(filled, ax=axes, ticks=ticks, format=alike(ticks), pad=0.02)
    bar.set_label(losses.find(surface.loss_name).axis, color=look.ink, fontsize=style.TEXT)
    bar.ax.tick_params(colors=look.muted, labelsize=style.SMALL)
    bar.outline.set_edgecolor(look.muted)


def alike(ticks: Any) -> str:
    """A format with just enough decimals to tell all these rising ticks apart."""
    return f"%.{max(0, 1 - int(np.floor(np.log10(np.diff(ticks).min()))))}f"


def in_plane(surface: Surface) -> Any:
    """Which points of the path lie on the visible part of the plane, (k,)."""
    return (np.abs(surface.path) <= (surface.x[-1], surface.y[-1])).all(axis=1)


def descent(axes: Any, surface: Surface, look: style.Theme) -> None:
    """The visible part of the path on the plane, with its start and its end."""
    x, y = np.where(in_plane(surface), surface.path.T, np.nan)
    label = descent_name(surface)
    axes.plot(x, y, color=look.page, linewidth=4.5, solid_capstyle="round")
    axes.plot(x, y, color=look.bad, linewidth=2.2, marker="o", markersize=3, label=label)
    for k, marker in _ends(surface):
        axes.plot(x[[k]], y[[k]], **_end(look), **marker)


def _descent_3d(axes: Any, surface: Surface, look: style.Theme, floor: float) -> None:
    """The path a little above the surface; dotted and pale where the surface hides it."""
    x, y = np.where(in_plane(surface), surface.path.T, np.nan)
    z = surface.path_loss + LIFT * np.ptp(surface.loss)
    behind = hidden(surface, np.stack([x, y, z], axis=1), floor)
    label = descent_name(surface)
    front = np.where(behind, np.nan, z)
    axes.plot(x, y, front, color=look.page, linewidth=4.5, zorder=4)
    axes.plot(x, y, front, color=look.bad, linewidth=2.4, zorder=5, label=label)
    if behind.any():
        dilated = np.convolve(behind, [1, 1, 1])[1:-1] > 0  # joins the visible part
        dots = {"linestyle": ":", "linewidth": 2, "alpha": PALE, "zorder": 5}
        axes.plot(x, y, np.where(dilated, z, np.nan), color=look.bad, **dots)
    for k, marker in _ends(surface):
        if behind[k]:
            marker = marker | {"alpha": PALE, "label": f"{marker['label']} (behind)"}
        axes.plot(x[[k]], y[[k]], z[[k]], **_end(look), **marker)


def hidden(surface: Surface, points: np.ndarray, floor: float) -> np.ndarray:
    """Which points, (k, 3) with NaN for none, the surface hides from the eye in `surface`, (k,).

    A point is hidden if its line of sight passes below the surface anywhere inside the box.
    """
    low = np.array([surface.x[0], surface.y[0], floor])
    box = np.array(BOX) / (np.array([surface.x[-1], surface.y[-1], surface.loss.max()]) - low)
    at = (points - low) * box
    up, around = np.radians(VIEW)
    eye = np.array(BOX) / 2 + EYE * np.array(
        [np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)]
    )
    toward = (eye - at) / np.linalg.norm(eye - at, axis=1, keepdims=True)
    ways = at[:, None] + np.linspace(0, 2, 400)[1:, None] * toward[:, None]  # (k, 399, 3)
    with np.errstate(invalid="ignore"):
        inside = ((ways[..., :2] >= 0) & (ways[..., :2] <= 1)).all(axis=-1)
    x, y = np.where(inside, np.moveaxis(ways[..., :2], -1, 0), 0)
    height = (_between(surface.loss, x, y) - floor) * box[2]
    return (inside & (ways[..., 2] < height)).any(axis=1)


def _between(values: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values of a grid, (steps, steps), at x and y from 0 to 1, by bilinear interpolation."""
    last = len(values) - 1
    j, i = (np.minimum((at * last).astype(int), last - 1) for at in (x, y))
    u, v = x * last - j, y * last - i
    low = (1 - u) * values[i, j] + u * values[i, j + 1]
    high = (1 - u) * values[i + 1, j] + u * values[i + 1, j + 1]
    return (1 - v) * low + v * high


def _dress_3d(axes: Any, surface: Surface, look: style.Theme, floor: float) -> None:
    """Labels, panes and ticks in the look that `style.dress` gives 2-D axes."""
    x, y, loss = surface.x, surface.y, surface.loss
    name = losses.find(surface.loss_name).axis
    axes.set_zlabel(name, color=look.ink, fontsize=style.TEXT, labelpad=13)
    axes.xaxis.labelpad = axes.yaxis.labelpad = 14
    axes.set(xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), zlim=(floor, loss.max()))
    inner = slice(1, -1)  # the outermost ticks of both axes would meet in the corner
    axes.set(xticks=np.linspace(x[0], x[-1], 5)[inner])
    axes.set(yticks=np.linspace(y[0], y[-1], 5)[inner])
    ticks = axes.get_zticks()
    axes.set_zticks(ticks[(ticks >= 0) & (ticks <= loss.max())])
    axes.tick_params(axis="z", colors=look.muted, labelsize=style.SMALL)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_pane_color(look.page)
        axis.line.set_color(look.muted)
        axis._axinfo["grid"].update(color=look.grid, linewidth=0.7)
    axes.view_init(*VIEW)
    axes.set_box_aspect(BOX, zoom=1.0)


def _ends(surface: Surface) -> list[tuple[int, dict[str, Any]]]:
    """The visible ends of the path, and their markers."""
    seen = in_plane(surface)
    return [(k, marker) for k, marker in ENDS.items() if seen[k]]


def _end(look: style.Theme) -> dict[str, Any]:
    return {"color": look.bad, "markeredgecolor": look.ink, "linestyle": "none"}


def title(surface: Surface, of: str) -> str:
    middle = "the trained weights" if surface.path is not None else "the weights"
    return f"{losses.find(surface.loss_name).title} of {surface.rows} {of} around {middle}"


def descent_name(surface: Surface) -> str:
    """What to call the path: on random directions it is only a projection of the descent."""
    kind = "descent" if surface.directions == "pca" else "projection of the descent"
    return f"{kind}, {surface.path_steps[-1]} steps"


def direction_names(surface: Surface) -> tuple[str, str]:
    """Labels of the two axes; those of principal components give their shares of the variance."""
    if surface.explained_variance is not None:
        first, second = surface.explained_variance
        return (
            f"PC 1 of the path ({first:.1%} of its variance)",
            f"PC 2 of the path ({second:.1%} of its variance)",
        )
    what = {"random": "random direction", "given": "direction"}[surface.directions]
    return f"{what} 1 (offset)", f"{what} 2 (offset)"


def levels(surface: Surface, part: Any = ...) -> np.ndarray:
    """Heights of contours: evenly spaced rings in a quadratic bowl.

    part: which points of the plane are visible, (steps, steps).

    Raises:
        NothingToDrawError: the loss does not vary enough for distinct contours.
    """
    low, high = surface.loss[part].min(), surface.loss[part].max()
    rings = low + (high - low) * np.linspace(0, 1, LEVELS + 1) ** 2
    if not (np.diff(rings) > 0).all():
        raise style.NothingToDrawError(
            f"the loss is {low:.6g} everywhere on this plane, so there are no contours: take a "
            "larger span"
        )
    return rings


def heights(surface: Surface) -> Any:
    """From losses to colours: by the square root, to match the spacing of the rings."""
    colors = extras.load("matplotlib.colors", extra="plot")
    return colors.PowerNorm(0.5, surface.loss.min(), surface.loss.max())


def value_colours(look: style.Theme) -> Any:
    """The theme's colours for values, without the background itself."""
    colors = extras.load("matplotlib.colors", extra="plot")
    whole = style.value_colours(look)
    return colors.LinearSegmentedColormap.from_list("heights", whole(np.linspace(0.12, 0.97, 64)))

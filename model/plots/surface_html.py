"""The interactive loss surface: HTML with plotly's code inside, which needs no network."""

from typing import Any

import numpy as np

from softstep.kernels import losses
from softstep.model import extras
from softstep.model.landscape import Surface
from softstep.model.plots import style
from softstep.model.plots.surface import (
    LIFT,
    descent_name,
    direction_names,
    in_plane,
    title,
)

HEIGHT, HEAD = 560, 108  # pixels: of everything; of the title and the legend
HINT = "drag to rotate, scroll to zoom"


def surface_html(surface: Surface, *, of: str = "rows", theme: str = "light") -> str:
    """Part of an HTML page, 5 MB with plotly inside: `plots.surface`, to be rotated.

    Raises:
        MissingExtraError: plotly is not installed (`softstep[report]`).
    """
    io = extras.load("plotly.io", extra="report")
    html: str = io.to_html(
        interactive(surface, of=of, theme=theme),
        full_html=False,
        include_plotlyjs=True,
        include_mathjax=False,
        config={"displaylogo": False, "responsive": True},
        div_id="loss-surface",
    )
    return html


def interactive(surface: Surface, *, of: str = "rows", theme: str = "light") -> Any:
    """The same as a plotly figure."""
    look = style.theme_named(theme)
    go = extras.load("plotly.graph_objects", extra="report")
    figure = go.Figure(_surface(go, surface, look))
    if surface.path is not None:
        _add_descent(figure, go, surface, look)
    first_line, second_line = title(surface, of).split(" around ")  # each fits in 600 pixels
    figure.update_layout(
        title={
            "text": f"{first_line}<br>around {second_line}<br><sub>{HINT}</sub>",
            "font": {"color": look.ink, "size": 17},
            "x": 0.02,
            "y": 0.955,
            "yanchor": "top",
        },
        # upright at the right edge, clear of the title
        modebar={
            "orientation": "v",
            "bgcolor": look.page,
            "color": look.muted,
            "activecolor": look.ink,
        },
        paper_bgcolor=look.page,
        font={"color": look.ink, "family": "system-ui, sans-serif"},
        height=HEIGHT,
        margin={"l": 0, "r": 0, "t": HEAD, "b": 0},
        legend={"orientation": "h", "x": 0.01, "y": 1, "yanchor": "bottom"},
        scene=_scene(surface, look),
    )
    return figure


def _surface(go: Any, surface: Surface, look: style.Theme) -> Any:
    name = losses.find(surface.loss_name).title
    return go.Surface(
        x=surface.x,
        y=surface.y,
        z=surface.loss,
        customdata=surface.accuracy,
        surfacecolor=np.sqrt(surface.loss - surface.loss.min()),
        colorscale=[[k / 2, stop] for k, stop in enumerate(look.stops[1:])],
        showscale=False,
        name="loss",
        hovertemplate=f"{name} %{{z:.4g}}<br>accuracy %{{customdata:.2%}}"
        "<br>offsets %{x:.2f}, %{y:.2f}<extra></extra>",
        contours={"z": {"show": True, "color": look.page, "width": 1}},
    )


def _scene(surface: Surface, look: style.Theme) -> dict[str, Any]:
    """The axes, and where they are looked at from."""
    first, second = (name.replace(" (", "<br>(") for name in direction_names(surface))
    axis = {"color": look.ink, "backgroundcolor": look.page}
    axis |= {"gridcolor": look.grid, "zerolinecolor": look.grid}
    return {
        "xaxis": {"title": {"text": first}, **axis},
        "yaxis": {"title": {"text": second}, **axis},
        "zaxis": {"title": {"text": losses.find(surface.loss_name).axis}, **axis},
        "aspectratio": {"x": 1, "y": 1, "z": 0.6},
        "camera": {
            "eye": {"x": 0.92, "y": -1.54, "z": 0.92},
            "center": {"x": 0, "y": 0, "z": -0.12},
        },
    }


def _add_descent(figure: Any, go: Any, surface: Surface, look: style.Theme) -> None:
    name = losses.find(surface.loss_name).title
    seen = in_plane(surface)
    x, y = np.where(seen, surface.path.T, np.nan)
    z = surface.path_loss + LIFT * np.ptp(surface.loss)
    out = 2 * LIFT * np.ptp(surface.loss)  # else half of each ball would be inside the surface
    figure.add_trace(
        go.Scatter3d(
            x=x,
            y=y,
            z=z,
            customdata=np.stack([surface.path_steps, surface.path_loss], axis=1),
            mode="lines+markers",
            line={"color": look.bad, "width": 7},
            marker={"color": look.bad, "size": 3},
            name=descent_name(surface),
            hovertemplate=f"step %{{customdata[0]}}<br>{name} %{{customdata[1]:.4g}}"
            "<extra></extra>",
        )
    )
    for k, symbol, label in ((0, "circle", "start"), (-1, "diamond", "end")):
        if not seen[k]:
            continue
        marker = {"color": look.bad, "size": 8, "symbol": symbol}
        marker["line"] = {"color": look.ink, "width": 2}
        figure.add_trace(
            go.Scatter3d(
                x=[x[k]], y=[y[k]], z=[z[k] + out], mode="markers", marker=marker, name=label
            )
        )

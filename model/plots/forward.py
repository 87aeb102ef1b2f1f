"""The forward pass of one row as a diagram, with its numbers."""

import itertools
from typing import Any

import numpy as np

from softstep import kernels
from softstep.model.plots import style

LOSSES = {
    "mse": r"$L = \frac{1}{c}\,\sum_i\,(y_i - p_i)^2$",
    "cross_entropy": r"$L = -\log\,p_y$",
}


def forward(
    x: Any,
    label: int,
    W: Any,
    b: Any,
    shape: tuple[int, int],
    *,
    loss: str,
    names: Any = None,
    feature_scale: float = 1.0,
    theme: str = "light",
) -> Any:
    """A figure: image → logits → exponentials → probabilities → loss, by the package's own ops.

    Args:
        x: the pixels of the row, (d,). label: its class, 0…c-1.
        W, b: weights (d, c) and bias (c,). shape: rows and columns of the image.
        loss: "mse" or "cross_entropy". names: of the classes, (c,); None: 0…c-1.
        theme: "light" or "dark".
    """
    look = style.theme_named(theme)
    y = np.array([label])
    V = kernels.linear_forward(x[None], W, b, feature_scale=feature_scale)
    P = kernels.softmax_forward(V)
    if loss == "mse":
        (value,) = kernels.mse_forward(P, y)
    else:
        (value,) = kernels.cross_entropy_forward(V, y)
    v, p = V[0].astype(float), P[0].astype(float)
    names = np.arange(len(v)) if names is None else names

    figure = style.new_figure(look, width=8.4, height=4.6)
    figure.get_layout_engine().set(w_pad=0.06, wspace=0.16)
    image, logits, powers, shares, end = figure.subplots(1, 5, width_ratios=[4, 4, 3.1, 4, 3.4])
    _image(image, look, x.reshape(shape), names[label])
    colours = [look.good if i == label else look.muted for i in range(len(v))]
    title = {"color": look.ink, "fontsize": style.TEXT}
    _bars(logits, look, v, colours, names, "{:+.2f}")
    logits.set_title("logits\n$v = x^T W + b$", **title)
    _bars(shares, look, p, colours, names, "{:.4f}")
    shares.set_title("probabilities\n$p = e^v\\,/\\,\\Sigma$", **title)
    exponentials = np.exp(v)
    _column(powers, look, [f"{e:.4g}" for e in exponentials], colours)
    powers.set_title("exponentials\n$e^v$", **title)
    powers.set_xlabel(f"$\\Sigma$ = {exponentials.sum():.4g}", **title)
    end.set_title(f"loss\n{LOSSES[loss]}", **title)
    _loss(end, look, loss, p, label, float(value))
    _arrows(figure, look, [image, logits, powers, shares, end])
    return figure


def _image(axes: Any, look: style.Theme, pixels: Any, name: Any) -> None:
    axes.imshow(pixels, cmap=style.value_colours(look))
    axes.set_title(f"pixels $x$\n(class {style.plain(name)})", color=look.ink, fontsize=style.TEXT)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(look.grid)


def _bars(
    axes: Any, look: style.Theme, values: Any, colours: list[str], names: Any, form: str
) -> None:
    """A bar for each class, from the top down, with its number."""
    at = np.arange(len(values))
    axes.barh(at, values, color=colours, height=0.62)
    _rows(axes, look, len(values))
    axes.set_yticks(at, [style.plain(name) for name in names])
    axes.axvline(0, color=look.muted, linewidth=0.8)
    span = np.ptp(np.append(values, 0))
    axes.set_xlim(
        min(values.min(), 0) - 0.75 * span * (values.min() < 0), max(values.max(), 0) + 0.62 * span
    )
    for k, value in enumerate(values):
        side = "right" if value < 0 else "left"
        axes.annotate(
            form.format(value).replace("-", "−"),
            (value, k),
            textcoords="offset points",
            xytext=(-3 if value < 0 else 3, 0),
            ha=side,
            va="center",
            color=look.ink,
            fontsize=style.SMALL,
        )


def _column(axes: Any, look: style.Theme, texts: list[str], colours: list[str]) -> None:
    """A number for each class, from the top down."""
    _rows(axes, look, len(texts))
    axes.set_xlim(0, 1)
    axes.set_yticks([])
    for k, (text, colour) in enumerate(zip(texts, colours, strict=True)):
        ink = look.ink if colour == look.muted else colour
        axes.text(0.5, k, text, ha="center", va="center", color=ink, fontsize=style.TEXT)


def _rows(axes: Any, look: style.Theme, count: int) -> None:
    axes.set_facecolor(look.page)
    axes.set_ylim(count - 0.4, -0.6)
    axes.set_xticks([])
    axes.tick_params(colors=look.ink, labelsize=style.TEXT, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _loss(axes: Any, look: style.Theme, loss: str, p: Any, label: int, value: float) -> None:
    """The terms of the loss, and the loss."""
    _rows(axes, look, len(p))
    axes.set_xlim(0, 1)
    axes.set_yticks([])
    small = {"ha": "center", "va": "center", "fontsize": style.SMALL}
    if loss == "mse":
        for k in range(len(p)):
            ink = look.good if k == label else look.ink
            axes.text(0.5, k, f"({int(k == label)} − {p[k]:.4f})²", color=ink, **small)
        axes.set_xlabel(f"L = {value:.4g}", color=look.ink, fontsize=style.TITLE)
        return
    axes.text(0.5, label, f"−log {p[label]:.4f}", color=look.good, **small)
    axes.set_xlabel(f"L = {value:.4g}", color=look.ink, fontsize=style.TITLE)


def _arrows(figure: Any, look: style.Theme, axes: list[Any]) -> None:
    """An arrow from each panel to the next, once the layout is known."""
    from matplotlib.patches import FancyArrowPatch

    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    boxes = [a.get_tightbbox().transformed(figure.transFigure.inverted()) for a in axes]
    middle = axes[1].get_position()
    height = (middle.y0 + middle.y1) / 2
    for left, right in itertools.pairwise(boxes):
        ends = (left.x1, height), (right.x0, height)
        arrow = FancyArrowPatch(
            *ends,
            transform=figure.transFigure,
            arrowstyle="-|>",
            mutation_scale=12,
            color=look.muted,
        )
        figure.add_artist(arrow)

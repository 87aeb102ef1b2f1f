"""The forward pass of one row as a diagram, with its numbers."""

from typing import Any

import numpy as np

from softstep import kernels
from softstep.model import extras, inputs
from softstep.model.plots import style

LOSSES = {
    "mse": r"$L = \frac{1}{c}\,\sum_i\,(y_i - p_i)^2$",
    "cross_entropy": r"$L = -\log\,p_y$",
}
# Inches: of names at most, of a logit's and a probability's number, of the columns of text.
NAME, LOGIT, PROBABILITY, POWER, TERM = 1.0, 0.66, 0.5, 0.92, 1.25
EDGE, GAP = 0.08, 0.3  # around all, and between two columns: an arrow
ROW, LEAST_ROW, BODY = 0.5, 0.2, 3.4  # of a class at most and at least; of ten classes
LEAST_BODY, HEAD, FOOT = 1.9, 0.72, 0.36  # of a few classes; above and below them
BAR = 0.24  # thickness at most


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
        loss: "mse" or "cross_entropy". names: of the classes, (c,); None: 0…c-1. Long ones are
            shortened.
        theme: "light" or "dark".

    Raises:
        TypeError: the label is no integer.
        ValueError: another loss; a label, a shape or names that do not go with the weights.
        NothingToDrawError: logits or a loss that are not finite.
    """
    look = style.theme_named(theme)
    inputs.choice("loss", loss, tuple(LOSSES))
    x, label = np.asarray(x), inputs.integer("label", label, least=0)
    names = np.arange(W.shape[1]) if names is None else names
    _refuse_strangers(x, label, W.shape[1], shape, names)
    y = np.array([label])
    V = kernels.linear_forward(x[None], W, b, feature_scale=feature_scale)
    P = kernels.softmax_forward(V)
    if loss == "mse":
        (value,) = kernels.mse_forward(P, y)
    else:
        (value,) = kernels.cross_entropy_forward(V, y)
    v, p = V[0].astype(float), P[0].astype(float)
    if not (np.isfinite(v).all() and np.isfinite(value)):
        raise style.NothingToDrawError("the logits or the loss are not finite")

    figure, (image, logits, powers, shares, end) = _panels(look, names)
    _image(image, look, x.reshape(shape), names[label])
    colours = [look.good if i == label else look.muted for i in range(len(v))]
    title = {"color": look.ink, "fontsize": style.TEXT}
    decimals = 2 if np.abs(v).max() < 9999 else 0
    _bars(logits, look, v, colours, LOGIT, f"{{:+.{decimals}f}}")
    _name_rows(logits, look, names, label)
    logits.set_title("logits\n$v = x^T W + b$", **title)
    _bars(shares, look, p, colours, PROBABILITY, "{:.4f}")
    shares.set_title("probabilities\n$p = e^v\\,/\\,\\Sigma$", **title)
    inks = [look.good if i == label else look.ink for i in range(len(v))]
    _column(powers, look, dict(enumerate(map(style.power_of_e, v))), inks)
    powers.set_title("exponentials\n$e^v$", **title)
    log_sum = v.max() + np.log(np.exp(v - v.max()).sum())  # e^v itself may overflow
    powers.set_xlabel(f"$\\Sigma$ = {style.power_of_e(log_sum)}", **title)
    end.set_title(f"loss\n{LOSSES[loss]}", **title)
    if loss == "mse":
        terms = {k: f"({int(k == label)} − {p[k]:.4f})²" for k in range(len(p))}
    else:
        terms = {label: f"−log {style.power_of_e(v[label] - log_sum)}"}
    _column(end, look, terms, inks)
    value = style.power_of_e(np.log(value)) if value > 0 else "0"
    end.set_xlabel(f"L = {value}", color=look.ink, fontsize=style.TITLE)
    return figure


def _refuse_strangers(x: Any, label: int, c: int, shape: tuple[int, int], names: Any) -> None:
    """Raise ValueError for a label, a shape or names that do not go with the row and c classes."""
    if label >= c:
        raise ValueError(f"label must be below {c}, the number of classes, not {label}")
    if x.ndim != 1 or len(shape) != 2 or min(shape) < 1 or shape[0] * shape[1] != len(x):
        raise ValueError(f"x of shape {x.shape} is no image of {tuple(shape)}")
    if len(names) != c:
        raise ValueError(f"there are {len(names)} names for {c} classes")


def _panels(look: style.Theme, names: Any) -> tuple[Any, list[Any]]:
    """The figure and its five panels, side by side; the names of the classes are left of the
    second. What names and numbers leave is for the image and the bars."""
    c = len(names)
    row = np.clip(BODY / c, LEAST_ROW, ROW)
    body = max(c * row, LEAST_BODY)
    height = HEAD + body + FOOT
    figure = style.new_figure(look, height=height)
    figure.set_layout_engine("none")
    written = max(style.text_width(_short(name), style.SMALL) for name in names) + 0.08
    room = style.WIDTH - 2 * EDGE - 4 * GAP - written - LOGIT - POWER - PROBABILITY - TERM
    widths = [0.42 * room, 0.32 * room + LOGIT, POWER, 0.26 * room + PROBABILITY, TERM]
    left, panels = EDGE, []
    for k, width in enumerate(widths):
        if k:
            _arrow(figure, look, left, (FOOT + body / 2) / height)
            left += GAP + written * (k == 1)
        panels.append(style.axes_at(figure, left, FOOT, width, body))
        left += width
    for axes in panels[1:]:
        _dress(axes, look, c, body / row)
    return figure, panels


def _dress(axes: Any, look: style.Theme, count: int, rows: float) -> None:
    """A place for each class, from the top down, in the middle of so many rows."""
    axes.set_facecolor("none")
    axes.set_ylim((count - 1 + rows) / 2, (count - 1 - rows) / 2)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _short(name: Any) -> str:
    return style.fitted(name, NAME, style.SMALL)


def _image(axes: Any, look: style.Theme, pixels: Any, name: Any) -> None:
    axes.imshow(pixels, cmap=style.value_colours(look))
    name = style.fitted(name, _inches(axes)[0], style.TEXT)
    axes.set_title(f"pixels $x$ of\n{name}", color=look.ink, fontsize=style.TEXT)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(look.grid)


def _name_rows(axes: Any, look: style.Theme, names: Any, label: int) -> None:
    axes.set_yticks(np.arange(len(names)), [_short(name) for name in names])
    axes.tick_params(length=0, pad=2, labelsize=style.SMALL, labelcolor=look.ink)
    axes.get_yticklabels()[label].set_color(look.good)


def _bars(
    axes: Any, look: style.Theme, values: Any, colours: list[str], numbers: float, form: str
) -> None:
    """A bar for each class, and at the right edge its number, in a column `numbers` inches wide."""
    width, height = _inches(axes)
    row = height / np.ptp(axes.get_ylim())
    axes.barh(np.arange(len(values)), values, color=colours, height=min(0.62, BAR / row))
    axes.axvline(0, color=look.muted, linewidth=0.8)
    low, high = min(values.min(), 0), max(values.max(), 0)
    span = (high - low) or 1.0  # all are 0
    axes.set_xlim(low - 0.02 * span, low + 1.02 * span * width / (width - numbers))
    for k, value in enumerate(values):
        axes.annotate(
            form.format(value).replace("-", "−"),
            (1, k),
            xycoords=axes.get_yaxis_transform(),
            ha="right",
            va="center",
            color=look.ink,
            fontsize=style.SMALL,
        )


def _inches(axes: Any) -> tuple[float, float]:
    box = axes.get_window_extent()
    return box.width / axes.figure.dpi, box.height / axes.figure.dpi


def _column(axes: Any, look: style.Theme, texts: dict[int, str], inks: list[str]) -> None:
    """A text for some classes."""
    axes.set_xlim(0, 1)
    for k, text in texts.items():
        axes.text(0.5, k, text, ha="center", va="center", color=inks[k], fontsize=style.SMALL)


def _arrow(figure: Any, look: style.Theme, left: float, height: float) -> None:
    """An arrow in the gap that begins at `left`, in inches; `height` in figures."""
    patches = extras.load("matplotlib.patches", extra="plot")
    figure.add_artist(
        patches.FancyArrowPatch(
            ((left + 0.04) / style.WIDTH, height),
            ((left + GAP - 0.04) / style.WIDTH, height),
            transform=figure.transFigure,
            arrowstyle="-|>",
            mutation_scale=12,
            shrinkA=0,
            shrinkB=0,
            color=look.muted,
        )
    )

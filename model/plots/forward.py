"""The forward pass of one row as a diagram, with its numbers."""

from typing import Any

import numpy as np

from softstep import kernels
from softstep.kernels import losses
from softstep.model import extras, inputs
from softstep.model.plots import style

# Inches: a name at most; the number of a logit and of a probability; the two columns of text.
NAME, LOGIT, PROBABILITY, POWER, TERM = 1.0, 0.66, 0.5, 0.92, 1.25
EDGE, GAP = 0.08, 0.3  # around everything; between two columns, where an arrow goes
ROW, LEAST_ROW, BODY = 0.5, 0.2, 3.4  # a class at most and at least; ten classes
LEAST_BODY, HEAD, FOOT = 1.9, 0.72, 0.36  # a few classes; above and below them
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
    """A figure: image → logits → exponentials → probabilities → loss, computed by the ops.

    Args:
        x: the pixels of the row, (d,). label: its class, 0…c-1.
        W, b: weights (d, c) and bias (c,). shape: rows and columns of the image.
        loss: the name of a loss. names: of the classes, (c,); None: 0…c-1. Long ones are shortened.
        theme: "light" or "dark".

    Raises:
        TypeError: the label is not an integer.
        ValueError: there is no such loss; a label, a shape or names do not match the weights.
        NothingToDrawError: the logits or the loss are not finite.
    """
    look, row = style.theme_named(theme), losses.find(loss)
    x, label = np.asarray(x), inputs.integer("label", label, least=0)
    names = np.arange(W.shape[1]) if names is None else names
    _refuse_mismatch(x, label, W.shape[1], shape, names)
    y = np.array([label])
    V = kernels.linear_forward(x[None], W, b, feature_scale=feature_scale)
    P = kernels.softmax_forward(V)
    (value,) = getattr(kernels, row.forward)(V if row.forward_input == "V" else P, y)
    v, p = V[0].astype(float), P[0].astype(float)
    if not (np.isfinite(v).all() and np.isfinite(value)):
        raise style.NothingToDrawError("the logits or the loss are not finite")

    figure, (image, logits, powers, shares, end) = _panels(look, names)
    _image(image, look, x.reshape(shape), names[label])
    _logits(logits, look, v, names, label)
    inks = [look.good if i == label else look.ink for i in range(len(v))]
    log_sum = v.max() + np.log(np.exp(v - v.max()).sum())  # e^v itself may overflow
    _powers(powers, look, v, log_sum, inks)
    _shares(shares, look, p, label)
    end.set_title(f"loss\n${row.formula}$", color=look.ink, fontsize=style.TEXT)
    _column(end, look, _terms(row, p, v[label] - log_sum, label), inks)
    value = style.power_of_e(np.log(value)) if value > 0 else "0"
    end.set_xlabel(f"L = {value}", color=look.ink, fontsize=style.TITLE)
    return figure


def _logits(axes: Any, look: style.Theme, v: Any, names: Any, label: int) -> None:
    decimals = 2 if np.abs(v).max() < 9999 else 0
    _bars(axes, look, v, label, LOGIT, f"{{:+.{decimals}f}}")
    _name_rows(axes, look, names, label)
    axes.set_title("logits\n$v = x^T W + b$", color=look.ink, fontsize=style.TEXT)


def _powers(axes: Any, look: style.Theme, v: Any, log_sum: float, inks: list[str]) -> None:
    _column(axes, look, dict(enumerate(map(style.power_of_e, v))), inks)
    axes.set_title("exponentials\n$e^v$", color=look.ink, fontsize=style.TEXT)
    total = f"$\\Sigma$ = {style.power_of_e(log_sum)}"
    axes.set_xlabel(total, color=look.ink, fontsize=style.TEXT)


def _shares(axes: Any, look: style.Theme, p: Any, label: int) -> None:
    _bars(axes, look, p, label, PROBABILITY, "{:.4f}")
    axes.set_title("probabilities\n$p = e^v\\,/\\,\\Sigma$", color=look.ink, fontsize=style.TEXT)


def _terms(loss: losses.Loss, p: Any, log_p: float, label: int) -> dict[int, str]:
    """The formula with the row's numbers: each class's term of the sum, or all of it at the label.

    log_p: of the label's probability. A formula that is too wide leaves that probability alone.
    """
    _, is_sum, term = loss.formula_text.partition("Σ_i ")
    if is_sum:
        targets = [f"{int(k == label)}" for k in range(len(p))]
        return {
            k: term.replace("y_i", y).replace("p_i", f"{p[k]:.4f}") for k, y in enumerate(targets)
        }
    number = style.power_of_e(log_p)
    formula = loss.formula_text.split(" = ")[1].replace("p_y", number)
    fits = style.text_width(formula, style.SMALL) <= TERM
    return {label: formula if fits else f"$p_y$ = {number}"}


def _refuse_mismatch(x: Any, label: int, c: int, shape: tuple[int, int], names: Any) -> None:
    """Raise ValueError where label, shape or names do not match the row and its c classes."""
    if label >= c:
        raise ValueError(f"label must be below {c}, the number of classes, not {label}")
    if x.ndim != 1 or len(shape) != 2 or min(shape) < 1 or shape[0] * shape[1] != len(x):
        raise ValueError(f"x of shape {x.shape} is no image of {tuple(shape)}")
    if len(names) != c:
        raise ValueError(f"there are {len(names)} names for {c} classes")


def _panels(look: style.Theme, names: Any) -> tuple[Any, list[Any]]:
    """The figure and its five panels side by side, the names of the classes left of the second.

    The image and the bars share the width that names and numbers leave.
    """
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
    """A row for each class, from the top down, centred in a height of `rows` of them."""
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


def _bars(axes: Any, look: style.Theme, values: Any, label: int, numbers: float, form: str) -> None:
    """A bar for each class, and at the right edge its number, in a column `numbers` inches wide."""
    colours = [look.good if i == label else look.muted for i in range(len(values))]
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
    """Texts in the rows of some classes."""
    axes.set_xlim(0, 1)
    for k, text in texts.items():
        axes.text(0.5, k, text, ha="center", va="center", color=inks[k], fontsize=style.SMALL)


def _arrow(figure: Any, look: style.Theme, left: float, height: float) -> None:
    """An arrow in the gap that starts at `left` inches, at this share of the figure's height."""
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

"""A sweep: accuracy and loss against the learning rate, and how the training losses fell."""

from typing import Any

import numpy as np

from softstep.kernels import losses
from softstep.model import extras
from softstep.model.plots import style
from softstep.model.regression import SoftmaxRegression

MARKERS = "so^Dvp"  # by the code of the loss, as the colours, for whoever does not see those


def sweep(results: dict[str, Any], loss_curves: Any, *, theme: str = "light") -> Any:
    """A figure of many trained heads: a point and a line for each, a colour for each loss.

    Args:
        results: `SoftmaxSweep.results_`, or columns like it: rank, mean_val_accuracy, mean_val_loss
            and, unless they have SoftmaxRegression's default, param_learning_rate and param_loss,
            (m,).
        loss_curves: mean training loss of each epoch, (epochs, m); NaN where there is none.
        theme: "light" or "dark".
    """
    look = style.theme_named(theme)
    figure = style.new_figure(look, height=5.2)
    axes = figure.subplot_mosaic([["accuracy", "curves"], ["loss", "curves"]])
    rates, epochs = column(results, "learning_rate"), np.arange(1, len(loss_curves) + 1)
    dot = "o" if len(epochs) == 1 else None  # a line through one point cannot be seen
    chosen = by_loss(results)
    for loss, heads in chosen.items():
        colour, marker = (kinds[loss.code % len(kinds)] for kinds in (look.colours, MARKERS))
        for name in ("accuracy", "loss"):
            y = results[f"mean_val_{name}"][heads]
            axes[name].plot(rates[heads], y, marker, color=colour, markersize=5, alpha=0.8)
        lines = axes["curves"].plot(
            epochs, loss_curves[:, heads], color=colour, alpha=0.55, marker=dot
        )
        lines[0].set_label(loss.axis)
    _dress(axes, look, results)
    _log_scale(axes["curves"], loss_curves)
    _legend(figure, look, axes["curves"], len(chosen))
    figure.align_ylabels([axes["accuracy"], axes["loss"]])
    return figure


def _legend(figure: Any, look: style.Theme, axes: Any, count: int) -> None:
    handles, _ = axes.get_legend_handles_labels()
    shown = style.legend(figure, look, loc="outside lower center", ncols=count, handles=handles)
    for line in shown.get_lines():
        line.set_alpha(1)


def _dress(axes: dict[str, Any], look: style.Theme, results: dict[str, Any]) -> None:
    lost = int(np.count_nonzero(~np.isfinite(results["mean_val_accuracy"])))
    note = f"{lost} diverged, not shown" if lost else ""
    style.dress(axes["accuracy"], look, y="held-out accuracy", title=_best(results))
    style.dress(axes["loss"], look, x="learning rate", y="held-out loss", title=note)
    style.dress(axes["curves"], look, x="epoch", y="training loss")
    ticker = extras.load("matplotlib.ticker", extra="plot")
    axes["curves"].xaxis.set_major_locator(ticker.MaxNLocator(integer=True, min_n_ticks=1))
    for name in ("accuracy", "loss"):
        axes[name].set_xscale("log")
    axes["loss"].sharex(axes["accuracy"])
    _log_scale(axes["loss"], results["mean_val_loss"])
    style.plain_logs(axes["accuracy"].xaxis)
    axes["accuracy"].tick_params(labelbottom=False)


def _log_scale(axes: Any, values: Any) -> None:
    """A logarithmic axis for losses, unless none is above 0."""
    if (values > 0).any():
        axes.set_yscale("log")
        style.plain_logs(axes.yaxis)


def _best(results: dict[str, Any]) -> str:
    """The setting ranked first; empty if every one diverged or several share the first rank."""
    accuracy, first = results["mean_val_accuracy"], np.flatnonzero(results["rank"] == 1)
    if len(first) != 1 or np.isnan(accuracy[first[0]]):
        return ""
    best = first[0]
    loss = losses.find(str(column(results, "loss")[best]))
    rate = column(results, "learning_rate")[best]
    return f"best {accuracy[best]:.4f}: {loss.title}, rate {rate:.3g}"


def column(results: dict[str, Any], name: str) -> Any:
    """That setting of each entry of `results`."""
    default = SoftmaxRegression().get_params()[name]
    rows = len(results["mean_val_accuracy"])
    return results.get(f"param_{name}", np.full(rows, default))


def by_loss(results: dict[str, Any]) -> dict[losses.Loss, Any]:
    """The losses in `results`, in the order of their table, and which entries have them."""
    names = column(results, "loss")
    found = {loss: np.flatnonzero(names == loss.name) for loss in losses.LOSSES.values()}
    return {loss: entries for loss, entries in found.items() if len(entries)}

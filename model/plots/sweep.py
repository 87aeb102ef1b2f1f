"""A sweep: accuracy and loss against the learning rate, and how the training losses fell."""

from typing import Any

import numpy as np

from softstep.model import extras
from softstep.model.plots import style
from softstep.model.regression import SoftmaxRegression

MARKS = {"cross_entropy": "o", "mse": "s"}


def sweep(results: dict[str, Any], loss_curves: Any, *, theme: str = "light") -> Any:
    """A figure of many trained heads, a point or a line for each, a colour for each loss.

    Args:
        results: `SoftmaxSweep.results_`, or columns like it: rank, mean_val_accuracy, mean_val_loss
            and, where it is not SoftmaxRegression's default, param_learning_rate and param_loss,
            (m,).
        loss_curves: mean training loss of each epoch, (epochs, m); NaN where there is none.
        theme: "light" or "dark".
    """
    look = style.theme_named(theme)
    figure = style.new_figure(look, height=5.2)
    axes = figure.subplot_mosaic([["accuracy", "curves"], ["loss", "curves"]])
    rates, epochs = column(results, "learning_rate"), np.arange(1, len(loss_curves) + 1)
    dot = "o" if len(epochs) == 1 else None  # a line through one point is not seen
    for loss, chosen in by_loss(results).items():
        colour = look.colours[sorted(style.LOSSES).index(loss)]
        x, shown = rates[chosen], {"color": colour, "label": style.LOSSES[loss]}
        for name in ("accuracy", "loss"):
            y = results[f"mean_val_{name}"][chosen]
            axes[name].plot(x, y, MARKS[loss], markersize=5, alpha=0.8, **shown)
        lines = axes["curves"].plot(
            epochs, loss_curves[:, chosen], color=colour, alpha=0.55, marker=dot
        )
        lines[0].set_label(style.LOSS_AXES[loss])
    _dress(axes, look, results)
    _logs(axes["curves"], loss_curves)
    names = {"handles": axes["curves"].get_legend_handles_labels()[0]}
    shown = style.legend(figure, look, loc="outside lower center", ncols=2, **names)
    for line in shown.get_lines():
        line.set_alpha(1)
    figure.align_ylabels([axes["accuracy"], axes["loss"]])
    return figure


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
    _logs(axes["loss"], results["mean_val_loss"])
    style.plain_logs(axes["accuracy"].xaxis)
    axes["accuracy"].tick_params(labelbottom=False)


def _logs(axes: Any, losses: Any) -> None:
    """A logarithmic axis for losses, unless all are 0 or none is left."""
    if (losses > 0).any():
        axes.set_yscale("log")
        style.plain_logs(axes.yaxis)


def _best(results: dict[str, Any]) -> str:
    """The setting that is ranked first; nothing where none is left, or each label set has one."""
    accuracy, first = results["mean_val_accuracy"], np.flatnonzero(results["rank"] == 1)
    if len(first) != 1 or np.isnan(accuracy[first[0]]):
        return ""
    best = first[0]
    loss, rate = style.LOSSES[column(results, "loss")[best]], column(results, "learning_rate")[best]
    return f"best {accuracy[best]:.4f}: {loss}, rate {rate:.3g}"


def column(results: dict[str, Any], name: str) -> Any:
    """That setting of each entry of `results`."""
    default = SoftmaxRegression().get_params()[name]
    rows = len(results["mean_val_accuracy"])
    return results.get(f"param_{name}", np.full(rows, default))


def by_loss(results: dict[str, Any]) -> dict[str, Any]:
    """Which entries of `results` have each loss."""
    losses = column(results, "loss")
    return {str(loss): np.flatnonzero(losses == loss) for loss in np.unique(losses)}

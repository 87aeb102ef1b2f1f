"""A path of optima: accuracy, loss and the size of the weights against C."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from softstep.kernels.losses import Loss
from softstep.model.plots import style
from softstep.model.plots.sweep import by_loss

HEIGHT = 6.2


def regularisation(results: dict[str, Any], *, theme: str = "light") -> Any:
    """A figure of heads that were solved for a grid of C, or of l2, whose axis then runs backwards;
    a line for each of the other settings.

    Args:
        results: `SoftmaxSweep.results_` of a sweep by solver="lbfgs": rank, mean_val_accuracy,
            std_val_accuracy, mean_val_loss, weight_norm, param_C or param_l2, (m,).
        theme: "light" or "dark".
    """
    look = style.theme_named(theme)
    figure = style.new_figure(look, height=HEIGHT)
    accuracy, loss, size = figure.subplots(3, 1, sharex=True)
    name = "C" if "param_C" in results else "l2"
    for kind, heads in _paths(results, name):
        x, colour = results[f"param_{name}"][heads], look.colours[kind.code % len(look.colours)]
        mean, std = (results[f"{figure}_val_accuracy"][heads] for figure in ("mean", "std"))
        label = None if kind.axis in accuracy.get_legend_handles_labels()[1] else kind.axis
        accuracy.plot(x, mean, "o-", color=colour, markersize=4, label=label)
        accuracy.fill_between(x, mean - std, mean + std, color=colour, alpha=0.2, linewidth=0)
        loss.plot(x, results["mean_val_loss"][heads], "o-", color=colour, markersize=4)
        size.plot(x, results["weight_norm"][heads], "o-", color=colour, markersize=4)
    style.dress(accuracy, look, y="held-out accuracy", title=_best(results, name))
    style.dress(loss, look, y="held-out loss")
    style.dress(size, look, x=name, y="‖W‖")
    size.set_xscale("log")
    size.set_yscale("log")
    style.plain_logs(size.xaxis)
    style.plain_logs(size.yaxis)
    for axes in (accuracy, loss):
        axes.tick_params(labelbottom=False)
    if name == "l2":
        size.invert_xaxis()
    best = int(np.argmin(results["rank"]))
    for axes in (accuracy, loss, size):
        axes.axvline(results[f"param_{name}"][best], color=look.muted, linewidth=1, linestyle=":")
    figure.align_ylabels([accuracy, loss, size])
    style.legend(accuracy, look, loc="lower right")
    return figure


def _paths(results: dict[str, Any], name: str) -> Iterator[tuple[Loss, Any]]:
    """The entries of each line, with their loss: those that have all in common but C or l2, in the
    order of that."""
    others = [n for n in results if n.startswith("param_") and n != f"param_{name}"]
    others += [n for n in ("label_set",) if n in results]
    for kind, heads in by_loss(results).items():
        alike: dict[Any, list[int]] = {}
        for head in heads.tolist():
            alike.setdefault(tuple(results[n][head] for n in others), []).append(head)
        for some in map(np.array, alike.values()):
            yield kind, some[np.argsort(results[f"param_{name}"][some], kind="stable")]


def _best(results: dict[str, Any], name: str) -> str:
    best = int(np.argmin(results["rank"]))
    accuracy, value = results["mean_val_accuracy"][best], results[f"param_{name}"][best]
    return f"best {accuracy:.4f}: {name} {value:.3g}"


def has_path(results: dict[str, Any]) -> bool:
    """Whether these are results of a sweep by solver="lbfgs" over several C or l2, all above 0."""
    values = results.get("param_C", results.get("param_l2"))
    return "weight_norm" in results and values is not None and bool((np.asarray(values) > 0).all())

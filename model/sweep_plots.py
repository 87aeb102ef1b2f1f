"""A picture of a sweep: which learning rates do well, and how the losses fell."""

from typing import Any

import numpy as np

from softstep.model.regression import SoftmaxRegression


def overview(sweep: Any) -> Any:
    """A matplotlib figure of a fitted SoftmaxSweep: accuracy against rate, and loss curves."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for loss, chosen in by_loss(sweep).items():
        rates = column(sweep, "learning_rate")[chosen]
        accuracy = sweep.results_["mean_val_accuracy"][chosen]
        (points,) = left.plot(rates, accuracy, "o", label=loss)
        epochs = np.arange(1, len(sweep.loss_curves_) + 1)
        curves = sweep.loss_curves_[:, chosen]
        for k, curve in enumerate(curves.T):
            label = None if k else loss
            right.plot(epochs, curve, ".-", color=points.get_color(), alpha=0.5, label=label)
    left.set(xscale="log", xlabel="learning rate", ylabel="held-out accuracy")
    right.set(xlabel="epoch", ylabel="training loss")
    if np.nanmax(sweep.loss_curves_) > 0:
        right.set_yscale("log")
    left.legend()
    right.legend()
    return figure


def column(sweep: Any, name: str) -> Any:
    """That setting of each entry of `results_`."""
    default = SoftmaxRegression().get_params()[name]
    return np.array([params.get(name, default) for params in sweep.results_["params"]])


def by_loss(sweep: Any) -> dict[str, Any]:
    """Which entries of `results_` have each loss."""
    losses = column(sweep, "loss")
    return {str(loss): np.flatnonzero(losses == loss) for loss in np.unique(losses)}

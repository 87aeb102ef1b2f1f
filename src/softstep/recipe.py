"""What the commands that train have in common: the recipe, the rows, the training."""

from typing import Any

import numpy as np

from softstep.model import SoftmaxRegression, WeightPath, datasets, inputs
from softstep.model.trainer import Epoch
from softstep.progress import Progress

# (learning rate, epochs): the digits are fewer and coarser than MNIST, so they take a larger rate.
DEFAULTS = {"mse": (0.2, 20), "cross_entropy": (0.5, 20)}
DIGITS_DEFAULTS = {"mse": (2.0, 300), "cross_entropy": (0.5, 300)}


def model_for(
    data_name: str,
    loss: str = "mse",
    *,
    lr: float | None = None,
    epochs: int | None = None,
    **settings: Any,
) -> SoftmaxRegression:
    """The recipe's model, not fitted; what is None is the recipe's for these data and this loss."""
    rate, passes = (DIGITS_DEFAULTS if data_name == "digits" else DEFAULTS)[loss]
    return SoftmaxRegression(
        loss=loss,
        learning_rate=rate if lr is None else lr,
        epochs=passes if epochs is None else epochs,
        **settings,
    )


def load_rows(name: str, labels: str | None, seed: int) -> datasets.Dataset:
    """The data set, with a fifth of its rows held out, and said so, where it has no test rows."""
    seed = inputs.integer("--seed", seed, least=0)
    data = datasets.load(name, labels)
    if data.X_test is None:
        data = datasets.hold_out(data, fraction=0.2, seed=seed)
        print(f"{data.name}: no test rows, so a fifth of the rows is held out", flush=True)
    return data


def known_rows(model: SoftmaxRegression, y: Any) -> Any:
    """Which rows have a label that the model knows, (n,): rare ones may be all held out."""
    return np.isin(y, model.classes_)


def train(
    model: SoftmaxRegression, data: datasets.Dataset, path: WeightPath | None = None
) -> float:
    """Fit `model` on the training rows; tell how it goes. The test accuracy."""

    def tell(epoch: Epoch) -> None:
        done, of = epoch.number + 1, model.epochs
        text = f"epoch {done:>{len(str(of))}}/{of}  loss {epoch.loss:.6f}"
        progress.tell(f"{text}  training accuracy {epoch.accuracy:.4f}", done, of)

    with Progress() as progress:
        model.fit(data.X_train, data.y_train, callback=tell, path=path)
    accuracy = model.score(data.X_test, data.y_test)
    print(f"test accuracy {accuracy:.4f}", flush=True)
    return accuracy

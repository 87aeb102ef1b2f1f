"""The recipe: the settings that commands train with unless they are told otherwise."""

import dataclasses
from typing import Any

import numpy as np

from softstep.kernels.names import Loss
from softstep.model import SoftmaxRegression, WeightPath, datasets, inputs
from softstep.model.trainer import Epoch
from softstep.runs.progress import Progress

LOSS: Loss = "mse"
EPOCHS, DIGITS_EPOCHS = 20, 300
# Learning rates by loss. The digits are fewer and coarser than MNIST and take larger ones.
RATES = {"mse": 0.2, "cross_entropy": 0.5, "gce": 2.0}
DIGITS_RATES = {"mse": 2.0, "cross_entropy": 0.5, "gce": 2.0}
SHOWN_CLASSES = 5  # in a message


def model_for(
    data_name: str,
    loss: Loss = LOSS,
    *,
    lr: float | None = None,
    epochs: int | None = None,
    **settings: Any,
) -> SoftmaxRegression:
    """The recipe's model, not yet fitted; None stands for what the recipe has for data and loss."""
    is_digits = data_name == "digits"
    if lr is None:
        lr = (DIGITS_RATES if is_digits else RATES)[loss]
    if epochs is None:
        epochs = DIGITS_EPOCHS if is_digits else EPOCHS
    return SoftmaxRegression(loss=loss, learning_rate=lr, epochs=epochs, **settings)


def load_rows(
    name: str,
    labels: str | None,
    label: str | None,
    seed: int,
    *,
    val: str | None = None,
    val_labels: str | None = None,
) -> datasets.Dataset:
    """The data set; if it has no test rows, a fifth of its rows is held out.

    That is said, with what was taken for what, and which classes are then without rows to learn.
    val, val_labels: files of rows, and of their labels, that are the test rows instead.
    """
    seed = inputs.integer("--seed", seed, least=0)
    data = datasets.load(name, labels, label, tell=_tell)
    if val is not None:
        data = _with_test_rows(data, val, val_labels, label)
    if data.X_test is None:
        data = datasets.hold_out(data, fraction=0.2, seed=seed)
        _tell(f"{data.name}: no test rows, so a fifth of the rows is held out")
    lost = np.setdiff1d(np.asarray(data.y_test), data.y_train)
    if lost.size:
        shown = ", ".join(map(str, lost[:SHOWN_CLASSES])) + ", …" * (len(lost) > SHOWN_CLASSES)
        _tell(
            f"{data.name}: the model cannot learn {len(lost)} of the classes, whose rows are all "
            f"test rows: {shown}"
        )
    return data


def _with_test_rows(
    data: datasets.Dataset, file: str, labels: str | None, label: str | None
) -> datasets.Dataset:
    names = getattr(data.X_train, "columns", None) or None
    X, y = datasets.load_features(
        file, data.X_train.shape[1], names, label, tell=_tell, labels=labels
    )
    if y is None:
        raise ValueError(f"{file}: needs labels to be judged by")
    if X.shape[1] != data.X_train.shape[1]:
        raise ValueError(
            f"{file}: has {X.shape[1]} features, but {data.name} has {data.X_train.shape[1]}"
        )
    return dataclasses.replace(data, X_test=X, y_test=y)


def _tell(sentence: str) -> None:
    print(sentence, flush=True)


def known_rows(model: SoftmaxRegression, y: Any) -> Any:
    """Which rows have a label the model knows, (n,): all rows of a rare label may be held out."""
    return np.isin(y, model.classes_)


def train(
    model: SoftmaxRegression, data: datasets.Dataset, path: WeightPath | None = None, **keeping: Any
) -> float:
    """Fit `model` on the training rows and show the progress; returns the test accuracy.

    keeping: the arguments of `fit` on checkpoints.
    """

    def tell(epoch: Epoch) -> None:
        done, of = epoch.number + 1, model.epochs
        text = f"epoch {done:>{len(str(of))}}/{of}  loss {epoch.loss:.6f}"
        progress.tell(f"{text}  training accuracy {epoch.accuracy:.4f}", done, of)

    with Progress() as progress:
        model.fit(data.X_train, data.y_train, callback=tell, path=path, **keeping)
    accuracy = model.score(data.X_test, data.y_test)
    print(f"test accuracy {accuracy:.4f}", flush=True)
    return accuracy

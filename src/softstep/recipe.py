"""What the commands that train have in common: the recipe, the rows, the progress shown."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from softstep.model import SoftmaxRegression, datasets

# (learning rate, epochs): the digits are fewer and coarser than MNIST, so they take a larger rate.
DEFAULTS = {"mse": (0.2, 20), "cross_entropy": (0.5, 20)}
DIGITS_DEFAULTS = {"mse": (2.0, 300), "cross_entropy": (0.5, 300)}


def recipe(data_name: str, loss: str) -> tuple[float, int]:
    """Learning rate and epochs."""
    return (DIGITS_DEFAULTS if data_name == "digits" else DEFAULTS)[loss]


def load_rows(name: str, labels: str | None, seed: int) -> datasets.Dataset:
    """The data set, with a fifth of its rows held out, and said so, where it has no test rows."""
    data = datasets.load(name, labels)
    if data.X_test is None:
        data = datasets.hold_out(data, fraction=0.2, seed=seed)
        print(f"{data.name}: no test rows, so a fifth of the rows is held out", flush=True)
    return data


def known_rows(model: SoftmaxRegression, y: Any) -> Any:
    """Which rows have a label that the model knows, (n,): rare ones may be all held out."""
    return np.isin(y, model.classes_)


def ready(page: Path) -> None:
    """See to it, before the work, that `page` can be written.

    Raises:
        ValueError: it is a folder, or its folder cannot be written. OSError: or made.
    """
    if page.is_dir():
        raise ValueError(f"{page} is a folder: name a file in it")
    page.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(page if page.exists() else page.parent, os.W_OK):
        raise ValueError(f"{page} cannot be written")


class Progress:
    """One line per epoch's figures: rewritten in place on a terminal, some of them elsewhere."""

    LINES = 10

    def __init__(self, epochs: int):
        self.epochs = epochs
        self.every = -(-epochs // self.LINES)
        self.on_terminal = sys.stderr.isatty()

    def __call__(self, epoch: Any) -> None:
        done = epoch.number + 1
        text = (
            f"epoch {done:>{len(str(self.epochs))}}/{self.epochs}  "
            f"loss {epoch.loss:.6f}  training accuracy {epoch.accuracy:.4f}"
        )
        if self.on_terminal:
            filled = 20 * done // self.epochs
            bar = "#" * filled + "." * (20 - filled)
            print(f"\r[{bar}] {text}", end="", file=sys.stderr, flush=True)
        elif done % self.every == 0 or done == self.epochs:
            print(text, flush=True)

    def close(self) -> None:
        if self.on_terminal:
            print(file=sys.stderr)

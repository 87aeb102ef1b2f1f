"""What `softstep warmup` does: a little of the work of each command, for its kernels' sake."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels.arrays import bfloat16
from softstep.kernels.backend import load
from softstep.model import SoftmaxRegression, SoftmaxSweep

ROWS, FEATURES, CLASSES = 200, 784, 10
FEW, MANY = 20, 700  # rows: few have kernels of their own, as many have not
RATES = [0.01, 0.02, 0.05, 0.1]  # so many heads that their bank is a wide one


@dataclass(frozen=True)
class Warmed:
    """A piece of work, how many kernels it compiled, and the seconds it took."""

    work: str
    kernels: int
    seconds: float


def warm(features: str) -> Iterator[Warmed]:
    """Have the backend that runs compile what train, predict and sweep need of it.

    features: the dtype of the features, for each of which there are kernels.
    """
    backend = load()
    dtype = bfloat16() if features == "bfloat16" else np.dtype(features)
    X = np.zeros((ROWS, FEATURES), dtype)
    y = np.arange(ROWS) % CLASSES
    for work, run in (("train, predict", _train), ("sweep", _sweep), ("lbfgs", _optimum)):
        before, start = backend.compiled_kernels(), time.perf_counter()
        run(X, y)
        seconds = time.perf_counter() - start
        yield Warmed(work, backend.compiled_kernels() - before, seconds)


def _train(X: Any, y: Any) -> None:
    for rows in np.arange(FEW), np.arange(MANY) % ROWS:
        SoftmaxRegression(epochs=1).fit(X[rows], y[rows]).predict(X[rows])


def _sweep(X: Any, y: Any) -> None:
    grid = {"learning_rate": RATES, "loss": ["cross_entropy"], "l2": [0.01]}  # with certificates
    SoftmaxSweep(grid, epochs=1).fit(X, y, X_val=X, y_val=y).best_estimator_.predict(X)


def _optimum(X: Any, y: Any) -> None:
    sweep = SoftmaxSweep({"loss": "cross_entropy", "C": 1.0}, solver="lbfgs")
    # Probabilities are what a head that has a long way to go asks for.
    sweep.fit(X, y, X_val=X, y_val=y).best_estimator_.predict_proba(X)

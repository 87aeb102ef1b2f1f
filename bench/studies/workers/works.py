"""What the workers are given: sweeps on MNIST, and what is asked of their processes."""

import hashlib
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import numpy as np

from softstep import SoftmaxSweep
from softstep.model.datasets import load_mnist

FOLDS, SETTINGS, WORKERS, SEED = 5, 50, 2, 0
SPLITS = 1 + FOLDS  # heads of a setting: on all rows, and on the folds
CLASSES = 10


def rates(settings: int) -> list[float]:
    """The learning rates of so many settings."""
    found: list[float] = np.geomspace(0.01, 0.5, settings).tolist()
    return found


def sweep(learning_rates: list[float], epochs: int, **more: Any) -> SoftmaxSweep:
    grid = {"learning_rate": learning_rates, "loss": "cross_entropy", "momentum": 0.5}
    return SoftmaxSweep(grid, cv=FOLDS, epochs=epochs, random_state=SEED, **more)


def rows(count: int) -> tuple[Any, Any]:
    """X and y: so many rows of MNIST, or all 60000."""
    data: Any = load_mnist()
    return data.X_train[:count], data.y_train[:count]


def digest(fitted: SoftmaxSweep) -> str:
    """Of the weights of all heads."""
    found = hashlib.sha256()
    for index in range(len(fitted.results_["rank"])):
        for split in (None, *range(FOLDS)):
            model = fitted.estimator(index, split)
            found.update(np.ascontiguousarray(model.coef_).data)
            found.update(np.ascontiguousarray(model.intercept_).data)
    return found.hexdigest()[:16]


def share(mine: list[float], file: str, y: Any, epochs: int, _again: int) -> float:
    """The seconds that a process takes for these settings as a sweep of its own.

    _again: another number each time, or Dask would know the answer.
    """
    X = np.load(file, mmap_mode="r")
    start = time.perf_counter()
    sweep(mine, epochs, n_threads=1).fit(X, y)
    return time.perf_counter() - start


def process(_: int) -> int:
    """The number of this worker's process."""
    time.sleep(0.2)  # so that each worker takes one
    return os.getpid()


def processes_of(executor: Executor) -> list[int]:
    """The numbers of the processes of all workers."""
    return sorted(set(executor.map(process, range(2 * WORKERS))))


def seconds(*fits: Callable[[], Any], rounds: int) -> list[float]:
    """The median for each of these, which take turns."""
    times: list[list[float]] = [[] for _ in fits]
    for _ in range(rounds):
        for fit, own in zip(fits, times, strict=True):
            start = time.perf_counter()
            fit()
            own.append(time.perf_counter() - start)
    return [statistics.median(own) for own in times]


def overhead(executor: Executor, rounds: int = 9) -> float:
    """How much longer a sweep of two small heads takes by the executor."""
    X, y = np.zeros((100, 4), np.float32), np.arange(100) % 2

    def fit(**how: Any) -> None:
        grid = {"learning_rate": [0.1, 0.2]}
        SoftmaxSweep(grid, epochs=1, random_state=0).fit(X, y, X_val=X, y_val=y, **how)

    for how in ({}, {"executor": executor}):  # compile, load
        fit(**how)
    by_executor, alone = seconds(lambda: fit(executor=executor), fit, rounds=rounds)
    return by_executor - alone

"""Minimal SGD: shuffled minibatches, epoch by epoch, for a bank of heads.

Epoch e visits the rows in the order `numpy.random.default_rng((seed, 1, e)).permutation(n)`, the
same on every backend and for every head.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from softstep import kernels
from softstep.kernels.arrays import to_host


@dataclass
class Bank:
    """Heads that train together: weights (h, d, c), biases (h, c), velocities, who is active."""

    W: np.ndarray
    b: np.ndarray
    velocity: tuple[np.ndarray, np.ndarray] = field(init=False)
    active: np.ndarray = field(init=False)

    def __post_init__(self):
        self.velocity = np.zeros_like(self.W), np.zeros_like(self.b)
        self.active = np.ones(len(self.W), dtype=bool)


@dataclass(frozen=True)
class Data:
    """Rows and what they are to become, as `kernels.train` and `kernels.evaluate` take them."""

    X: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray | None = None
    feature_scale: float = 1.0

    def keywords(self):
        return {"sample_weight": self.sample_weight, "feature_scale": self.feature_scale}


@dataclass(frozen=True)
class Descent:
    """The settings of a descent; those of `kernels.train`, scalars or one per head."""

    loss: str | tuple[str, ...]
    learning_rate: float | np.ndarray
    batch_size: int
    l2: float | np.ndarray = 0.0
    l2_bias: bool = False
    momentum: float | np.ndarray = 0.0
    fit_bias: bool = True
    backend: str | None = None


@dataclass(frozen=True)
class Epoch:
    """Figures of one epoch, one per head.

    `loss` and `accuracy` are means over the epoch's rows, each step's taken before its update;
    `val_loss` and `val_accuracy` belong to the weights after the epoch, and are None where the
    held-out rows were not evaluated.
    """

    number: int
    steps: int
    loss: Any
    accuracy: Any
    val_loss: Any = None
    val_accuracy: Any = None


def row_order(seed: int, epoch: int, n: int) -> np.ndarray:
    """The order in which epoch `epoch` visits n rows."""
    return np.random.default_rng((seed, 1, epoch)).permutation(n)


def initial_weights(kind: str, seed: int, shape: tuple[int, int], dtype) -> np.ndarray:
    """W (d, c): zeros, or normal with standard deviation 1/√d, drawn in float64 and cast."""
    if kind == "zeros":
        return np.zeros(shape, dtype)
    draws = np.random.default_rng((seed, 2)).standard_normal(shape)
    return (draws / np.sqrt(shape[0])).astype(dtype)


def run_epoch(data: Data, bank: Bank, descent: Descent, order: np.ndarray, number: int) -> Epoch:
    """One pass over the rows in `order`; `bank` is updated in place."""
    figures = kernels.train(
        data.X,
        data.y,
        order,
        descent.batch_size,
        bank.W,
        bank.b,
        loss=descent.loss,
        learning_rate=descent.learning_rate,
        l2=descent.l2,
        l2_bias=descent.l2_bias,
        momentum=descent.momentum,
        velocity=bank.velocity,
        fit_bias=descent.fit_bias,
        active=bank.active,
        backend=descent.backend,
        **data.keywords(),
    )
    losses, correct = map(to_host, figures)
    rows_per_step = np.full(len(losses), descent.batch_size)
    rows_per_step[-1] = len(order) - descent.batch_size * (len(losses) - 1)
    counted = len(order)
    if data.sample_weight is not None:
        counted = int(np.count_nonzero(data.sample_weight[order]))
    with np.errstate(invalid="ignore"):
        accuracy = correct.sum(axis=0) / counted
    return Epoch(number, len(losses), rows_per_step @ losses / len(order), accuracy)


def epochs(
    data: Data,
    bank: Bank,
    descent: Descent,
    *,
    seed: int,
    count: int,
    max_steps: int | None = None,
    first: int = 0,
    held_out: Data | None = None,
    eval_every: int | None = None,
) -> Iterator[Epoch]:
    """Train for `count` epochs, or `max_steps` steps if that is less, and yield each one's figures.

    Epochs are numbered from `first`, which is also what their row order is drawn from. Held-out
    rows are evaluated every `eval_every` epochs and after the last; None: only after the last.
    """
    n = len(data.X)
    steps_left = max_steps if max_steps is not None else count * -(-n // descent.batch_size)
    for number in range(first, first + count):
        order = row_order(seed, number, n)[: steps_left * descent.batch_size]
        result = run_epoch(data, bank, descent, order, number)
        steps_left -= result.steps
        is_last = number == first + count - 1 or steps_left == 0
        due = eval_every is not None and (number - first + 1) % eval_every == 0
        if held_out is not None and (is_last or due):
            result = _evaluated(result, held_out, bank, descent)
        yield result
        if is_last:
            return


def _evaluated(epoch: Epoch, held_out: Data, bank: Bank, descent: Descent) -> Epoch:
    figures = kernels.evaluate(
        held_out.X,
        held_out.y,
        bank.W,
        bank.b,
        loss=descent.loss,
        backend=descent.backend,
        **held_out.keywords(),
    )
    loss, accuracy = map(to_host, figures)
    return Epoch(epoch.number, epoch.steps, epoch.loss, epoch.accuracy, loss, accuracy)


class EarlyStop:
    """Says when the held-out loss has stopped getting better; keeps the best weights."""

    def __init__(self, patience: int):
        self.patience = patience
        self.best_loss = np.inf
        self.waited = 0
        self.best: tuple[np.ndarray, np.ndarray] | None = None

    def should_stop(self, epoch: Epoch, bank: Bank) -> bool:
        if epoch.val_loss is None:
            return False
        if epoch.val_loss[0] < self.best_loss:
            self.best_loss, self.waited = epoch.val_loss[0], 0
            self.best = bank.W.copy(), bank.b.copy()
        else:
            self.waited += 1
        return self.waited >= self.patience

    def restore(self, bank: Bank) -> None:
        """Put the best weights seen back into the bank."""
        if self.best is not None:
            bank.W[:], bank.b[:] = self.best

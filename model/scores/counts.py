"""Scores from how many rows classes have, are predicted for, and are so rightly: sums over rows."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from softstep.kernels.checks import Array


@dataclass(frozen=True)
class Counts:
    """Weights of rows by class, of g heads, (g, c): of those rightly predicted, those of the class,
    and those predicted to be of it."""

    right: Array
    truth: Array
    said: Array

    @classmethod
    def of(cls, predictions: Array, y: Array, weights: Array | None, classes: int) -> Self:
        """Those of some rows. predictions, y: (r, g). weights: (r,); None: 1 each."""
        g = y.shape[1]
        places = np.arange(g) * classes  # of the heads' classes in one row of counts

        def counted(labels: Array, w: Array | None) -> Array:
            flat = (labels + places).ravel()
            sums = np.bincount(flat, None if w is None else w.ravel(), g * classes)
            return sums.reshape(g, classes).astype(np.float64)

        w = np.ones(len(y)) if weights is None else weights
        rows = None if weights is None else np.broadcast_to(w[:, None], y.shape)
        return cls(
            right=counted(y, (predictions == y) * w[:, None]),
            truth=counted(y, rows),
            said=counted(predictions, rows),
        )

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.right + other.right, self.truth + other.truth, self.said + other.said)


def balanced_accuracy(counts: Counts) -> Array:
    """The mean, over the classes that have rows, of the share of them that are right; (g,)."""
    return _mean(counts.right, counts.truth)


def macro_f1(counts: Counts) -> Array:
    """The mean of 2 right / (rows of the class + those said to be of it), (g,), over the classes
    that are there or predicted."""
    return _mean(2 * counts.right, counts.truth + counts.said)


def _mean(above: Array, below: Array) -> Array:
    """Of above / below over the classes where that is something."""
    there = below > 0
    shares = np.where(there, above / np.where(there, below, 1), 0)
    found: Array = shares.sum(axis=1) / there.sum(axis=1)
    return found

"""Scores that are means over the rows: what each row counts for each head, (r, g)."""

import numpy as np

from softstep.kernels.checks import Array


def right(predictions: Array, y: Array) -> Array:
    # predictions (r, g), y (r, g)
    found: Array = predictions == y
    return found


def same(values: Array, y: Array) -> Array:
    # values (r, g): what the heads lose already
    return values


def negative(values: Array, y: Array) -> Array:
    return -values


def top(V: Array, y: Array, k: int) -> Array:
    # V (r, g, c), y (r, g): whether the label is among the k largest; of equal logits the first
    # come first, so that k = 1 is accuracy; behind NaN there is none, so that its row is wrong
    own = np.take_along_axis(V, y[..., None], axis=2)
    before = np.arange(V.shape[2]) < y[..., None]
    behind = (own > V) | ((own == V) & ~before)
    found: Array = (~behind).sum(axis=2) < k
    return found


def brier(P: Array, y: Array) -> Array:
    # P (r, g, c), y (r, g) or (r, 1, c): Σ_j (p_j - y_j)², half of it for two classes, which is
    # (p_1 - y_1)², as scikit-learn has it
    away = P.astype(np.float64)
    if y.ndim == 3:
        away -= y
    else:
        own = y[..., None]
        np.put_along_axis(away, own, np.take_along_axis(away, own, axis=2) - 1, axis=2)
    found: Array = np.einsum("rgc,rgc->rg", away, away)
    return found / 2 if P.shape[2] == 2 else found

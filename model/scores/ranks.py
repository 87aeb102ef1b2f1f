"""Scores of how well the probabilities of a class rank its rows: areas under curves."""

from collections.abc import Callable

import numpy as np

from softstep.kernels.checks import Array


def roc_auc_ovr(P: Array, y: Array, weights: Array | None) -> float:
    """The area under the ROC curve of each class against the others, and the mean over the classes;
    of two classes that of the second. P: (n, c), y: (n,), weights: (n,); None: 1 each."""
    return _mean_over_classes(_roc_auc, P, y, weights)


def average_precision(P: Array, y: Array, weights: Array | None) -> float:
    """Σ_t (R_t - R_{t-1}) P_t over the thresholds t from high to low, precision P and recall R of
    each class against the others, and the mean over the classes; of two that of the second."""
    return _mean_over_classes(_average_precision, P, y, weights)


def _mean_over_classes(
    area: Callable[[Array, Array], float], P: Array, y: Array, weights: Array | None
) -> float:
    classes = range(P.shape[1]) if P.shape[1] > 2 else (1,)
    return float(np.mean([area(*_cumulated(P[:, k], y == k, weights)) for k in classes]))


def _roc_auc(ones: Array, others: Array) -> float:
    # each row of the class is ahead of the others below it, and of half of those beside it
    beside = np.diff(others, prepend=0)
    below = others - beside
    ahead = np.diff(ones, prepend=0) * (below + beside / 2)
    return float(ahead.sum() / (ones[-1] * others[-1]))


def _average_precision(ones: Array, others: Array) -> float:
    own = np.diff(ones, prepend=0)
    ones_from_here = ones[-1] - ones + own
    others_from_here = others[-1] - others + np.diff(others, prepend=0)
    held = own > 0  # thresholds at which recall grows
    precision = ones_from_here[held] / (ones_from_here[held] + others_from_here[held])
    return float((own[held] * precision).sum() / ones[-1])


def _cumulated(p: Array, is_one: Array, weights: Array | None) -> tuple[Array, Array]:
    """The weight of the rows of the class, and of the others, up to each distinct value of p, in
    ascending order.

    p: (n,) float32 or float64, from 0 to 1. Of such numbers the bits, read as whole numbers, have
    their order, and leave the highest two unused: the class goes into the lowest, and numbers are
    sorted instead of places, which is several times as fast.
    """
    if weights is None:
        bits = np.ascontiguousarray(p).view(f"u{p.itemsize}")
        keys = (bits << 1) | is_one
        keys.sort()
        values, ones = keys >> 1, np.cumsum(keys & 1, dtype=np.int64)
        others = np.arange(1, len(p) + 1) - ones
    else:
        order = np.argsort(p, kind="stable")
        values, w, is_one = p[order], weights[order], is_one[order]
        ones, others = np.cumsum(w * is_one), np.cumsum(w * ~is_one)
    ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))
    return ones[ends].astype(np.float64), others[ends].astype(np.float64)

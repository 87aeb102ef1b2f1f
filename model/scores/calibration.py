"""How far the confidence of a model is from how often it is right."""

import numpy as np

from softstep.kernels.checks import Array

BINS = 15


def ece(P: Array, y: Array, weights: Array | None) -> float:
    """Expected calibration error: the rows in 15 bins of equal mass by their largest probability,
    Σ_bins (mass of the bin) |accuracy - mean confidence|.

    P: (n, c), y: (n,), weights: (n,); None: 1 each. A row is in the bin in which the middle of its
    mass lies; of equal confidences those of earlier rows count as lower.
    """
    confidence = P.max(axis=1).astype(np.float64)
    order = np.argsort(confidence, kind="stable")
    w = np.ones(len(P)) if weights is None else weights[order]
    ends = np.cumsum(w)
    bins = (BINS * (ends - w / 2) / ends[-1]).astype(np.int64)
    excess = w * ((P.argmax(axis=1) == y)[order] - confidence[order])
    return float(np.abs(np.bincount(bins, excess)).sum() / ends[-1])

"""Labels or soft targets, in one form for the kernels: two arrays, one of them without rows."""

import numpy as np

from softstep.kernels._numba.jit import STRICT, jit


def split(y):
    """(labels (n,) int64, soft (n, c) float); the other one is empty."""
    if y.dtype.kind == "i":
        return y, np.empty((0, 0))
    return np.empty(0, np.int64), y


def split_sets(y):
    """(label sets (t, n) int64, soft (n, c) float); of the other one no row is there."""
    if y.dtype.kind == "i":
        return y, np.empty((0, 0))
    return np.empty((1, 0), np.int64), y


@jit(STRICT)
def target(label, soft, r, j):
    """y_j of row r: 1 at the label, or the soft target where the label is -1."""
    if label < 0:
        return np.float64(soft[r, j])
    return 1.0 if j == label else 0.0


@jit(STRICT)
def label_of(labels, r):
    """The label of row r, or -1 where there are soft targets."""
    return labels[r] if len(labels) else -1

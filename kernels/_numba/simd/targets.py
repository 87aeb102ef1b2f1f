"""Labels or soft targets, in one form for the kernels: two arrays, one of them without rows."""

import numpy as np

from softstep.kernels._numba.jit import PART, jit


def split(y):
    """(labels (n,) int64, soft (n, c) float); the other one is empty."""
    if y.dtype.kind == "i":
        return y, np.empty((0, 0))
    return np.empty(0, np.int64), y


def split_sets(y):
    """(label sets (t, n) int64, soft (n, c) float); the other one has no rows."""
    if y.dtype.kind == "i":
        return y, np.empty((0, 0))
    return np.empty((1, 0), np.int64), y


@jit(PART)
def target(label, soft, r, j):
    """y_j of row r: 1 at the label, or the soft target where the label is -1."""
    if label < 0:
        return np.float64(soft[r, j])
    return 1.0 if j == label else 0.0


@jit(PART)
def label_of(labels, r):
    """The label of row r, or -1 where there are soft targets."""
    return labels[r] if len(labels) else -1


@jit(PART)
def first_largest(v):
    """Where the first of the largest is; the first NaN comes before all."""
    k = 0
    for j in range(len(v)):
        if v[j] != v[j]:
            return j
        if v[j] > v[k]:
            k = j
    return k


@jit(PART)
def weight_of(weights, index, r):
    """The weight of row r in the weight set `index`; 1 where there are no weights."""
    return weights[index, r] if weights.size else weights.dtype.type(1)


@jit(PART)
def fill_targets(labels, soft, rows, Y, label):
    # rows (r,) -> Y (classes, lanes): y_j of each row, label (lanes,): its class
    Y[:] = 0
    label[:] = 0
    for i in range(len(rows)):
        r = rows[i]
        if len(labels):
            label[i] = labels[r]
            Y[labels[r], i] = 1
        else:
            for j in range(len(Y)):
                Y[j, i] = soft[r, j]
            label[i] = first_largest(soft[r])


@jit(PART)
def fill_weights(weights, index, rows, weight):
    # weights (sets, n) or none, rows (r,) -> weight (lanes,)
    weight[:] = 0
    for i in range(len(rows)):
        weight[i] = weight_of(weights, index, rows[i])

"""What trained heads do on rows: labels, mean loss and accuracy, a block of rows at a time."""

import numpy as np

from softstep.kernels._numpy.cross_entropy import cross_entropy_forward
from softstep.kernels._numpy.linear import linear_forward
from softstep.kernels._numpy.mse import mse_forward
from softstep.kernels._numpy.softmax import softmax_forward

BLOCK_ROWS = 1024


def row_losses(V, y, loss):
    # V (n, c), y (n,) or (n, c) -> (n,)
    if loss == "mse":
        return mse_forward(softmax_forward(V), y)
    return cross_entropy_forward(V, y)


def right_rows(V, y):
    # V (n, c), y (n,) or (n, c) -> (n,) bool
    return V.argmax(axis=1) == (y if y.ndim == 1 else y.argmax(axis=1))


@np.errstate(all="ignore")
def predict(X, W, b, *, feature_scale=1.0):
    # X (n, d), W (h, d, c), b (h, c) -> (h, n)
    labels = np.empty((len(W), len(X)), dtype=np.int64)
    for start in range(0, len(X), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        for k in range(len(W)):
            V = linear_forward(X[rows], W[k], b[k], feature_scale=feature_scale)
            labels[k, rows] = V.argmax(axis=1)
    return labels


@np.errstate(all="ignore")
def evaluate(
    X, y, W, b, *, loss, sample_weight=None, y_index=None, weight_index=None, feature_scale=1.0
):
    # X (n, d), y (t, n) or (n, c), W (h, d, c), b (h, c) -> loss (h,), accuracy (h,)
    loss_sum, right_sum, weight_sum = np.zeros((3, len(W)))
    for start in range(0, len(X), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        for k in range(len(W)):
            V = linear_forward(X[rows], W[k], b[k], feature_scale=feature_scale)
            y_k = y[y_index[k], rows] if y.dtype.kind == "i" else y[rows]
            w = np.ones(len(V)) if sample_weight is None else sample_weight[weight_index[k], rows]
            loss_sum[k] += np.sum(w * row_losses(V, y_k, loss[k]), dtype=np.float64)
            right_sum[k] += np.sum(w * right_rows(V, y_k), dtype=np.float64)
            weight_sum[k] += np.sum(w, dtype=np.float64)
    return loss_sum / weight_sum, right_sum / weight_sum

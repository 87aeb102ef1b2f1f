"""What trained heads do on rows: labels, mean loss and accuracy, a block of rows at a time."""

import numpy as np

from softstep.kernels._numpy.linear import linear_forward
from softstep.kernels._numpy.losses import require, right_rows, row_losses

BLOCK_ROWS = 1024


def predict(X, W, b, *, feature_scale=1.0):
    # X (n, d), W (h, d, c), b (h, c) -> (h, n)
    return labels_by(linear_forward, X, W, b, feature_scale)


@np.errstate(all="ignore")
def labels_by(forward, X, W, b, feature_scale):
    # the same, with this linear layer
    labels = np.empty((len(W), len(X)), dtype=np.int64)
    for start in range(0, len(X), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        x = X[rows]
        for k in range(len(W)):
            V = forward(x, W[k], b[k], feature_scale=feature_scale)
            labels[k, rows] = V.argmax(axis=1)
    return labels


def evaluate(data, bank):
    # X (n, d), y (t, n) or (n, c), W (h, d, c), b (h, c) -> loss (h,), accuracy (h,)
    return figures_by(linear_forward, data, bank)


@np.errstate(all="ignore")
def figures_by(forward, data, bank):
    # the same, with this linear layer
    require(bank.loss)
    loss_sum, right_sum, weight_sum = np.zeros((3, len(bank.W)))
    for start in range(0, len(data.X), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        x = data.X[rows]
        for k, loss in enumerate(bank.loss):
            V = forward(x, bank.W[k], bank.b[k], feature_scale=data.feature_scale)
            y, w = targets_of_head(data, k, rows), weights_of_head(data, k, rows, V.dtype)
            loss_sum[k] += np.sum(w * row_losses(V, y, loss), dtype=np.float64)
            right_sum[k] += np.sum(w * right_rows(V, y), dtype=np.float64)
            weight_sum[k] += np.sum(w, dtype=np.float64)
    return loss_sum / weight_sum, right_sum / weight_sum


def targets_of_head(data, k, rows):
    # -> (r,) or (r, c): what head k is to learn from these rows
    return data.y[rows] if data.is_soft else data.y[data.y_index[k], rows]


def weights_of_head(data, k, rows, dtype):
    # -> (r,): what these rows count for head k
    if data.sample_weight is None:
        return np.ones(len(targets_of_head(data, k, rows)), dtype)
    return data.sample_weight[data.weight_index[k], rows]

"""Minibatch gradient descent, as a textbook has it: this file is the one to read first."""

import numpy as np

from softstep.kernels._numpy.cross_entropy import cross_entropy_backward, cross_entropy_forward
from softstep.kernels._numpy.evaluate import right_rows
from softstep.kernels._numpy.linear import linear_backward, linear_forward
from softstep.kernels._numpy.mse import mse_backward, mse_forward
from softstep.kernels._numpy.softmax import softmax_backward, softmax_forward


@np.errstate(all="ignore")
def train(
    X,
    y,
    order,
    batch_size,
    W,
    b,
    *,
    loss,
    learning_rate,
    l2=0.0,
    l2_bias=False,
    momentum=0.0,
    velocity=None,
    fit_bias=True,
    sample_weight=None,
    y_index=None,
    weight_index=None,
    feature_scale=1.0,
    active=None,
    columns=None,
):
    # X (n, d), y (t, n) or (n, c), order (m,), W (h, d, c), b (h, c) -> losses, correct (steps, h)
    steps, heads = learning_rate.shape
    losses = np.full((steps, heads), np.nan)
    correct = np.zeros((steps, heads), dtype=np.int64)
    MW, Mb = velocity or (np.zeros_like(W), np.zeros_like(b))
    for step in range(steps):
        rows = order[step * batch_size : (step + 1) * batch_size]
        x = X[rows]
        for k in range(heads):
            if not active[k]:
                continue
            t = y[y_index[k], rows] if y.dtype.kind == "i" else y[rows]
            w = np.ones(len(rows), W.dtype)
            if sample_weight is not None:
                w = sample_weight[weight_index[k], rows]

            # forward
            V = linear_forward(x, W[k], b[k], feature_scale=feature_scale)
            if not np.isfinite(V).all():
                active[k] = False
                continue
            row_loss, dV = _loss_and_gradient(V, t, loss[k])
            losses[step, k] = np.sum(w * row_loss, dtype=np.float64) / len(rows)
            correct[step, k] = np.count_nonzero(right_rows(V, t) & (w != 0))

            # backward
            dV *= (w / len(rows))[:, None]
            dW, db = linear_backward(dV, x, feature_scale=feature_scale)
            dW += l2[k].item() * W[k]
            if l2_bias:
                db += l2[k].item() * b[k]

            # update
            MW[k] = momentum[k].item() * MW[k] + dW
            W[k] -= learning_rate[step, k].item() * MW[k]
            if fit_bias:
                Mb[k] = momentum[k].item() * Mb[k] + db
                b[k] -= learning_rate[step, k].item() * Mb[k]
    return losses, correct


def _loss_and_gradient(V, t, loss):
    # V (rows, c), t (rows,) or (rows, c) -> loss (rows,), dV (rows, c)
    if loss == "mse":
        P = softmax_forward(V)
        return mse_forward(P, t), softmax_backward(mse_backward(P, t), P)
    return cross_entropy_forward(V, t), cross_entropy_backward(V, t)

"""Minibatch gradient descent, as a textbook has it: this file is the one to read first."""

import numpy as np

from softstep.kernels._numpy.evaluate import targets_of_head, weights_of_head
from softstep.kernels._numpy.linear import linear_backward, linear_forward
from softstep.kernels._numpy.losses import logit_gradients, require, right_rows, row_losses


@np.errstate(all="ignore")
def train(data, bank, steps):
    # X (n, d), y (t, n) or (n, c), order (m,), W (h, d, c), b (h, c) -> losses, correct (steps, h)
    require(bank.loss)
    losses = np.full(steps.learning_rate.shape, np.nan)
    correct = np.zeros(losses.shape, dtype=np.int64)
    MW, Mb = steps.velocity or (np.zeros_like(bank.W), np.zeros_like(bank.b))
    for step in range(len(losses)):
        first = step * steps.batch_size
        rows = steps.order[first : first + steps.batch_size]
        x = data.X[rows]
        for k, loss in enumerate(bank.loss):
            if not steps.active[k]:
                continue
            W, b = bank.W[k], bank.b[k]
            y = targets_of_head(data, k, rows)
            w = weights_of_head(data, k, rows, W.dtype)

            # forward
            V = linear_forward(x, W, b, feature_scale=data.feature_scale)
            if not np.isfinite(V).all():
                steps.active[k] = False
                continue
            losses[step, k] = np.sum(w * row_losses(V, y, loss), dtype=np.float64) / len(rows)
            correct[step, k] = np.count_nonzero(right_rows(V, y) & (w != 0))

            # backward
            dV = logit_gradients(V, y, loss) * (w / len(rows))[:, None]
            dW, db = linear_backward(dV, x, feature_scale=data.feature_scale)
            l2 = steps.l2[k].item()
            dW += l2 * W
            if steps.l2_bias:
                db += l2 * b

            # update
            momentum, learning_rate = steps.momentum[k].item(), steps.learning_rate[step, k].item()
            MW[k] = momentum * MW[k] + dW
            W -= learning_rate * MW[k]
            if steps.fit_bias:
                Mb[k] = momentum * Mb[k] + db
                b -= learning_rate * Mb[k]
    return losses, correct

"""Minibatch gradient descent on CSR: a step reads and writes the weights of its features alone.

l2 takes the same share off every weight: W ← W - α (dW + λ W) = (1 - α λ) W - α dW. With the
weights written as decay · W that share is a matter of one number, the decay.
"""

import numpy as np

from softstep.kernels._numpy.evaluate import targets_of_head, weights_of_head
from softstep.kernels._numpy.losses import logit_gradients, require, right_rows, row_losses
from softstep.kernels._numpy.sparse.linear import entries, sums
from softstep.kernels.csr import LEAST_DECAY


@np.errstate(all="ignore")
def train(data, bank, steps):
    # X CSR (n, d), y (t, n) or (n, c), order (m,), W (h, d, c), b (h, c), decay (h,)
    # -> losses, correct (steps, h)
    require(bank.loss)
    losses = np.full(steps.learning_rate.shape, np.nan)
    correct = np.zeros(losses.shape, dtype=np.int64)
    for step in range(len(losses)):
        first = step * steps.batch_size
        rows = steps.order[first : first + steps.batch_size]
        row, feature, x = entries(data.X, rows, data.feature_scale)
        by_feature = np.argsort(feature, kind="stable")
        for k, loss in enumerate(bank.loss):
            if not steps.active[k]:
                continue
            W, b, decay = bank.W[k], bank.b[k], steps.decay[k].item()
            y = targets_of_head(data, k, rows)
            w = weights_of_head(data, k, rows, W.dtype)

            # forward
            V = decay * sums(row, x[:, None] * W[feature], len(rows)) + b
            if not np.isfinite(V).all():
                steps.active[k] = False
                continue
            losses[step, k] = np.sum(w * row_losses(V, y, loss), dtype=np.float64) / len(rows)
            correct[step, k] = np.count_nonzero(right_rows(V, y) & (w != 0))

            # backward
            dV = logit_gradients(V, y, loss) * (w / len(rows))[:, None]
            outer = x[by_feature, None] * dV[row[by_feature]]
            occurring, position = np.unique(feature[by_feature], return_inverse=True)
            dW, db = sums(position, outer, len(occurring)), dV.sum(axis=0)
            l2 = steps.l2[k].item()
            if steps.l2_bias:
                db += l2 * b

            # update
            learning_rate = steps.learning_rate[step, k].item()
            decay *= 1 - learning_rate * l2
            if not LEAST_DECAY <= abs(decay) <= 1 / LEAST_DECAY:
                W *= decay
                decay = 1.0
            W[occurring] -= learning_rate / decay * dW
            steps.decay[k] = decay
            if steps.fit_bias:
                b -= learning_rate * db
    return losses, correct

"""Loss and gradient of a bank, summed over all rows: what an optimiser of whole sums asks for."""

import numpy as np

from softstep.kernels._numpy.evaluate import targets_of_head, weights_of_head
from softstep.kernels._numpy.linear import linear_backward, linear_forward
from softstep.kernels._numpy.losses import logit_gradients, require, row_losses

BLOCK_ROWS = 512  # their sums are in the arithmetic of the rows; those of all blocks in float64


@np.errstate(all="ignore")
def gradient(data, bank):
    # X (n, d), y (t, n) or (n, c), W (h, d, c), b (h, c) -> loss (h,), dW (h, d, c), db (h, c)
    require(bank.loss)
    loss, dW, db = np.zeros(len(bank.W)), np.zeros(bank.W.shape), np.zeros(bank.b.shape)
    for start in range(0, len(data.X), BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        x = data.X[rows]
        if bank.W.dtype == np.float64:  # whatever X is
            x = x.astype(np.float64, copy=False)
        for k, row_loss in enumerate(bank.loss):
            y, w = targets_of_head(data, k, rows), weights_of_head(data, k, rows, bank.W.dtype)

            # forward
            V = linear_forward(x, bank.W[k], bank.b[k], feature_scale=data.feature_scale)
            if not np.isfinite(V).all():
                loss[k] = dW[k] = db[k] = np.nan
                continue
            loss[k] += np.sum(w * row_losses(V, y, row_loss), dtype=np.float64)

            # backward
            dV = w[:, None] * logit_gradients(V, y, row_loss)
            block_dW, block_db = linear_backward(dV, x, feature_scale=data.feature_scale)
            dW[k] += block_dW
            db[k] += block_db
    return loss, dW, db

"""Cross-entropy from logits: L = log Σ_j e^{v_j} - v_y, dv = p - y."""

import numpy as np

from softstep.kernels._numpy.compensated import row_sums
from softstep.kernels._numpy.softmax import exponentials, result_in, softmax_forward


@np.errstate(all="ignore")
def cross_entropy_forward(V, y):
    # V (n, c), y (n,) or (n, c) -> loss (n,)
    # log Σ_j e^{v_j} = v_k + log1p(Σ_{j≠k} e^{v_j - v_k}), v_k the largest: nothing cancels.
    row, k = np.arange(len(V)), V.argmax(axis=1)
    largest = V[row, k].astype(np.float64)
    e = exponentials(V)
    e[row, k] *= 0.0  # a bad row stays NaN
    tail = np.log1p(row_sums(e))
    if y.ndim == 1:
        loss = tail + (largest - V[row, y])
    else:
        # a target of 0 counts nothing, whatever its logit
        losses = tail[:, None] + (largest[:, None] - V)
        loss = row_sums(np.where(y == 0, 0.0 * tail[:, None], y * losses))
    return loss.astype(V.dtype)


@np.errstate(all="ignore")
def cross_entropy_backward(V, y, *, out=None):
    # V (n, c), y (n,) or (n, c) -> dV (n, c)
    if y.ndim == 2:
        return result_in(softmax_forward(V.astype(np.float64)) - y, V.dtype, out)
    # p_y - 1 = -Σ_{j≠y} p_j
    row = np.arange(len(V))
    e = exponentials(V)
    total = row_sums(e)
    e[row, y] *= 0.0
    e[row, y] = 0.0 - row_sums(e)
    return result_in(e / total[:, None], V.dtype, out)

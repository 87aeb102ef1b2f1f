"""Minibatch gradient descent of a bank of heads, one compiled call for all steps it is given."""

import math

import numpy as np

from softstep.kernels._numba.cross_entropy import row_gradient, row_loss
from softstep.kernels._numba.evaluate import is_right
from softstep.kernels._numba.jit import STRICT, SUMS, jit
from softstep.kernels._numba.linear import (
    TILE_COLUMNS,
    backward_tile,
    block,
    forward_tiles,
    gather,
    packed,
    stored,
    unpack,
)
from softstep.kernels._numba.softmax import exponentials, sum_without
from softstep.kernels._numba.targets import label_of, split_sets


@np.errstate(over="ignore")  # settings beyond float32 become infinite
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
):
    # X (n, d), y (t, n) or (n, c), order (m,), W (h, d, c), b (h, c) -> losses, correct (steps, h)
    c = W.shape[2]
    losses = np.full(learning_rate.shape, np.nan)
    correct = np.zeros(learning_rate.shape, np.int64)
    MW, Mb = velocity or (np.zeros_like(W), np.zeros_like(b))
    Wt, bt = packed(W, b)
    Mt, Mbt = packed(MW, Mb)
    Xb = block(min(batch_size, len(order)), X.shape[1], W.dtype)
    V = np.zeros((len(Xb), len(Wt)), W.dtype)
    _train(
        stored(X),
        *split_sets(y),
        order,
        batch_size,
        Wt,
        bt,
        Mt,
        Mbt,
        c,
        np.array(loss) == "mse",
        learning_rate.astype(W.dtype),
        l2.astype(W.dtype),
        l2_bias,
        momentum.astype(W.dtype),
        fit_bias,
        np.empty((0, 0), W.dtype) if sample_weight is None else sample_weight,
        y_index,
        weight_index,
        feature_scale,
        active,
        Xb,
        V,
        losses,
        correct,
    )
    unpack(Wt, bt, W, b)
    unpack(Mt, Mbt, MW, Mb)
    return losses, correct


@jit(STRICT)
def _train(
    X,
    labels,
    soft,
    order,
    batch_size,
    Wt,
    bt,
    Mt,
    Mbt,
    c,
    is_mse,
    learning_rate,
    l2,
    l2_bias,
    momentum,
    fit_bias,
    weights,
    y_index,
    w_index,
    feature_scale,
    active,
    Xb,
    V,
    losses,
    correct,
):
    # X (n, d), Wt and Mt (k, d), Xb (batch, d), V (batch, k) -> losses, correct (steps, h)
    steps, heads = losses.shape
    e, dv = np.empty(c), np.empty(c)
    G = np.empty((TILE_COLUMNS, X.shape[1]), Wt.dtype)
    for step in range(steps):
        rows = order[step * batch_size : (step + 1) * batch_size]
        gather(X, rows, feature_scale, Xb)
        forward_tiles(Xb, len(rows), Wt, bt, V)
        V[len(rows) :] = 0
        for k in range(heads):
            if active[k]:
                V_k = V[: len(rows), k * c : (k + 1) * c]
                active[k] = _is_finite(V_k)
            if active[k]:
                w = weights[w_index[k]] if weights.size else weights.ravel()
                losses[step, k], correct[step, k] = _losses_and_gradients(
                    V_k, labels[y_index[k]], soft, rows, w, is_mse[k], e, dv
                )
        for tile in range(0, len(Wt), TILE_COLUMNS):
            G[:] = 0
            backward_tile(V, Xb, len(rows), tile, G)
            for i in range(min(TILE_COLUMNS, heads * c - tile)):
                k = (tile + i) // c
                if active[k]:
                    _update(
                        Wt[tile + i], Mt[tile + i], G[i], learning_rate[step, k], l2[k], momentum[k]
                    )
        if fit_bias:
            for i in range(heads * c):
                k = i // c
                if active[k]:
                    g = _column_sum(V, len(rows), i)
                    if l2_bias:
                        g += l2[k] * bt[i]
                    Mbt[i] = momentum[k] * Mbt[i] + g
                    bt[i] -= learning_rate[step, k] * Mbt[i]


@jit(STRICT)
def _is_finite(V):
    # V (rows, c)
    for r in range(V.shape[0]):
        for j in range(V.shape[1]):
            if not math.isfinite(V[r, j]):
                return False
    return True


@jit(STRICT)
def _losses_and_gradients(V, labels, soft, rows, weights, is_mse, e, dv):
    # V (batch, c): logits in, gradient out, scaled by the weight of the row / batch; mean loss,
    # number of right rows. e and dv (c,) are buffers.
    loss, correct = 0.0, 0
    for i in range(len(rows)):
        r = rows[i]
        label = label_of(labels, r)
        w = np.float64(weights[r]) if len(weights) else 1.0
        correct += w != 0.0 and is_right(V[i], label, soft, r)
        exponentials(V[i], e)
        if is_mse:
            loss += w * _mse_row(e, label, soft, r, dv)
        else:
            loss += w * row_loss(V[i], e, label, soft, r)
            row_gradient(e, label, soft, r, dv)
        for j in range(len(dv)):
            V[i, j] = dv[j] * (w / len(rows))
    return loss / len(rows), correct


@jit(STRICT)
def _mse_row(e, label, soft, r, dv):
    # e (c,) exponentials of the logits -> loss, dv (c,): L = (1/c) Σ_i (y_i - p_i)² and
    # dv_i = p_i (g_i - Σ_j g_j p_j) with g = (2/c)(p - y).
    # For labels, with q = Σ_{j≠y} p_j = 1 - p_y and s = Σ_{j≠y} p_j²:
    # L = (s + q²)/c,  dv_y = -(2/c) p_y (s + q²),  dv_i = (2/c) p_i (p_i - s + p_y q).
    c = len(e)
    total = sum_without(e, -1)
    if label >= 0:
        q = sum_without(e, label) / total
        s = 0.0
        for j in range(c):
            dv[j] = e[j] / total
            if j != label:
                s += dv[j] * dv[j]
        p_y = dv[label]
        for j in range(c):
            dv[j] = 2 / c * dv[j] * (dv[j] - s + p_y * q)
        dv[label] = -2 / c * p_y * (s + q * q)
        return (s + q * q) / c
    loss, mean = 0.0, 0.0
    for j in range(c):
        dv[j] = e[j] / total - soft[r, j]
        loss += dv[j] * dv[j]
        mean += 2 / c * dv[j] * (e[j] / total)
    for j in range(c):
        dv[j] = e[j] / total * (2 / c * dv[j] - mean)
    return loss / c


@jit(SUMS)
def _update(w, m, g, learning_rate, l2, momentum):
    # one column, each (d,): M ← momentum·M + g + l2·W,  W ← W - learning_rate·M
    for j in range(len(w)):
        m[j] = momentum * m[j] + (g[j] + l2 * w[j])
        w[j] -= learning_rate * m[j]


@jit(STRICT)
def _column_sum(V, count, i):
    # V (rows, k) -> Σ_r V[r, i]
    total = V[0, i]
    for r in range(1, count):
        total += V[r, i]
    return total

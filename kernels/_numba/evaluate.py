"""What trained heads do on rows: labels, mean loss and accuracy, a block of rows at a time."""

import numpy as np

from softstep.kernels._numba.cross_entropy import first_largest, row_loss
from softstep.kernels._numba.jit import STRICT, jit
from softstep.kernels._numba.linear import block_of, forward_tiles, gather_block, packed, stored
from softstep.kernels._numba.softmax import exponentials, sum_without
from softstep.kernels._numba.targets import label_of, split_sets, target


@jit(STRICT)
def loss_of_row(v, is_mse, e, label, soft, r):
    # v (c,) logits -> the row's loss; e (c,) is a buffer and holds e^{v - max v} afterwards
    exponentials(v, e)
    if not is_mse:
        return row_loss(v, e, label, soft, r)
    total = sum_without(e, -1)
    loss = 0.0
    for j in range(len(v)):
        loss += (target(label, soft, r, j) - e[j] / total) ** 2
    return loss / len(v)


@jit(STRICT)
def is_right(v, label, soft, r):
    # v (c,) logits: is the largest where the label, or the largest soft target, is?
    return first_largest(v) == (label if label >= 0 else first_largest(soft[r]))


@jit(STRICT)
def _predict(X, Wt, bt, c, feature_scale, Xb, V, found):
    # X (n, d), Wt (k, d) -> found (h, n); Xb (block, d) and V (block, k) are buffers
    for start in range(0, len(X), len(Xb)):
        count = gather_block(X, start, feature_scale, Xb)
        forward_tiles(Xb, count, Wt, bt, V)
        for head in range(len(found)):
            for r in range(count):
                found[head, start + r] = first_largest(V[r, head * c : (head + 1) * c])


def predict(X, W, b, *, feature_scale=1.0):
    # X (n, d), W (h, d, c), b (h, c) -> (h, n)
    found = np.empty((len(W), len(X)), np.int64)
    Wt, bt = packed(W, b)
    Xb = block_of(X, W.dtype)
    if len(X):
        V = np.empty((len(Xb), len(Wt)), W.dtype)
        _predict(stored(X), Wt, bt, W.shape[2], feature_scale, Xb, V, found)
    return found


@jit(STRICT)
def _evaluate(
    X, labels, soft, Wt, bt, c, is_mse, weights, y_index, w_index, feature_scale, Xb, V, e, sums
):
    # X (n, d), Wt (k, d) -> sums (h, 3): Σ w L, Σ w [right], Σ w; Xb, V, e (c,) are buffers
    for start in range(0, len(X), len(Xb)):
        count = gather_block(X, start, feature_scale, Xb)
        forward_tiles(Xb, count, Wt, bt, V)
        for head in range(len(sums)):
            for i in range(count):
                r = start + i
                v = V[i, head * c : (head + 1) * c]
                label = label_of(labels[y_index[head]], r)
                w = np.float64(weights[w_index[head], r]) if weights.size else 1.0
                sums[head, 0] += w * loss_of_row(v, is_mse[head], e, label, soft, r)
                sums[head, 1] += w * is_right(v, label, soft, r)
                sums[head, 2] += w


def evaluate(
    X, y, W, b, *, loss, sample_weight=None, y_index=None, weight_index=None, feature_scale=1.0
):
    # X (n, d), y (t, n) or (n, c), W (h, d, c), b (h, c) -> loss (h,), accuracy (h,)
    sums = np.zeros((len(W), 3))
    Wt, bt = packed(W, b)
    Xb = block_of(X, W.dtype)
    if len(X):
        _evaluate(
            stored(X),
            *split_sets(y),
            Wt,
            bt,
            W.shape[2],
            np.array(loss) == "mse",
            np.empty((0, 0), W.dtype) if sample_weight is None else sample_weight,
            y_index,
            weight_index,
            feature_scale,
            Xb,
            np.empty((len(Xb), len(Wt)), W.dtype),
            np.empty(W.shape[2]),
            sums,
        )
    with np.errstate(invalid="ignore"):
        return sums[:, 0] / sums[:, 2], sums[:, 1] / sums[:, 2]

"""The losses as the fused ops need them. A loss's code is looked at here and nowhere else.

Each switch has a branch for every loss and ends in NaN: a code that it does not know cannot pass
for a loss. `codes` lets none through.

`train` and `evaluate` have a row in each lane, so that maxima and sums over the classes need
nothing across lanes. Their sums are plain, and so is exp: docs/numerics.md says how far that may
be off.
"""

from typing import NamedTuple

import numpy as np

from softstep.kernels import losses as losses_table
from softstep.kernels._numba.cross_entropy import cross_entropy_of_row
from softstep.kernels._numba.gce import gce_of_row
from softstep.kernels._numba.jit import INLINE, PART, jit
from softstep.kernels._numba.mse import mse_of_row
from softstep.kernels._numba.rows.compensated import exponentials
from softstep.kernels._numba.simd.functions import exp, expm1, log1p
from softstep.kernels._numba.simd.layout import lanes, zeros
from softstep.kernels._numba.simd.targets import fill_targets, fill_weights, split_sets
from softstep.kernels._numba.simd.vector import (
    every,
    filled,
    first_lanes,
    fma,
    load,
    select,
    store,
    store_first,
)
from softstep.kernels.losses import GCE_Q, LOSSES

COMPUTED = ("mse", "cross_entropy", "gce")
MSE, CROSS_ENTROPY, GCE = (LOSSES[name].code for name in COMPUTED)


def codes(losses):
    """How the kernels know these losses, (h,); BackendError for one that they do not."""
    return losses_table.codes(losses, COMPUTED, "numba")


class Learning(NamedTuple):
    """What the heads of a bank learn from."""

    labels: np.ndarray  # label sets (t, n) int64; (1, 0) where targets are soft
    soft: np.ndarray  # soft targets (n, c); (0, 0) where there are labels
    weights: np.ndarray  # weight sets (s, n); (0, 0) where every row weighs 1
    y_index: np.ndarray  # (h,) int64: the label set of each head,
    weight_index: np.ndarray  # (h,) int64: its weight set,
    codes: np.ndarray  # (h,) uint8: and its loss


def learning(data, bank):
    labels, soft = split_sets(data.y)
    no_weights = np.empty((0, 0), bank.W.dtype)
    return Learning(
        labels=labels,
        soft=soft,
        weights=no_weights if data.sample_weight is None else data.sample_weight,
        y_index=data.y_index,
        weight_index=data.weight_index,
        codes=codes(bank.loss),
    )


class Lanes(NamedTuple):
    """Buffers of each worker for some rows, one in each lane."""

    T: np.ndarray  # (workers, columns padded, lanes): logits, then their gradient
    Y: np.ndarray  # (workers, classes, lanes): targets
    label: np.ndarray  # (workers, lanes): the class of the row, as a number of the arithmetic
    weight: np.ndarray  # (workers, lanes)


def row_lanes(workers, columns, c, dtype):
    n = lanes(dtype)
    return Lanes(
        T=zeros((workers, columns, n), dtype),
        Y=zeros((workers, c, n), dtype),
        label=zeros((workers, n), dtype),
        weight=zeros((workers, n), dtype),
    )


@jit(PART)
def heads_of_rows(learning, buffers, worker, mine, rows, active, loss, right, at):
    # buffers.T: logits of the rows `mine`, overwritten with the gradient of their mean loss over
    # `rows` rows -> w L in loss[k, at:] and hits in right[k, at:], (heads, rows), for each active
    # head k. A head with a logit that is not finite is made inactive; nothing makes it active
    # again: another worker may have seen such a logit.
    T, Y = buffers.T[worker], buffers.Y[worker]
    label, weight = buffers.label[worker], buffers.weight[worker]
    c, label_set, weight_set = len(Y), -1, -1
    for k in range(len(active)):
        if learning.y_index[k] != label_set:
            label_set = learning.y_index[k]
            fill_targets(learning.labels[label_set], learning.soft, mine, Y, label)
        if learning.weight_index[k] != weight_set:
            weight_set = learning.weight_index[k]
            fill_weights(learning.weights, weight_set, mine, weight)
        if active[k]:
            is_finite = _head_of_rows(
                T,
                k * c,
                c,
                len(mine),
                Y,
                label,
                weight,
                rows,
                learning.codes[k],
                loss[k],
                right[k],
                at,
            )
            if not is_finite:
                active[k] = False


@jit(PART)
def _head_of_rows(T, first, c, count, Y, label, weight, rows, code, loss, right, at):
    # T (columns, lanes): logits of `count` rows in T[first : first + c], overwritten with the
    # gradient of their mean over `rows` rows; Y (c, lanes), label, weight (lanes,) -> w L in
    # loss[at:], whether the first largest logit is at the label in right[at:]; is all finite?
    index = filled(T, 0.0)
    best, m = index, load(T, (first, 0))
    check = m * 0.0
    # the largest logit m, where it is, and 0 or NaN in check
    for j in range(1, c):
        index = index + 1.0
        v = load(T, (first + j, 0))
        larger = v > m
        m, best = select(larger, v, m), select(larger, index, best)
        check = fma(v, 0.0, check)
    if not every(select(first_lanes(m, count), check, 0.0) == 0.0):
        return False

    # e^{v - m}, their sum without the largest, Σ_j y_j (m - v_j) and Σ_j y_j
    others = lost = mass = index = filled(T, 0.0)
    for j in range(c):
        d = load(T, (first + j, 0)) - m
        e = exp(d)
        store(T, (first + j, 0), e)
        others = others + select(best == index, 0.0, e)
        y = load(Y, (j, 0))
        lost = select(y == 0.0, lost, lost - y * d)  # a target of 0 counts nothing, whatever d
        mass = mass + y
        index = index + 1.0

    w = load(weight, 0)
    inverse, scale = 1.0 / (others + 1.0), w / rows
    if code == MSE:
        L = _mse(T, first, c, Y, inverse, scale)
    else:
        entropy = fma(mass, log1p(others), lost)
        if code == CROSS_ENTROPY:
            L = _cross_entropy(T, first, c, Y, inverse, scale, entropy)
        elif code == GCE:
            L = _gce(T, first, c, Y, inverse, scale, entropy)
        else:
            L = _unknown(T, first, c)
    store_first(loss, at, w * L, count)
    hits = select(w == 0.0, 0.0, select(best == load(label, 0), filled(T, 1.0), 0.0))
    store_first(right, at, hits, count)
    return True


# Each loss: T[first : first + c] (c, lanes) holds e^{v - m}, which times `inverse` is p; it is
# overwritten with the gradient times `scale` -> the loss of each lane.


@jit(INLINE)
def _mse(T, first, c, Y, inverse, scale):
    # L = (1/c) Σ_j (p_j - y_j)²,   dv_i = (2/c) p_i (p_i - y_i - Σ_j p_j (p_j - y_j))
    L = mean = filled(T, 0.0)
    for j in range(c):
        p = load(T, (first + j, 0)) * inverse
        g = p - load(Y, (j, 0))
        L, mean = fma(g, g, L), fma(p, g, mean)
    scale = scale * (2.0 / c)
    for j in range(c):
        p = load(T, (first + j, 0)) * inverse
        store(T, (first + j, 0), p * (p - load(Y, (j, 0)) - mean) * scale)
    return L / c


@jit(INLINE)
def _cross_entropy(T, first, c, Y, inverse, scale, entropy):
    # L = CE,   dv = p - y
    for j in range(c):
        p = load(T, (first + j, 0)) * inverse
        store(T, (first + j, 0), (p - load(Y, (j, 0))) * scale)
    return entropy


@jit(INLINE)
def _gce(T, first, c, Y, inverse, scale, entropy):
    # L = (1 - p_y^q)/q,   dv = p_y^q (p - y);   p_y = e^{-CE}
    factor = exp(entropy * -GCE_Q)
    _cross_entropy(T, first, c, Y, inverse, scale * factor, entropy)
    return _gce_of_entropy(entropy)


@jit(PART)
def _unknown(T, first, c):
    nan = filled(T, np.nan)
    for j in range(c):
        store(T, (first + j, 0), nan)
    return nan


@jit(PART)
def _gce_of_entropy(entropy):
    """(1 - e^{-q CE})/q of each lane."""
    return (0.0 - expm1(entropy * -GCE_Q)) / GCE_Q


@jit(INLINE)
def loss_of_sums(code, below, e_label, others, squares, c):
    # of each lane, with m the largest logit: below = m - v_y, e_label = e^{v_y - m}, and of the
    # other c - 1 classes others = Σ e^{v - m} and squares = Σ (e^{v - m})² -> the loss
    if code == MSE:
        total = e_label + others
        return fma(others, others, squares) / (total * total * c)
    # where the label's logit is the largest e_label - 1 is exactly 0, elsewhere others >= 1
    entropy = below + log1p(others + (e_label - 1.0))
    if code == CROSS_ENTROPY:
        return entropy
    if code == GCE:
        return _gce_of_entropy(entropy)
    return entropy * np.nan


@jit(PART)
def loss_of_row(code, v, e, label, soft, r):
    # v (c,) logits of one row, NaN and infinities among them -> its loss in float64; e (c,) is a
    # buffer
    exponentials(v, e)
    if code == MSE:
        return mse_of_row(e, label, soft, r)
    if code == CROSS_ENTROPY:
        return cross_entropy_of_row(v, e, label, soft, r)
    if code == GCE:
        return gce_of_row(v, e, label, soft, r)
    return np.nan

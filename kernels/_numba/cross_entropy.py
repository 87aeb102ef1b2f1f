"""Cross-entropy from logits: L = log Σ_j e^{v_j} - v_y, dv = p - y."""

import math

import numpy as np

from softstep.kernels._numba.jit import PART, STRICT, call, jit
from softstep.kernels._numba.simd.targets import first_largest, label_of, split
from softstep.kernels._numba.softmax import exponentials, rounding_error, sum_without


@jit(PART)
def cross_entropy_of_row(v, e, label, soft, r):
    # v (c,), e (c,) its exponentials -> L = log Σ_j e^{v_j} - v_y; with v_k the largest,
    # log1p(Σ_{j≠k} e_j) + (v_k - v_y): nothing cancels
    k = first_largest(v)
    tail = math.log1p(sum_without(e, k) + 0.0 * e[k])  # a bad row stays NaN
    m = np.float64(v[k])
    if label >= 0:
        return tail + (m - v[label])
    loss, error = 0.0 * tail, 0.0
    for j in range(len(v)):
        if soft[r, j] != 0:  # a target of 0 counts nothing, whatever its logit
            term = soft[r, j] * (tail + (m - v[j]))
            new = loss + term
            if abs(new) < np.inf:
                error += rounding_error(loss, term, new)
            loss = new
    return loss + error


@jit(PART)
def gradient_of_row(e, label, soft, r, dv):
    # e (c,) exponentials of the logits -> dv (c,) = p - y, with p_y - 1 = -Σ_{j≠y} p_j
    total = sum_without(e, -1)
    for j in range(len(e)):
        dv[j] = e[j] / total
    if label >= 0:
        dv[label] = (0.0 - sum_without(e, label)) / total
    else:
        for j in range(len(e)):
            dv[j] -= soft[r, j]


@jit(STRICT)
def _cross_entropy_forward(V, labels, soft, e, loss):
    # V (n, c) -> loss (n,); e (c,) is a buffer
    for r in range(len(V)):
        exponentials(V[r], e)
        loss[r] = cross_entropy_of_row(V[r], e, label_of(labels, r), soft, r)


def cross_entropy_forward(V, y):
    # V (n, c), y (n,) or (n, c) -> loss (n,)
    loss = np.empty(len(V), V.dtype)
    call(_cross_entropy_forward, V, *split(y), np.empty(V.shape[1]), loss)
    return loss


@jit(STRICT)
def _cross_entropy_backward(V, labels, soft, e, dv, dV):
    # V (n, c) -> dV (n, c); e and dv (c,) are buffers
    for r in range(len(V)):
        exponentials(V[r], e)
        gradient_of_row(e, label_of(labels, r), soft, r, dv)
        dV[r] = dv


def cross_entropy_backward(V, y, *, out=None):
    # V (n, c), y (n,) or (n, c) -> dV (n, c)
    out = np.empty_like(V) if out is None else out
    e, dv = np.empty(V.shape[1]), np.empty(V.shape[1])
    call(_cross_entropy_backward, V, *split(y), e, dv, out)
    return out

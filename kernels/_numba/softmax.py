"""The softmax: p_i = e^{v_i} / Σ_j e^{v_j}, and the product with its whole Jacobian.

The inside is float64 for float32 logits too: that is what keeps them within 1 ULP.
"""

import math

import numpy as np

from softstep.kernels._numba.jit import STRICT, jit

UNDERFLOW = -746.0  # e^x is 0 in float64 below this


@jit(STRICT)
def rounding_error(a, b, total):
    """What rounding took away in total = a + b (TwoSum: Knuth, TAOCP vol. 2, section 4.2.2)."""
    b_part = total - a
    return (a - (total - b_part)) + (b - b_part)


@jit(STRICT)
def largest(v):
    """The largest of a row; NaN if there is one."""
    m = v[0]
    for j in range(1, len(v)):
        if v[j] > m or v[j] != v[j]:
            m = v[j]
    return m


@jit(STRICT)
def exponentials(v, e):
    # v (c,) -> e (c,) float64 = e^{v - max v}; the rounding error of the difference is carried
    m = np.float64(largest(v))
    for j in range(len(v)):
        vj = np.float64(v[j])
        d = vj - m
        e[j] = math.exp(d)
        if d > UNDERFLOW:
            e[j] += e[j] * rounding_error(vj, -m, d)


@jit(STRICT)
def sum_without(e, k):
    """Σ_{j≠k} e_j, compensated; k = -1 leaves none out."""
    return sum_in_two(e, k)[0]


@jit(STRICT)
def sum_in_two(e, k):
    """Σ_{j≠k} e_j as the rounded sum and its rounding error, the sum itself where not finite."""
    total, error = 0.0, 0.0
    for j in range(len(e)):
        if j != k:
            new = total + e[j]
            error += rounding_error(total, e[j], new)
            total = new
    if not abs(total) < np.inf:
        return total, 0.0
    new = total + error
    return new, rounding_error(total, error, new)


@jit(STRICT)
def _softmax_forward(V, e, P):
    # V (n, c) -> P (n, c); e (c,) is a buffer
    for r in range(len(V)):
        exponentials(V[r], e)
        total = sum_without(e, -1)
        for j in range(len(e)):
            P[r, j] = e[j] / total


def softmax_forward(V, *, out=None):
    # V (n, c) -> P (n, c)
    out = np.empty_like(V) if out is None else out
    _softmax_forward(V, np.empty(V.shape[1]), out)
    return out


@jit(STRICT)
def _softmax_backward(dP, P, products, dV):
    # dP (n, c), P (n, c) -> dV (n, c); products (c,) is a buffer
    for r in range(len(P)):
        for j in range(len(products)):
            products[j] = np.float64(dP[r, j]) * np.float64(P[r, j])
        mean = sum_without(products, -1)
        for j in range(len(products)):
            dV[r, j] = np.float64(P[r, j]) * (np.float64(dP[r, j]) - mean)


def softmax_backward(dP, P, *, out=None):
    # dP (n, c), P (n, c) -> dV (n, c): dv_i = p_i (dp_i - Σ_j dp_j p_j)
    out = np.empty_like(P) if out is None else out
    _softmax_backward(dP, P, np.empty(P.shape[1]), out)
    return out

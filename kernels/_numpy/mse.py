"""Mean squared error over the softmax outputs: L = (1/c) Σ_i (y_i - p_i)², dp = (2/c)(p - y)."""

import numpy as np

from softstep.kernels._numpy.compensated import (
    inverse_cube,
    row_sums,
    row_sums_in_two,
    running_sums,
)
from softstep.kernels._numpy.softmax import (
    exponentials,
    result_in,
    softmax_backward,
    softmax_forward,
)


def target_rows(y, c):
    """Float targets as they are, integer labels as one-hot rows: (n, c) float64."""
    return np.eye(c)[y] if y.ndim == 1 else y.astype(np.float64)


@np.errstate(all="ignore")
def mse_forward(P, Y):
    # P (n, c), Y (n,) or (n, c) -> loss (n,)
    c = P.shape[1]
    return (row_sums((target_rows(Y, c) - P) ** 2) / c).astype(P.dtype)


@np.errstate(all="ignore")
def mse_backward(P, Y, *, out=None):
    # P (n, c), Y (n,) or (n, c) -> dP (n, c)
    c = P.shape[1]
    return result_in(2 / c * (P - target_rows(Y, c)), P.dtype, out)


@np.errstate(all="ignore")
def softmax_mse_backward(V, y, *, out=None):
    # V (n, c), y (n,) or (n, c) -> dV (n, c)
    if y.ndim == 2:
        # p - y cancels by itself for soft targets, so no other form of the sum would help.
        V64 = V.astype(np.float64)
        P = softmax_forward(V64)
        return result_in(softmax_backward(mse_backward(P, y), P), V.dtype, out)
    return result_in(_label_gradient(V.astype(np.float64), y), V.dtype, out)


def _label_gradient(V, y):
    """dv_i = p_i Σ_j p_j (g_i - g_j) for one-hot targets, every difference without cancellation.

    With q = Σ_{j≠y} p_j = 1 - p_y the label's own pairs are g_j - g_y = (2/c)(p_j + q), so
        dv_y = -(2/c) p_y Σ_{j≠y} p_j (p_j + q)
        dv_i =  (2/c) p_i (Σ_{j≠y} p_j (p_i - p_j) + p_y (p_i + q)),   i ≠ y.
    """
    n, c = V.shape
    row = np.arange(n)
    e = exponentials(V)
    others = np.ones((n, c), dtype=bool)
    others[row, y] = False
    v_o, e_o, e_y = V[others].reshape(n, c - 1), e[others].reshape(n, c - 1), e[row, y]
    q = row_sums(e_o)
    # Everything below carries a factor (Σ_j e_j)³, divided out at the end.
    pairs = _sums_of_differences(v_o, e_o)
    dV = np.empty((n, c))
    dV[others] = (e_o * (pairs + e_y[:, None] * (e_o + q[:, None]))).ravel()
    dV[row, y] = 0.0 - e_y * row_sums(e_o * (e_o + q[:, None]))
    cube, x = inverse_cube(*row_sums_in_two(e))
    dV = 2 * dV / (c * cube[:, None])
    return dV + dV * x[:, None]


def _sums_of_differences(v, e):
    """Σ_j e_j (e_i - e_j) of each row, to a few roundings of Σ_j e_j |e_i - e_j|.

    Sorted downwards, neighbours differ by gap_i = e_i - e_{i+1} = -e_i expm1(v_{i+1} - v_i), and
    the sums over the smaller and the larger ones are running sums of terms >= 0:
        below_i = below_{i+1} + gap_i Σ_{j>i} e_j,   above_i = above_{i-1} + gap_{i-1} Σ_{j<i} e_j.
    """
    # v, e (n, k) -> (n, k)
    if v.shape[1] == 0:
        return e
    order = np.argsort(-v, axis=1, kind="stable")
    v, e = np.take_along_axis(v, order, axis=1), np.take_along_axis(e, order, axis=1)
    gaps = np.zeros(e.shape)
    gaps[:, :-1] = np.where(e[:, :-1] > 0, -e[:, :-1] * np.expm1(v[:, 1:] - v[:, :-1]), 0.0)
    # above: gap_i goes with the sum up to and with e_i; below: with the sum after e_i.
    above = running_sums(gaps * (running_sums(e) + e))
    gap_below = gaps[:, ::-1] * running_sums(e[:, ::-1])
    below = (running_sums(gap_below) + gap_below)[:, ::-1]
    out = np.empty(e.shape)
    np.put_along_axis(out, order, below - above, axis=1)
    return out

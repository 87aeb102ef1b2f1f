"""The softmax: p_i = e^{v_i} / Σ_j e^{v_j}, and the product with its whole Jacobian.

The inside is float64 for float32 logits too: that is what keeps them within 1 ULP.
"""

import numpy as np

from softstep.kernels._numpy.compensated import row_sums, two_diff

UNDERFLOW = -746.0  # e^x is 0 in float64 below this


def exponentials(V):
    """e^{v - max v} of each row, in float64; the largest is 1. A bad row is NaN (see the contract).

    v - max v is rounded, which alone costs up to |v|u in the result: the rounding error r of the
    difference comes back as e^{d + r} = e^d (1 + r).
    """
    # V (n, c) -> (n, c)
    V = V.astype(np.float64)
    d, r = two_diff(V, V.max(axis=1, keepdims=True))
    e = np.exp(d)
    return e + e * np.where(d > UNDERFLOW, r, 0.0)


@np.errstate(all="ignore")
def softmax_forward(V, *, out=None):
    # V (n, c) -> P (n, c)
    e = exponentials(V)
    P = e / row_sums(e)[:, None]
    return result_in(P, V.dtype, out)


@np.errstate(all="ignore")
def softmax_backward(dP, P, *, out=None):
    # dP (n, c), P (n, c) -> dV (n, c): dv_i = p_i (dp_i - Σ_j dp_j p_j)
    dp, p = dP.astype(np.float64), P.astype(np.float64)
    dV = p * (dp - row_sums(dp * p)[:, None])
    return result_in(dV, P.dtype, out)


def result_in(values, dtype, out):
    """`values` in `dtype`, written to `out` if there is one."""
    if out is None:
        return values.astype(dtype)
    out[:] = values
    return out

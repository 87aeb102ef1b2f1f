"""Generalised cross-entropy from logits: L = (1 - p_y^q)/q, dv = p_y^q (p - y)."""

import numpy as np

from softstep.kernels._numpy.cross_entropy import cross_entropy_backward, cross_entropy_forward
from softstep.kernels._numpy.softmax import result_in
from softstep.kernels.losses import GCE_Q


@np.errstate(all="ignore")
def gce_forward(V, y):
    # V (n, c), y (n,) -> loss (n,)
    # p_y = e^{-CE}, so L = -expm1(-q CE)/q: nothing cancels where p_y is close to 1
    entropy = cross_entropy_forward(V.astype(np.float64), y)
    return (-np.expm1(-GCE_Q * entropy) / GCE_Q).astype(V.dtype)


@np.errstate(all="ignore")
def gce_backward(V, y, *, out=None):
    # V (n, c), y (n,) -> dV (n, c)
    V64 = V.astype(np.float64)
    factor = np.exp(-GCE_Q * cross_entropy_forward(V64, y))
    return result_in(factor[:, None] * cross_entropy_backward(V64, y), V.dtype, out)

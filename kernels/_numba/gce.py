"""Generalised cross-entropy from logits: L = (1 - p_y^q)/q, dv = p_y^q (p - y)."""

import math

import numpy as np

from softstep.kernels._numba.cross_entropy import cross_entropy_of_row, gradient_of_row
from softstep.kernels._numba.jit import PART, STRICT, call, jit
from softstep.kernels._numba.simd.targets import split
from softstep.kernels._numba.softmax import exponentials
from softstep.kernels.losses import GCE_Q


@jit(PART)
def gce_of_row(v, e, label, soft, r):
    # v (c,), e (c,) its exponentials -> L = -expm1(-q CE)/q, as p_y = e^{-CE}: nothing cancels
    # where p_y is close to 1
    return -math.expm1(-GCE_Q * cross_entropy_of_row(v, e, label, soft, r)) / GCE_Q


@jit(STRICT)
def _gce_forward(V, labels, soft, e, loss):
    # V (n, c) -> loss (n,); e (c,) is a buffer
    for r in range(len(V)):
        exponentials(V[r], e)
        loss[r] = gce_of_row(V[r], e, labels[r], soft, r)


def gce_forward(V, y):
    # V (n, c), y (n,) -> loss (n,)
    loss = np.empty(len(V), V.dtype)
    call(_gce_forward, V, *split(y), np.empty(V.shape[1]), loss)
    return loss


@jit(STRICT)
def _gce_backward(V, labels, soft, e, dv, dV):
    # V (n, c) -> dV (n, c); e and dv (c,) are buffers
    for r in range(len(V)):
        exponentials(V[r], e)
        factor = math.exp(-GCE_Q * cross_entropy_of_row(V[r], e, labels[r], soft, r))
        gradient_of_row(e, labels[r], soft, r, dv)
        for j in range(len(dv)):
            dV[r, j] = factor * dv[j]


def gce_backward(V, y, *, out=None):
    # V (n, c), y (n,) -> dV (n, c)
    out = np.empty_like(V) if out is None else out
    e, dv = np.empty(V.shape[1]), np.empty(V.shape[1])
    call(_gce_backward, V, *split(y), e, dv, out)
    return out

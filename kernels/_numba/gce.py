"""Generalised cross-entropy from logits: L = (1 - p_y^q)/q, dv = p_y^q (p - y)."""

import math
from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.cross_entropy import (
    cross_entropy_backward,
    cross_entropy_forward,
    cross_entropy_of_row,
)
from softstep.kernels._numba.jit import INLINE, PART, STRICT, jit
from softstep.kernels._numba.parallel.pool import work_through
from softstep.kernels._numba.rows.doubles import begin_rows, rows_of_item, run_rows
from softstep.kernels.losses import GCE_Q


@jit(PART)
def gce_of_row(v, e, label, soft, r):
    # v (c,), e (c,) its exponentials -> L = -expm1(-q CE)/q, as p_y = e^{-CE}: nothing cancels
    # where p_y is close to 1
    return -math.expm1(-GCE_Q * cross_entropy_of_row(v, e, label, soft, r)) / GCE_Q


class Scaling(NamedTuple):
    dV: np.ndarray  # (n, c): gradients of the cross-entropy, overwritten
    factor: np.ndarray  # (n,) float64
    n: int
    c: int


@jit(STRICT)
def _scaled_rows(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 1, begin_rows, _do_scale)


@jit(INLINE)
def _do_scale(job, scratch, step, phase, item, worker):
    first, end = rows_of_item(job, item)
    for r in range(first, end):
        factor = job.factor[r]
        for j in range(job.c):
            job.dV[r, j] = factor * job.dV[r, j]


def gce_forward(V, y):
    # V (n, c), y (n,) -> loss (n,)
    entropy = cross_entropy_forward(V, y).astype(np.float64)
    return (-np.expm1(-GCE_Q * entropy) / GCE_Q).astype(V.dtype)


def gce_backward(V, y, *, out=None):
    # V (n, c), y (n,) -> dV (n, c)
    n, c = V.shape
    factor = np.exp(-GCE_Q * cross_entropy_forward(V, y).astype(np.float64))
    out = cross_entropy_backward(V, y, out=out)
    run_rows(_scaled_rows, Scaling(dV=out, factor=factor, n=n, c=c))
    return out

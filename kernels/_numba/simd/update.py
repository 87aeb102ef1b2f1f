"""What a step of training ends with, in both kinds of kernel: the update, and the figures.

g = dW + l2 W,   M ← momentum M + g,   W ← W - rate M
"""

from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.jit import PART, jit
from softstep.kernels._numba.simd.layout import zeros
from softstep.kernels._numba.simd.vector import filled, fma, load, select, store


class Columns(NamedTuple):
    """What differs between steps, of each column of a bank."""

    rate: np.ndarray  # (columns padded,): the learning rate of its head
    active: np.ndarray  # (columns padded,): 1 where its head is active, else 0


def columns_like(b):
    return Columns(rate=zeros(b.shape, b.dtype), active=zeros(b.shape, b.dtype))


@jit(PART)
def fill_columns(job, columns, step):
    """The leader's part, before the weights of a step are updated."""
    for k in range(len(job.active)):
        for column in range(k * job.classes, (k + 1) * job.classes):
            columns.rate[column] = job.rate[step, k]
            columns.active[column] = job.active[k]


@jit(PART)
def update(W, M, at, gradient, rate, l2, momentum, active, keeps_velocity):
    # W, M: the vector at `at`, where the mask `active` is true; rate, l2 and momentum: vectors or
    # numbers. Where the velocity is not kept momentum is 0, and nobody reads M.
    w = load(W, at)
    m = fma(w, l2, gradient)
    if keeps_velocity:
        before = load(M, at)
        m = fma(before, momentum, m)
        store(M, at, select(active, m, before))
    store(W, at, select(active, fma(m, -rate, w), w))


@jit(PART)
def update_bias(job, columns, at, gradient):
    """Update the bias of the vector of columns that begins with column `at`."""
    rate, active = load(columns.rate, at), load(columns.active, at) > 0.0
    l2 = load(job.l2, at) if job.l2_bias else filled(job.b, 0.0)
    momentum, keeps = load(job.momentum, at), job.keeps_velocity
    update(job.b, job.Mb, at, gradient, rate, l2, momentum, active, keeps)


@jit(PART)
def record(job, scratch, step, rows, k):
    """Record the mean loss of head k over the rows of a batch, and how many of them are right."""
    if job.active[k]:
        total, hits = 0.0, 0
        for i in range(rows):
            total += scratch.loss[k, i]
            hits += int(scratch.right[k, i])
        job.losses[step, k] = total / rows
        job.correct[step, k] = hits

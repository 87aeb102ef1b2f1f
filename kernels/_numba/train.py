"""Minibatch gradient descent of a bank of heads, one compiled call for all steps it is given.

This file makes the job; train_narrow.py and train_wide.py do it, in two ways with one meaning.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.losses import Learning, learning
from softstep.kernels._numba.parallel import pool
from softstep.kernels._numba.simd import layout
from softstep.kernels._numba.train_narrow import narrow_scratch, train_narrow
from softstep.kernels._numba.train_wide import train_wide, wide_scratch
from softstep.kernels.threads import threads_for

# About a tenth of a second on one core: between calls of so much Python notices Ctrl-C.
FLOP_PER_INTERRUPT = 5e9


class Job(NamedTuple):
    """What the kernels are to do. Columns are those of layout.py: of each head, its classes."""

    X: np.ndarray  # (n, d or more), as stored; float16 as its bits
    d: int
    scale: float  # multiplies the features
    learning: Learning
    order: np.ndarray  # (m,) int64: rows in the order in which they are visited,
    batch: int  # so many of them in each step
    classes: int
    W: np.ndarray  # packed, and so is M
    M: np.ndarray
    b: np.ndarray  # (columns padded,), and so is Mb
    Mb: np.ndarray
    rate: np.ndarray  # (steps, h)
    l2: np.ndarray  # (columns padded,)
    momentum: np.ndarray  # (columns padded,)
    l2_bias: bool  # whether l2 acts on the bias
    fit_bias: bool  # whether the bias is trained
    keeps_velocity: bool  # whether M and Mb are read and written
    active: np.ndarray  # (h,) bool, updated
    losses: np.ndarray  # (steps, h), written; and so is correct
    correct: np.ndarray


class Kind(NamedTuple):
    """One of the two kinds of kernel."""

    pack: Callable  # W (h, d, c) -> as the kernel stores it
    unpack: Callable  # and back, in place
    kernel: Callable
    scratch: Callable


NARROW = Kind(
    pack=layout.pack_narrow,
    unpack=layout.unpack_narrow,
    kernel=train_narrow,
    scratch=narrow_scratch,
)
WIDE = Kind(
    pack=layout.pack_wide,
    unpack=layout.unpack_wide,
    kernel=train_wide,
    scratch=wide_scratch,
)


@np.errstate(over="ignore")  # settings beyond float32 become infinite
def train(data, bank, steps):
    # X (n, d), y (t, n) or (n, c), order (m,), W (h, d, c), b (h, c) -> losses, correct (steps, h)
    W, b, velocity = bank.W, bank.b, steps.velocity
    losses = np.full(steps.learning_rate.shape, np.nan)
    correct = np.zeros(steps.learning_rate.shape, np.int64)
    lessons = learning(data, bank)
    if not losses.size:
        return losses, correct
    keeps_velocity = velocity is not None or bool(steps.momentum.any())
    kind = NARROW if steps.columns <= layout.WIDEST_NARROW else WIDE
    c, dtype = W.shape[2], W.dtype
    packed = kind.pack(W), layout.per_column(b, c, dtype)
    velocities = packed  # nobody reads what is not kept
    if keeps_velocity:
        MW, Mb = velocity or (np.zeros_like(W), np.zeros_like(b))
        velocities = kind.pack(MW), layout.per_column(Mb, c, dtype)
    job = Job(
        X=layout.stored(data.X),
        d=W.shape[1],
        scale=data.feature_scale,
        learning=lessons,
        order=steps.order,
        batch=steps.batch_size,
        classes=c,
        W=packed[0],
        M=velocities[0],
        b=packed[1],
        Mb=velocities[1],
        rate=steps.learning_rate.astype(dtype),
        l2=layout.per_column(steps.l2, c, dtype),
        momentum=layout.per_column(steps.momentum, c, dtype),
        l2_bias=steps.l2_bias,
        fit_bias=steps.fit_bias,
        keeps_velocity=keeps_velocity,
        active=steps.active.copy(),  # a call that is interrupted leaves the bank as it was
        losses=losses,
        correct=correct,
    )
    flop_per_row = 4 * W.size
    flop_per_step = flop_per_row * job.batch
    threads = threads_for(flop_per_row * len(job.order), flop_per_step)
    run_steps(kind.kernel, threads, job, kind.scratch(job, threads), flop_per_step)
    kind.unpack(job.W, W)
    b[:] = job.b[: b.size].reshape(b.shape)
    steps.active[:] = job.active
    if velocity is not None:
        kind.unpack(job.M, MW)
        Mb[:] = job.Mb[: b.size].reshape(b.shape)
    return losses, correct


def run_steps(kernel, threads, job, scratch, flop_per_step):
    """Do all steps, in calls of not too many of them."""
    count = max(1, int(FLOP_PER_INTERRUPT / max(flop_per_step, 1)))
    for first in range(0, len(job.losses), count):
        some = slice(first, first + count)
        part = job._replace(
            order=job.order[first * job.batch : (first + count) * job.batch],
            rate=job.rate[some],
            losses=job.losses[some],
            correct=job.correct[some],
        )
        pool.run(kernel, threads, part, scratch)

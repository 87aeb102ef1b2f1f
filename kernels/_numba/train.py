"""Minibatch gradient descent of a bank of heads, one compiled call for all steps it is given.

This file makes the job; train_narrow.py and train_wide.py do it, in two ways with one meaning.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.jit import PART, STRICT, as_writable, jit
from softstep.kernels._numba.losses import Learning, learning
from softstep.kernels._numba.parallel import pool
from softstep.kernels._numba.simd import layout
from softstep.kernels._numba.simd.layout import padded
from softstep.kernels._numba.simd.scaling import Scaling, features, unscaled
from softstep.kernels._numba.simd.tiles import DOT_COLUMNS
from softstep.kernels._numba.simd.vector import lanes_of
from softstep.kernels._numba.train_narrow import (
    narrow_alone,
    narrow_scratch,
    train_narrow,
    train_narrow_scaled,
)
from softstep.kernels._numba.train_wide import train_wide, wide_scratch
from softstep.kernels.scaled import Scaled
from softstep.kernels.threads import threads_for, worthwhile

# About a tenth of a second on one core: between calls of so much Python notices Ctrl-C.
FLOP_PER_INTERRUPT = 5e9


class Job(NamedTuple):
    """What the kernels are to do. Columns are those of layout.py: of each head, its classes."""

    X: np.ndarray  # (n, d or more), as stored; float16 and bfloat16 as their bits
    scaling: Scaling
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
    """One of the kinds of kernel."""

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
NARROW_SCALED = NARROW._replace(kernel=train_narrow_scaled)
WIDE = Kind(
    pack=layout.pack_wide,
    unpack=layout.unpack_wide,
    kernel=train_wide,
    scratch=wide_scratch,
)


def train(data, bank, steps):
    # X (n, d), y (t, n) or (n, c), order (m,), W (h, d, c), b (h, c) -> losses, correct (steps, h)
    W, b, velocity = bank.W, bank.b, steps.velocity
    losses = np.empty(steps.learning_rate.shape)
    correct = np.zeros(losses.shape, np.int64)
    losses.fill(np.nan)
    lessons = learning(data, bank)
    if not losses.size:
        return losses, correct
    if velocity is None and np.count_nonzero(steps.momentum):
        velocity = np.zeros_like(W), np.zeros_like(b)
    is_narrow = steps.columns <= layout.WIDEST_NARROW
    are_few = is_narrow and worthwhile(4 * W.size * len(steps.order)) < 2
    scales = isinstance(data.X, Scaled)
    if are_few and scales and len(data.X) <= len(steps.order):
        data, scales = replace(data, X=data.X[:]), False
    if are_few and not scales:
        _train_few(data, bank, steps, lessons, velocity, losses, correct)
    else:
        narrow = NARROW_SCALED if scales else NARROW
        kind = narrow if is_narrow else WIDE
        _train_many(kind, data, bank, steps, lessons, velocity, losses, correct)
    return losses, correct


@np.errstate(over="ignore")  # settings beyond float32 become infinite
def _train_many(kind, data, bank, steps, lessons, velocity, losses, correct):
    """By the kernels of this kind, in as many threads as are worth it."""
    W, b = bank.W, bank.b
    c, dtype = W.shape[2], W.dtype
    packed = kind.pack(W), layout.per_column(b, c, dtype)
    velocities = packed  # nobody reads what is not kept
    if velocity is not None:
        MW, Mb = velocity
        velocities = kind.pack(MW), layout.per_column(Mb, c, dtype)
    X, scaling = features(data.X)
    job = Job(
        X=X,
        scaling=scaling,
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
        keeps_velocity=velocity is not None,
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


def _train_few(data, bank, steps, lessons, velocity, losses, correct):
    """So few rows that describing the work to a kernel of several threads takes longer than it."""
    X, order = as_writable(layout.stored(data.X)), as_writable(steps.order)
    settings = steps.learning_rate, steps.l2, steps.momentum
    _train_alone(
        (X, data.feature_scale, order, steps.batch_size),
        tuple(map(as_writable, lessons)),
        (bank.W, bank.b),
        (bank.W, bank.b) if velocity is None else tuple(velocity),
        tuple(map(as_writable, settings)),
        (steps.l2_bias, steps.fit_bias, velocity is not None),
        (steps.active, losses, correct),
    )


@jit(STRICT)
def _train_alone(rows, lessons, bank, velocity, settings, flags, results):
    # a narrow bank W (h, d, c), b (h, c), its velocity of the same forms: updated in place by one
    # thread, with buffers of its own. Plain tuples, whose types Numba knows without asking Python.
    X, scale, order, batch = rows
    labels, soft, weights, y_index, weight_index, codes = lessons
    W, b = bank
    MW, Mb = velocity
    rates, l2s, momenta = settings
    l2_bias, fit_bias, keeps_velocity = flags
    active, losses, correct = results
    h, d, c = W.shape
    lanes = lanes_of(W)
    packed = np.zeros((padded(h * c, DOT_COLUMNS), padded(d, lanes)), W.dtype)
    columns = np.zeros((4, padded(h * c, lanes)), W.dtype)  # b, Mb, l2, momentum
    rate, M = np.empty(rates.shape, W.dtype), packed
    _pack(W, packed)
    _spread(b, columns[0])
    if keeps_velocity:
        M = np.zeros_like(packed)
        _pack(MW, M)
        _spread(Mb, columns[1])
    for k in range(h):
        for step in range(len(rates)):
            rate[step, k] = rates[step, k]
        for column in range(k * c, (k + 1) * c):
            columns[2, column], columns[3, column] = l2s[k], momenta[k]
    job = Job(
        X,
        unscaled(W.dtype),
        d,
        scale,
        Learning(labels, soft, weights, y_index, weight_index, codes),
        order,
        batch,
        c,
        packed,
        M,
        columns[0],
        columns[1],
        rate,
        columns[2],
        columns[3],
        l2_bias,
        fit_bias,
        keeps_velocity,
        active,
        losses,
        correct,
    )
    narrow_alone(job)
    _unpack(packed, W)
    _gather(columns[0], b)
    if keeps_velocity:
        _unpack(M, MW)
        _gather(columns[1], Mb)


@jit(PART)
def _pack(W, packed):
    # W (h, d, c) -> packed (columns padded, d padded), as layout.pack_narrow
    h, d, c = W.shape
    for k in range(h):
        for i in range(d):
            for j in range(c):
                packed[k * c + j, i] = W[k, i, j]


@jit(PART)
def _unpack(packed, W):
    # and back
    h, d, c = W.shape
    for k in range(h):
        for i in range(d):
            for j in range(c):
                W[k, i, j] = packed[k * c + j, i]


@jit(PART)
def _spread(b, columns):
    # b (h, c) -> columns (h c or more,), as layout.per_column
    h, c = b.shape
    for k in range(h):
        for j in range(c):
            columns[k * c + j] = b[k, j]


@jit(PART)
def _gather(columns, b):
    # and back
    h, c = b.shape
    for k in range(h):
        for j in range(c):
            b[k, j] = columns[k * c + j]

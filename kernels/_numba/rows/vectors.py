"""Rows of logits (n, c), worked on in vectors: what softmax and the losses have in common.

Vectors run along a row or, where rows are short, have a row in each lane. The loops are the same,
over `count` numbers of a flat array, a whole vector at least. The last vector of a row ends where
the row ends, so it may overlap the one before.

An exponential is kept as h (1 + r), see `functions.exp_in_two`, until it is divided by their sum.
"""

from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.jit import IN_PLACE, INLINE, PART, for_kernels_too, jit
from softstep.kernels._numba.parallel import pool
from softstep.kernels._numba.parallel.pool import OVER
from softstep.kernels._numba.simd.functions import exp_in_two, one_of
from softstep.kernels._numba.simd.layout import lanes, padded, zeros
from softstep.kernels._numba.simd.tiles import LINE_BYTES
from softstep.kernels._numba.simd.vector import (
    filled,
    fma,
    is_double,
    lanes_of,
    load,
    load_first,
    maximum,
    prefetch,
    square,
    store,
    store_first,
    transpose,
    widened,
)
from softstep.kernels.integers import ceil_div
from softstep.kernels.threads import threads_for

MAX_IN_LANES = 47
ITEM_VALUES = 1 << 13
GROUP_VALUES = 512  # of rows that are worked on together
FLOP_PER_VALUE = 40  # about: an exp is 20
# Vectors whose rests are summed in their own precision. In float64, where a loss needs all figures
# of a small sum, they are few.
CHUNK, CHUNK_32 = 8, 32
START = 4096.0
CUT_12 = 2.0**41 + 1  # Veltkamp's splitting of a float64: 12 bits remain
FEW = 4  # classes for which rows are brought into lanes number by number


class Rows(NamedTuple):
    V: np.ndarray  # (n c,): logits
    labels: np.ndarray  # (n,) int64; none where there are soft targets, or no targets at all
    soft: np.ndarray  # (n c,): soft targets; none where there are labels
    out: np.ndarray  # written: (n c,), or (n,) for a loss
    n: int
    c: int
    in_lanes: bool


class Scratch(NamedTuple):
    """Buffers of each worker, for a group of rows: (workers, rows · classes padded), flat."""

    T: np.ndarray  # logits, then results, with rows in lanes
    H: np.ndarray  # exponentials H (1 + R); zeros beyond the classes
    R: np.ndarray
    sums: np.ndarray  # (workers, 4, rows padded) float64: what is known of each row
    label: np.ndarray  # (workers, lanes): the labels of rows in lanes
    e: np.ndarray  # (workers, c) float64: the exponentials of one row


def run(kernel, V, labels, soft, out):
    """Call the kernel for rows V (n, c) in as many threads as are worth it."""
    n, c = V.shape
    if not n:
        return
    in_lanes = c <= MAX_IN_LANES
    workers, width = threads_for(FLOP_PER_VALUE * n * c), lanes(V.dtype)
    rows = width if in_lanes else group_rows(c)
    values = (workers, padded(c, width) * rows)
    scratch = Scratch(
        T=zeros(values if in_lanes else (workers, 0), V.dtype),
        H=zeros(values, V.dtype),
        R=zeros(values, V.dtype),
        sums=zeros((workers, 4, padded(rows, width)), np.float64),
        label=zeros((workers, width), V.dtype),
        e=np.empty((workers, c)),
    )
    flat = (a.reshape(-1) for a in (V, labels, soft, out))
    pool.run(kernel, workers, Rows(*flat, n=n, c=c, in_lanes=in_lanes), scratch)


@for_kernels_too
def group_rows(c):
    """Rows that are worked on together; what they need stays in the first-level cache."""
    return max(GROUP_VALUES // c, 1)


@jit(INLINE)
def begin(job, scratch, step, phase):
    return ceil_div(job.n, item_rows(job)) if step == 0 else OVER


@jit(IN_PLACE)
def item_rows(job):
    """Rows of an item: full vectors of them."""
    n = lanes_of(job.V)
    return max(ITEM_VALUES // job.c // n, 1) * n


@jit(IN_PLACE)
def fetch(A, at, count):
    # Ask for A[at : at + count], of the next group: the processor alone would begin too late.
    for j in range(at, at + count, LINE_BYTES // A.itemsize):
        prefetch(A, j)


@jit(IN_PLACE)
def largest_of(A, at, count):
    """The largest of A[at : at + count] in each lane; NaN may be lost."""
    n = lanes_of(A)
    m = load(A, at + count - n)
    for j in range(at, at + count - n + 1, n):
        m = maximum(load(A, j), m)
    return m


@jit(IN_PLACE)
def exponentials_of(A, at, count, shift, H, R, to):
    # A[at : at + count] -> H, R[to : to + count]: 2^SCALED e^{a - shift} = h (1 + r)
    n = lanes_of(A)
    for j in range(0, count - n + 1, n):
        h, r = exp_in_two(load(A, at + j), shift)
        store(H, to + j, h)
        store(R, to + j, r)
    if count % n:
        h, r = exp_in_two(load(A, at + count - n), shift)
        store(H, to + count - n, h)
        store(R, to + count - n, r)


@jit(IN_PLACE)
def sum_of(H, R, at, count):
    # H, R[at : at + count padded] -> Σ h (1 + r) of each lane, head + rest in float64. A sum that
    # begins with more than any h has rounding errors that can be computed exactly: h - (new - old);
    # and the heads are whole multiples of START's last bit, so that no sum of them is rounded.
    n, end = lanes_of(H), at + count
    start = START * one_of(load(H, 0))
    chunk = n * (CHUNK if is_double(load(H, 0)) else CHUNK_32)
    head = rest = widened(filled(H, 0.0))
    for first in range(at, end, chunk):
        high, low = filled(H, start), filled(H, 0.0)
        for j in range(first, min(first + chunk, end), n):
            h, r = load(H, j), load(R, j)
            if is_double(h):  # r is not small
                h, r = fma(h, r, h), r * 0.0
            new = high + h
            low = low + fma(h, r, h - (new - high))
            high = new
        head, rest = head + (widened(high) - start), rest + widened(low)
    return head, rest


@jit(IN_PLACE)
def small_sum_of(H, R, at, count):
    # The same with all figures of a sum that is far less than the largest h may be.
    if is_double(load(H, 0)):
        head, rest = sum_of(H, R, at, count)
    else:
        head = rest = widened(filled(H, 0.0))
        for j in range(at, at + count, lanes_of(H)):
            h = widened(load(H, j))
            head = head + fma(h, widened(load(R, j)), h)
    return head, rest


@jit(IN_PLACE)
def inverse_in_two(H, total):
    """(head, rest) with 1 / total = head (1 + rest), in float64.

    Where H is float32, head has 12 bits, and so has each h: their products are exact.
    """
    inverse = 1.0 / total
    if is_double(load(H, 0)):
        head, rest = inverse, inverse * 0.0
    else:
        shifted = inverse * CUT_12
        head = shifted - (shifted - inverse)
        rest = 1.0 - head * total
        rest = rest + rest * rest
    return head, rest


@jit(IN_PLACE)
def probabilities_of(H, R, base, count, head, rest, out, at):
    # H, R[base : base + count] -> out[at : at + count] = h (1 + r) head (1 + rest)
    n = lanes_of(H)
    end = base + count - n
    last = _probability(load(H, end), load(R, end), head, rest)  # out may be H
    for j in range(0, count - n + 1, n):
        store(out, at + j, _probability(load(H, base + j), load(R, base + j), head, rest))
    store(out, at + count - n, last)


@jit(IN_PLACE)
def _probability(h, r, head, rest):
    p = h * head
    return fma(p, r if is_double(h) else fma(r, rest + 1.0, rest), p)


@jit(PART)
def rows_to_lanes(A, at, c, count, T):
    # `count` rows of c numbers from A[at] on -> T (c, lanes), flat: one in each lane, the last
    # one in all that are left
    n = lanes_of(T)
    if c <= FEW:
        for i in range(n):
            row = at + min(i, count - 1) * c
            for j in range(c):
                T[j * n + i] = A[row + j]
        return
    block = square(T)
    is_inside = at + (count - 1) * c + max(c, n) <= len(A)
    for start in range(0, c, n):
        first = max(min(start, c - n), 0)
        if is_inside:
            for i in range(n):
                block[i, 0] = load(A, at + min(i, count - 1) * c + first)
        else:
            for i in range(n):
                block[i, 0] = load_first(A, at + min(i, count - 1) * c + first, c)
        transpose(block)
        for i in range(n):
            store(T, (first + i) * n, block[i, 0])


@jit(PART)
def lanes_to_rows(T, c, count, out, at):
    # T (c, lanes), flat -> `count` rows of c numbers from out[at] on
    n, end = lanes_of(T), at + count * c
    if c <= FEW:
        for i in range(count):
            for j in range(c):
                out[at + i * c + j] = T[j * n + i]
        return
    block = square(T)
    for start in range(0, c, n):
        first = max(min(start, c - n), 0)
        for i in range(n):
            block[i, 0] = load(T, (first + i) * n)
        transpose(block)
        for i in range(count):
            row = at + i * c + first
            if row + n <= end:  # what is written beyond a row, the next one overwrites
                store(out, row, block[i, 0])
            else:
                store_first(out, row, block[i, 0], c)

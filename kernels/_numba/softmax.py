"""The softmax: p_i = e^{v_i} / Σ_j e^{v_j}, and the product with its whole Jacobian.

float32 results are within 1 ULP: what rounding takes away is carried along.
"""

import math
from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.jit import INLINE, PART, STRICT, call, jit
from softstep.kernels._numba.parallel import pool
from softstep.kernels._numba.parallel.pool import OVER, work_through
from softstep.kernels._numba.simd.functions import exp_in_two
from softstep.kernels._numba.simd.layout import empty, lanes, padded
from softstep.kernels._numba.simd.vector import (
    filled,
    first_lanes,
    fma,
    lane_max,
    lane_sum,
    lanes_of,
    load,
    load_first,
    maximum,
    narrowed,
    select,
    square,
    store,
    store_first,
    transpose,
    widened,
)
from softstep.kernels.integers import ceil_div
from softstep.kernels.threads import threads_for

UNDERFLOW = -746.0  # e^x is 0 in float64 below this
FLOP_PER_VALUE = 40  # about: an exp is 20


@jit(PART)
def rounding_error(a, b, total):
    """What rounding took away in total = a + b (TwoSum: Knuth, TAOCP vol. 2, section 4.2.2)."""
    b_part = total - a
    return (a - (total - b_part)) + (b - b_part)


@jit(PART)
def largest(v):
    """The largest of a row; NaN if there is one."""
    m = v[0]
    for j in range(1, len(v)):
        if v[j] > m or v[j] != v[j]:
            m = v[j]
    return m


@jit(PART)
def exponentials(v, e):
    # v (c,) -> e (c,) float64 = e^{v - max v}; the rounding error of the difference is carried
    m = np.float64(largest(v))
    for j in range(len(v)):
        vj = np.float64(v[j])
        d = vj - m
        e[j] = math.exp(d)
        if d > UNDERFLOW:
            e[j] += e[j] * rounding_error(vj, -m, d)


@jit(PART)
def sum_without(e, k):
    """Σ_{j≠k} e_j, compensated; k = -1 leaves none out."""
    return sum_in_two(e, k)[0]


@jit(PART)
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


# float32 rows: vectors, each exponential in two parts, so that results are rounded once. Up to
# MAX_IN_LANES classes there is a row in each lane, beyond that vectors run along a row.

MAX_IN_LANES = 47
ITEM_VALUES = 1 << 13
# Results are computed as 2^88 p, then scaled down: what makes up for roundings is not subnormal.
UP, DOWN = 2.0**88, 2.0**-88


class Rows(NamedTuple):
    is_backward: bool
    dP: np.ndarray  # (n, c); the forward pass does not read it
    V: np.ndarray  # (n, c): logits; P in the backward pass
    out: np.ndarray  # (n, c), written: P; the product of its Jacobian with dP in the backward pass


class Scratch(NamedTuple):
    """Buffers of each worker; of the forward pass."""

    T: np.ndarray  # (workers, classes padded, lanes): exponentials, where rows are in lanes
    rest: np.ndarray  # what their rounding left: like T, or (workers, 1, classes padded)


@jit(STRICT)
def _softmax_rows(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 1, _begin, _do)


@jit(INLINE)
def _begin(job, scratch, step, phase):
    return ceil_div(len(job.V), _item_rows(job.V)) if step == 0 else OVER


@jit(PART)
def _item_rows(V):
    """Rows of an item: full vectors of them."""
    return max(ITEM_VALUES // V.shape[1] // lanes_of(V), 1) * lanes_of(V)


@jit(INLINE)
def _do(job, scratch, step, phase, item, worker):
    T, rest = scratch.T[worker], scratch.rest[worker]
    rows, n = _item_rows(job.V), lanes_of(job.V)
    r0, r1 = item * rows, min((item + 1) * rows, len(job.V))
    if job.is_backward:
        for r in range(r0, r1):
            _jacobian_of_row(job.dP, job.V, r, job.out)
    elif job.V.shape[1] <= MAX_IN_LANES:
        for r in range(r0, r1, n):
            _softmax_of_lanes(job.V, r, min(n, r1 - r), T, rest, job.out)
    else:
        for r in range(r0, r1):
            _softmax_of_row(job.V, r, rest[0], job.out)


@jit(PART)
def _softmax_of_lanes(V, r0, count, T, rest, out):
    # rows r0 … r0 + count of V (n, c) -> out (n, c), one in each lane of T (classes padded, lanes)
    c, lanes = V.shape[1], lanes_of(T)
    block = square(T)
    for first in range(0, c, lanes):
        classes = min(lanes, c - first)
        for i in range(lanes):
            block[i, 0] = load_first(V, (r0 + min(i, count - 1), first), classes)
        transpose(block)
        for i in range(lanes):
            store(T, (first + i, 0), block[i, 0])
    m = load(T, (0, 0))
    for j in range(1, c):
        m = maximum(load(T, (j, 0)), m)
    rests = filled(T, 0.0)
    total = widened(rests)
    for j in range(c):
        e, left = exp_in_two(load(T, (j, 0)), m)
        store(T, (j, 0), e)
        store(rest, (j, 0), left)
        total, rests = total + widened(e), rests + left
    inverse = UP / (total + widened(rests))
    high = narrowed(inverse)
    low = narrowed(inverse - widened(high))
    for first in range(0, c, lanes):
        classes = min(lanes, c - first)
        for i in range(lanes):
            e, left = load(T, (first + i, 0)), load(rest, (first + i, 0))
            block[i, 0] = fma(e, high, fma(e, low, left * high)) * DOWN
        transpose(block)
        for i in range(count):
            store_first(out, (r0 + i, first), block[i, 0], classes)


@jit(PART)
def _softmax_of_row(V, r, rest, out):
    # row r of V (n, c) -> out (n, c); rest (c padded,) is a buffer
    c, lanes = V.shape[1], lanes_of(V)
    last = c % lanes
    whole = c - last
    m = load(V, (r, 0))
    for j in range(lanes, whole, lanes):
        m = maximum(load(V, (r, j)), m)
    if last:
        v = load_first(V, (r, whole), last)
        m = select(first_lanes(v, last), maximum(v, m), m)
    m = filled(V, lane_max(m))
    rests = filled(V, 0.0)
    total = widened(rests)
    for j in range(0, whole, lanes):
        e, left = exp_in_two(load(V, (r, j)), m)
        store(out, (r, j), e)
        store(rest, j, left)
        total, rests = total + widened(e), rests + left
    if last:
        e, left = exp_in_two(load_first(V, (r, whole), last), m)
        e, left = select(first_lanes(e, last), e, 0.0), select(first_lanes(e, last), left, 0.0)
        store_first(out, (r, whole), e, last)
        store(rest, whole, left)
        total, rests = total + widened(e), rests + left
    inverse = UP / (lane_sum(total) + lane_sum(widened(rests)))
    high = filled(V, inverse)
    low = filled(V, inverse - np.float64(np.float32(inverse)))
    for j in range(0, whole, lanes):
        e = load(out, (r, j))
        store(out, (r, j), fma(e, high, fma(e, low, load(rest, j) * high)) * DOWN)
    if last:
        e = load_first(out, (r, whole), last)
        p = fma(e, high, fma(e, low, load(rest, whole) * high)) * DOWN
        store_first(out, (r, whole), p, last)


@jit(PART)
def _jacobian_of_row(dP, P, r, out):
    # row r of dP and P (n, c) -> out (n, c): dv_i = p_i (dp_i - Σ_j dp_j p_j), in float64
    c, lanes = P.shape[1], lanes_of(P)
    last = c % lanes
    whole = c - last
    total = widened(filled(P, 0.0))
    for j in range(0, whole, lanes):
        total = fma(widened(load(dP, (r, j))), widened(load(P, (r, j))), total)
    if last:
        dp, p = load_first(dP, (r, whole), last), load_first(P, (r, whole), last)
        total = fma(widened(dp), widened(p), total)
    mean = lane_sum(total)
    for j in range(0, whole, lanes):
        p = widened(load(P, (r, j)))
        store(out, (r, j), narrowed(p * (widened(load(dP, (r, j))) - mean)))
    if last:
        dp, p = load_first(dP, (r, whole), last), load_first(P, (r, whole), last)
        store_first(out, (r, whole), narrowed(widened(p) * (widened(dp) - mean)), last)


def _by_vectors(dP, V, out, *, is_backward):
    n, c = V.shape
    if n:
        in_lanes = c <= MAX_IN_LANES and not is_backward
        workers, width = threads_for(FLOP_PER_VALUE * n * c), lanes(np.float32)
        columns = padded(c, width)
        scratch = Scratch(
            T=empty((workers, columns if in_lanes else 0, width), np.float32),
            rest=empty(
                (workers, columns, width) if in_lanes else (workers, 1, columns), np.float32
            ),
        )
        job = Rows(is_backward=is_backward, dP=dP, V=V, out=out)
        pool.run(_softmax_rows, workers, job, scratch)


# float64 rows: every difference and sum with its rounding error.


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
    if V.dtype == np.float32:
        _by_vectors(V, V, out, is_backward=False)
    else:
        call(_softmax_forward, V, np.empty(V.shape[1]), out)
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
    if P.dtype == np.float32:
        _by_vectors(dP, P, out, is_backward=True)
    else:
        _softmax_backward(dP, P, np.empty(P.shape[1]), out)
    return out

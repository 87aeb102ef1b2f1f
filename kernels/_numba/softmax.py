"""The softmax: p_i = e^{v_i} / Σ_j e^{v_j}, and the product with its whole Jacobian.

float32 results are within 1 ULP: what rounding takes away is carried along.
"""

import math
from collections import namedtuple

import numpy as np

from softstep.kernels._numba import team
from softstep.kernels._numba.functions import exp_in_two
from softstep.kernels._numba.jit import STRICT, jit
from softstep.kernels._numba.layout import empty, lanes, padded
from softstep.kernels._numba.team import borrowed, claim, enter, leave
from softstep.kernels._numba.vector import (
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
from softstep.kernels.threads import threads_for

UNDERFLOW = -746.0  # e^x is 0 in float64 below this
FLOP_PER_VALUE = 40  # about: an exp is 20


@jit(STRICT)
def rounding_error(a, b, total):
    """What rounding took away in total = a + b (TwoSum: Knuth, TAOCP vol. 2, section 4.2.2)."""
    b_part = total - a
    return (a - (total - b_part)) + (b - b_part)


@jit(STRICT)
def largest(v):
    """The largest of a row; NaN if there is one."""
    m = v[0]
    for j in range(1, len(v)):
        if v[j] > m or v[j] != v[j]:
            m = v[j]
    return m


@jit(STRICT)
def exponentials(v, e):
    # v (c,) -> e (c,) float64 = e^{v - max v}; the rounding error of the difference is carried
    m = np.float64(largest(v))
    for j in range(len(v)):
        vj = np.float64(v[j])
        d = vj - m
        e[j] = math.exp(d)
        if d > UNDERFLOW:
            e[j] += e[j] * rounding_error(vj, -m, d)


@jit(STRICT)
def sum_without(e, k):
    """Σ_{j≠k} e_j, compensated; k = -1 leaves none out."""
    return sum_in_two(e, k)[0]


@jit(STRICT)
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


# float32 rows: vectors, each exponential in two parts, so that results are rounded once. Few
# classes: a row in each lane.

FEW_CLASSES = 48
ITEM_VALUES = 1 << 13
# Results are computed as 2^88 p, then scaled down: subnormal ones are rounded once too.
UP, DOWN = 2.0**88, 2.0**-88

Rows = namedtuple("Rows", "dP V out")  # dP is empty in the forward pass
# Of each member: few classes, T and rest (classes padded, lanes); else rest (1, classes padded).
Buffers = namedtuple("Buffers", "T rest")


@jit(STRICT)
def _softmax_rows(team, size, member, job, buffers, backward):
    # V (n, c) -> out (n, c): the softmax of V, or the product of its Jacobian with dP if V is P
    job, buffers = borrowed(job), borrowed(buffers)
    n, c = job.V.shape
    lanes = lanes_of(job.V)
    rows = max(ITEM_VALUES // c // lanes, 1) * lanes
    if not enter(team, size, member, -(-n // rows)):
        return
    T, rest = buffers.T[member], buffers.rest[member]
    item = claim(team, size, member)
    while item >= 0:
        r0, r1 = item * rows, min((item + 1) * rows, n)
        if backward:
            for r in range(r0, r1):
                _jacobian_of_row(job.dP, job.V, r, job.out)
        elif c < FEW_CLASSES:
            for r in range(r0, r1, lanes):
                _softmax_of_lanes(job.V, r, min(lanes, r1 - r), T, rest, job.out)
        else:
            for r in range(r0, r1):
                _softmax_of_row(job.V, r, rest[0], job.out)
        item = claim(team, size, member)
    leave(team, size, member)


@jit(STRICT)
def _softmax_of_lanes(V, r0, count, T, rest, out):
    # rows r0 … r0 + count of V (n, c) -> out (n, c), one in each lane of T (classes padded, lanes)
    c, lanes = V.shape[1], lanes_of(T)
    block = square(T)
    for first in range(0, c, lanes):
        few = min(lanes, c - first)
        for i in range(lanes):
            block[i, 0] = load_first(V, (r0 + min(i, count - 1), first), few)
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
        few = min(lanes, c - first)
        for i in range(lanes):
            e, left = load(T, (first + i, 0)), load(rest, (first + i, 0))
            block[i, 0] = fma(e, high, fma(e, low, left * high)) * DOWN
        transpose(block)
        for i in range(count):
            store_first(out, (r0 + i, first), block[i, 0], few)


@jit(STRICT)
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


@jit(STRICT)
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


def _by_vectors(dP, V, out, backward):
    n, c = V.shape
    few = c < FEW_CLASSES and not backward
    size = threads_for(FLOP_PER_VALUE * n * c)
    width = lanes(np.float32)
    T = empty((size, padded(c, width) if few else 0, width), np.float32)
    rest = np.empty_like(T) if few else empty((size, 1, padded(c, width)), np.float32)
    if n:
        team.run(_softmax_rows, size, Rows(dP, V, out), Buffers(T, rest), backward)


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
        _by_vectors(V, V, out, False)
    else:
        _softmax_forward(V, np.empty(V.shape[1]), out)
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
        _by_vectors(dP, P, out, True)
    else:
        _softmax_backward(dP, P, np.empty(P.shape[1]), out)
    return out

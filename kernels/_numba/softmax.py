"""The softmax: p_i = e^{v_i} / Σ_j e^{v_j}, and the product with its whole Jacobian.

The inside is float64 for float32 logits too: that is what keeps them within 1 ULP.
"""

import math
from collections import namedtuple

import numpy as np

from softstep.kernels._numba import team
from softstep.kernels._numba.functions import exp_for_single
from softstep.kernels._numba.jit import STRICT, jit
from softstep.kernels._numba.layout import lanes, padded, zeros
from softstep.kernels._numba.team import borrowed, claim, close_phase, join, open_phase, stop
from softstep.kernels._numba.vector import (
    filled,
    first_lanes,
    fma,
    lane_max,
    lane_sum,
    lanes_of,
    load,
    load_doubles,
    select,
    square,
    store,
    store_doubles,
    transpose,
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


# float32 rows: float64 vectors, whose plain sums are exact enough. Few classes: a row in each lane.

FEW_CLASSES = 32
ITEM_VALUES = 1 << 13

Rows = namedtuple("Rows", "dP V out")  # dP is empty in the forward pass
Buffers = namedtuple(
    "Buffers", "T e"
)  # of each member: (classes padded, lanes) and (classes padded,)


@jit(STRICT)
def _softmax_rows(team, size, member, job, buffers, backward):
    # V (n, c) -> out (n, c): the softmax of V, or the product of its Jacobian with dP if V is P
    job, buffers = borrowed(job), borrowed(buffers)
    n, c = job.V.shape
    lanes = lanes_of(buffers.e)
    rows = max(ITEM_VALUES // c // lanes, 1) * lanes
    if member == 0:
        open_phase(team, size, 0, 0, -(-n // rows))
    elif not join(team, member):
        return
    T, e = buffers.T[member], buffers.e[member]
    item = claim(team, size, member)
    while item >= 0:
        r0, r1 = item * rows, min((item + 1) * rows, n)
        if backward:
            for r in range(r0, r1):
                _jacobian_of_row(job.dP, job.V, r, e, job.out)
        elif c < FEW_CLASSES:
            for r in range(r0, r1, lanes):
                _softmax_of_lanes(job.V, r, min(lanes, r1 - r), T, job.out)
        else:
            for r in range(r0, r1):
                _softmax_of_row(job.V, r, e, job.out)
        item = claim(team, size, member)
    close_phase(team, size, member)
    if member == 0:
        stop(team)


@jit(STRICT)
def _softmax_of_lanes(V, r0, count, T, out):
    # rows r0 … r0 + count of V (n, c) -> out (n, c), one in each lane of T (classes padded, lanes)
    c, lanes = V.shape[1], lanes_of(T)
    block = square(T)
    for first in range(0, c, lanes):
        few = min(lanes, c - first)
        for i in range(lanes):
            block[i, 0] = load_doubles(V, (r0 + min(i, count - 1), first), few)
        transpose(block)
        for i in range(lanes):
            store(T, (first + i, 0), block[i, 0])
    m = load(T, (0, 0))
    for j in range(1, c):
        v = load(T, (j, 0))
        m = select(v > m, v, m)
    total = filled(T, 0.0)
    for j in range(c):
        e = exp_for_single(load(T, (j, 0)) - m)
        total = total + e
        store(T, (j, 0), e)
    inverse = 1.0 / total
    for first in range(0, c, lanes):
        few = min(lanes, c - first)
        for i in range(lanes):
            block[i, 0] = load(T, (first + i, 0)) * inverse
        transpose(block)
        for i in range(count):
            store_doubles(out, (r0 + i, first), block[i, 0], few)


@jit(STRICT)
def _softmax_of_row(V, r, e, out):
    # row r of V (n, c) -> out (n, c); e (c padded,) is a buffer
    c, lanes = V.shape[1], lanes_of(e)
    m = load_doubles(V, (r, 0), lanes)
    for j in range(lanes, c, lanes):
        v = load_doubles(V, (r, j), c - j)
        larger = v > m
        if c - j < lanes:
            larger = larger & first_lanes(v, c - j)
        m = select(larger, v, m)
    largest = filled(e, lane_max(m))
    total = filled(e, 0.0)
    for j in range(0, c, lanes):
        term = exp_for_single(load_doubles(V, (r, j), c - j) - largest)
        if c - j < lanes:
            term = select(first_lanes(term, c - j), term, 0.0)
        total = total + term
        store(e, j, term)
    inverse = 1.0 / lane_sum(total)
    for j in range(0, c, lanes):
        store_doubles(out, (r, j), load(e, j) * inverse, c - j)


@jit(STRICT)
def _jacobian_of_row(dP, P, r, e, out):
    # row r of dP and P (n, c) -> out (n, c): dv_i = p_i (dp_i - Σ_j dp_j p_j)
    c, lanes = P.shape[1], lanes_of(e)
    total = filled(e, 0.0)
    for j in range(0, c, lanes):
        total = fma(load_doubles(dP, (r, j), c - j), load_doubles(P, (r, j), c - j), total)
    mean = lane_sum(total)
    for j in range(0, c, lanes):
        p = load_doubles(P, (r, j), c - j)
        store_doubles(out, (r, j), p * (load_doubles(dP, (r, j), c - j) - mean), c - j)


def _by_vectors(dP, V, out, backward):
    n, c = V.shape
    width = lanes(np.float64)
    size = threads_for(FLOP_PER_VALUE * n * c)
    buffers = Buffers(
        zeros((size, padded(c, width), width), np.float64)
        if c < FEW_CLASSES
        else zeros((size, 0, width), np.float64),
        zeros((size, padded(c, width)), np.float64),
    )
    if n:
        team.run(_softmax_rows, size, Rows(dP, V, out), buffers, backward)


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

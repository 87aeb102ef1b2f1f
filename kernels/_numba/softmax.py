"""The softmax: p_i = e^{v_i} / Σ_j e^{v_j}, and the product with its whole Jacobian."""

from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.jit import IN_PLACE, INLINE, PART, STRICT, jit
from softstep.kernels._numba.parallel.pool import work_through
from softstep.kernels._numba.rows import vectors
from softstep.kernels._numba.rows.doubles import (
    DOUBLES,
    begin_rows,
    rounded_once,
    rows_of_item,
    run_rows,
    with_error,
)
from softstep.kernels._numba.rows.vectors import (
    begin,
    exponentials_of,
    fetch,
    group_rows,
    inverse_in_two,
    item_rows,
    lanes_to_rows,
    largest_of,
    probabilities_of,
    rows_to_lanes,
    sum_of,
)
from softstep.kernels._numba.simd.functions import shift_of
from softstep.kernels._numba.simd.layout import padded
from softstep.kernels._numba.simd.vector import (
    filled,
    first_lanes,
    is_double,
    lane_max,
    lane_sum,
    lane_sum_in_two,
    lanes_of,
    load_doubles,
    rounded_for,
    select,
    splat,
    store,
)


@jit(STRICT)
def _softmax_rows(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 1, begin, _do)


@jit(INLINE)
def _do(job, scratch, step, phase, item, worker):
    T, H, R = scratch.T[worker], scratch.H[worker], scratch.R[worker]
    sums = scratch.sums[worker, 0]
    count, n, c = item_rows(job), lanes_of(job.V), job.c
    r0, r1 = item * count, min((item + 1) * count, job.n)
    if job.in_lanes:
        for r in range(r0, r1, n):
            _softmax_of_lanes(job.V, r * c, c, min(n, r1 - r), T, H, R, job.out)
    else:
        group = group_rows(c)
        for r in range(r0, r1, group):
            _softmax_of_group(job.V, r * c, c, min(group, r1 - r), H, R, sums, job.out)


@jit(PART)
def _softmax_of_lanes(V, at, c, rows, T, H, R, out):
    # `rows` rows of c logits from V[at] on -> the same places of out
    count = c * lanes_of(V)
    rows_to_lanes(V, at, c, rows, T)
    fetch(V, at + count, count)
    fetch(out, at + count, count)
    exponentials_of(T, 0, count, shift_of(largest_of(T, 0, count)), H, R, 0)
    head, rest = sum_of(H, R, 0, count)
    head, rest = inverse_in_two(H, head + rest)
    probabilities_of(H, R, 0, count, rounded_for(H, head), rounded_for(H, rest), T, 0)
    lanes_to_rows(T, c, rows, out, at)


@jit(PART)
def _softmax_of_group(V, at, c, rows, H, R, sums, out):
    # `rows` rows of c logits from V[at] on -> the same places of out. Each loop goes over all rows,
    # so that the processor need not wait for a sum across lanes, but begins with the next row.
    size = padded(c, lanes_of(V))
    for i in range(rows):
        sums[i] = lane_max(largest_of(V, at + i * c, c))
    for i in range(rows):
        fetch(V, at + (rows + i) * c, c)
        fetch(out, at + (rows + i) * c, c)
        exponentials_of(V, at + i * c, c, shift_of(filled(V, sums[i])), H, R, i * size)
    for i in range(rows):
        head, rest = sum_of(H, R, i * size, c)
        sums[i] = lane_sum(head) + lane_sum(rest)
    for i in range(rows):
        head, rest = inverse_in_two(H, sums[i])
        probabilities_of(H, R, i * size, c, filled(H, head), filled(H, rest), out, at + i * c)


def softmax_forward(V, *, out=None):
    # V (n, c) -> P (n, c)
    out = np.empty_like(V) if out is None else out
    vectors.run(_softmax_rows, V, np.empty(0, np.int64), np.empty(0, V.dtype), out)
    return out


class Products(NamedTuple):
    dP: np.ndarray  # (n, c)
    P: np.ndarray  # (n, c)
    dV: np.ndarray  # (n, c), written
    n: int
    c: int


@jit(STRICT)
def _jacobian_rows(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 1, begin_rows, _do_jacobian)


@jit(INLINE)
def _do_jacobian(job, scratch, step, phase, item, worker):
    first, end = rows_of_item(job, item)
    for r in range(first, end):
        if job.c < DOUBLES:
            _jacobian_of_few(job.dP[r], job.P[r], job.dV[r])
        else:
            _jacobian_of_row(job.dP, job.P, r, job.dV)


@jit(PART)
def _jacobian_of_few(dp, p, dv):
    # dp, p (c,) -> dv (c,)
    total, error = 0.0, 0.0
    for j in range(len(p)):
        total, error = with_error(total, error, np.float64(dp[j]) * np.float64(p[j]))
    mean = rounded_once(total, error)
    for j in range(len(p)):
        dv[j] = np.float64(p[j]) * (np.float64(dp[j]) - mean)


@jit(IN_PLACE)
def _jacobian_of_row(dP, P, r, dV):
    # row r of dP, P (n, c) -> row r of dV (n, c)
    c = P.shape[1]
    last = c - DOUBLES
    loses = is_double(filled(P, 0.0))  # products of float32 are exact, and so nearly their sum
    total = error = splat(0.0)
    for j in range(0, last + 1, DOUBLES):
        term = load_doubles(dP, (r, j)) * load_doubles(P, (r, j))
        if loses:
            total, error = with_error(total, error, term)
        else:
            total = total + term
    if c % DOUBLES:
        term = load_doubles(dP, (r, last)) * load_doubles(P, (r, last))
        term = select(first_lanes(term, DOUBLES - c % DOUBLES), 0.0, term)  # counted before
        total, error = with_error(total, error, term)
    mean = splat(rounded_once(*lane_sum_in_two(total, error)))
    before = load_doubles(dP, (r, last)), load_doubles(P, (r, last))  # dV may be dP or P
    for j in range(0, last + 1, DOUBLES):
        dv = load_doubles(P, (r, j)) * (load_doubles(dP, (r, j)) - mean)
        store(dV, (r, j), rounded_for(dV, dv))
    if c % DOUBLES:
        store(dV, (r, last), rounded_for(dV, before[1] * (before[0] - mean)))


def softmax_backward(dP, P, *, out=None):
    # dP (n, c), P (n, c) -> dV (n, c): dv_i = p_i (dp_i - Σ_j dp_j p_j)
    out = np.empty_like(P) if out is None else out
    n, c = P.shape
    run_rows(_jacobian_rows, Products(dP=dP, P=P, dV=out, n=n, c=c))
    return out

"""Mean squared error over the softmax outputs: L = (1/c) Σ_i (y_i - p_i)², dp = (2/c)(p - y)."""

import math
from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.jit import IN_PLACE, INLINE, PART, STRICT, jit
from softstep.kernels._numba.parallel.pool import work_through
from softstep.kernels._numba.rows.compensated import (
    exponentials,
    rounding_error,
    sum_in_two,
    sum_without,
)
from softstep.kernels._numba.rows.doubles import (
    DOUBLES,
    begin_rows,
    rounded_once,
    rows_of_item,
    run_rows,
    with_error,
)
from softstep.kernels._numba.simd.targets import label_of, split, target
from softstep.kernels._numba.simd.vector import (
    first_lanes,
    is_lane,
    lane_sum_in_two,
    load_doubles,
    rounded_for,
    select,
    splat,
    store,
)


@jit(PART)
def mse_of_row(e, label, soft, r):
    # e (c,) exponentials of the logits -> L = (1/c) Σ_j (y_j - p_j)²
    total = sum_without(e, -1)
    loss = 0.0
    for j in range(len(e)):
        loss += (target(label, soft, r, j) - e[j] / total) ** 2
    return loss / len(e)


class Probabilities(NamedTuple):
    P: np.ndarray  # (n, c)
    labels: np.ndarray  # (n,) int64; none where there are soft targets
    soft: np.ndarray  # (n, c); none where there are labels
    out: np.ndarray  # (n,): the loss, or (n, c): its gradient; written
    n: int
    c: int


@jit(STRICT)
def _mse_rows(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 1, begin_rows, _do_loss)


@jit(INLINE)
def _do_loss(job, scratch, step, phase, item, worker):
    first, end = rows_of_item(job, item)
    for r in range(first, end):
        label = label_of(job.labels, r)
        if job.c < DOUBLES:
            job.out[r] = _mse_of_few(job.P, label, job.soft, r) / job.c
        else:
            job.out[r] = _mse_of_row(job.P, label, job.soft, r) / job.c


@jit(PART)
def _mse_of_few(P, label, soft, r):
    # row r of P (n, c) -> Σ_j (y_j - p_j)²
    total, error = 0.0, 0.0
    for j in range(P.shape[1]):
        difference = target(label, soft, r, j) - P[r, j]
        total, error = with_error(total, error, difference * difference)
    return rounded_once(total, error)


@jit(IN_PLACE)
def _mse_of_row(P, label, soft, r):
    # row r of P (n, c) -> Σ_j (y_j - p_j)²
    c = P.shape[1]
    total = error = splat(0.0)
    for j in range(0, c - DOUBLES + 1, DOUBLES):
        difference = _differences(P, label, soft, r, j)
        total, error = with_error(total, error, difference * difference)
    if c % DOUBLES:
        difference = _differences(P, label, soft, r, c - DOUBLES)
        last = difference * difference
        last = select(first_lanes(last, DOUBLES - c % DOUBLES), 0.0, last)  # counted before
        total, error = with_error(total, error, last)
    return rounded_once(*lane_sum_in_two(total, error))


@jit(IN_PLACE)
def _differences(P, label, soft, r, j):
    """p - y of row r from column j on."""
    p = load_doubles(P, (r, j))
    if label < 0:
        return p - load_doubles(soft, (r, j))
    return p - select(is_lane(p, label - j), 1.0, splat(0.0))


@jit(STRICT)
def _gradient_rows(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 1, begin_rows, _do_gradient)


@jit(INLINE)
def _do_gradient(job, scratch, step, phase, item, worker):
    first, end = rows_of_item(job, item)
    for r in range(first, end):
        label = label_of(job.labels, r)
        if job.c < DOUBLES:
            for j in range(job.c):
                job.out[r, j] = 2 / job.c * (job.P[r, j] - target(label, job.soft, r, j))
        else:
            _gradient_of_row(job.P, label, job.soft, r, job.out)


@jit(IN_PLACE)
def _gradient_of_row(P, label, soft, r, dP):
    # row r of P (n, c) -> row r of dP (n, c), which may be P
    c = P.shape[1]
    last = _differences(P, label, soft, r, c - DOUBLES) * (2 / c)
    for j in range(0, c - DOUBLES + 1, DOUBLES):
        store(dP, (r, j), rounded_for(dP, _differences(P, label, soft, r, j) * (2 / c)))
    store(dP, (r, c - DOUBLES), rounded_for(dP, last))


def _run(kernel, P, Y, out):
    n, c = P.shape
    labels, soft = split(Y)
    run_rows(kernel, Probabilities(P=P, labels=labels, soft=soft, out=out, n=n, c=c))


def mse_forward(P, Y):
    # P (n, c), Y (n,) or (n, c) -> loss (n,)
    loss = np.empty(len(P), P.dtype)
    _run(_mse_rows, P, Y, loss)
    return loss


def mse_backward(P, Y, *, out=None):
    # P (n, c), Y (n,) or (n, c) -> dP (n, c)
    out = np.empty_like(P) if out is None else out
    _run(_gradient_rows, P, Y, out)
    return out


@jit(PART)
def _soft_gradient(e, total, soft, r, dv):
    # e (c,), soft (n, c) -> dv (c,): dv_i = p_i (g_i - Σ_j g_j p_j), g = (2/c)(p - y)
    c = len(e)
    mean, error = 0.0, 0.0
    for j in range(c):
        p = e[j] / total
        term = 2 / c * (p - soft[r, j]) * p
        new = mean + term
        error += rounding_error(mean, term, new)
        mean = new
    mean += error
    for j in range(c):
        p = e[j] / total
        dv[j] = p * (2 / c * (p - soft[r, j]) - mean)


@jit(PART)
def _label_gradient(v, e, label, pairs, dv):
    # v, e (c,) -> dv (c,): dv_i = p_i Σ_j p_j (g_i - g_j), no difference cancels. With q = 1 - p_y:
    # dv_y = -(2/c) p_y Σ_{j≠y} p_j (p_j + q),
    # dv_i = (2/c) p_i (Σ_{j≠y} p_j (p_i - p_j) + p_y (p_i + q)); p = e / Σe comes in at the end.
    c = len(e)
    q = sum_without(e, label)
    sums_of_differences(v, e, label, pairs)
    e_y = e[label]
    for j in range(c):
        dv[j] = e[j] * (pairs[j] + e_y * (e[j] + q))
    for j in range(c):
        pairs[j] = e[j] * (e[j] + q)
    dv[label] = 0.0 - e_y * sum_without(pairs, label)
    cube, x = inverse_cube(*sum_in_two(e, -1))
    for j in range(c):
        dv[j] = 2 * dv[j] / (c * cube)
        dv[j] += dv[j] * x


@jit(PART)
def inverse_cube(total, error):
    # 1 / (total + error)³ = (1 + x) / cube -> cube, x: the first 14 bits of the total (Veltkamp's
    # splitting) have an exact cube, so that dividing by it costs one rounding instead of four.
    shifted = total * (2.0**39 + 1)
    head = shifted - (shifted - total)
    rest = ((total - head) + error) / head
    return head**3, -rest * (3 + rest * (3 + rest)) / (1 + rest) ** 3


@jit(PART)
def sums_of_differences(v, e, label, out):
    # v, e (c,) -> out_i = Σ_{j≠label} e_j (e_i - e_j), to a few roundings of Σ_j e_j |e_i - e_j|.
    # Sorted downwards, neighbours differ by gap_i = e_i - e_{i+1} = -e_i expm1(v_{i+1} - v_i):
    # below_i = below_{i+1} + gap_i Σ_{j>i} e_j,  above_i = above_{i-1} + gap_{i-1} Σ_{j<i} e_j,
    # all of terms >= 0, each of the four running sums with its rounding errors.
    order = np.argsort(-v, kind="mergesort")
    total, total_error, above, above_error, last = 0.0, 0.0, 0.0, 0.0, -1
    for i in order:
        if i == label:
            continue
        if last >= 0:
            step = _gap(v, e, last, i) * (total + total_error)
            new = above + step
            above_error += rounding_error(above, step, new)
            above = new
        out[i] = -(above + above_error)
        new = total + e[i]
        total_error += rounding_error(total, e[i], new)
        total, last = new, i
    total, total_error, below, below_error, last = 0.0, 0.0, 0.0, 0.0, -1
    for i in order[::-1]:
        if i == label:
            continue
        if last >= 0:
            step = _gap(v, e, i, last) * (total + total_error)
            new = below + step
            below_error += rounding_error(below, step, new)
            below = new
        out[i] += below + below_error
        new = total + e[i]
        total_error += rounding_error(total, e[i], new)
        total, last = new, i
    out[label] = 0.0


@jit(PART)
def _gap(v, e, i, k):
    """e_i - e_k for v_i >= v_k."""
    return -e[i] * math.expm1(v[k] - v[i]) if e[i] > 0.0 or e[i] != e[i] else 0.0


class Logits(NamedTuple):
    V: np.ndarray  # (n, c)
    labels: np.ndarray  # (n,) int64; none where there are soft targets
    soft: np.ndarray  # (n, c); none where there are labels
    dV: np.ndarray  # (n, c), written
    n: int
    c: int


@jit(STRICT)
def _softmax_mse_rows(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 1, begin_rows, _do_softmax_mse)


@jit(INLINE)
def _do_softmax_mse(job, scratch, step, phase, item, worker):
    first, end = rows_of_item(job, item)
    _softmax_mse_backward(job.V, job.labels, job.soft, first, end, job.dV)


@jit(PART)
def _softmax_mse_backward(V, labels, soft, first, end, dV):
    # rows first … end of V (n, c) -> those of dV (n, c)
    c = V.shape[1]
    v, e, pairs, dv = np.empty(c), np.empty(c), np.empty(c), np.empty(c)
    for r in range(first, end):
        v[:] = V[r]
        exponentials(v, e)
        total = sum_without(e, -1)
        label = label_of(labels, r)
        if total != total:
            dv[:] = np.nan
        elif label < 0:
            _soft_gradient(e, total, soft, r, dv)
        else:
            _label_gradient(v, e, label, pairs, dv)
        dV[r] = dv


def softmax_mse_backward(V, y, *, out=None):
    # V (n, c), y (n,) or (n, c) -> dV (n, c)
    out = np.empty_like(V) if out is None else out
    n, c = V.shape
    labels, soft = split(y)
    run_rows(_softmax_mse_rows, Logits(V=V, labels=labels, soft=soft, dV=out, n=n, c=c))
    return out

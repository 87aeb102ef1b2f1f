"""Cross-entropy from logits: L = log Σ_j e^{v_j} - v_y, dv = p - y.

With labels, e the exponentials relative to the largest logit m and q = Σ_{j≠y} e_j,
    L = (m - v_y) + log1p(x),   x = q where v_y = m, else q + e_y - 1,   dv_y = -q / (q + e_y):
nothing cancels, for where v_y < m the loss is log 2 at least.
"""

import math

import numpy as np

from softstep.kernels._numba.jit import IN_PLACE, INLINE, PART, STRICT, jit
from softstep.kernels._numba.parallel.pool import work_through
from softstep.kernels._numba.rows import vectors
from softstep.kernels._numba.rows.compensated import exponentials, rounding_error, sum_without
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
    small_sum_of,
)
from softstep.kernels._numba.simd.functions import exp_in_two, log1p, shift_of
from softstep.kernels._numba.simd.layout import padded
from softstep.kernels._numba.simd.targets import first_largest, split
from softstep.kernels._numba.simd.vector import (
    filled,
    lane_max,
    lane_sum,
    lanes_of,
    load,
    rounded_for,
    select,
    store,
    store_first,
    widened,
)

M, V_Y, E_Y, OTHERS = range(4)  # rows of `sums`

# One row, in plain numbers.


@jit(PART)
def cross_entropy_of_row(v, e, label, soft, r):
    # v (c,), e (c,) its exponentials -> L = log Σ_j e^{v_j} - v_y; with v_k the largest,
    # log1p(Σ_{j≠k} e_j) + (v_k - v_y): nothing cancels
    k = first_largest(v)
    tail = math.log1p(sum_without(e, k) + 0.0 * e[k])  # a bad row stays NaN
    m = np.float64(v[k])
    if label >= 0:
        return tail + (m - v[label])
    loss, error = 0.0 * tail, 0.0
    for j in range(len(v)):
        if soft[r, j] != 0:  # a target of 0 counts nothing, whatever its logit
            term = soft[r, j] * (tail + (m - v[j]))
            new = loss + term
            if abs(new) < np.inf:
                error += rounding_error(loss, term, new)
            loss = new
    return loss + error


# Rows with labels, in vectors.


@jit(STRICT)
def _forward_rows(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 1, begin, _do_forward)


@jit(INLINE)
def _do_forward(job, scratch, step, phase, item, worker):
    T, H, R, sums = scratch.T[worker], scratch.H[worker], scratch.R[worker], scratch.sums[worker]
    count, n, c = item_rows(job), lanes_of(job.V), job.c
    r0, r1 = item * count, min((item + 1) * count, job.n)
    if len(job.soft) > 0:
        for r in range(r0, r1):
            job.out[r] = _soft_loss(job, r, scratch.e[worker])
    elif job.in_lanes:
        for r in range(r0, r1, n):
            _loss_of_lanes(job, r, min(n, r1 - r), T, H, R, scratch.label[worker])
    else:
        group = group_rows(c)
        for r in range(r0, r1, group):
            _loss_of_group(job, r, min(group, r1 - r), H, R, sums)


@jit(PART)
def _soft_loss(job, r, e):
    # row r of V (n c,) and soft (n c,) -> L; e (c,) is a buffer
    at = r * job.c
    v = job.V[at : at + job.c]
    exponentials(v, e)
    return cross_entropy_of_row(v, e, -1, job.soft.reshape(-1, job.c), r)


@jit(PART)
def _loss_of_lanes(job, r, count, T, H, R, label):
    # rows r … r + count of V -> out[r : r + count]
    size = job.c * lanes_of(T)
    rows_to_lanes(job.V, r * job.c, job.c, count, T)
    fetch(job.V, r * job.c + size, size)
    labels_to_lanes(job.labels, r, count, label)
    m = largest_of(T, 0, size)
    shift = shift_of(m)
    exponentials_of(T, 0, size, shift, H, R, 0)
    v_y, h_y, r_y = without_label(T, H, R, label, job.c)
    head, rest = small_sum_of(H, R, 0, size)
    x = _x(m, v_y, head + rest, widened(h_y) * (widened(r_y) + 1.0), shift)
    loss = (widened(m) - widened(v_y)) + log1p(x)
    store_first(job.out, r, rounded_for(job.out, loss), count)


@jit(IN_PLACE)
def labels_to_lanes(labels, r, count, label):
    # labels[r : r + count] -> label (lanes,), as numbers
    for i in range(len(label)):
        label[i] = labels[r + min(i, count - 1)]


@jit(IN_PLACE)
def without_label(T, H, R, label, c):
    # T, H, R (c, lanes), flat -> those of the label, whose place in H becomes 0
    y = load(label, 0)
    index = v_y = h_y = r_y = y * 0.0
    for j in range(0, len(label) * c, len(label)):
        is_label = index == y
        h = load(H, j)
        v_y = select(is_label, load(T, j), v_y)
        h_y, r_y = select(is_label, h, h_y), select(is_label, load(R, j), r_y)
        store(H, j, select(is_label, 0.0, h))
        index = index + 1.0
    return v_y, h_y, r_y


@jit(IN_PLACE)
def _x(m, v_y, others, e_y, shift):
    """x, of each lane; `others` and e_y are relative to the shift, e_m brings them to m."""
    h, r = exp_in_two(m, shift)
    e_m = widened(h) * (widened(r) + 1.0)
    return select(m == v_y, others, others + e_y - e_m) / e_m


@jit(PART)
def _loss_of_group(job, r0, count, H, R, sums):
    # rows r0 … r0 + count of V -> out[r0 : r0 + count]
    V, c = job.V, job.c
    size, at = padded(c, lanes_of(V)), r0 * c
    for i in range(count):
        sums[M, i] = lane_max(largest_of(V, at + i * c, c))
    for i in range(count):
        fetch(V, at + (count + i) * c, c)
        exponentials_of(V, at + i * c, c, shift_of(filled(V, sums[M, i])), H, R, i * size)
    for i in range(count):
        y = job.labels[r0 + i]
        sums[V_Y, i], sums[E_Y, i] = V[at + i * c + y], take_label(H, R, i * size + y)
        head, rest = small_sum_of(H, R, i * size, c)
        sums[OTHERS, i] = lane_sum(head) + lane_sum(rest)
    n = lanes_of(sums)
    for i in range(0, count, n):
        largest, v_y = load(sums, (M, i)), load(sums, (V_Y, i))
        m = rounded_for(V, largest)
        e_y, others = load(sums, (E_Y, i)), load(sums, (OTHERS, i))
        x = _x(m, rounded_for(V, v_y), others, e_y, shift_of(m))
        loss = (largest - v_y) + log1p(x)
        store_first(job.out, r0 + i, rounded_for(job.out, loss), min(count - i, n))


@jit(IN_PLACE)
def take_label(H, R, at):
    """h (1 + r) there, which becomes 0."""
    e = np.float64(H[at]) * (1.0 + np.float64(R[at]))
    H[at] = 0.0
    return e


def cross_entropy_forward(V, y):
    # V (n, c), y (n,) or (n, c) -> loss (n,)
    loss = np.empty(len(V), V.dtype)
    vectors.run(_forward_rows, V, *split(y), loss)
    return loss


@jit(STRICT)
def _backward_rows(pool, size, worker, job, scratch):
    work_through(pool, size, worker, job, scratch, 1, begin, _do_backward)


@jit(INLINE)
def _do_backward(job, scratch, step, phase, item, worker):
    T, H, R, sums = scratch.T[worker], scratch.H[worker], scratch.R[worker], scratch.sums[worker]
    count, n, c = item_rows(job), lanes_of(job.V), job.c
    r0, r1 = item * count, min((item + 1) * count, job.n)
    if job.in_lanes:
        for r in range(r0, r1, n):
            _gradient_of_lanes(job, r, min(n, r1 - r), T, H, R, scratch.label[worker])
    else:
        group = group_rows(c)
        for r in range(r0, r1, group):
            _gradient_of_group(job, r, min(group, r1 - r), H, R, sums)


@jit(PART)
def _gradient_of_lanes(job, r, count, T, H, R, label):
    # rows r … r + count of V -> those of out
    n, c, at = lanes_of(T), job.c, r * job.c
    size = c * n
    rows_to_lanes(job.V, at, c, count, T)
    fetch(job.V, at + size, size)
    fetch(job.out, at + size, size)
    exponentials_of(T, 0, size, shift_of(largest_of(T, 0, size)), H, R, 0)
    if len(job.soft) > 0:
        label[:] = -1
    else:
        labels_to_lanes(job.labels, r, count, label)
    _, h_y, r_y = without_label(T, H, R, label, c)
    head, rest = small_sum_of(H, R, 0, size)
    others = head + rest
    total = others + widened(h_y) * (widened(r_y) + 1.0)
    head, rest = inverse_in_two(H, total)
    probabilities_of(H, R, 0, size, rounded_for(H, head), rounded_for(H, rest), T, 0)
    if len(job.soft) > 0:
        rows_to_lanes(job.soft, at, c, count, H)
        for j in range(0, size, n):
            store(T, j, load(T, j) - load(H, j))
    else:
        _put_label(T, label, rounded_for(T, (0.0 - others) / total))
    lanes_to_rows(T, c, count, job.out, at)


@jit(IN_PLACE)
def _put_label(T, label, value):
    # value -> T (c, lanes), flat, at the label of each lane
    y = load(label, 0)
    index = y * 0.0
    for j in range(0, len(T), len(label)):
        store(T, j, select(index == y, value, load(T, j)))
        index = index + 1.0


@jit(PART)
def _gradient_of_group(job, r0, count, H, R, sums):
    # rows r0 … r0 + count of V -> those of out
    V, out, c = job.V, job.out, job.c
    size, at = padded(c, lanes_of(V)), r0 * c
    for i in range(count):
        sums[M, i] = lane_max(largest_of(V, at + i * c, c))
    for i in range(count):
        fetch(V, at + (count + i) * c, c)
        fetch(out, at + (count + i) * c, c)
        exponentials_of(V, at + i * c, c, shift_of(filled(V, sums[M, i])), H, R, i * size)
    for i in range(count):
        sums[E_Y, i] = 0.0
        if len(job.labels) > 0:
            sums[E_Y, i] = take_label(H, R, i * size + job.labels[r0 + i])
        head, rest = small_sum_of(H, R, i * size, c)
        sums[OTHERS, i] = lane_sum(head) + lane_sum(rest)
    for i in range(count):
        total = sums[OTHERS, i] + sums[E_Y, i]
        head, rest = inverse_in_two(H, total)
        head, rest, to = filled(H, head), filled(H, rest), at + i * c
        if len(job.labels) > 0:
            probabilities_of(H, R, i * size, c, head, rest, out, to)
            out[to + job.labels[r0 + i]] = (0.0 - sums[OTHERS, i]) / total
        else:
            probabilities_of(H, R, i * size, c, head, rest, H, i * size)
            _difference(H, i * size, job.soft, to, c, out)


@jit(IN_PLACE)
def _difference(P, base, soft, at, count, out):
    # P[base : base + count] - soft[at : at + count] -> the same places of out, which may be soft
    n = lanes_of(P)
    last = load(P, base + count - n) - load(soft, at + count - n)
    for j in range(0, count - n + 1, n):
        store(out, at + j, load(P, base + j) - load(soft, at + j))
    store(out, at + count - n, last)


def cross_entropy_backward(V, y, *, out=None):
    # V (n, c), y (n,) or (n, c) -> dV (n, c)
    out = np.empty_like(V) if out is None else out
    labels, soft = split(y)
    vectors.run(_backward_rows, V, labels, soft.astype(V.dtype, copy=False), out)
    return out

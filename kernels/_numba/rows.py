"""From logits to losses and gradients, fused: softmax, loss and Jacobian of a row in each lane.

Maxima and sums over the classes need no work across lanes so. Plain sums, and the exp of
`functions.py`: how far they may be off is in docs/numerics.md.
"""

from softstep.kernels._numba.cross_entropy import first_largest
from softstep.kernels._numba.functions import exp, log1p
from softstep.kernels._numba.jit import STRICT, jit
from softstep.kernels._numba.vector import (
    every,
    filled,
    first_lanes,
    fma,
    load,
    select,
    store,
    store_first,
)


@jit(STRICT)
def fill_targets(labels, soft, rows, Y, label):
    # rows (r,) -> Y (classes, lanes): y_j of each row, label (lanes,): its class
    Y[:] = 0
    label[:] = 0
    for i in range(len(rows)):
        r = rows[i]
        if len(labels):
            label[i] = labels[r]
            Y[labels[r], i] = 1
        else:
            for j in range(len(Y)):
                Y[j, i] = soft[r, j]
            label[i] = first_largest(soft[r])


@jit(STRICT)
def fill_weights(weights, index, rows, weight):
    # weights (sets, n) or none, rows (r,) -> weight (lanes,)
    weight[:] = 0
    for i in range(len(rows)):
        weight[i] = weights[index, rows[i]] if weights.size else 1


@jit(STRICT)
def head_of_rows(T, first, c, count, Y, label, weight, rows, is_mse, loss, right, at):
    # T (columns, lanes): logits of `count` rows in T[first : first + c], overwritten with the
    # gradient of their mean over `rows` rows; Y (c, lanes), label, weight (lanes,) -> w L in
    # loss[at:], whether the first largest logit is at the label in right[at:]; is all finite?
    index = filled(T, 0.0)
    best, m = index, load(T, (first, 0))
    check = m * 0.0
    for j in range(1, c):
        index = index + 1.0
        v = load(T, (first + j, 0))
        larger = v > m
        m, best = select(larger, v, m), select(larger, index, best)
        check = fma(v, 0.0, check)
    if not every(select(first_lanes(m, count), check, 0.0) == 0.0):
        return False

    others = lost = mass = index = filled(T, 0.0)
    for j in range(c):
        d = load(T, (first + j, 0)) - m
        e = exp(d)
        store(T, (first + j, 0), e)
        others = others + select(best == index, 0.0, e)
        y = load(Y, (j, 0))
        lost = select(y == 0.0, lost, lost - y * d)  # whatever the logit
        mass = mass + y
        index = index + 1.0
    w = load(weight, 0)
    inverse, scale = 1.0 / (others + 1.0), w / rows
    if is_mse:
        L = mean = filled(T, 0.0)
        for j in range(c):
            p = load(T, (first + j, 0)) * inverse
            g = p - load(Y, (j, 0))
            L, mean = fma(g, g, L), fma(p, g, mean)
        L, scale = L / c, scale * (2.0 / c)
        for j in range(c):
            p = load(T, (first + j, 0)) * inverse
            store(T, (first + j, 0), p * (p - load(Y, (j, 0)) - mean) * scale)
    else:
        L = fma(mass, log1p(others), lost)
        for j in range(c):
            p = load(T, (first + j, 0)) * inverse
            store(T, (first + j, 0), (p - load(Y, (j, 0))) * scale)
    store_first(loss, at, w * L, count)
    counts = select(w == 0.0, 0.0, select(best == load(label, 0), filled(T, 1.0), 0.0))
    store_first(right, at, counts, count)
    return True


@jit(STRICT)
def largest_of_rows(T, first, c, best):
    # T (columns, lanes) -> best (lanes,): which of T[first : first + c] is the first largest; the
    # first NaN comes before all
    index = filled(T, 0.0)
    at, m = index, load(T, (first, 0))
    for j in range(1, c):
        index = index + 1.0
        v = load(T, (first + j, 0))
        larger = select(v == v, v > m, m == m)
        m, at = select(larger, v, m), select(larger, index, at)
    store(best, 0, at)

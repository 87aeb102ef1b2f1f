"""The loss at many points at once: the logits of a row are affine in the offsets of the weights.

A row's logits are told relative to its label's: u_j = v_j - v_y for the c - 1 other classes; the
label's own is 0. With m = max(0, max_j u_j), e_j = e^{u_j - m}, q = Σ_j e_j, E = e^{-m} for it,
    cross-entropy  L = m + log(E + q),   MSE  L = (Σ_j e_j² + q²) / (c (E + q)²),
where nothing cancels. Which class was the label's is then forgotten, so that the inner loops can
run along the rows and fill the vector registers.
"""

import math
from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
from numba.extending import overload

from softstep.kernels._numba.jit import STRICT, SUMS, jit

BLOCK_VALUES = 1 << 12  # of a block of rows: its logits stay in the nearest cache
LEAST_ROWS, MOST_ROWS = 32, 512
FUSED = {**STRICT, "fastmath": {"contract"}}  # multiply and add in one, sums in their order


# ---- e^x for x <= 0 and log(1 + x) for x >= 0 as plain arithmetic, which fills vector registers


def exponential(x):
    """e^x for x <= 0, float32 within 2 ULP but at least e^-87; NaN stays."""


def log_of_one_plus(x):
    """log(1 + x) for x >= 0, float32 within 3 ULP; NaN stays."""


@overload(exponential, jit_options=FUSED)
def _exponential(x):
    if x != numba.float32:
        return lambda x: math.exp(x)
    one, lowest, magic = np.float32(1), np.float32(-87), np.float32(1.5 * 2**23)
    log2_e = np.float32(1.4426950408889634)
    ln2_high, ln2_low = np.float32(0.693145751953125), np.float32(1.428606820309417e-06)
    c2, c3, c4, c5, c6 = (np.float32(1 / math.factorial(k)) for k in (2, 3, 4, 5, 6))

    def single(x):
        x = lowest if x < lowest else x
        shifted = np.float32(x * log2_e + magic)  # its last bits are the nearest whole number
        k = shifted - magic
        g = (x - k * ln2_high) - k * ln2_low  # x = k ln 2 + g
        p = c2 + g * (c3 + g * (c4 + g * (c5 + g * c6)))
        power = np.float32(one + (g + g * g * p))
        scaled = power.view(np.int32) + (shifted.view(np.int32) << 23)  # times 2^k
        return np.int32(scaled).view(np.float32)

    return single


@overload(log_of_one_plus, jit_options=FUSED)
def _log_of_one_plus(x):
    if x != numba.float32:
        return lambda x: math.log1p(x)
    one, two, ln2 = np.float32(1), np.float32(2), np.float32(math.log(2))
    root_half = np.float32(math.sqrt(0.5)).view(np.int32)
    c3, c5, c7, c9 = (np.float32(2 / k) for k in (3, 5, 7, 9))

    def single(x):
        total = np.float32(one + x)
        lost = (x - (total - one)) / total
        bits = total.view(np.int32)
        k = np.int32((bits - root_half) >> 23)  # total = 2^k f, f in [√½, √2)
        f = np.int32(bits - (k << 23)).view(np.float32)
        s = (f - one) / (f + one)  # log f = 2 artanh s
        z = s * s
        return np.float32(k) * ln2 + (
            two * s + (s * z * (c3 + z * (c5 + z * (c7 + z * c9))) + lost)
        )

    return single


# ---- the kernels


@jit(STRICT)
def _relative_to_label(V, y, U, w):
    # V (n, c), y (n,) -> U (blocks, c - 1, rows) = v_j - v_y for the other classes in their order;
    # w (blocks, rows) becomes NaN for a row that is not finite
    rows = U.shape[2]
    for r in range(len(V)):
        block, lane, label = r // rows, r % rows, y[r]
        own = V[r, label]
        finite = abs(own) < np.inf
        for j in range(U.shape[1]):
            v = V[r, j if j < label else j + 1]
            finite &= abs(v) < np.inf
            U[block, j, lane] = v - own
        if not finite:
            w[block, lane] = np.nan


@jit(FUSED)
def _largest(A, B, x, top, m):
    # A, B (c - 1, rows), u = A + x B -> top (rows,) = max_j u_j, m (rows,) = max(0, top)
    others, rows = A.shape
    zero = A.dtype.type(0)
    top[:] = -np.inf
    for j in range(others):
        for r in range(rows):
            u = A[j, r] + x * B[j, r]
            top[r] = u if u > top[r] else top[r]
    for r in range(rows):
        m[r] = top[r] if top[r] > zero else zero


@jit(FUSED)
def _sums(A, B, x, m, q, squares):
    # A, B (c - 1, rows), m (rows,) -> q (rows,) = Σ_j e_j, squares (rows,) = Σ_j e_j²
    others, rows = A.shape
    q[:] = 0
    squares[:] = 0
    for j in range(others):
        for r in range(rows):
            e = exponential(A[j, r] + x * B[j, r] - m[r])
            q[r] += e
            squares[r] += e * e


@jit(FUSED)
def _mse(m, q, squares, c, losses):
    # m, q, squares (rows,) -> losses (rows,)
    for r in range(len(losses)):
        total = exponential(-m[r]) + q[r]
        losses[r] = (squares[r] + q[r] * q[r]) / (c * total * total)


@jit(FUSED)
def _cross_entropy(m, q, losses):
    # m, q (rows,) -> losses (rows,); where the label's logit is the largest E - 1 is exactly 0,
    # elsewhere q >= 1 and the loss is at least log 2
    one = losses.dtype.type(1)
    for r in range(len(losses)):
        losses[r] = m[r] + log_of_one_plus(q[r] + (exponential(-m[r]) - one))


@jit(SUMS)
def _weighted(w, values):
    # w, values (rows,) -> Σ w value
    total = 0.0
    for r in range(len(w)):
        total += np.float64(w[r]) * np.float64(values[r])
    return total


@jit(STRICT)
def _hits(A, B, x, y, top, hits):
    # y (rows,) -> hits (rows,) = 1 where the label's logit is the largest, the first of equals
    tied = False
    for r in range(len(hits)):
        hits[r] = top[r] < 0
        tied |= top[r] == 0
    if tied:
        for r in range(len(hits)):
            if top[r] == 0:
                hits[r] = 1
                for j in range(y[r]):
                    if A[j, r] + x * B[j, r] == 0:
                        hits[r] = 0


@jit(STRICT)
def _surface_row(U0, U1, U2, y, w_loss, w_hit, is_mse, x_offsets, b, loss, right):
    # U0, U1, U2 (blocks, c - 1, rows), y, w_loss, w_hit (blocks, rows)
    #   -> loss, right (nx,) at y_offset b: blocks are added in their order
    blocks, others, rows = U0.shape
    A = np.empty((others, rows), U0.dtype)
    top, m, q, squares, values = [np.empty(rows, U0.dtype) for _ in range(5)]
    c = U0.dtype.type(others + 1)
    for block in range(blocks):
        for j in range(others):
            for r in range(rows):
                A[j, r] = U0[block, j, r] + b * U2[block, j, r]
        B = U1[block]
        for i in range(len(x_offsets)):
            x = x_offsets[i]
            _largest(A, B, x, top, m)
            _sums(A, B, x, m, q, squares)
            if is_mse:
                _mse(m, q, squares, c, values)
            else:
                _cross_entropy(m, q, values)
            loss[i] += _weighted(w_loss[block], values)
            _hits(A, B, x, y[block], top, values)
            right[i] += _weighted(w_hit[block], values)


def surface_forward(V0, V1, V2, y, x_offsets, y_offsets, *, loss, sample_weight=None):
    # V0, V1, V2 (n, c), y (n,), x_offsets (nx,), y_offsets (ny,)
    #   -> Σ w L (ny, nx), Σ w [right] (ny, nx)
    (n, c), dtype = V0.shape, V0.dtype
    rows = min(max(BLOCK_VALUES // c // 32 * 32, LEAST_ROWS), MOST_ROWS)
    blocks = -(-n // rows)
    U = np.zeros((3, blocks, c - 1, rows), dtype)
    w_loss = np.zeros((blocks, rows), dtype)
    w_loss.reshape(-1)[:n] = 1 if sample_weight is None else sample_weight
    for k, V in enumerate((V0, V1, V2)):
        _relative_to_label(V, y, U[k], w_loss)
    w_hit = np.where(np.isnan(w_loss), dtype.type(0), w_loss)
    labels = np.zeros((blocks, rows), np.int64)
    labels.reshape(-1)[:n] = y
    losses, right = np.zeros((2, len(y_offsets), len(x_offsets)))
    a, b = x_offsets.astype(dtype), y_offsets.astype(dtype)

    def row(i):
        _surface_row(*U, labels, w_loss, w_hit, loss == "mse", a, b[i], losses[i], right[i])

    # A row of the grid to a thread: what is summed, and in what order, is the same for any number.
    with ThreadPoolExecutor(numba.config.NUMBA_NUM_THREADS) as threads:
        list(threads.map(row, range(len(b))))
    return losses, right

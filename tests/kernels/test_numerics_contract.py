"""Softmax, the losses from logits and the gradients of all losses keep their accuracy contract.

Truth: exponentials and logarithms by mpmath, sums, products and quotients in exact fixed point with
1250 bits after the point. Every one of the 10^5 rows drawn from a seed, and of those drawn by
Hypothesis, is compared with it. Rows drawn in float32 are checked in both dtypes, for their numbers
are float64 numbers too.

`pytest tests/kernels/test_numerics_contract.py -rP` prints the worst error of each op.
"""

import functools
from dataclasses import dataclass
from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from mpmath import expm1, libmp, log1p, make_mpf, mpf, workprec

from softstep import kernels
from softstep.kernels.losses import GCE_Q
from softstep.kernels.verify import bounds, cases
from softstep.kernels.verify.bounds import Arithmetic
from softstep.kernels.verify.parity import worst

BACKENDS = ("numpy", "numba")
DTYPES = ("float64", "float32")
ONE = 1 << 1250  # 1 in fixed point: more than e^-745 and all 160 bits of it
BITS = 160  # of each exponential
VANISHED = libmp.from_int(-800)  # e^x is 0 in float64, by far
SCALE = 2.0**200  # keeps both halves of a subnormal truth normal


# The truth. Numbers in fixed point are integers, x·ONE.


def exponential(d):
    """e^d for an mpf d <= 0, to BITS bits; more where e^d is next to 1."""
    if libmp.mpf_lt(d, VANISHED):
        return 0
    _sign, _man, exponent, bits = d
    _, man, exponent, _ = libmp.mpf_exp(d, BITS + max(0, -exponent - bits))
    shift = exponent + ONE.bit_length() - 1
    return man << shift if shift >= 0 else man >> -shift


def fixed(x):
    """A float64 number in fixed point, exactly."""
    numerator, denominator = x.as_integer_ratio()
    return numerator * (ONE // denominator)


def times(a, b):
    return a * b // ONE


def over(a, b):
    return a * ONE // b


def in_two(x):
    """A number in fixed point, times SCALE, as float64 numbers high + low."""
    x, unit = int(x), ONE // int(SCALE)  # gmpy2's numbers would be divided into its own
    shift = max(x.bit_length() - 53, 0)
    high = x >> shift << shift
    return high / unit, (x - high) / unit


def exact_entropy(tail, d, targets):
    """The cross-entropy Σ_j y_j (log1p(tail) - d_j)."""
    log_sum = log1p(make_mpf(libmp.from_man_exp(tail, 1 - ONE.bit_length())))
    terms = zip(targets, d, strict=True)
    return mpf(sum(t * (log_sum - make_mpf(x)) for t, x in terms if t))


def number_in_two(x):
    """A number of mpmath as float64 numbers high + low."""
    high = float(x)
    return high, float(x - high) if np.isfinite(high) else 0.0


def exact_row(v, targets, are_labels):
    """By class: p; the gradients of cross-entropy, MSE and, with labels, generalised cross-entropy;
    p_i Σ_j p_j |g_i - g_j|. Then the cross-entropy, the generalised one, and q times the first.
    """
    c, largest = len(v), libmp.from_float(max(v))
    d = [libmp.mpf_sub(libmp.from_float(x), largest) for x in v]
    e = [exponential(x) for x in d]
    total = sum(e)
    p = [over(x, total) for x in e]
    g = [p_i - fixed(t) for p_i, t in zip(p, targets, strict=True)]  # times 2/c for MSE
    mean = sum(map(times, p, g))
    mse = [times(p_i, 2 * (g_i - mean)) // c for p_i, g_i in zip(p, g, strict=True)]
    spread = [times(p_i, 2 * s) // c for p_i, s in zip(p, spreads(p, g), strict=True)]
    with workprec(2 * BITS):
        entropy = exact_entropy(total - e[d.index(libmp.fzero)], d, targets)
        exponent, factor, gce_loss = GCE_Q * entropy, 0, mpf(0)
        if are_labels:
            factor, gce_loss = exponential((-exponent)._mpf_), -expm1(-exponent) / GCE_Q
        losses = [number_in_two(x) for x in (entropy, gce_loss, exponent)]
    gce = [times(factor, g_i) for g_i in g]
    return [[in_two(x) for x in row] for row in (p, g, mse, gce, spread)], losses


def spreads(p, g):
    """Σ_j p_j |g_i - g_j| for each i, from running sums over the sorted g."""
    mass, moment, out = 0, 0, [0] * len(p)
    all_mass, all_moment = sum(p), sum(map(times, p, g))
    for i in sorted(range(len(p)), key=g.__getitem__):
        below = times(g[i], mass) - moment
        out[i] = below + all_moment - moment - times(g[i], all_mass - mass)
        mass, moment = mass + p[i], moment + times(p[i], g[i])
    return out


OPS = (
    "softmax_forward",
    "cross_entropy_backward",
    "softmax_mse_backward",
    "gce_backward",
    "cross_entropy_forward",
    "gce_forward",
)


@dataclass(frozen=True)
class Rows:
    """Logits (n, c) and targets, with the truth of each op as high + low, both times a scale.

    exponent: q times the cross-entropy, (n,). Soft targets have no generalised cross-entropy.
    """

    V: np.ndarray
    y: np.ndarray
    truth: dict[str, tuple[np.ndarray, np.ndarray]]
    spread: np.ndarray
    exponent: np.ndarray

    @classmethod
    def of(cls, V, y):
        targets = bounds.one_hot(y, V.shape[1]).tolist()
        rows = [exact_row(v, t, y.ndim == 1) for v, t in zip(V.tolist(), targets, strict=True)]
        *gradients, (spread, _) = np.array([row for row, _ in rows]).transpose(1, 3, 0, 2)
        *losses, (exponent, _) = np.array([loss for _, loss in rows]).transpose(1, 2, 0)
        truth = dict(zip(OPS, (*gradients, *losses), strict=True))
        return cls(V, y, truth, spread / SCALE, exponent)

    def error(self, op, found):
        """How far `found` is from the truth; 0 where both are the same infinity."""
        scale = 1.0 if op in ("cross_entropy_forward", "gce_forward") else SCALE
        high, low = self.truth[op]
        with np.errstate(all="ignore"):
            high = np.where(np.isinf((high / scale).astype(found.dtype)), np.inf, high)
            found = found.astype(np.float64) * scale
            return np.where(found == high, abs(low), abs(found - high - low)) / scale

    def contract(self, op, dtype):
        """The bound, for labels; near underflow, a few smallest subnormals."""
        about = np.finfo(dtype)
        u, tiny, size = about.eps / 2, about.smallest_subnormal, abs(self.truth[op][0])
        match op:
            case "softmax_forward":
                ulp = np.ldexp(1.0, np.frexp(size / SCALE)[1] - 1 - about.nmant)
                bound = ulp * {"float64": 4, "float32": 1}[dtype]
            case "cross_entropy_forward":
                bound = 8 * u * size
            case "cross_entropy_backward":
                bound = {"float64": 1e-15, "float32": 2 * u}[dtype] * size / SCALE
            case "softmax_mse_backward":
                return 8 * u * self.spread + 4 * tiny
            case "gce_forward":
                return 12 * u * size + 5 * tiny
            case "gce_backward":
                exponent = np.where(size.any(axis=1), self.exponent, 0)[:, None]  # ∞ · 0: exactly 0
                return (12 + 9 * exponent) * u * size / SCALE + 3 * tiny
        return np.maximum(bound, 2 * tiny)


def result(op, V, y, dtype, backend):
    arguments = (V.astype(dtype),) if op == "softmax_forward" else (V.astype(dtype), y)
    return getattr(kernels, op)(*arguments, backend=backend)


# The rows: logits (n, c) that `dtype` can represent exactly.


def full_range(rng, n, c, dtype):
    bits = np.dtype(dtype).itemsize * 8
    V = rng.integers(0, 2**bits, (n, c), dtype=f"uint{bits}").view(dtype)
    return np.where(np.isfinite(V), V, 0)


def ten_thousands(rng, n, c, dtype):
    return rng.uniform(-1e4, 1e4, (n, c))


def ordinary(rng, n, c, dtype):
    return rng.normal(size=(n, c)) * 10.0 ** rng.uniform(-1, 2, (n, 1))


def near_ties(rng, n, c, dtype):
    """All within three units in the last place."""
    base = (rng.uniform(-1, 1, (n, 1)) * 10.0 ** rng.integers(-3, 5, (n, 1))).astype(dtype)
    return base + np.spacing(base) * rng.integers(-3, 4, (n, c))


def some_near_ties(rng, n, c, dtype):
    """As before, but each logit may be anywhere below or above instead."""
    away = rng.normal(size=(n, c)) * 10.0 ** rng.uniform(-1, 2, (n, 1))
    ties = near_ties(rng, n, c, dtype)
    return np.where(rng.random((n, c)) < 0.5, ties, ties + away)


def margins(rng, n, c, dtype):
    """Each 0 to 745 below the largest, which may be anywhere in the row."""
    V = rng.uniform(-100, 100, (n, 1)) - rng.uniform(0, 745, (n, c))
    V[np.arange(n), rng.integers(0, c, n)] = V.max(axis=1) + rng.uniform(0, 100, n)
    return V


def at_underflow(rng, n, c, dtype):
    """One at 0, the others where probabilities become subnormal and then 0."""
    low, high = {"float64": (-750, -700), "float32": (-105, -85)}[dtype]
    V = rng.uniform(low, high, (n, c))
    V[np.arange(n), rng.integers(0, c, n)] = 0
    return V


def constant(rng, n, c, dtype):
    return np.tile(rng.normal(size=(n, 1)) * 10.0 ** rng.uniform(-300, 4, (n, 1)), c)


def subnormal(rng, n, c, dtype):
    return rng.integers(-9, 10, (n, c)) * float(np.finfo(dtype).smallest_subnormal)


def tiny_logits(rng, n, c, dtype):
    least = {"float64": -300, "float32": -40}[dtype]
    return rng.normal(size=(n, c)) * 10.0 ** rng.uniform(least, 0, (n, 1))


def partly_minus_infinity(rng, n, c, dtype):
    V = np.where(rng.random((n, c)) < 0.4, -np.inf, ordinary(rng, n, c, dtype))
    V[:, 0] = rng.normal(size=n)
    return rng.permuted(V, axis=1)


FAMILIES = (
    full_range,
    ten_thousands,
    ordinary,
    near_ties,
    some_near_ties,
    margins,
    at_underflow,
    constant,
    subnormal,
    tiny_logits,
    partly_minus_infinity,
)
# rows of each family in each dtype, by number of classes; 10^5 in all
COUNTS = {1: 20, 2: 1700, 3: 1300, 4: 900, 6: 600, 100: 30, 1000: 1}


@functools.cache
def drawn(dtype):
    """The rows drawn in this dtype, one `Rows` for each number of classes."""
    rng = np.random.default_rng((20261123, DTYPES.index(dtype)))
    found = []
    for c, n in COUNTS.items():
        with np.errstate(under="ignore", over="ignore"):
            V = np.concatenate([make(rng, n, c, dtype).astype(dtype) for make in FAMILIES])
        found.append(Rows.of(V.astype(np.float64), rng.integers(0, c, len(V))))
    return found


def rows_for(dtype):
    return drawn("float32") if dtype == "float32" else drawn("float64") + drawn("float32")


def test_there_are_100_000_rows():
    assert sum(len(rows.V) for rows in rows_for("float64")) >= 100_000


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
def test_contract_holds_on_every_row(op, dtype, backend):
    tiny = np.finfo(dtype).smallest_subnormal  # the unit of errors near underflow
    normal, subnormal = 0.0, 0.0
    for rows in rows_for(dtype):
        found = result(op, rows.V, rows.y, dtype, backend)
        assert found.dtype == dtype
        error, bound = rows.error(op, found), rows.contract(op, dtype)
        assert worst(error, np.zeros(error.shape), bound) <= 1
        far = bound > 8 * tiny
        normal = max(normal, worst(error * far, np.zeros(error.shape), bound))
        subnormal = max(subnormal, np.max(error, where=~far, initial=0) / tiny)
    print(f"{op}, {backend}, {dtype}: {normal:.2f} of the bound; {subnormal:.1f} × tiny")


# Found by search: with one division for each power of the sum the gradient of MSE misses its bound.
HARD_ROWS = [
    ([-5.713469337011728, -14.318926562569345, 21.98241909717928], 1),
    ([-1.303455887726136, -2.8909439548577884, 9.178543125993938], 1),
    ([-10.33268965351596, 10.691864724097348, -13.434323260704897], 0),
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("op", OPS)
def test_contract_holds_on_rows_found_hard(op, backend):
    V, y = (np.array(part) for part in zip(*HARD_ROWS, strict=True))
    rows = Rows.of(V, y)
    error = rows.error(op, result(op, V, y, "float64", backend))
    assert worst(error, np.zeros(error.shape), rows.contract(op, "float64")) <= 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
def test_contract_refuses_zeros_nans_and_what_is_slightly_wrong(op, dtype):
    rows = next(rows for rows in drawn("float32") if rows.V.shape[1] == 3)
    right = result(op, rows.V, rows.y, dtype, "numpy")
    for wrong in (
        np.zeros_like(right),
        np.full_like(right, np.nan),
        right * right.dtype.type(1.01),
    ):
        ratio = worst(rows.error(op, wrong), np.zeros(wrong.shape), rows.contract(op, dtype))
        assert ratio > 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_one_class_is_exact(dtype, backend):
    V = drawn(dtype)[0].V
    y = np.zeros(len(V), int)
    for op, expected in zip(OPS, (1, 0, 0, 0, 0, 0), strict=True):
        assert np.all(result(op, V, y, dtype, backend) == expected)


NUMBERS = {
    dtype: st.floats(width=np.dtype(dtype).itemsize * 8, allow_subnormal=True) for dtype in DTYPES
}


@st.composite
def structured_rows(draw, dtype):
    """1 to 6 logits, each any number at all or a few units in the last place from the first."""
    of_dtype = np.dtype(dtype).type
    v = draw(st.lists(NUMBERS[dtype], min_size=1, max_size=6))
    for j in range(1, len(v)):
        if np.isfinite(v[0]) and draw(st.booleans()):
            with np.errstate(over="ignore"):
                v[j] = float(of_dtype(v[0]) + draw(st.integers(-3, 3)) * np.spacing(of_dtype(v[0])))
    return np.array([v], dtype), np.array([draw(st.integers(0, len(v) - 1))])


def is_bad(V):
    """Rows with NaN, +inf or -inf alone."""
    return np.isnan(V).any(axis=1) | np.isposinf(V).any(axis=1) | np.isneginf(V).all(axis=1)


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=300, deadline=None, derandomize=True)
@given(data=st.data())
def test_contract_holds_on_structured_rows(dtype, data):
    V, y = data.draw(structured_rows(dtype))
    rows = None if is_bad(V)[0] else Rows.of(V.astype(np.float64), y)
    for op in OPS:
        for backend in BACKENDS:
            found = result(op, V, y, dtype, backend)
            if rows is None:
                assert np.isnan(found).all()
            else:
                error, bound = rows.error(op, found), rows.contract(op, dtype)
                assert worst(error, np.zeros(error.shape), bound) <= 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("soft", [False, True])
def test_a_bad_row_is_nan_and_leaves_the_others_alone(soft, dtype, backend):
    rng = np.random.default_rng(7)
    for c in (1, 2, 3, 6):
        V = ordinary(rng, 1000, c, dtype)
        special = rng.choice([np.nan, np.inf, -np.inf], V.shape, p=[0.2, 0.2, 0.6])
        V = np.where(rng.random(V.shape) < 0.4, special, V).astype(dtype)
        y = rng.integers(0, c, len(V))
        bad = is_bad(V)
        assert 0 < bad.sum() < len(bad)
        for op in ("softmax_forward", *SOFT_OPS) if soft else OPS:
            t = np.eye(c, dtype=dtype)[y] if soft else y
            found = result(op, V, t, dtype, backend)
            assert np.isnan(found[bad]).all()
            assert not np.isnan(found[~bad]).any()
            np.testing.assert_array_equal(found[~bad], result(op, V[~bad], t[~bad], dtype, backend))
            if op == "softmax_forward":
                assert np.all(found[~bad][V[~bad] == -np.inf] == 0)


# Soft targets: p - y cancels, so other bounds apply, those of `softstep.kernels.verify.bounds`.

SOFT_OPS = ("cross_entropy_forward", "cross_entropy_backward", "softmax_mse_backward")


@functools.cache
def soft_rows(dtype, kind):
    """Rows with targets of one kind: distributions, p itself as rounded, or any numbers."""
    rng = np.random.default_rng((20261123, 9))
    found = []
    for c in (2, 3, 6):
        V = np.concatenate([make(rng, 150, c, dtype) for make in (ordinary, margins, near_ties)])
        V = V.astype(dtype).astype(np.float64)
        Y = {
            "distributions": rng.dirichlet(np.ones(c), len(V)),
            "p itself": bounds.softmax(V),
            "any": rng.normal(size=V.shape) * 10,
        }[kind]
        found.append(Rows.of(V, Y.astype(dtype).astype(np.float64)))
    return found


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["distributions", "p itself", "any"])
def test_soft_targets_keep_their_own_bounds(kind, dtype, backend):
    tiny = np.finfo(dtype).smallest_subnormal
    for op in SOFT_OPS if kind != "any" else SOFT_OPS[-1:]:
        normal = 0.0
        for rows in soft_rows(dtype, kind):
            found = result(op, rows.V, rows.y.astype(dtype), dtype, backend)
            (bound,) = getattr(bounds, op)(Arithmetic.of(dtype), rows.V, rows.y)
            error, zero = rows.error(op, found), np.zeros(found.shape)
            assert worst(error, zero, bound) <= 1
            normal = max(normal, worst(error * (bound > 1000 * tiny), zero, bound))
            if kind != "p itself":  # there the gradient is 0, as far as rounding can tell
                assert worst(rows.error(op, 0 * found), zero, bound) > 1
        print(f"{op}, {kind}, {backend}, {dtype}: {normal:.2f} of the bound")


@pytest.mark.parametrize("backend", BACKENDS)
def test_point_4_is_out_of_reach_for_soft_targets(backend):
    """The example of docs/numerics.md: y is p rounded, so all that is left of p - y is rounding."""
    V = np.array([[0.0, 1.0, 2.0]])
    rows = Rows.of(V, bounds.softmax(V))
    error = rows.error(
        "softmax_mse_backward", kernels.softmax_mse_backward(V, rows.y, backend=backend)
    )
    ratio = np.max(error / (8 * 2.0**-53 * rows.spread))
    print(f"{backend}: error {error.max():.1e}, {ratio:.0e} of the bound of point 4")
    assert ratio > 1e6


# Sums of products, and what comes from one row of given numbers: exact in rational numbers.


def rational(array):
    return np.vectorize(Fraction, otypes=[object])(np.asarray(array, np.float64))


def exact_layer(op, X, other, b, scale):
    """V, or dW and db, as rational numbers; `other` is W or dV."""
    X, other, b, scale = rational(X), rational(other), rational(b), Fraction(float(scale))
    if op == "linear_forward":
        return (scale * (X @ other) + b,)
    return scale * (X.T @ other), other.sum(axis=0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "uint8"])
@pytest.mark.parametrize("op", ["linear_forward", "linear_backward"])
def test_sums_of_products_keep_gamma_k(op, dtype, backend):
    n, d, c = 40, 70, 3
    X, scale = cases.features(n, d, dtype, 0), 1 / 255
    weight = cases.weight_dtype(dtype)
    W, b = (start[0] for start in cases.weights(1, d, c, weight, 0))
    dV = cases.gradients(n, c, weight, 0)
    arguments = (X, W, b) if op == "linear_forward" else (dV, X)
    found = getattr(kernels, op)(*arguments, feature_scale=scale, backend=backend)
    exact = exact_layer(op, X, W if op == "linear_forward" else dV, b, scale)
    wide = (a.astype(np.float64) for a in arguments)
    bound = getattr(bounds, op)(Arithmetic.of(weight), *wide, feature_scale=scale)
    for f, e, limit in zip(found if type(found) is tuple else (found,), exact, bound, strict=True):
        error = abs(rational(f) - e).astype(float)
        ratio = worst(error, np.zeros(error.shape), limit)
        print(f"{op}, {backend}, {dtype}: {ratio:.2f} of the bound")
        assert ratio <= 1
        assert worst(abs(e).astype(float), np.zeros(error.shape), limit) > 1


def exact_from_probabilities(op, P, other):
    """`other` is dP or the targets (n, c)."""
    P, other = rational(P), rational(other)
    if op == "softmax_backward":
        return P * (other - (other * P).sum(axis=1)[:, None])
    if op == "mse_forward":
        return ((other - P) ** 2).sum(axis=1) / P.shape[1]
    return Fraction(2, P.shape[1]) * (P - other)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ["softmax_backward", "mse_forward", "mse_backward"])
def test_ops_on_probabilities_keep_their_bounds(op, dtype, backend):
    ratios = []
    for c in (2, 3, 17):
        P = cases.probabilities(20, c, dtype, 0)
        near_p = P * P.dtype.type(1.001)
        others = [cases.gradients(20, c, dtype, 0), near_p]
        if op != "softmax_backward":
            others = [cases.labels(20, c, 0), cases.probabilities(20, c, dtype, 1), near_p]
        for other in others:
            arguments = (other, P) if op == "softmax_backward" else (P, other)
            found = getattr(kernels, op)(*arguments, backend=backend)
            exact = exact_from_probabilities(op, P, bounds.one_hot(other, c))
            wide = (v.astype(np.float64) if v.dtype.kind == "f" else v for v in arguments)
            (bound,) = getattr(bounds, op)(Arithmetic.of(dtype), *wide)
            error = abs(rational(found) - exact).astype(float)
            ratios.append(worst(error, np.zeros(error.shape), bound))
            assert worst(abs(exact).astype(float), np.zeros(error.shape), bound) > 1
    print(f"{op}, {backend}, {dtype}: {max(ratios):.2f} of the bound")
    assert max(ratios) <= 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("c", [2, 1100])
def test_the_largest_float32_gradients_do_not_overflow_in_softmax_backward(c, backend):
    most = np.finfo("f4").max
    dP, P = np.zeros((2, c), "f4"), np.zeros((2, c), "f4")
    dP[:, 0], dP[:, -1] = -most, most
    P[0, -1] = 1  # dp_0 - Σ dp p is out of range, but p_0 is 0
    P[1, [0, -1]] = 0.5
    expected = np.zeros((2, c), "f4")
    expected[1, [0, -1]] = -most / 2, most / 2
    found = kernels.softmax_backward(dP, P, backend=backend)
    assert np.array_equal(found, expected)

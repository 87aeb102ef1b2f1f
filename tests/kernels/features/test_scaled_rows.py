"""Promise: `Scaled` rows give the bits of a copy that was scaled so, and no copy is made."""

import tracemalloc
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from softstep import kernels
from softstep.kernels import BackendError, Scaled
from softstep.kernels.backend import reads_scaled
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size

OPS = ("linear_forward", "predict", "evaluate", "gradient", "train")
SIZES = {
    "few rows": Size(37, 17, 3, h=2),
    "narrow": Size(1300, 403, 20),  # too much for the kernels of few rows
    "wide": Size(130, 41, 30, h=2),
}
KINDS = ("columns", "unit", "both")
DTYPES = ("float16", "float64")


@pytest.fixture(params=["numpy", "numba"])
def backend(request):
    return request.param


def scaled(X, kind, seed=0):
    """By constants of the size that statistics would have, and rest for some columns."""
    rng, (d, dtype) = np.random.default_rng(seed), (X.shape[1], cases.weight_dtype(X.dtype))
    spread = 0.05 if kind == "both" else 60 if X.dtype.kind == "u" else 1
    center, inverse = rng.normal(scale=spread, size=d), rng.uniform(0.5, 2, d) / spread
    rest = np.where(rng.random(d) < 0.5, rng.normal(scale=1e-4, size=d), 0)
    columns = np.stack([center, inverse, rest]).astype(dtype)
    return Scaled(X, kind != "columns", None if kind == "unit" else columns)


def arguments(op, size, dtype):
    (X, *rest), options = cases.OPS[op].arguments(SIZES[size], dtype, 0)
    return X, tuple(rest), options | {"feature_scale": 1.0}


def assert_same_bits(found, expected):
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_array_equal(f, e, strict=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("op", OPS)
def test_the_bits_are_those_of_a_copy(op, size, dtype, kind, backend):
    X, rest, options = arguments(op, size, dtype)
    rows = scaled(X, kind)
    found = parity.run(op, ((rows, *rest), options), backend)
    assert_same_bits(found, parity.run(op, ((rows[:], *rest), options), backend))
    assert op == "predict" or any(result.any() for result in found)


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("op", OPS)
def test_what_nothing_is_scaled_by_is_the_rows(op, size, n_threads, backend):
    X, rest, options = arguments(op, size, "float16")
    options["n_threads"] = n_threads
    found = parity.run(op, ((Scaled(X), *rest), options), backend)
    assert_same_bits(found, parity.run(op, ((X, *rest), options), backend))


@pytest.mark.parametrize("kind", KINDS)
def test_one_thread_gives_the_same_bits(kind):
    X, (W, b), options = arguments("linear_forward", "narrow", "float16")
    rows = scaled(X, kind)
    one, two = (
        kernels.linear_forward(rows, W, b, **options, backend="numba", n_threads=n) for n in (1, 2)
    )
    assert_same_bits([one], [two])


@pytest.mark.parametrize("dtype", ["uint8", "bfloat16"])
def test_so_they_are_whatever_is_stored(dtype, backend):
    for op, size in (("train", "wide"), ("gradient", "few rows")):
        X, rest, options = arguments(op, size, ml_dtypes.bfloat16 if dtype[0] == "b" else dtype)
        rows = scaled(X, "both")
        assert rows[:].dtype == np.float32
        copy = parity.run(op, ((rows[:], *rest), options), backend)
        assert_same_bits(parity.run(op, ((rows, *rest), options), backend), copy)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_in_float64_is_that_of_the_rows_in_float32(kind, backend):
    X, (y, W, b), options = arguments("gradient", "few rows", "float16")
    rows, W, b = scaled(X, kind), W.astype(np.float64), b.astype(np.float64)
    found, copy = (
        parity.run("gradient", ((x, y, W, b), options), backend) for x in (rows, rows[:])
    )
    assert_same_bits(found, copy)
    assert found[1].any()


def by_the_formula(X, kind, columns):
    """In float64: u = x/‖x‖, (u - center) · inverse + rest."""
    u = X.astype(np.float64)
    if kind != "columns":
        u /= np.linalg.norm(u, axis=1, keepdims=True)
    if columns is not None:
        center, inverse, rest = columns.astype(np.float64)
        u = (u - center) * inverse + rest
    return u


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", ["float16", "uint8", "float32", "float64"])
def test_rows_are_what_the_formula_says(dtype, kind):
    X = cases.features(50, 21, dtype, 3)
    rows = scaled(X, kind)
    eps = np.finfo(rows[:].dtype).eps
    truth = by_the_formula(X, kind, rows.columns)
    size = np.abs(truth)
    if rows.columns is not None:  # u and its length are rounded, then each of three steps
        center, inverse, _ = np.abs(rows.columns.astype(np.float64))
        largest = 1 if kind == "both" else np.abs(X.astype(np.float64))
        size = (largest + center) * inverse + size
    assert (np.abs(rows[:] - truth) <= 3 * eps * size).all()
    assert np.abs(truth).max() > 0.1
    assert np.array_equal(rows[np.array([4, 2])], rows[:][[4, 2]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_of_any_length_come_to_unit_length(dtype, backend):
    limits, identity = np.finfo(dtype), np.eye(21, dtype=dtype)
    X = np.random.default_rng(0).uniform(0.5, 0.99, (400, 21)).astype(dtype)
    powers = (limits.maxexp, limits.maxexp - 2, limits.maxexp // 2 + 3, -50, limits.minexp + 1)
    for i, power in enumerate(powers):
        X[i] = np.ldexp(X[9], power)
    X[5], X[6], X[7] = 0, limits.smallest_subnormal, limits.max
    expected = np.tile(Scaled(X, unit=True)[9:10], (5, 1))
    for read in (linear(X, identity, backend), Scaled(X, unit=True)[:]):
        np.testing.assert_array_equal(read[:5], expected)
        assert not read[5].any()
        np.testing.assert_allclose(read[6:8], 21**-0.5, rtol=1e-6)


def linear(X, identity, backend):
    """The rows of X as wide kernels and the backend read them."""
    bias = np.zeros(len(identity), identity.dtype)
    return kernels.linear_forward(Scaled(X, unit=True), identity, bias, backend=backend)


def test_columns_of_a_wider_matrix_are_read_where_they_are(backend):
    X, rest, options = arguments("train", "wide", "float16")
    wider = np.full((len(X), X.shape[1] + 8), np.nan, np.float16)
    wider[:, 3:-5] = X
    rows = scaled(X, "both")
    there = replace(rows, X=wider[:, 3:-5])
    found, copy = (parity.run("train", ((x, *rest), options), backend) for x in (there, rows))
    assert_same_bits(found, copy)


MANY = {"narrow": Size(1300, 403, 5, h=4), "wide": SIZES["wide"]}


@pytest.mark.parametrize("size", MANY)
def test_heads_threads_and_slices_change_no_bit(size):
    X, y, order, batch, W, b = cases.OPS["train"].arguments(MANY[size], "float16", 0)[0]
    rows = scaled(X, "both")
    options = {"loss": "cross_entropy", "learning_rate": 0.01, "columns": W[:, 0].size}

    def trained(heads, cuts, threads):
        own = W[heads].copy(), b[heads].copy()
        for first, end in zip((0, *cuts), (*cuts, len(order)), strict=True):
            kernels.train(
                *(rows, y, order[first:end], batch, *own),
                **(options | {"backend": "numba", "n_threads": threads}),
            )
        return own

    whole = trained(slice(None), (), 1)
    assert not np.array_equal(whole[0], W)
    for threads in (2, 3):
        assert_same_bits(trained(slice(None), (batch,), threads), whole)
    assert_same_bits(trained(slice(1, 2), (), 2), [array[1:2] for array in whole])


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize("c", [10, 40])
def test_no_copy_is_made(c, n_threads):
    X = cases.features(20_000, 300, "float16", 0)
    rows, y, order = scaled(X, "both"), np.arange(len(X)) % c, np.arange(len(X))
    W, b = np.zeros((1, 300, c), np.float32), np.zeros((1, c), np.float32)
    how = {"backend": "numba", "n_threads": n_threads}
    options = {"loss": "cross_entropy", **how}
    for op in (
        lambda: kernels.linear_forward(rows, W[0], b[0], **how),
        lambda: kernels.predict(rows, W, b, **how),
        lambda: kernels.train(rows, y, order, 100, W, b, learning_rate=0.1, **options),
        lambda: kernels.evaluate(rows, y, W, b, **options),
        lambda: kernels.gradient(rows, y, W, b, **options),
    ):
        op()  # compiled before it is measured
        tracemalloc.start()
        op()
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert most < X.nbytes / 2  # a block of rows is widened; a copy would take twice X


@pytest.mark.parametrize("room", [1, 22, 1000])
def test_how_many_rows_are_gathered_at_a_time_changes_no_bit(room, monkeypatch):
    train_narrow = pytest.importorskip("softstep.kernels._numba.train_narrow")
    X, y, _, _, W, b = cases.OPS["train"].arguments(MANY["narrow"], "float16", 0)[0]
    given = (y, np.arange(len(X)), 1000, W, b), {"loss": "cross_entropy", "learning_rate": 0.01}
    rows, (rest, options) = scaled(X, "both"), given
    copy = parity.run("train", ((rows[:], *rest), options), "numba")
    monkeypatch.setattr(train_narrow, "GATHERED_BYTES", room * 4 * 416)
    assert_same_bits(parity.run("train", ((rows, *rest), options), "numba"), copy)
    assert copy[-1].any()


def kept_by(rows):
    return np.zeros(len(rows), rows[:1].dtype)


@pytest.mark.parametrize("kind", ["unit", "both"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("op", OPS)
def test_factors_that_are_kept_change_no_bit(op, size, dtype, kind, backend):
    X, rest, options = arguments(op, size, dtype)
    X[3], X[4], X[-1] = 0, np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    bare = scaled(X, kind)
    expected = parity.run(op, ((bare, *rest), options), backend)
    rows = replace(bare, factors=kept_by(bare))
    for _ in range(3):  # none is known, then those that this op visits
        assert_same_bits(parity.run(op, ((rows, *rest), options), backend), expected)
        rows.factors[5:9] = 0
    is_plain = rows.factors != 0
    if backend == "numba" and size != "few rows":
        assert is_plain[9:-1].mean() > 0.3
    np.testing.assert_array_equal(
        rows.factors[is_plain, None] * X[is_plain], Scaled(X, unit=True)[:][is_plain]
    )


def test_rows_of_rows_keep_what_is_theirs():
    rows = Scaled(cases.features(50, 7, "float32", 0), unit=True)
    rows = replace(rows, factors=kept_by(rows))
    some = rows.rows(slice(10, 30))
    np.testing.assert_array_equal(some[:], rows[10:30])
    some.factors[:] = 1
    assert rows.factors.sum() == rows.factors[10:30].sum() == 20


# ---- refused in a sentence


def test_who_does_not_read_them_says_so(machine):
    rows = Scaled(np.ones((4, 3), np.float32))
    W, b = np.ones((3, 2), np.float32), np.ones(2, np.float32)
    assert not reads_scaled("cupy")
    with pytest.raises(BackendError, match=r"^the cupy backend does not read Scaled: give dense"):
        kernels.linear_forward(rows, W, b, backend="cupy")
    with pytest.raises(TypeError, match=r"^X is Scaled, which this op does not read: give dense"):
        kernels.linear_backward(np.ones((4, 2), np.float32), rows)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (
            {"columns": np.zeros((2, 3), "f4")},
            ValueError,
            r"^X.columns has shape \(2, 3\), but X.X",
        ),
        ({"columns": np.zeros((3, 3))}, TypeError, "^X.columns is float64, but float32 features"),
        ({"factors": np.zeros(3, "f4")}, ValueError, r"^X.factors is float32 of shape \(3,\)"),
        ({"factors": np.zeros(4)}, ValueError, "^X.factors is float64 of .* must be float32 of"),
        ({"unit": 1}, TypeError, "^X.unit must be True or False, not 1"),
        ({"X": np.ones((4, 3), int)}, TypeError, "^X must be float32 or float64 or .*, not int64"),
    ],
)
def test_what_is_no_scaling_is_refused(change, error, text, backend):
    rows = replace(Scaled(np.ones((4, 3), np.float32)), **change)
    W, b = np.ones((3, 2), np.float32), np.ones(2, np.float32)
    with pytest.raises(error, match=text):
        kernels.predict(rows, W, b, backend=backend)


def test_an_output_that_is_the_rows_is_written_after_they_are_read(backend):
    X = cases.features(30, 4, "float32", 0)
    rows, (W, b) = scaled(X, "columns"), cases.weights(1, 4, 4, "float32", 0)
    expected = kernels.linear_forward(rows, W[0], b[0], backend=backend)
    kernels.linear_forward(rows, W[0], b[0], out=X, backend=backend)
    np.testing.assert_array_equal(X, expected)

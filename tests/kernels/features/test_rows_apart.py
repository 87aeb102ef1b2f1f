"""Promise: columns of a wider matrix, `X[:, a:b]`, are read where they are, on every backend.

Around them lie NaN, or 255 in uint8: what is not theirs never gets into a result.
"""

import numpy as np
import pytest

from softstep import kernels
from softstep.kernels import checks
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size

FEATURES = parity.FEATURE_DTYPES
SIZES = {
    "narrow": Size(37, 17, 3, h=2),
    "whole quads": Size(45, 24, 4, h=2),
    "wide": Size(70, 40, 30, h=2),
    "fewer features than a tile": Size(30, 3, 30, h=2),
    "one feature": Size(30, 1, 3),
    "one row": Size(1, 20, 3),
}


def apart(X, left=3, right=5):
    """The same features as columns of a wider matrix."""
    around = 255 if X.dtype == np.uint8 else np.nan
    wider = np.full((len(X), left + X.shape[1] + right), around, X.dtype)
    wider[:, left : left + X.shape[1]] = X
    return wider[:, left : left + X.shape[1]]


def replaced(arguments, change):
    """The arguments with other features: the widest matrix of their dtype among the positional."""
    positional, options = arguments
    at = 1 if positional[0].ndim == positional[1].ndim == 2 and len(positional) == 2 else 0
    return (*positional[:at], change(positional[at]), *positional[at + 1 :]), options


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", FEATURES)
@pytest.mark.parametrize("op", parity.READS_FEATURES)
def test_the_bits_are_those_of_a_copy(op, dtype, size, fused):
    arguments = cases.OPS[op].arguments(SIZES[size], dtype, 0)
    for left, right in ((3, 5), (4, 4), (0, 1)):  # odd, aligned, a prefix
        there = replaced(arguments, lambda X, left=left, right=right: apart(X, left, right))
        found = parity.run(op, there, fused)
        for result, copied in zip(found, parity.run(op, arguments, fused), strict=True):
            np.testing.assert_array_equal(result, copied)
            assert result.any() or op in ("predict", "evaluate", "train")


@pytest.mark.parametrize("dtype", FEATURES)
@pytest.mark.parametrize("op", parity.READS_FEATURES)
def test_they_agree_with_the_oracle(op, dtype, assert_parity, backend):
    arguments = cases.OPS[op].arguments(SIZES["narrow"], dtype, 1)
    assert_parity(op, replaced(arguments, apart), backend)


@pytest.mark.parametrize("dtype", FEATURES)
def test_they_are_not_copied(dtype):
    X = apart(cases.features(9, 4, dtype, 0))
    assert np.shares_memory(checks.features(X), X)
    assert np.shares_memory(checks.features(X[::2]), X)


def test_a_memory_map_is_read_where_it_is(tmp_path, backend):
    X, y = cases.features(40, 12, np.float16, 0), cases.labels(40, 3, 0)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert np.shares_memory(checks.features(mapped[:, 2:9]), mapped)
    weights = []
    for rows in (mapped[:, 2:9], X[:, 2:9].copy()):
        W, b = np.zeros((1, 7, 3), np.float32), np.zeros((1, 3), np.float32)
        options = {"loss": "cross_entropy", "learning_rate": 0.1, "backend": backend}
        kernels.train(rows, y, np.arange(40), 10, W, b, **options)
        weights.append(W)
    bound = 0 if backend != "numpy" else 1e-6  # a BLAS may add in another order
    np.testing.assert_allclose(*weights, rtol=bound, atol=bound)
    assert weights[0].any()


NOT_IN_ROWS = {
    "Fortran order": np.asfortranarray,
    "every other column": lambda X: np.repeat(X, 2, axis=1)[:, ::2],
    "rows from last to first": lambda X: X[::-1].copy()[::-1],
    "another byte order": lambda X: X.astype(X.dtype.newbyteorder()),
}


@pytest.mark.parametrize("layout", NOT_IN_ROWS)
def test_what_does_not_lie_in_rows_is_read_too(layout, backend):
    (X, W, b), options = cases.OPS["linear_forward"].arguments(SIZES["narrow"], np.float32, 2)
    expected = kernels.linear_forward(X, W, b, **options, backend=backend)
    found = kernels.linear_forward(NOT_IN_ROWS[layout](X), W, b, **options, backend=backend)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert found.any()


def test_one_row_repeated_is_as_many_rows(backend):
    (X, W, b), options = cases.OPS["linear_forward"].arguments(Size(1, 9, 3), np.float32, 2)
    found = kernels.linear_forward(np.broadcast_to(X, (30, 9)), W, b, **options, backend=backend)
    expected = kernels.linear_forward(X, W, b, **options, backend=backend)
    np.testing.assert_allclose(found, np.repeat(expected, 30, axis=0), rtol=1e-5)


@pytest.mark.parametrize("op", parity.READS_FEATURES)
def test_numba_compiles_no_kernel_anew_for_them(op):
    from softstep.kernels import _numba

    arguments = cases.OPS[op].arguments(SIZES["wide"], np.float32, 0)
    parity.run(op, arguments, "numba")
    before = _numba.compiled_kernels()
    parity.run(op, replaced(arguments, apart), "numba")
    assert _numba.compiled_kernels() == before


@pytest.mark.parametrize("dtype", FEATURES)
def test_on_the_gpu_they_stay_where_they_are(machine, dtype):
    from softstep.kernels._cupy.arrays import address, asarray
    from softstep.kernels.arrays import gpu

    around = np.zeros((300, 12), dtype)
    around[:, 10] = 1
    there = asarray(around)
    machine.log.clear()
    columns = checks.features(there[:, 2:9])
    assert address(columns) == address(there) + 2 * around.itemsize
    assert gpu().all_finite(columns)
    assert not [line for line in machine.log if line.startswith("on device")]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_on_the_gpu_a_bad_value_is_seen_among_the_columns_alone(machine, dtype):
    from softstep.kernels._cupy.arrays import asarray
    from softstep.kernels.arrays import gpu

    for row, column in ((0, 2), (299, 8), (7, 5), (299, 9), (0, 1)):
        X = np.zeros((300, 12), dtype)
        X[row, column] = np.inf
        assert gpu().all_finite(asarray(X)[:, 2:9]) == (not 2 <= column < 9)


def test_out_may_not_lie_among_the_features(backend):
    memory = np.ones((12, 6), np.float32)
    W, b = np.ones((3, 3), np.float32), np.zeros(3, np.float32)
    out = memory.reshape(-1)[:36].reshape(12, 3)  # begins where X does, but is close
    with pytest.raises(ValueError, match=r"^out overlaps an input without being it$"):
        kernels.linear_forward(memory[:, :3], W, b, out=out, backend=backend)

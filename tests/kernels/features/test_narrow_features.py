"""Promise: int8 and bfloat16 features give the bits that their numbers give in float32.

bfloat16 is of the library ml_dtypes, which is imported where such features are given, not before.
"""

import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

from softstep import kernels
from softstep.kernels import CSR, checks
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size

BFLOAT16 = ml_dtypes.bfloat16
NARROW = Size(37, 17, 3, h=2)
SIZES = (NARROW, Size(70, 40, 30, h=2), Size(1, 21, 3))  # the first takes little in the emulator


def with_features(op, arguments, change):
    positional, options = arguments
    i = int(op == "linear_backward")
    return (*positional[:i], change(positional[i]), *positional[i + 1 :]), options


def assert_same_bits(found, expected):
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_array_equal(f, e, strict=True)


def widened(X):
    return X.astype(np.float32)


@pytest.mark.parametrize("dtype", parity.AS_FLOAT32)
@pytest.mark.parametrize("op", parity.READS_FEATURES)
def test_the_bits_are_those_of_float32(op, dtype, backend, assert_parity):
    for size in SIZES[:1] if backend == "cupy" else SIZES:
        arguments = cases.OPS[op].arguments(size, dtype, 0)
        found = assert_parity(op, arguments, backend)
        as_float = with_features(op, arguments, widened)
        assert_same_bits(found, parity.run(op, as_float, backend))


@pytest.mark.parametrize("dtype", parity.AS_FLOAT32)
def test_training_on_the_gpu_by_launches_has_them_too(dtype, machine):
    machine.launches_cooperatively = False
    arguments = cases.OPS["train"].arguments(NARROW, dtype, 1)
    machine.log.clear()
    found = parity.run("train", arguments, "cupy")
    assert "launch train_update" in machine.log
    assert_same_bits(found, parity.run("train", with_features("train", arguments, widened), "cupy"))


@pytest.mark.parametrize("dtype", parity.AS_FLOAT32)
@pytest.mark.parametrize("op", ["linear_forward", "linear_backward"])
def test_on_tensor_cores_they_keep_the_bounds_of_the_products(op, dtype, machine, monkeypatch):
    arguments = cases.OPS[op].arguments(Size(256, 256, 130), dtype, 1)
    found = parity.run(op, arguments, "cupy")
    assert max(parity.ratios(found, *parity.truth_and_bounds(op, arguments))) <= 1
    monkeypatch.setenv("SOFTSTEP_TF32", "0")
    usual = parity.run(op, arguments, "cupy")
    assert not np.array_equal(found[0], usual[0])


def read(X, backend):
    """X (n, 1), as it is read."""
    one, zero = np.ones((1, 1), np.float32), np.zeros(1, np.float32)
    return kernels.linear_forward(X, one, zero, backend=backend)


def test_every_bfloat16_is_read_exactly(backend):
    X = np.arange(2**16, dtype=np.uint16).view(BFLOAT16)[:, None]
    expected = widened(X)
    if backend == "cupy":  # the GPU flushes float32's subnormals
        expected[np.abs(expected) < np.finfo(np.float32).tiny] = 0
    np.testing.assert_array_equal(read(X, backend), expected)


def test_every_int8_is_read_exactly(backend):
    X = np.arange(-128, 128, dtype=np.int8)[:, None]
    np.testing.assert_array_equal(read(X, backend), X.astype(np.float32))


@pytest.mark.parametrize("dtype", parity.AS_FLOAT32)
def test_weights_of_float64_widen_them_to_it(dtype, backend):
    (X, y, W, b), options = cases.OPS["gradient"].arguments(NARROW, dtype, 0)
    given = [(x, y, W.astype(np.float64), b.astype(np.float64)) for x in (X, X.astype(np.float64))]
    found, expected = (parity.run("gradient", (args, options), backend) for args in given)
    assert_same_bits(found, expected)


@pytest.mark.parametrize("dtype", parity.AS_FLOAT32)
def test_columns_of_a_wider_matrix_are_read_where_they_are(dtype, backend):
    (X, *rest), options = cases.OPS["linear_forward"].arguments(Size(37, 16, 3), dtype, 0)
    expected = kernels.linear_forward(X, *rest, **options, backend=backend)
    for left, right in ((3, 5), (4, 4)):
        around = 127 if dtype == "int8" else np.nan
        wider = np.full((len(X), left + X.shape[1] + right), around, X.dtype)
        wider[:, left:-right] = X
        there = wider[:, left:-right]
        assert np.shares_memory(checks.features(there), there)
        found = kernels.linear_forward(there, *rest, **options, backend=backend)
        bound = 1e-6 if backend == "numpy" else 0  # a BLAS may add in another order
        np.testing.assert_allclose(found, expected, rtol=bound, atol=bound)
    by_columns = np.asfortranarray(X)
    found = kernels.linear_forward(by_columns, *rest, **options, backend=backend)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("op", ["linear_forward", "predict", "evaluate", "train"])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_compressed_rows_of_int8_have_them_too(op, backend):
    (X, *rest), options = cases.OPS[op].arguments(NARROW, "int8", 0)
    X[np.random.default_rng(1).random(X.shape) < 0.7] = 0
    rows, features = np.nonzero(X)
    indptr = np.searchsorted(rows, np.arange(len(X) + 1))
    results = [
        parity.run(op, ((CSR(values, features, indptr, X.shape[1]), *rest), options), backend)
        for values in (X[rows, features], widened(X[rows, features]))
    ]
    assert_same_bits(*results)
    assert any(result.any() for result in results[0])


# Arrays of other libraries.


def test_tensors_of_bfloat16_come_in_by_their_bits_and_results_go_back(backend):
    torch = pytest.importorskip("torch")
    (X, W, b), _ = cases.OPS["linear_forward"].arguments(NARROW, "bfloat16", 0)
    tensor = torch.from_numpy(X.view(np.int16)).view(torch.bfloat16)
    assert np.shares_memory(checks.features(tensor), X)
    assert np.shares_memory(checks.features(tensor[:, 2:9]), X)
    V = kernels.linear_forward(tensor, W, b, backend=backend)
    assert V.dtype == torch.float32
    np.testing.assert_array_equal(V, kernels.linear_forward(X, W, b, backend=backend))
    with pytest.raises(TypeError, match=r"X \(Tensor\) .* a gradient: give its detach\(\)"):
        kernels.linear_forward(tensor.requires_grad_(), W, b, backend=backend)


def test_jax_has_bfloat16_from_the_same_library():
    jax = pytest.importorskip("jax")
    (X, W, b), _ = cases.OPS["linear_forward"].arguments(NARROW, "bfloat16", 0)
    V = kernels.linear_forward(jax.numpy.asarray(X), W, b, backend="numpy")
    assert isinstance(V, jax.Array)
    np.testing.assert_array_equal(V, kernels.linear_forward(X, W, b, backend="numpy"))


def test_without_the_library_a_tensor_is_refused_with_the_cure(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    X, W, b = torch.ones(4, 3).bfloat16(), np.ones((3, 2), "f4"), np.ones(2, "f4")
    with pytest.raises(TypeError, match=r"X \(Tensor\) .* bfloat16 .*: pip install ml_dtypes"):
        kernels.linear_forward(X, W, b)


def test_other_kinds_of_the_library_and_what_numpy_makes_of_its_files_are_refused(tmp_path):
    X, W, b = np.ones((4, 3), BFLOAT16), np.ones((3, 2), "f4"), np.ones(2, "f4")
    np.save(tmp_path / "X.npy", X)
    said = "X must be float32 or float64 or float16 or bfloat16 or uint8 or int8, not"
    for other in (X.astype(ml_dtypes.float8_e5m2), np.load(tmp_path / "X.npy")):
        with pytest.raises(TypeError, match=said):
            kernels.linear_forward(other, W, b)
    with pytest.raises(TypeError, match="W is bfloat16, but bfloat16 features take float32"):
        kernels.linear_forward(X, W.astype(BFLOAT16), b)


def test_the_library_is_not_imported_for_other_features():
    code = (
        "import sys, numpy as np\n"
        "from softstep import SoftmaxRegression\n"
        "SoftmaxRegression(epochs=1, backend='numpy').fit(np.eye(4, dtype='i1'), [0, 1, 0, 1])\n"
        "assert 'ml_dtypes' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

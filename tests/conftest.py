"""Shared by the tests: the backends, a result against the oracle's, proof that its bound can fail.

The cupy backend runs on a stand-in for CuPy whose kernels run in an emulator (tests/cuda).
"""

from pathlib import Path

import numpy as np
import pytest

import softstep
from softstep.kernels.verify import cases, parity

BACKENDS = ("numpy", "numba", "cupy")


def pytest_addoption(parser):
    parser.addoption(
        "--require-gpu",
        action="store_true",
        help="tests that need a GPU fail without one, as with SOFTSTEP_BACKEND=cupy",
    )


def pytest_ignore_collect(collection_path, config):
    """`pytest -m gpu` reads the files of those tests alone: others import what they need."""
    is_test = collection_path.name.startswith("test_") and collection_path.suffix == ".py"
    if config.option.markexpr != "gpu" or not is_test:
        return None
    return "mark.gpu" not in collection_path.read_text(encoding="utf-8") or None


def pytest_report_header():
    return f"softstep {softstep.__version__} from {Path(softstep.__file__).parent}"


@pytest.fixture
def machine():
    """A stand-in for CuPy on an emulated GPU; backend "cupy" runs on it."""
    import emulator
    import standin

    if reason := emulator.missing():
        pytest.skip(reason)
    with standin.install() as machine:
        yield machine


def _with_its_gpu(request):
    if request.param == "cupy":
        request.getfixturevalue("machine")
    return request.param


@pytest.fixture(params=BACKENDS)
def backend(request):
    """Every backend in turn."""
    return _with_its_gpu(request)


@pytest.fixture(params=BACKENDS[1:])
def fused(request):
    """Every backend but the oracle in turn."""
    return _with_its_gpu(request)


@pytest.fixture(scope="session")
def assert_parity():
    """check(op, arguments, backend): the results, within bounds that refuse zeros and NaN."""

    def check(op, arguments, backend):
        """Within the bounds. The GPU flushes float32's subnormals: there those may be lost."""
        found = parity.run(op, arguments, backend)
        expected = parity.run(op, arguments, parity.ORACLE)
        assert [(f.dtype, f.shape) for f in found] == [(e.dtype, e.shape) for e in expected]
        truth, bound = parity.truth_and_bounds(op, arguments)
        allowed = bound
        if backend == "cupy" and cases.weight_dtype(arguments[0][0].dtype) == np.float32:
            lost = 4 * np.finfo(np.float32).tiny
            pairs = zip(truth, bound, strict=True)
            allowed = [e + lost * (np.abs(t) < 2 * lost) for t, e in pairs]
        assert max(parity.ratios(found, truth, allowed)) <= 1
        for t, e in zip(truth, bound, strict=True):
            assert_bound_can_fail(t, e)
        return found

    return check


def assert_bound_can_fail(truth, bound):
    """All zeros are refused, or where zero is the truth, anything else is; and so is NaN."""
    if not truth.size:
        return
    wrong = np.zeros_like(truth) if truth.any() else np.full_like(truth, 1e-300, float)
    assert parity.worst(wrong, truth, bound) > 1
    if not np.isnan(truth).all():
        assert parity.worst(np.full(truth.shape, np.nan), truth, bound) > 1

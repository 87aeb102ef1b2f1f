"""Promise: rows that lie beyond 2³¹ and 2³² elements are found; nothing is counted in 32 bits."""

import mmap
import sys

import numpy as np
import pytest

from softstep import kernels
from softstep.kernels.verify import cases

SIZE = 5 << 30  # bytes of address space, of which few pages are ever touched
D, C = 1 << 16, 3


@pytest.fixture(scope="module")
def bytes_():
    reserve_none = getattr(mmap, "MAP_NORESERVE", 0x4000 if sys.platform == "linux" else 0)
    if not hasattr(mmap, "MAP_PRIVATE") or not reserve_none:
        pytest.skip("no memory without pages here")
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | reserve_none
    return np.frombuffer(mmap.mmap(-1, SIZE, flags=flags), np.uint8)


@pytest.mark.parametrize("columns", [1, 1000])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_batch_of_rows_at_the_far_end(backend, columns, bytes_):
    X = bytes_.reshape(-1, D)
    n = len(X)
    order = np.array([n - 1, 0, n // 2 + 1, (1 << 31) // D, n - 2])
    rows = cases.features(len(order), D, np.uint8, 0)
    X[order] = rows
    y = np.zeros(n, np.int64)
    y[order] = [0, 1, 2, 0, 1]
    options = {"loss": "mse", "learning_rate": 0.1, "feature_scale": 1 / 255, "backend": backend}
    found, expected = (cases.weights(1, D, C, np.float32, 0) for _ in range(2))
    kernels.train(X, y, order, 2, *found, **options, columns=columns)
    kernels.train(rows, y[order], np.arange(5), 2, *expected, **options, columns=columns)
    for f, e, start in zip(found, expected, cases.weights(1, D, C, np.float32, 0), strict=True):
        np.testing.assert_array_equal(f, e)
        assert not np.array_equal(f, start)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_rows_that_lie_so_far_apart(backend, bytes_):
    apart = (1 << 31) + 4096
    X = np.lib.stride_tricks.as_strided(bytes_[64:], (3, 256), (apart, 1))
    X[:] = rows = cases.features(3, 256, np.uint8, 1)
    W, b = (part[0] for part in cases.weights(1, 256, C, np.float32, 0))
    for op in (kernels.linear_forward, kernels.predict):
        found, expected = (op(x, W, b, feature_scale=1 / 255, backend=backend) for x in (X, rows))
        np.testing.assert_array_equal(found, expected)

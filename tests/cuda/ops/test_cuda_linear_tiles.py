"""The CUDA linear layer: every way to load gives the same bits, every stored number is exact."""

import numpy as np
import pytest

from softstep import kernels
from softstep.kernels._cupy.arrays import asarray, to_host
from softstep.kernels._cupy.linear import Tiling, linear_backward, linear_forward
from softstep.kernels.verify import cases
from softstep.kernels.verify.cases import Size

FEATURES = ("float32", "float64", "float16", "uint8")


def at_odd_address(array):
    """The array on the device, one item past an aligned address."""
    padded = np.concatenate([array.ravel()[:1], array.ravel()])
    return asarray(padded)[1:].reshape(array.shape)


@pytest.mark.parametrize("size", [Size(70, 36, 8), Size(40, 20, 20), Size(70, 64, 68)])
@pytest.mark.parametrize("dtype", FEATURES)
def test_single_loads_give_the_bits_of_vector_loads(dtype, size, machine):
    (X, W, b), options = cases.OPS["linear_forward"].arguments(size, dtype, 1)
    (dV, _), _ = cases.OPS["linear_backward"].arguments(size, dtype, 1)
    aligned = [asarray(a) for a in (X, W, dV)]
    odd = [at_odd_address(a) for a in (X, W, dV)]
    results = []
    for x, w, dv in (aligned, odd):
        dW, db = linear_backward(dv, x, **options)
        V = linear_forward(x, w, b, **options)
        results.append([to_host(a) for a in (V, dW, db)])
    for a, o in zip(*results, strict=True):
        np.testing.assert_array_equal(a, o)
        assert a.any()


def test_every_float16_is_read_exactly(machine):
    X = np.arange(65536, dtype=np.uint16).view(np.float16)[:, None]
    one, zero = np.ones((1, 1), np.float32), np.zeros(1, np.float32)
    V = kernels.linear_forward(X, one, zero, backend="cupy")
    np.testing.assert_array_equal(V, X.astype(np.float32))


def test_every_uint8_is_read_exactly(machine):
    X = np.arange(256, dtype=np.uint8)[:, None]
    one, zero = np.ones((1, 1), np.float32), np.zeros(1, np.float32)
    V = kernels.linear_forward(X, one, zero, backend="cupy", feature_scale=1 / 255)
    np.testing.assert_array_equal(V, X.astype(np.float32) * np.float32(1 / 255))


def test_nan_and_infinity_stay_in_their_rows_and_columns(machine):
    (X, W, b), _ = cases.OPS["linear_forward"].arguments(Size(20, 33, 5), np.float32, 2)
    X, W = np.abs(X) + 1, np.abs(W) + 1
    X[3, 7], X[5, 32], W[32, 2] = np.nan, np.inf, np.inf
    found = kernels.linear_forward(X, W, b, backend="cupy")
    expected = kernels.linear_forward(X, W, b, backend="numpy")
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_array_equal(np.isinf(found), np.isinf(expected))
    dW, _ = kernels.linear_backward(expected, X, backend="cupy")
    np.testing.assert_array_equal(
        np.isnan(dW), np.isnan(kernels.linear_backward(expected, X, backend="numpy")[0])
    )


def test_an_infinite_scale_is_not_multiplied_with_the_padding(machine):
    X, W = np.ones((1, 3), np.float32), np.ones((3, 2), np.float32)
    V = kernels.linear_forward(X, W, W[0], feature_scale=float("inf"), backend="cupy")
    np.testing.assert_array_equal(V, [[np.inf, np.inf]])


@pytest.mark.parametrize("rows", [1, 100, 1000, 60_000])
@pytest.mark.parametrize("columns", [1, 10, 17, 1000])
@pytest.mark.parametrize("depth", [1, 33, 784, 10_000])
def test_the_parts_of_a_tiling_cover_the_depth_and_are_not_empty(rows, columns, depth):
    tiling = Tiling(rows, columns, depth)
    assert (tiling.parts - 1) * tiling.part < depth <= tiling.parts * tiling.part
    assert tiling.part % 16 == 0
    assert tiling.parts == 1 or tiling.tiles[0] * tiling.tiles[1] * tiling.parts <= 256


def test_a_small_product_with_a_deep_sum_is_split():
    assert Tiling(100, 10, 784).parts > 1
    assert Tiling(784, 10, 60_000).parts > 1

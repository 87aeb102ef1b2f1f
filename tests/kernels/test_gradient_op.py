"""Promise: `gradient` sums over all rows what `train` steps along, and loses no figures."""

import numpy as np
import pytest

from softstep import kernels
from softstep.kernels.losses import LOSSES
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size

SIZE = Size(1000, 19, 5, h=3)  # of the fused kernels: blocks of rows, the last one short
LOSS = tuple(LOSSES)


def arguments(size=SIZE, dtype="float32"):
    (X, y, W, b), options = cases.OPS["gradient"].arguments(size, dtype, 3)
    weights = np.random.default_rng(4).uniform(0, 2, size.n)
    loss = [LOSS[k % len(LOSS)] for k in range(size.h)]
    return (X, y, W, b), {**options, "loss": loss, "sample_weight": weights}


def test_a_step_of_train_over_all_rows_goes_along_it(backend):
    (X, y, W, b), options = arguments(dtype="float64")
    total, dW, db = kernels.gradient(X, y, W, b, **options, backend=backend)
    W_next, b_next, n = W.copy(), b.copy(), len(X)
    whole = X, y, np.arange(n), n, W_next, b_next
    losses, _ = kernels.train(*whole, learning_rate=1.0, **options, backend=backend)
    np.testing.assert_allclose(dW / n, W - W_next, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(db / n, b - b_next, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(total / n, losses[0], rtol=1e-12)


def test_the_loss_is_the_sum_whose_mean_evaluate_gives(backend):
    (X, y, W, b), options = arguments()
    total, _, _ = kernels.gradient(X, y, W, b, **options, backend=backend)
    mean, _ = kernels.evaluate(X, y, W, b, **options, backend=backend)
    np.testing.assert_allclose(total / options["sample_weight"].sum(), mean, rtol=1e-5)


def test_blocks_of_rows_add_up(backend):
    (X, y, W, b), options = arguments(dtype="float64")
    whole = kernels.gradient(X, y, W, b, **options, backend=backend)
    weights, parts = options.pop("sample_weight"), []
    for rows in (slice(0, 1), slice(1, 700), slice(700, None)):
        some = {**options, "sample_weight": weights[rows]}
        parts.append(kernels.gradient(X[rows], y[rows], W, b, **some, backend=backend))
    for total, each in zip(whole, zip(*parts, strict=True), strict=True):
        assert total.dtype == np.float64
        np.testing.assert_allclose(sum(each), total, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_a_head_gets_the_same_bits_whatever_is_beside_it(dtype, backend):
    (X, y, W, b), options = arguments(dtype=dtype)
    bank = kernels.gradient(X, y, W, b, **options, backend=backend)
    for k in range(SIZE.h):
        own = {**options, "loss": options["loss"][k]}
        alone = kernels.gradient(X, y, W[k], b[k], **own, backend=backend)
        for of_bank, of_one in zip(bank, alone, strict=True):
            np.testing.assert_array_equal(of_one[0], of_bank[k])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8"])
def test_any_number_of_threads_gives_the_same_bits(dtype):
    (X, y, W, b), options = arguments(Size(2000, 150, 10, h=4), dtype)
    results = [
        kernels.gradient(X, y, W, b, **options, backend="numba", n_threads=threads)
        for threads in (1, 2, 3)
    ]
    for other in results[1:]:
        for found, expected in zip(other, results[0], strict=True):
            np.testing.assert_array_equal(found, expected)


def test_many_rows_lose_no_figures():
    """A plain float32 sum of as many equal terms is refused by the bound, which is not zero."""
    n = 200_000
    X, y, W = np.ones((n, 1), "f4"), np.zeros(n, int), np.zeros((1, 1, 2), "f4")
    given = (X, y, W, np.array([[1.0, 0.0]], "f4")), {"loss": "cross_entropy"}
    truth, bound = parity.truth_and_bounds("gradient", given)
    for backend in ("numpy", "numba"):
        found = parity.run("gradient", given, backend)
        assert max(parity.ratios(found, truth, bound)) <= 1
    term = np.float32(truth[2][0, 1] / n)
    plain = np.cumsum(np.full(n, term), dtype=np.float32)[-1]
    assert parity.worst(np.array([[-plain, plain]]), truth[2], bound[2]) > 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_head_with_a_logit_that_is_not_finite_is_nan_and_the_others_are_not(bad, backend):
    (X, y, W, b), options = arguments()
    expected = kernels.gradient(X, y, W, b, **options, backend=backend)
    b = b.copy()
    b[1, 2] = bad
    found = kernels.gradient(X, y, W, b, **options, backend=backend)
    for f, e in zip(found, expected, strict=True):
        assert np.isnan(f[1]).all()
        np.testing.assert_array_equal(f[[0, 2]], e[[0, 2]])


@pytest.mark.parametrize("dtype", ["float32", "float16", "uint8"])
def test_weights_of_float64_widen_the_features(dtype, backend):
    (X, y, W, b), options = arguments(dtype=dtype)
    W, b = W.astype("f8"), b.astype("f8")
    found = kernels.gradient(X, y, W, b, **options, backend=backend)
    expected = kernels.gradient(X.astype("f8"), y, W, b, **options, backend=backend)
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_array_equal(f, e)

"""What a person with an NVIDIA GPU runs: `pytest -m gpu`. Never run on hardware so far."""

import numpy as np
import pytest

from softstep import SoftmaxRegression, kernels
from softstep.bench import parity, workloads
from softstep.kernels.backend import probe
from softstep.model.datasets import load_digits

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def gpu():
    """CuPy on a real GPU."""
    status = probe("cupy")
    if not status.usable:
        pytest.skip(f"no GPU to test on: {status.reason}")
    return pytest.importorskip("cupy")


def test_every_op_keeps_its_bounds_on_the_gpu():
    wrong = [row for row in parity.check("cupy") if not row.passed]
    assert not wrong


def test_an_epoch_of_digits_has_numpys_losses_at_every_step():
    digits = load_digits()
    losses = {}
    for name in ("numpy", "cupy"):
        W, b = np.zeros((1, 64, 10), np.float32), np.zeros((1, 10), np.float32)
        order = np.random.default_rng((0, 1, 0)).permutation(len(digits.X_train))
        options = {"loss": "mse", "learning_rate": 0.2, "backend": name}
        data = digits.X_train, digits.y_train, order, 100
        losses[name], _ = kernels.train(*data, W, b, **options)
    np.testing.assert_allclose(losses["cupy"], losses["numpy"], rtol=1e-5)


def test_reruns_are_bit_identical():
    digits = load_digits()
    first, again = (
        SoftmaxRegression(backend="cupy", random_state=0).fit(digits.X_train, digits.y_train)
        for _ in range(2)
    )
    assert np.array_equal(first.coef_, again.coef_)


def test_evaluate_holds_no_more_than_its_blocks(gpu):
    n, d, c, h = 100_000, 16, 100, 20
    X = gpu.asarray(workloads.features(n, d, np.float32, 0))
    W, b = workloads.weights(h, d, c, np.float32, 0)
    y = workloads.labels(n, c, 0)
    pool = gpu.get_default_memory_pool()
    pool.free_all_blocks()
    before = pool.total_bytes()
    kernels.evaluate(X, y, W, b, loss="mse")
    assert pool.total_bytes() - before < n * h * c * 4 / 2  # all logits would be 800 MB


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_tensor_cores_keep_the_bounds_of_the_usual_path(dtype, monkeypatch):
    from softstep.kernels._cupy import linear

    monkeypatch.setattr(linear, "TENSOR_CORES", True)
    arguments = workloads.OPS["linear_forward"].arguments(workloads.Size(300, 128, 96), dtype, 0)
    found = parity.run("linear_forward", arguments, "cupy")
    assert max(parity.ratios(found, *parity.truth_and_bounds("linear_forward", arguments))) <= 1

"""What a person with an NVIDIA GPU runs: `pytest -m gpu --require-gpu`."""

import importlib

import numpy as np
import pytest
from tensor_core_cases import EXACT, OPS, SIZES, arguments, truth_and_bounds

from softstep import SoftmaxRegression, SoftmaxSweep, kernels
from softstep.bench import gpu as gpu_bench
from softstep.kernels import arrays
from softstep.kernels._cupy import clock
from softstep.kernels.backend import asked_for, probe
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size
from softstep.model.datasets import load_digits

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def gpu(request):
    """CuPy on a real GPU. Who asks for one gets no test skipped for want of it."""
    status = probe("cupy")
    if not status.usable:
        is_required = request.config.option.require_gpu or asked_for() == "cupy"
        stop = pytest.fail if is_required else pytest.skip
        stop(f"no GPU to test on: {status.reason}")
    return importlib.import_module("cupy")


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
    X = gpu.asarray(cases.features(n, d, np.float32, 0))
    W, b = cases.weights(h, d, c, np.float32, 0)
    y = cases.labels(n, c, 0)
    pool = gpu.get_default_memory_pool()
    pool.free_all_blocks()
    before = pool.total_bytes()
    kernels.evaluate(X, y, W, b, loss="mse")
    assert pool.total_bytes() - before < n * h * c * 4 / 2  # all logits would be 800 MB


@pytest.mark.parametrize("size", [*SIZES, Size(300, 1000, 1000)])
@pytest.mark.parametrize("dtype", [*EXACT, "float32"])
@pytest.mark.parametrize("op", OPS)
def test_tensor_cores_keep_their_bounds(op, dtype, size, gpu, monkeypatch):
    if int(gpu.cuda.Device().compute_capability) < 80:
        pytest.skip("this GPU has no tensor cores for TF32")
    monkeypatch.setenv("SOFTSTEP_TF32", "1")
    given = arguments(op, size, dtype)
    found = parity.run(op, given, "cupy")
    assert max(parity.ratios(found, *truth_and_bounds(op, given))) <= 1


@pytest.mark.parametrize("dtype", EXACT)
def test_wide_heads_trained_on_tensor_cores_keep_their_bounds(dtype, gpu):
    if int(gpu.cuda.Device().compute_capability) < 80:
        pytest.skip("this GPU has no tensor cores for TF32")
    (X, y, order, _, W, b), options = cases.OPS["train"].arguments(Size(520, 272, 300, 2), dtype, 0)
    given = (X, y, order, 512, W, b), {**options, "learning_rate": 0.01}
    launched = clock.launch_times(lambda: parity.run("train", given, "cupy"))
    assert "train_tensor.cu: train_update_tensor" in dict(launched)
    found = parity.run("train", given, "cupy")
    assert max(parity.ratios(found, *parity.truth_and_bounds("train", given))) <= 1


def test_every_op_and_every_peer_of_the_benchmark_is_right_and_timed():
    size = Size(2_000, 784, 10, h=4)
    for workload in [*cases.op_workloads((size,)), *cases.seed_workloads(size)]:
        for row in gpu_bench.rows_of(workload, rounds=2):
            assert row.agrees, row
            assert row.not_run or row.wall > 0
            assert row.kernel is None or row.kernel > 0


def test_what_is_given_on_the_gpu_gives_the_bits_of_what_is_given_on_the_host(gpu):
    size = Size(5_000, 20, 7)
    (X, y, order, batch, W, b), options = cases.OPS["train"].arguments(size, np.float32, 0)
    results = []
    for move in (np.asarray, gpu.asarray):
        here = [move(a.copy()) for a in (W, b)]
        kernels.train(move(X), move(y), move(order), batch, *here, **options, backend="cupy")
        results.append([gpu.asnumpy(a) for a in here])
    for of_host, of_gpu in zip(*results, strict=True):
        assert np.array_equal(of_host, of_gpu)
    y[7] = -1
    with pytest.raises(ValueError, match=r"y\[7\] = -1 is not in"):
        kernels.train(gpu.asarray(X), gpu.asarray(y), order, batch, W, b, **options)


def test_a_small_bank_trains_in_one_cooperative_launch(gpu):
    (X, y, order, batch, W, b), options = cases.OPS["train"].arguments(
        Size(2_000, 20, 7), np.float32, 0
    )
    launched = clock.launch_times(
        lambda: kernels.train(X, y, order, batch, W, b, **options, backend="cupy")
    )
    assert [label for label, _ in launched] == ["train_steps.cu: train_steps"]


def test_arrays_of_a_gpu_that_is_not_the_current_one_are_worked_on_there(gpu):
    if gpu.cuda.runtime.getDeviceCount() < 2:
        pytest.skip("there is one GPU")
    V, y = cases.logits(300, 7, np.float32, 0), cases.labels(300, 7, 0)
    with gpu.cuda.Device(1):
        there = gpu.asarray(V), gpu.asarray(y)
    dV = kernels.cross_entropy_backward(*there)
    assert dV.device.id == 1
    assert gpu.cuda.runtime.getDevice() == 0
    with gpu.cuda.Device(1):
        found = dV.get()
    assert np.array_equal(found, kernels.cross_entropy_backward(V, y, backend="cupy"))


def test_a_tensor_that_torch_still_writes_is_waited_for(gpu):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("this torch sees no GPU")
    V = cases.logits(3_000, 1_000, np.float32, 0)
    tensor, values = torch.zeros(V.shape, device="cuda"), torch.from_numpy(V).cuda()
    busy = torch.rand(4_096, 4_096, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        for _ in range(20):  # some milliseconds, after which it is written
            busy = (busy @ busy).clamp_(0, 1)
        tensor.copy_(values)
        P = kernels.softmax_forward(tensor)
        assert isinstance(P, torch.Tensor)
        found = P.cpu().numpy()
    assert np.array_equal(found, kernels.softmax_forward(V, backend="cupy"))


def test_heads_of_a_bank_are_taken_and_put_as_numpy_does(gpu):
    bank = np.random.default_rng(0).standard_normal((40, 784, 10)).astype(np.float32)
    there, some, none = gpu.asarray(bank), np.array([39, 3, 17]), np.empty(0, np.int64)
    for index in (some, none, ...):
        assert np.array_equal(gpu.asnumpy(arrays.taken(there, index)), bank[index])
    arrays.put(there, some, arrays.taken(there, np.arange(3)))
    arrays.put(there, none, arrays.taken(there, none))
    bank[some] = bank[:3]
    assert np.array_equal(gpu.asnumpy(there), bank)
    arrays.put(there, ..., -bank)
    assert np.array_equal(gpu.asnumpy(there), -bank)


def test_a_sweep_that_drops_heads_on_the_gpu_finds_what_lone_models_find():
    digits, grid = load_digits(), {"learning_rate": [0.1, 0.5, 2.0], "momentum": [0.0, 0.9]}
    fixed = {"backend": "cupy", "random_state": 0, "epochs": 6}
    held_out = {"X_val": digits.X_test, "y_val": digits.y_test}
    rows = digits.X_train, digits.y_train
    sweep = SoftmaxSweep(grid, halving=True, patience=2, **fixed).fit(*rows, **held_out)
    best, ran = sweep.best_estimator_, sweep.results_["epochs"]
    assert ran.min() < ran.max()
    alone = SoftmaxRegression(**best.get_params()).fit(*rows, **held_out)
    np.testing.assert_allclose(best.coef_, alone.coef_, rtol=1e-4, atol=1e-5)

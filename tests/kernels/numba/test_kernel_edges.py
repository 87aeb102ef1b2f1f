"""Promise: the CPU kernels keep the contract where rows, threads and buffers meet."""

import importlib
import subprocess
import sys
import threading

import numpy as np
import pytest
from only import BETWEEN_PROCESSES

from softstep import kernels
from softstep.kernels import threads
from softstep.kernels._numba import cross_entropy, mse
from softstep.kernels._numba.parallel import workers
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size


@pytest.fixture
def eager(monkeypatch):
    """Threads for the smallest work, so that they meet often."""
    monkeypatch.setattr(threads, "FLOP_PER_CALL", 1)
    monkeypatch.setattr(threads, "FLOP_PER_STEP", 1)


@pytest.mark.parametrize(("d", "c", "batch", "columns"), [(16, 20, 500, 1), (4, 100, 400, 1000)])
def test_a_head_that_one_thread_freezes_no_other_revives(d, c, batch, columns, eager):
    X, y = cases.features(batch, d, np.float32, 0), cases.labels(batch, c, 0)
    X[7] = np.inf
    for _ in range(300):
        W, b = np.ones((1, d, c), np.float32), np.zeros((1, c), np.float32)
        active = np.ones(1, bool)
        kernels.train(
            *(X, y, np.arange(batch), batch, W, b),
            loss="mse",
            learning_rate=1,
            active=active,
            columns=columns,
            backend="numba",
            n_threads=2,
        )
        assert not active[0]
        assert (W == 1).all()


@pytest.mark.parametrize("op", ["evaluate", "train", "surface_forward"])
def test_a_code_that_slips_through_gives_nan_and_no_other_loss(op, monkeypatch):
    for module in ("losses", "surface"):
        module = importlib.import_module(f"softstep.kernels._numba.{module}")
        monkeypatch.setattr(module, "codes", lambda losses: np.full(len(losses), 77, np.uint8))
    positional, options = cases.OPS[op].arguments(Size(9, 3, 4), np.float32, 1)
    positional[0][0] = np.inf if op == "evaluate" else 1.0  # NaN in rows that are not finite too
    loss, _, *weights = parity.run(op, (positional, options), "numba")
    assert np.isnan(loss).all()
    assert all(np.isnan(array).all() for array in weights)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_logits_may_be_written_over_the_features(n_threads):
    size = 300  # more columns than one item has
    X = cases.features(size, size, np.float32, 0)
    W, b = (a[0] for a in cases.weights(1, size, size, np.float32, 0))
    expected = kernels.linear_forward(X, W, b, backend="numba")
    found = kernels.linear_forward(X, W, b, out=X, backend="numba", n_threads=n_threads)
    assert found is X
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("columns", [1, 1000])
def test_a_loss_is_finite_where_the_span_of_the_logits_is_not(columns):
    X, y = np.ones((1, 1), np.float32), np.array([0])
    W, b = np.array([[[3e38, -3e38]]], np.float32), np.zeros((1, 2), np.float32)
    loss, accuracy = kernels.evaluate(X, y, W, b, loss="cross_entropy", backend="numba")
    assert (loss, accuracy) == (0, 1)
    losses, correct = kernels.train(
        *(X, y, np.arange(1), 1, W, b),
        loss="cross_entropy",
        learning_rate=0.1,
        columns=columns,
        backend="numba",
    )
    assert (losses, correct) == (0, 1)


def test_the_label_of_a_soft_target_is_its_first_nan_as_in_the_oracle():
    X = np.ones((2, 1), np.float32)
    Y = np.array([[0.5, np.nan, 0.5], [0.2, 0.7, 0.1]], np.float32)
    W, b = np.array([[[0.0, 1.0, 0.0]]], np.float32), np.zeros((1, 3), np.float32)
    found, expected = (
        kernels.evaluate(X, Y, W, b, loss="mse", backend=backend)[1]
        for backend in ("numba", "numpy")
    )
    np.testing.assert_array_equal(found, expected)


def test_an_interrupt_while_threads_start_leaves_none_at_work(eager, monkeypatch):
    X = cases.features(64, 8, np.float32, 0)
    W, b = (a[0] for a in cases.weights(1, 8, 4, np.float32, 0))
    expected = kernels.linear_forward(X, W, b, backend="numba", n_threads=3)
    begun, ended, ask = threading.Event(), threading.Event(), workers.ask

    def watched(function, *arguments):
        begun.set()
        function(*arguments)
        ended.set()

    def interrupted(function, arguments):
        if begun.is_set():
            raise KeyboardInterrupt
        work = ask(watched, (function, *arguments))
        begun.wait(10)
        return work

    with monkeypatch.context() as patch:
        patch.setattr(workers, "ask", interrupted)
        with pytest.raises(KeyboardInterrupt):
            kernels.linear_forward(X, W, b, backend="numba", n_threads=3)
    assert ended.wait(10)
    np.testing.assert_array_equal(
        kernels.linear_forward(X, W, b, backend="numba", n_threads=3), expected
    )


@BETWEEN_PROCESSES
def test_ctrl_c_ends_a_long_training_soon_and_the_next_one_is_right():
    code = """
import os, signal, threading, time
import numpy as np
from softstep import kernels
from softstep.kernels.verify import cases
X, y = cases.features(2000, 784, np.float32, 0), cases.labels(2000, 10, 0)
W, b = cases.weights(1, 784, 10, np.float32, 0)
def train(order, W, b):
    kernels.train(X, y, order, 100, W, b, loss="mse", learning_rate=0.1, backend="numba")
short, long = np.arange(2000), np.tile(np.arange(2000), 10_000)
train(short, W.copy(), b.copy())
before = W.copy()
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
start = time.perf_counter()
try:
    train(long, W, b)
except KeyboardInterrupt:
    print(time.perf_counter() - start < 5, (W == before).all())
V, c = W.copy(), b.copy()
train(short, W, b)
kernels.train(X, y, short, 100, V, c, loss="mse", learning_rate=0.1, backend="numba", n_threads=1)
print((W == V).all())
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.stdout.split() == ["True"] * 3, run.stderr


def test_training_in_parts_gives_the_bits_of_training_in_one(monkeypatch):
    X, y = cases.features(500, 30, np.float32, 0), cases.labels(500, 4, 0)
    order = np.random.default_rng(0).permutation(500)
    found = []
    for flop in (1e12, 1):
        module = importlib.import_module("softstep.kernels._numba.train")
        monkeypatch.setattr(module, "FLOP_PER_INTERRUPT", flop)
        W, b = cases.weights(2, 30, 4, np.float32, 0)
        velocity = np.zeros_like(W), np.zeros_like(b)
        rates = np.geomspace(0.1, 1, 16).reshape(8, 2)
        figures = kernels.train(X, y, order, 63, W, b, loss="mse", learning_rate=rates,
                                momentum=0.9, velocity=velocity, backend="numba")  # fmt: skip
        found.append([*figures, W, b, *velocity])
    for whole, parts in zip(*found, strict=True):
        np.testing.assert_array_equal(whole, parts)


def test_read_only_arrays_compile_nothing_anew():
    V, Y = np.ones((3, 4), np.float32), np.full((3, 4), 0.25, np.float32)
    for op in ("softmax_mse_backward", "cross_entropy_forward", "mse_forward"):
        getattr(kernels, op)(V, Y, backend="numba")
    compiled = [mse._softmax_mse_rows, cross_entropy._forward_rows, mse._mse_rows]
    before = [len(kernel.signatures) for kernel in compiled]
    V.flags.writeable = Y.flags.writeable = False
    for op in ("softmax_mse_backward", "cross_entropy_forward", "mse_forward"):
        getattr(kernels, op)(V, Y, backend="numba")
    assert [len(kernel.signatures) for kernel in compiled] == before


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8"])
@pytest.mark.parametrize(("n", "batch", "h", "c"), [(1, 9, 1, 2), (61, 61, 2, 7), (120, 50, 4, 5)])
@pytest.mark.parametrize("kind", ["plain", "momentum", "weighted", "soft", "frozen"])
def test_few_rows_train_to_the_bits_of_many_threads(kind, n, batch, h, c, dtype, monkeypatch):
    X = cases.features(n, 37, np.dtype(dtype), 0)
    y, order = cases.labels(n, c, 0), np.random.default_rng(1).permutation(n)
    found = []
    for flop in (1e9, 1):
        monkeypatch.setattr(threads, "FLOP_PER_CALL", flop)
        monkeypatch.setattr(threads, "FLOP_PER_STEP", flop)
        W, b = cases.weights(h, 37, c, np.float64 if dtype == "float64" else np.float32, 0)
        velocity, active = (np.ones_like(W), np.ones_like(b)), np.ones(h, bool)
        more = {"l2": np.linspace(0, 0.1, h), "loss": "cross_entropy", "feature_scale": 1 / 16}
        if kind == "momentum":
            more |= {"momentum": 0.9, "velocity": velocity, "l2_bias": True}
        elif kind == "weighted":
            more |= {"sample_weight": np.linspace(1, 2, n), "momentum": 0.5, "fit_bias": False}
        elif kind == "frozen":
            active[0] = False
        targets = np.eye(c)[y] if kind == "soft" else y
        figures = kernels.train(
            *(X, targets, order, batch, W, b),
            learning_rate=np.linspace(0.5, 1, h),
            active=active,
            backend="numba",
            n_threads=2,
            **more,
        )
        found.append([*figures, W, b, *velocity, active])
    for alone, together in zip(*found, strict=True):
        np.testing.assert_array_equal(alone, together)
    assert (found[0][2] != cases.weights(h, 37, c, np.float32, 0)[0]).any() or kind == "frozen"


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8"])
@pytest.mark.parametrize("n", [1, 3, 16, 61, 112, 113])
def test_what_is_too_little_for_threads_has_the_bits_of_what_is_not(n, dtype, monkeypatch):
    for op in ("linear_forward", "predict"):
        arguments = cases.OPS[op].arguments(Size(n, 37, 7, h=2), dtype, 0)
        monkeypatch.setattr(threads, "FLOP_PER_CALL", 1e9)
        alone = parity.run(op, arguments, "numba")
        monkeypatch.setattr(threads, "FLOP_PER_CALL", 1)
        together = parity.run(op, (arguments[0], {**arguments[1], "n_threads": 2}), "numba")
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.any()

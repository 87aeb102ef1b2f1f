"""Promise: the CPU kernels keep the contract where rows, threads and buffers meet."""

import threading

import numpy as np
import pytest

from softstep import kernels
from softstep.bench import workloads
from softstep.kernels import threads
from softstep.kernels._numba import helpers


@pytest.fixture
def eager(monkeypatch):
    """Threads for the smallest work, so that they meet often."""
    monkeypatch.setattr(threads, "FLOP_OF_A_CALL", 1)
    monkeypatch.setattr(threads, "FLOP_BETWEEN_BARRIERS", 1)


@pytest.mark.parametrize(("d", "c", "batch", "columns"), [(16, 20, 500, 1), (4, 100, 400, 1000)])
def test_a_head_that_one_thread_freezes_no_other_revives(d, c, batch, columns, eager):
    X, y = workloads.features(batch, d, np.float32, 0), workloads.labels(batch, c, 0)
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


@pytest.mark.parametrize("n_threads", [1, 2])
def test_logits_may_be_written_over_the_features(n_threads):
    size = 300  # more columns than one item has
    X = workloads.features(size, size, np.float32, 0)
    W, b = (a[0] for a in workloads.weights(1, size, size, np.float32, 0))
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
    X = workloads.features(64, 8, np.float32, 0)
    W, b = (a[0] for a in workloads.weights(1, 8, 4, np.float32, 0))
    expected = kernels.linear_forward(X, W, b, backend="numba", n_threads=3)
    begun, ended, ask = threading.Event(), threading.Event(), helpers.ask

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
        patch.setattr(helpers, "ask", interrupted)
        with pytest.raises(KeyboardInterrupt):
            kernels.linear_forward(X, W, b, backend="numba", n_threads=3)
    assert ended.wait(10)
    np.testing.assert_array_equal(
        kernels.linear_forward(X, W, b, backend="numba", n_threads=3), expected
    )

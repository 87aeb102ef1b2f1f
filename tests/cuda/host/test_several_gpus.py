"""Promise: what is on a GPU that is not the current one is worked on there, and stays there."""

import sys

import numpy as np
import pytest
import standin

from softstep import SoftmaxRegression, SoftmaxSweep, kernels
from softstep.kernels._cupy.arrays import asarray
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size

SIZE = Size(30, 7, 5, h=2)


def in_host_memory(array):
    with sys.modules["cupy"].cuda.Device(array.device.id):
        return array.get()


@pytest.fixture
def on_other(machine):
    """on_other(array): on GPU 1, while GPU 0 is the current one."""

    def move(array):
        with sys.modules["cupy"].cuda.Device(1):
            return asarray(array)

    return move


def moved(arguments, move):
    positional, options = arguments
    everything = [move(a) if isinstance(a, np.ndarray) else a for a in positional]
    return (everything, options)


@pytest.mark.parametrize("op", cases.OPS)
def test_an_op_runs_where_its_arrays_are(op, machine, on_other):
    arguments = cases.OPS[op].arguments(SIZE, np.float32, 1)
    expected = parity.run(op, arguments, "cupy")
    there = moved(arguments, on_other)
    found = getattr(kernels, op)(*there[0], **there[1])
    found = found if isinstance(found, tuple) else (found,)
    if op == "train":  # W and b are updated where they are
        found += tuple(there[0][-2:])
    assert [array.device.id for array in found] == [1] * len(found)
    for f, e in zip(found, expected, strict=True):
        assert np.array_equal(in_host_memory(f), e)
    assert machine.device == 0


def test_arrays_on_two_gpus_are_refused(machine, on_other):
    (X, W, b), _ = cases.OPS["linear_forward"].arguments(SIZE, np.float32, 1)
    with pytest.raises(ValueError, match="of one call are on GPUs 0 and 1: move them to one"):
        kernels.linear_forward(on_other(X), asarray(W), b)


def test_arrays_from_the_host_go_where_the_others_are(machine, on_other):
    (X, W, b), _ = cases.OPS["linear_forward"].arguments(SIZE, np.float32, 1)
    V = kernels.linear_forward(on_other(X), W, b)
    assert V.device.id == 1


class Tensor:
    """A tensor on GPU 1, of a library that has no from_dlpack."""

    def __init__(self, array):
        self.array = array

    def __dlpack_device__(self):
        return 2, 1

    def __dlpack__(self, **options):
        return standin.Capsule(self.array._values, self.array._owner, 1)


def test_an_array_of_another_library_is_worked_on_where_it_is(machine, on_other):
    V = np.linspace(-1, 1, 20, dtype=np.float32).reshape(4, 5)
    P = kernels.softmax_forward(Tensor(on_other(V)))
    assert P.device.id == 1
    assert np.array_equal(in_host_memory(P), kernels.softmax_forward(V, backend="cupy"))


def test_an_estimator_and_a_sweep_train_and_predict_there(machine, on_other):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 6)).astype(np.float32)
    y = X[:, :3].argmax(axis=1)
    settings = {"epochs": 2, "batch_size": 20, "random_state": 0}
    there = SoftmaxRegression(momentum=0.5, **settings).fit(on_other(X), y)
    here = SoftmaxRegression(momentum=0.5, backend="cupy", **settings).fit(X, y)
    assert np.array_equal(there.coef_, here.coef_)
    labels = there.predict(on_other(X))
    assert labels.device.id == 1
    assert np.array_equal(in_host_memory(labels), here.predict(X))
    grid = {"learning_rate": [0.1, 0.5]}
    sweeps = [SoftmaxSweep(grid, cv=2, backend=b, **settings) for b in (None, "cupy")]
    for sweep, x in zip(sweeps, (on_other(X), X), strict=True):
        sweep.fit(x, y)
    assert np.array_equal(sweeps[0].estimator(1).coef_, sweeps[1].estimator(1).coef_)

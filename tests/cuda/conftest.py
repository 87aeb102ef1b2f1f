"""What the tests of the GPU backend share: the emulated GPU, and parity on it."""

import sys
from pathlib import Path

import numpy as np
import pytest

# The helpers of these tests (emulator, standin, nvrtc) are modules of this folder.
sys.path.insert(0, str(Path(__file__).parent))

import emulator
import standin
from train_cases import LAUNCHES, STEPS

from softstep.bench import parity, workloads


@pytest.fixture
def machine():
    """A stand-in for CuPy on an emulated GPU; backend "cupy" runs on it."""
    if reason := emulator.missing():
        pytest.skip(reason)
    with standin.install() as machine:
        yield machine


@pytest.fixture(params=emulator.SCHEDULES)
def scheduled(request, machine):
    """The emulated GPU under each of the emulator's schedules."""
    machine.schedule, machine.seed = request.param, 7
    return machine


@pytest.fixture
def assert_op_parity(machine):
    """check(op, arguments): within the op's error bounds, which refuse zeros; gives the results.

    Float32 kernels flush subnormals: what vanishes there may be off by the smallest normal number.
    """

    def check(op, arguments):
        found = parity.run(op, arguments, "cupy")
        expected = parity.run(op, arguments, parity.ORACLE)
        assert [(f.dtype, f.shape) for f in found] == [(e.dtype, e.shape) for e in expected]
        truth, bound = parity.truth_and_bounds(op, arguments)
        if workloads.weight_dtype(arguments[0][0].dtype) == np.float32:
            pairs = zip(truth, bound, strict=True)
            vanishes = 4 * np.finfo(np.float32).tiny
            bound = [b + vanishes * (np.abs(t) < 2 * vanishes) for t, b in pairs]
        assert max(parity.ratios(found, truth, bound)) <= 1
        for t, b in zip(truth, bound, strict=True):
            if np.nan_to_num(t).any() and op != "predict":
                assert parity.worst(0 * t, t, b) > 1
        return found

    return check


@pytest.fixture
def run_on(machine):
    """run(path, arguments): all results of `train` (softstep.bench.parity.run) on that path."""

    def run(path, arguments):
        # Without multiprocessors nothing is resident, and every step has launches of its own.
        machine.multiprocessors = 1000 if path == STEPS else 0
        machine.log.clear()
        results = parity.run("train", arguments, "cupy")
        launched = {line for line in machine.log if line.startswith("launch ")}
        assert ("launch train_steps" in launched) == (path == STEPS)
        assert ("launch train_update" in launched) == (path == LAUNCHES)
        return results

    return run


@pytest.fixture
def assert_train_parity(run_on):
    """check(path, arguments): within the bounds of `train`, which refuse untrained weights."""

    def check(path, arguments):
        found = run_on(path, arguments)
        truth, bound = parity.truth_and_bounds("train", arguments)
        expected = parity.run("train", arguments, parity.ORACLE)
        assert [f.dtype for f in found] == [e.dtype for e in expected]
        assert max(parity.ratios(found, truth, bound)) <= 1
        for t, e in zip(truth, bound, strict=True):
            if t.any():
                assert parity.worst(0 * t, t, e) > 1
        *_, W, _ = arguments[0]
        if W.shape[2] > 1:
            heads = zip(W, truth[2], bound[2], strict=True)
            assert all(parity.worst(w, t, e) > 1 for w, t, e in heads)
        return found

    return check

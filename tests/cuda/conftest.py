"""What the tests of the GPU backend share: the emulated GPU, and parity on it."""

import emulator
import pytest
from train_cases import LAUNCHES, STEPS

from softstep.kernels.verify import parity


@pytest.fixture(params=emulator.SCHEDULES)
def scheduled(request, machine):
    """The emulated GPU under each of the emulator's schedules."""
    machine.schedule, machine.seed = request.param, 7
    return machine


@pytest.fixture
def assert_op_parity(machine, assert_parity):
    """check(op, arguments): `assert_parity` on the emulated GPU."""
    return lambda op, arguments: assert_parity(op, arguments, "cupy")


@pytest.fixture
def run_on(machine):
    """run(path, arguments): all results of `train` on that path."""

    def run(path, arguments):
        machine.multiprocessors = 1000
        machine.launches_cooperatively = path == STEPS
        machine.log.clear()
        results = parity.run("train", arguments, "cupy")
        assert ("launch train_steps" in machine.log) == (path == STEPS)
        assert any("launch train_update" in line for line in machine.log) == (path == LAUNCHES)
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

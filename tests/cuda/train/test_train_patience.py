"""Promise: blocks that wait in vain for each other leave, and the call says so and what to do."""

import numpy as np
import pytest
from train_cases import STEPS

from softstep import kernels
from softstep.kernels._cupy import kernel
from softstep.kernels._cupy.training import steps as train_steps
from softstep.kernels.verify import cases
from softstep.kernels.verify.cases import Size


@pytest.fixture
def arguments():
    return cases.OPS["train"].arguments(Size(44, 70, 10, 3), "float32", 0)


@pytest.fixture
def a_block_too_many(monkeypatch):
    """Blocks wait for one that there is not, as where another process keeps it from the GPU."""
    source = kernel.source
    assert source("train_steps.cu").count("< arrivals;") == 1
    monkeypatch.setattr(
        kernel, "source", lambda file: source(file).replace("< arrivals;", "< arrivals + 1;")
    )


@pytest.mark.parametrize("by_owner", [False, True])
@pytest.mark.parametrize("check", [False, True])
def test_blocks_that_waited_too_long_leave(
    by_owner, check, arguments, a_block_too_many, scheduled, monkeypatch
):
    monkeypatch.setenv("SOFTSTEP_BARRIER_SECONDS", "1e-6")
    if by_owner:
        monkeypatch.setattr(train_steps, "REDUNDANT_BYTES", 0)
    scheduled.multiprocessors, scheduled.check = 1000, check
    (*data, W, b), options = arguments
    before = W.copy(), b.copy()
    with pytest.raises(kernels.BackendError) as found:
        kernels.train(*data, W, b, **options, backend="cupy")
    assert str(found.value) == (
        "train_steps.cu: train_steps gave up: its blocks waited 1e-06 s for one of them, as when "
        "another process has the GPU. What it trains on the GPU may be of different steps. Free "
        "the GPU, or set SOFTSTEP_BARRIER_SECONDS to more seconds"
    )
    assert np.array_equal(W, before[0])
    assert np.array_equal(b, before[1])


def test_who_waits_long_enough_notices_nothing(arguments, run_on, monkeypatch):
    expected = run_on(STEPS, arguments)
    monkeypatch.setenv("SOFTSTEP_BARRIER_SECONDS", "0.5")
    for found, e in zip(run_on(STEPS, arguments), expected, strict=True):
        assert np.array_equal(found, e)


@pytest.mark.parametrize("asked", ["0", "-1", "soon", "inf", "nan"])
def test_a_time_that_is_none_is_refused(asked, arguments, run_on, monkeypatch):
    monkeypatch.setenv("SOFTSTEP_BARRIER_SECONDS", asked)
    with pytest.raises(ValueError, match=f"must be a number of seconds above 0, not '{asked}'"):
        run_on(STEPS, arguments)

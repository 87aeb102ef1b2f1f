"""A CUDA op gives the same bits in whatever order its threads and blocks run, and on any grid."""

import numpy as np
import pytest

from softstep.kernels._cupy import kernel
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size

# Of each op the kernels with the most synchronisation: two warps' worth of columns, a block a row,
# a depth that is split.
CASES = {
    "softmax_forward": (Size(5, 1, 40), Size(2, 1, 4100)),
    "softmax_backward": (Size(5, 1, 40), Size(2, 1, 1025)),
    "mse_forward": (Size(5, 1, 40), Size(2, 1, 1025)),
    "mse_backward": (Size(5, 1, 40),),
    "cross_entropy_forward": (Size(5, 1, 40), Size(2, 1, 1025)),
    "cross_entropy_backward": (Size(5, 1, 40), Size(2, 1, 1025)),
    "softmax_mse_backward": (Size(5, 1, 40), Size(2, 1, 1025)),
    "gce_forward": (Size(5, 1, 40), Size(2, 1, 1025)),
    "gce_backward": (Size(5, 1, 40), Size(2, 1, 1025)),
    "linear_forward": (Size(40, 300, 3), Size(70, 40, 70)),
    "linear_backward": (Size(300, 40, 3), Size(40, 70, 70)),
    "predict": (Size(40, 20, 3, 2),),
    "evaluate": (Size(300, 20, 3, 2),),
    "gradient": (Size(300, 20, 3, 2),),
    "surface_forward": (Size(300, 1, 3),),
}
SCHEDULES = ("reversed", "random", "greedy_warp")


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("op", CASES)
def test_any_order(op, schedule, machine):
    for size in CASES[op]:
        arguments = cases.OPS[op].arguments(size, np.float32, 1)
        expected = parity.run(op, arguments, "cupy")
        machine.schedule, machine.seed = schedule, 11
        found = parity.run(op, arguments, "cupy")
        machine.schedule = "in_order"
        for e, f in zip(expected, found, strict=True):
            np.testing.assert_array_equal(f, e)
            assert np.isfinite(f).all()


@pytest.mark.parametrize("op", CASES)
def test_any_number_of_multiprocessors(op, machine, monkeypatch):
    monkeypatch.setattr("softstep.kernels._cupy.launch.BLOCKS_PER_MULTIPROCESSOR", 1)
    for size in CASES[op]:
        results = []
        arguments = cases.OPS[op].arguments(size, np.float32, 1)
        for machine.multiprocessors in (1, 100):
            results.append(parity.run(op, arguments, "cupy"))
        for one, many in zip(*results, strict=True):
            np.testing.assert_array_equal(one, many)


def test_the_order_does_matter_where_a_barrier_is_missing(machine, monkeypatch):
    """The schedules bite: without the barriers of a block's reduction the bits do change."""
    source = kernel.source
    monkeypatch.setattr(kernel, "source", lambda file: source(file).replace("__syncthreads();", ""))
    arguments = cases.OPS["softmax_forward"].arguments(Size(2, 1, 1025), np.float32, 1)
    results = []
    for machine.schedule in ("in_order", *SCHEDULES):
        results.append(parity.run("softmax_forward", arguments, "cupy")[0])
    assert not all(np.array_equal(r, results[0]) for r in results)

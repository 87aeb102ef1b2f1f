"""`out=` of the CUDA ops: host or device memory, also that of an input."""

import numpy as np
import pytest

from softstep import kernels
from softstep.kernels._cupy import cross_entropy, gce, linear, mse, softmax
from softstep.kernels._cupy.arrays import asarray, to_host
from softstep.kernels.verify import cases
from softstep.kernels.verify.cases import Size

OPS = {
    "softmax_forward": softmax.softmax_forward,
    "softmax_backward": softmax.softmax_backward,
    "mse_backward": mse.mse_backward,
    "cross_entropy_backward": cross_entropy.cross_entropy_backward,
    "softmax_mse_backward": mse.softmax_mse_backward,
    "gce_backward": gce.gce_backward,
    "linear_forward": linear.linear_forward,
}
# Square, so that the logits have the form of the features; long rows, so that a tile is written
# before the next is read.
SIZES = {op: (Size(7, 1, 5), Size(2, 1, 4500)) for op in OPS}
SIZES["softmax_mse_backward"] = (Size(7, 1, 5), Size(2, 1, 1100))
SIZES["linear_forward"] = (Size(70, 70, 70), Size(200, 300, 300))


@pytest.mark.parametrize("op", OPS)
def test_out_in_host_memory_is_written_and_returned(op, machine):
    arguments, _ = cases.OPS[op].arguments(SIZES[op][0], np.float32, 1)
    expected = to_host(OPS[op](*arguments))
    out = np.full(expected.shape, np.nan, np.float32)
    assert OPS[op](*arguments, out=out) is out
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("schedule", ["in_order", "reversed", "random", "greedy_warp"])
@pytest.mark.parametrize("op", OPS)
def test_out_may_be_an_input(op, schedule, machine):
    machine.schedule = schedule
    for size in SIZES[op]:
        arguments, _ = cases.OPS[op].arguments(size, np.float32, 1)
        expected = to_host(OPS[op](*arguments))
        for i, argument in enumerate(arguments):
            if argument.shape != expected.shape or argument.dtype != np.float32:
                continue
            on_device = [asarray(a) for a in arguments]
            assert OPS[op](*on_device, out=on_device[i]) is on_device[i]
            np.testing.assert_array_equal(to_host(on_device[i]), expected)


@pytest.mark.parametrize("op", ["mse_backward", "cross_entropy_backward", "softmax_mse_backward"])
def test_out_may_be_the_soft_targets(op, machine):
    for c in (5, 4500):
        (first, _), _ = cases.OPS[op].arguments(Size(2, 1, c), np.float32, 1)
        Y = cases.probabilities(2, c, np.float32, 2)
        expected = to_host(OPS[op](first, Y))
        out = asarray(Y)
        assert OPS[op](asarray(first), out, out=out) is out
        np.testing.assert_array_equal(to_host(out), expected)


def test_out_on_the_device_that_overlaps_an_input_in_part_is_refused(machine):
    room = asarray(cases.probabilities(6, 5, np.float32, 1))
    before = to_host(room)
    P = asarray(cases.probabilities(5, 5, np.float32, 2))
    W, b = asarray(np.ones((5, 5), np.float32)), asarray(np.ones(5, np.float32))
    for op, given in (
        (kernels.softmax_forward, (room[:5],)),
        (kernels.softmax_backward, (P, room[:5])),
        (kernels.mse_backward, (P, room[:5])),
        (kernels.cross_entropy_backward, (P, room[:5])),
        (kernels.softmax_mse_backward, (P, room[:5])),
        (kernels.linear_forward, (P, room[:5], b)),
        (kernels.linear_forward, (P, W, room[2])),
    ):
        with pytest.raises(ValueError, match=r"^out overlaps an input without being it$"):
            op(*given, out=room[1:])
    assert np.array_equal(to_host(room), before)


def test_results_on_the_device_need_no_trip_to_the_host(machine):
    V = asarray(cases.logits(5, 3, np.float32, 1))
    machine.log.clear()
    softmax.softmax_forward(V, out=V)
    assert machine.log == ["launch softmax_forward"]

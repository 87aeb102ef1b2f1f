"""Promise: a profiler shows the kernels of an op under the op's name."""

import numpy as np
import pytest

from softstep import kernels
from softstep.kernels._cupy import kernel
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size


@pytest.mark.parametrize("op", cases.OPS)
def test_every_kernel_of_an_op_is_launched_within_its_name(op, machine, monkeypatch):
    kernels.softmax_forward(np.ones((1, 2)), backend="cupy")  # which probes the backend first
    seen, call = set(), kernel.Kernel.__call__

    def launch(self, *args, **options):
        seen.update(machine.ranges)
        assert machine.ranges
        return call(self, *args, **options)

    monkeypatch.setattr(kernel.Kernel, "__call__", launch)
    parity.run(op, cases.OPS[op].arguments(Size(20, 5, 3), np.float32, 1), "cupy")
    assert f"softstep.{op}" in seen
    assert machine.ranges == []


def test_a_name_ends_where_an_op_fails(machine):
    V = np.ones((3, 4), np.float32)
    kernels.softmax_forward(V, backend="cupy")
    machine.memory = 16
    with pytest.raises(MemoryError):
        kernels.softmax_forward(V, backend="cupy")
    assert machine.ranges == []

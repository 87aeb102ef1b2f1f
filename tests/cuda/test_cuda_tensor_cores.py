"""The linear layer on tensor cores, which is off: emulated but for one instruction, never run."""

import numpy as np
import nvrtc
import pytest

from softstep import kernels
from softstep.bench import parity, workloads
from softstep.bench.workloads import Size
from softstep.kernels._cupy import linear
from softstep.kernels._cupy.device import options, source

SIZES = (Size(70, 36, 70), Size(5, 3, 130), Size(65, 100, 33), Size(10, 600, 64))


@pytest.fixture
def tensor_cores(monkeypatch):
    monkeypatch.setattr(linear, "TENSOR_CORES", True)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_the_product_keeps_the_bounds_of_float32(dtype, size, tensor_cores, assert_op_parity):
    arguments = workloads.OPS["linear_forward"].arguments(size, dtype, 1)
    found = assert_op_parity("linear_forward", arguments)
    linear.TENSOR_CORES = False  # another kernel: the bits differ
    assert not np.array_equal(found[0], parity.run("linear_forward", arguments, "cupy")[0])


@pytest.mark.parametrize("schedule", ["in_order", "random", "greedy_warp"])
def test_the_checker_finds_no_fault(schedule, tensor_cores, machine):
    machine.check, machine.schedule = True, schedule
    (X, W, b), scale = workloads.OPS["linear_forward"].arguments(Size(66, 20, 40), "uint8", 2)
    assert kernels.linear_forward(X, W, b, **scale, backend="cupy").any()


def test_they_are_off_and_for_no_other_features(machine, monkeypatch):
    used = []
    kernel = linear.device.kernel
    monkeypatch.setattr(
        linear.device,
        "kernel",
        lambda file, name, **defines: (
            used.append("TENSOR_CORES" in defines) or kernel(file, name, **defines)
        ),
        raising=False,
    )
    for on in (False, True):
        monkeypatch.setattr(linear, "TENSOR_CORES", on)
        for dtype in ("float32", "float64", "float16", "uint8"):
            (X, W, b), _ = workloads.OPS["linear_forward"].arguments(Size(3, 4, 40), dtype, 3)
            kernels.linear_forward(X, W, b, backend="cupy")
    assert used == [False] * 6 + [True] * 2


@pytest.mark.skipif(nvrtc.missing() is not None, reason=str(nvrtc.missing()))
@pytest.mark.parametrize("kind", [2, 3])
def test_the_compiled_code_has_the_instruction_from_sm_80_on(kind):
    defines = {"REAL": "float", "X_KIND": kind, "TILE_ROWS": 64, "TILE_COLUMNS": 64}
    for architecture in nvrtc.architectures():
        opts = options({**defines, "TENSOR_CORES": 1})
        _, ptx = nvrtc.compile_source(source("linear.cu"), "linear.cu", opts, architecture)
        instruction = "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"
        assert (instruction in ptx) == (architecture >= 80)

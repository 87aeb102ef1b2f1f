"""Every kernel compiles for every architecture, without spills and within its budget."""

import re

import nvrtc
import pytest
import tables

from softstep.kernels._cupy import kernel
from softstep.kernels._cupy.kernel import options, source

pytestmark = pytest.mark.skipif(nvrtc.missing() is not None, reason=str(nvrtc.missing()))

# The most a kernel may take: registers of a thread, bytes of static shared memory of a block.
# A multiprocessor has 65,536 registers: 255 each are enough for 8 warps, 168 for 12, 128 for 16,
# 96 for 20, 80 for 24, 64 for 32, 40 for 48, 32 for 64. Kernels of 256 threads take 8 at the least.
BUDGET = {
    "add_chunks": (40, 0),
    "add_parts": (40, 0),
    "add_to_sums": (40, 0),
    "column_sums": (64, 2048),
    "cross_entropy_backward": (128, 256),
    "cross_entropy_forward": (168, 256),
    "evaluate_rows": (168, 256),
    "gce_backward": (128, 256),
    "gce_forward": (128, 256),
    "gradient_rows": (128, 0),
    "linear_backward": (168, 44_032),
    "linear_backward_tensor": (255, 0),
    "linear_forward": (168, 44_032),
    "linear_forward_tensor": (255, 0),
    "means": (32, 0),
    "mse_backward": (40, 0),
    "mse_forward": (64, 128),
    "no_distribution": (64, 0),
    "not_finite": (64, 0),
    "outside": (64, 0),
    "pack_bank": (40, 0),
    "predict_rows": (80, 128),
    "softmax_backward": (168, 128),
    "softmax_forward": (128, 256),
    "softmax_mse_backward": (96, 256),
    "sum_chunks": (32, 6144),
    "surface_add": (48, 0),
    "surface_chunks": (64, 0),
    "train_forward": (128, 32_768),
    "train_logits": (128, 16_640),
    "train_logits_tensor": (255, 0),
    "train_rows": (128, 0),
    "train_slices": (128, 32_768),
    "train_steps": (255, 0),
    "train_update": (128, 20_544),
    "train_update_tensor": (255, 0),
    "unpack_bank": (40, 0),
}

SPILLS = """
extern "C" __global__ void __launch_bounds__(1024) spills(double *x) {
  double a[64];
  _Pragma("unroll") for (int i = 0; i < 64; ++i) a[i] = x[32 * i + threadIdx.x];
  _Pragma("unroll") for (int i = 0; i < 64; ++i)
    _Pragma("unroll") for (int j = 0; j < 64; ++j) a[i] = a[i] * a[j] + 0.5;
  _Pragma("unroll") for (int i = 0; i < 64; ++i) x[32 * i + threadIdx.x] = a[i];
}
extern "C" __global__ void takes_shared(float *x) {
  __shared__ float s[100];
  s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = s[99 - threadIdx.x];
}
extern "C" __global__ void takes_stack(float *x, const int *at, int n) {
  float a[100] = {};
  for (int i = 0; i < n; ++i) a[at[i]] += x[i];
  for (int i = 0; i < n; ++i) x[i] = a[at[i] ^ 1];
}
"""


@pytest.fixture(scope="module")
def measured():
    """Compiling everything is what it tests first: a CompileError fails every test here."""
    found = nvrtc.compile_all()
    print(f"\nNVRTC {nvrtc.version()}\n{nvrtc.table(found)}")
    return found


def test_every_kernel_compiles_for_every_architecture(measured):
    kernels = {name for name, _, _ in measured}
    in_sources = {
        name
        for file in nvrtc.files()
        for name in re.findall(r"__global__\s+void\s+(?:__launch_bounds__\(.*?\)\s+)?(\w+)\(",
                               source(file))
    }  # fmt: skip
    assert kernels == in_sources
    assert {arch for _, _, arch in measured} == set(nvrtc.architectures()) >= {75, 80, 90}


# Bytes that ptxas moves to memory and back where two blocks of 256 threads need all registers.
SPILLS_KNOWN = {("train_forward", 120): 16}


def test_no_kernel_spills_or_keeps_an_array_in_local_memory(measured):
    bad = {
        (name, opts, arch): cost
        for (name, opts, arch), cost in measured.items()
        if cost.spills > SPILLS_KNOWN.get((name, arch), 0) or cost.stack > cost.spills
    }
    assert not bad


def test_the_page_says_what_every_kernel_takes(measured):
    page = tables.PAGE.read_text(encoding="utf-8")
    if f"NVRTC {nvrtc.version()}" not in page:
        pytest.skip("docs/gpu.md has the code of another NVRTC")
    assert nvrtc.table(measured) in page


def test_every_kernel_keeps_to_its_budget(measured):
    top = nvrtc.largest(measured)
    taken = {
        name: (
            max(cost.registers for (n, _), cost in top.items() if n == name),
            max(cost.shared for (n, _), cost in top.items() if n == name),
        )
        for name, _ in top
    }
    assert taken.keys() == BUDGET.keys()
    over = {name: (taken[name], "of", BUDGET[name]) for name in taken
            if taken[name][0] > BUDGET[name][0] or taken[name][1] > BUDGET[name][1]}  # fmt: skip
    assert not over


def test_spills_stack_and_shared_memory_are_seen():
    log, _ = nvrtc.compile_source(SPILLS, "spills.cu", (), 80)
    found = nvrtc.costs(log)
    assert set(found) == {"spills", "takes_shared", "takes_stack"}
    assert found["spills"].spills > 0
    assert found["spills"].registers == 64
    assert (found["takes_stack"].spills, found["takes_stack"].stack) == (0, 400)
    assert found["takes_shared"].shared == 400
    assert found["takes_shared"].spills == found["takes_shared"].stack == 0


def test_a_source_that_does_not_compile_is_an_error_with_file_and_line():
    text = '#line 7 "softmax.cu"\nextern "C" __global__ void f(REAL *x) { x[0] = y; }'
    with pytest.raises(nvrtc.CompileError, match=r'softmax.cu\(7\): error: identifier "y"'):
        nvrtc.compile_source(text, "softmax.cu", options({"REAL": "float"}), 80)


def test_the_kernel_written_in_a_python_file_compiles_too():
    for architecture in nvrtc.architectures():
        log, _ = nvrtc.compile_source(kernel.HOLD, "kernel.py", (), architecture)
        assert all(cost.spills == 0 for cost in nvrtc.costs(log).values())


def test_every_kernel_is_compiled_on_every_architecture_and_every_variant_on_one():
    everything = {arch: nvrtc.programs(arch) for arch in nvrtc.ARCHITECTURES}
    parts = {arch: nvrtc.fewer_programs(arch) for arch in nvrtc.ARCHITECTURES}
    for arch, part in parts.items():
        assert set().union(*part.values()) == set().union(*everything[arch].values())
    assert parts[nvrtc.FULL] == everything[nvrtc.FULL]
    without = set().union(*everything[nvrtc.FULL].values()) - set().union(*everything[75].values())
    assert without == {name for name in without if name.endswith("_tensor")}
    assert parts[75].keys() != parts[90].keys()

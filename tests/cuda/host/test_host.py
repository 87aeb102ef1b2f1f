"""What device.py, arrays.py and kernel.py promise, with a strict stand-in for CuPy below them."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import standin

from softstep.kernels._cupy import arrays, device
from softstep.kernels._cupy import kernel as kernel_module
from softstep.kernels._cupy.arrays import asarray, copy_into, empty, to_host, zeros
from softstep.kernels._cupy.device import DeviceError, OutOfDeviceMemory
from softstep.kernels._cupy.kernel import capture, load_kernel, probe

FILES = sorted(path.name for path in Path(kernel_module.__file__).parent.glob("*.cu"))

SOURCE = """
extern "C" __global__ void add(REAL *x, const REAL *y, long long n, int times) {
  const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
  if (i < n) x[i] += times * y[i];
}
extern "C" __global__ void reverse(REAL *x, long long n) {
  extern __shared__ REAL values[];
  if (threadIdx.x < n) values[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  if (threadIdx.x < n) x[threadIdx.x] = values[n - 1 - threadIdx.x];
}
"""


@pytest.fixture
def machine(monkeypatch):
    real = kernel_module.source

    def source(file):
        return real(file) if file in FILES else SOURCE

    monkeypatch.setattr(kernel_module, "source", source)
    with standin.install() as machine:
        yield machine


@pytest.fixture
def cupy(machine):
    return sys.modules["cupy"]


def add(x, y, times=1, grid=(1,), block=(32,)):
    kernel = load_kernel("add.cu", "add", REAL="float")
    kernel(grid, block, (x, y, np.int64(x.size), np.int32(times)))


def ones(n=5):
    return asarray(np.ones(n, np.float32))


# ---- the probe


def test_the_probe_says_what_runs_here(machine):
    machine.name, machine.compute_capability = "NVIDIA A100", "80"
    assert probe() == "CuPy 14.0 (stand-in) on NVIDIA A100 (sm_80)"
    assert "launch softmax_forward" in machine.log


def test_the_probe_launches_cooperatively_or_says_that_the_gpu_cannot(machine):
    assert "cooperative" not in probe()
    machine.launches_cooperatively = False
    assert probe().endswith(", without cooperative launches: small banks train slower")
    assert machine.log.count("launch softmax_forward") == 2


def test_the_probe_reports_a_cooperative_launch_that_fails(machine, cupy, monkeypatch):
    cannot = {"CooperativeLaunch": 1, "MultiProcessorCount": 0}  # nothing is resident
    gpu = SimpleNamespace(id=0, compute_capability="80", attributes=cannot)
    monkeypatch.setattr(cupy.cuda, "Device", lambda: gpu)
    with pytest.raises(ValueError, match=r"softmax_forward: grid \(1,\), but .* keeps only 0"):
        probe()


def test_the_probe_says_that_cupy_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ModuleNotFoundError, match=r"^CuPy is not installed$") as raised:
        probe()
    assert raised.value.name == "CuPy"


def test_the_probe_lets_cupys_own_reason_through(cupy, monkeypatch):
    def no_driver():
        raise standin.CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is ...")

    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", no_driver)
    with pytest.raises(standin.CUDARuntimeError, match="cudaErrorInsufficientDriver"):
        probe()


def test_the_probe_says_that_there_is_no_gpu(machine):
    machine.device_count = 0
    with pytest.raises(RuntimeError, match=r"there is no NVIDIA GPU.*CUDA_VISIBLE_DEVICES"):
        probe()


def test_the_probe_refuses_cupy_for_amd_gpus(cupy, monkeypatch):
    monkeypatch.setattr(cupy.cuda.runtime, "is_hip", True)
    with pytest.raises(RuntimeError, match="AMD"):
        probe()


def test_the_probe_runs_its_kernel_and_looks_at_the_result(machine, monkeypatch):
    wrong = kernel_module.source("softmax.cu").replace("quotient(e[i], total, inverse)", "e[i]")
    monkeypatch.setattr(kernel_module, "source", lambda file: wrong)
    with pytest.raises(RuntimeError, match="wrong numbers"):
        probe()


def test_the_probe_reports_a_compiler_that_does_not_work(machine, monkeypatch):
    monkeypatch.setattr(kernel_module, "source", lambda file: "__global__ void softmax_forward(")
    with pytest.raises(DeviceError, match="softmax_forward could not be compiled or loaded: "):
        probe()


@pytest.mark.parametrize(("capability", "words"), [("61", "6.1"), ("70", "7.0")])
def test_the_probe_refuses_a_gpu_that_the_kernels_are_not_compiled_for(machine, capability, words):
    machine.name, machine.compute_capability = "Old GPU", capability
    with pytest.raises(RuntimeError, match=rf"^the compute capability of Old GPU is {words}, but "):
        probe()
    machine.compute_capability = "75"
    assert "sm_75" in probe()


@pytest.mark.parametrize("version", ["13.6.0", "9.0", "13.0.0rc1"])
def test_the_probe_refuses_a_cupy_that_is_too_old(machine, cupy, monkeypatch, version):
    monkeypatch.setattr(cupy, "__version__", version)
    with pytest.raises(RuntimeError, match=rf"^CuPy is {version}, but at least 14 is needed"):
        probe()


def test_importing_the_backend_loads_no_cupy():
    code = "import sys, softstep.kernels._cupy; sys.exit('cupy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# ---- arrays


class OfAnotherLibrary:
    """An array as torch has them: DLPack, and where it is."""

    def __init__(self, values, where=(2, 0)):
        self.values, self.where, self.streams = values, where, []

    def __dlpack_device__(self):
        return self.where

    def __dlpack__(self, *, stream):
        self.streams.append(stream)
        return standin.Capsule(self.values, self, self.where[1])


class WithInterface:
    """An array that only has __cuda_array_interface__."""

    def __init__(self, values, **stream):
        self.values = values
        self.__cuda_array_interface__ = {**values.__array_interface__, "version": 3, **stream}


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8", "int64", "bool"])
@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (1,), ()])
def test_a_numpy_array_is_copied_to_the_gpu_once(machine, dtype, shape):
    values = np.random.default_rng(1).integers(0, 2, shape).astype(dtype)
    given = values.copy()
    array = asarray(given)
    given[...] = 0
    assert machine.log == [f"to device {values.nbytes}", "synchronize"]
    assert (array.shape, array.dtype) == (values.shape, values.dtype)
    assert np.array_equal(to_host(array), values)


def test_a_numpy_array_that_is_not_contiguous_keeps_its_values(machine):
    values = np.arange(12.0).reshape(3, 4)[:, ::2]
    array = asarray(values)
    assert array.flags.c_contiguous
    assert np.array_equal(to_host(array), values)


def test_a_numpy_array_of_the_other_byte_order_keeps_its_values(machine):
    array = asarray(np.arange(12.0).reshape(3, 4).astype(">f4"))
    assert array.dtype == np.float32
    assert np.array_equal(to_host(array), np.arange(12.0).reshape(3, 4))


@pytest.mark.parametrize("dtype", [">f4", "O", "U3"])
def test_a_type_of_numbers_that_cupy_has_not_is_refused(machine, cupy, dtype):
    with pytest.raises((KeyError, ValueError)):
        cupy.empty((3,), dtype)


def test_a_device_array_stays_where_it_is(machine):
    array = ones()
    machine.log.clear()
    assert asarray(array) is array
    assert machine.log == []


def test_an_array_of_another_library_stays_on_the_gpu_and_is_waited_for(machine):
    tensor = OfAnotherLibrary(np.arange(6, dtype=np.float32))
    array = asarray(tensor)
    assert array.data.ptr == tensor.values.ctypes.data
    assert tensor.streams == [1]  # CUDA's default stream, which the library then lets wait for its
    assert machine.log == []


@pytest.mark.parametrize(
    ("stream", "waits"), [({}, ["deviceSynchronize"]), ({"stream": None}, []), ({"stream": 7}, [])]
)
def test_an_array_that_names_no_stream_is_waited_for(machine, stream, waits):
    given = WithInterface(np.arange(6, dtype=np.float32), **stream)
    array = asarray(given)
    assert array.data.ptr == given.values.ctypes.data
    assert machine.log == waits


def test_a_device_array_that_is_not_contiguous_is_copied_on_the_gpu(machine):
    part = asarray(np.arange(12.0).reshape(3, 4))[:, ::2]
    machine.log.clear()
    array = asarray(part)
    assert array.flags.c_contiguous
    assert machine.log == ["on device 48"]
    assert np.array_equal(to_host(array), np.arange(12.0).reshape(3, 4)[:, ::2])


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (OfAnotherLibrary(np.ones(3), where=(1, 0)), "OfAnotherLibrary"),  # on the host
        (OfAnotherLibrary(np.ones(3), where=(10, 0)), "OfAnotherLibrary"),  # on an AMD GPU
        ([1.0, 2.0], "builtins.list"),
        (3.0, "builtins.float"),
        (None, "NoneType"),
    ],
)
def test_any_other_array_is_a_type_error_that_names_it(machine, value, kind):
    with pytest.raises(TypeError, match=rf"neither a NumPy array nor .* NVIDIA GPU: .*{kind}"):
        asarray(value)


@pytest.mark.parametrize("error", [BufferError, RuntimeError])
def test_an_array_that_its_library_does_not_hand_over_is_a_type_error(error, machine, monkeypatch):
    def refuse(self, **stream):
        raise error("it requires a gradient")

    monkeypatch.setattr(OfAnotherLibrary, "__dlpack__", refuse)
    with pytest.raises(TypeError, match=r"OfAnotherLibrary: it requires a gradient"):
        asarray(OfAnotherLibrary(np.ones(3)))


def test_to_host_leaves_numpy_arrays_alone(machine):
    values = np.ones(3)
    assert to_host(values) is values


def test_zeros_are_zeros_and_empty_is_not_initialised(machine):
    assert np.array_equal(to_host(zeros((2, 3), np.float64)), np.zeros((2, 3)))
    assert np.isnan(to_host(empty((2, 3), np.float64))).all()


def test_nans_are_set_on_the_device(machine):
    array = arrays.nans((2, 3))
    assert machine.log == []
    assert array.dtype == np.float64
    assert np.isnan(to_host(array)).all()


# ---- results that are written in place


def test_a_result_is_copied_into_the_callers_numpy_array(machine):
    target = np.zeros(5, np.float32)
    copy_into(target, ones())
    assert np.array_equal(target, np.ones(5))


def test_a_result_is_copied_into_the_callers_device_array(machine):
    target = zeros((5,), np.float32)
    copy_into(target, ones())
    assert np.array_equal(to_host(target), np.ones(5))


def test_a_result_that_was_computed_in_place_is_not_copied(machine):
    target = ones()
    machine.log.clear()
    copy_into(target, asarray(target))
    assert machine.log == []


def test_only_another_librarys_array_is_waited_for(machine):
    own, other = ones(), OfAnotherLibrary(np.zeros(5, np.float32))
    machine.log.clear()
    arrays.complete([own])
    assert machine.log == []
    arrays.complete([own, other])
    assert machine.log == ["synchronize"]


# ---- memory

TOO_MUCH = np.zeros((1000, 2000), np.float32)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: empty(TOO_MUCH.shape, np.float32),
        lambda: zeros(TOO_MUCH.shape, np.float32),
        lambda: asarray(TOO_MUCH),
    ],
    ids=["empty", "zeros", "asarray"],
)
def test_out_of_memory_says_how_much_was_asked_for_and_what_to_change(machine, ask):
    machine.memory = 5_000_000
    with pytest.raises(OutOfDeviceMemory) as raised:
        ask()
    assert isinstance(raised.value, MemoryError)
    assert str(raised.value) == (
        "out of GPU memory: 8.00 MB asked for (shape (1000, 2000), float32), 5.00 MB of 5.00 MB "
        "free. What takes less: features as uint8 or float16, fewer rows in a call or a batch, "
        "fewer heads in a bank. A CPU backend needs no GPU memory"
    )


def test_memory_comes_back_when_an_array_is_dropped(machine):
    before = device.free_memory()
    array = ones(1000)
    assert device.free_memory() == before - 4000
    del array
    assert device.free_memory() == before


def test_free_memory_counts_cupys_pool_and_keeps_to_its_limit(machine):
    machine.memory, machine.pool_free = 1000, 400
    assert device.free_memory() == 1000
    machine.pool_limit = 500
    array = zeros((100,), np.uint8)
    assert device.free_memory() == 500 - array.nbytes


# ---- kernels


def test_a_kernel_runs(machine):
    x, y = ones(100), ones(100)
    add(x, y, times=3, grid=(4,))
    assert np.array_equal(to_host(x), np.full(100, 4))


def test_a_kernel_is_compiled_once_for_each_set_of_definitions_and_gpu(machine):
    first = load_kernel("add.cu", "add", REAL="float")
    assert load_kernel("add.cu", "add", REAL="float") is first
    assert load_kernel("add.cu", "add", REAL="double") is not first
    assert load_kernel("add.cu", "add", cooperative=True, REAL="float") is not first
    machine.device = 1
    assert load_kernel("add.cu", "add", REAL="float") is not first


def test_a_source_has_what_it_includes_in_place(tmp_path, monkeypatch):
    (tmp_path / "common.cuh").write_text("// common")
    (tmp_path / "losses.cuh").write_text("// losses")
    (tmp_path / "gce.cu").write_text(
        '// gce\n\n#include "common.cuh"\n#include "losses.cuh"\n// kernels\n'
    )
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path)
    kernel_module.source.cache_clear()
    lines = kernel_module.source("gce.cu").splitlines()
    kernel_module.source.cache_clear()
    common = ['#line 1 "common.cuh"', "// common", '#line 4 "gce.cu"']
    losses = ['#line 1 "losses.cuh"', "// losses", '#line 5 "gce.cu"']
    assert lines == ['#line 1 "gce.cu"', "// gce", "", *common, *losses, "// kernels"]


@pytest.mark.parametrize("file", FILES)
def test_nothing_is_left_to_the_compiler_to_include(file):
    assert "#include" not in kernel_module.source(file)


@pytest.mark.parametrize("grid", [(0,), (2**31,), (1, 65_536), (1, 1, 65_536), (2**32 + 1,)])
def test_an_empty_or_too_large_grid_is_refused_before_the_launch(machine, grid):
    with pytest.raises(ValueError, match=r"add.cu: add: grid .* but CUDA takes"):
        add(ones(), ones(), grid=grid)
    assert "launch add" not in machine.log


def test_a_cooperative_grid_larger_than_the_gpu_is_refused(machine):
    x = ones()
    kernel = load_kernel("add.cu", "add", cooperative=True, REAL="float")
    args = (x, ones(), np.int64(x.size), np.int32(1))
    resident = kernel.resident_blocks(1024)
    kernel((resident,), (1024,), args)
    with pytest.raises(ValueError, match=rf"keeps only {resident} such blocks"):
        kernel((resident + 1,), (1024,), args)
    assert machine.log.count("launch add") == 1


def test_resident_blocks_are_counted_over_all_multiprocessors(machine):
    kernel = load_kernel("add.cu", "add", cooperative=True, REAL="float")
    machine.multiprocessors = 7
    assert device.multiprocessors() == 7
    assert kernel.resident_blocks(1024) == 14
    assert kernel.resident_blocks(1024, shared=100 << 10) == 7
    assert kernel.resident_blocks(1024, shared=1 << 20) == 0  # more than a block can have


def test_a_launch_error_names_the_kernel(machine):
    with pytest.raises(DeviceError, match=r"add.cu: add could not be launched .* block \(2000,\)"):
        add(ones(), ones(), block=(2000,))


def test_more_shared_memory_than_the_default_is_asked_for(machine):
    x = asarray(np.arange(5, dtype=np.float32))
    reverse = load_kernel("add.cu", "reverse", REAL="float")
    reverse((1,), (32,), (x, np.int64(5)), shared=60 << 10)
    reverse((1,), (32,), (x, np.int64(3)), shared=128)
    reverse((1,), (32,), (x, np.int64(3)), shared=60 << 10)
    assert np.array_equal(to_host(x), [4, 3, 2, 1, 0])
    assert machine.log.count("shared memory 61440") == 1


def test_more_shared_memory_than_the_gpu_has_is_refused(machine):
    reverse = load_kernel("add.cu", "reverse", REAL="float")
    with pytest.raises(DeviceError, match=r"add.cu: reverse .* 1048576 bytes of dynamic shared"):
        reverse((1,), (32,), (ones(), np.int64(5)), shared=1 << 20)


ILLEGAL = standin.CUDARuntimeError("cudaErrorIllegalAddress: ...")


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: device.synchronise(),
        lambda x: to_host(x),
        lambda x: copy_into(np.zeros(5, np.float32), x),
        lambda x: copy_into(x[::2], x[1::2]),
        lambda x: asarray(np.ones(5)),
        lambda x: zeros((5,), np.int32),
        lambda x: asarray(x[::2]),
        lambda x: arrays.as_dtype(x, np.float64),
    ],
    ids=["wait", "get", "get into", "copy", "set", "zeros", "contiguous", "convert"],
)
def test_a_kernel_that_fails_while_it_runs_is_named_by_what_comes_next(machine, wait):
    x = asarray(np.ones(6, np.float32))
    add(x, x)
    machine.pending_error = ILLEGAL
    with pytest.raises(DeviceError, match=r"add.cu: add or before: cudaErrorIllegalAddress"):
        wait(x)


def test_a_graph_that_cuda_refuses_is_a_device_error(machine, monkeypatch):
    def refuse(self):
        raise ILLEGAL

    monkeypatch.setattr(standin.raw.Graph, "launch", refuse)
    x = ones()
    with pytest.raises(DeviceError, match=r"a graph up to add.cu: add did not run: cudaErrorIll"):
        capture(lambda: add(x, x), 2)


def test_what_went_wrong_in_a_capture_is_not_hidden_by_its_end(machine, monkeypatch):
    def refuse(self):
        self.recorded = None
        raise standin.CUDARuntimeError("cudaErrorStreamCaptureInvalidated: ...")

    monkeypatch.setattr(standin.raw.Stream, "end_capture", refuse)
    x, blocks = ones(), iter([(32,), (2000,), (2000,)])
    with pytest.raises(DeviceError, match=r"add.cu: add could not be launched .* block \(2000,\)"):
        capture(lambda: add(x, x, block=next(blocks)), 2)


def test_a_module_that_cuda_does_not_load_is_a_device_error(machine, monkeypatch):
    def refuse(self, name):
        raise standin.CUDADriverError("CUDA_ERROR_NO_BINARY_FOR_GPU: ...")

    monkeypatch.setattr(standin.raw.RawModule, "get_function", refuse)
    with pytest.raises(DeviceError, match=r"add.cu: add could not be compiled or loaded: CUDA_ERR"):
        add(ones(), ones())


# ---- graphs


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_a_captured_function_runs_as_often_as_asked(machine, count):
    x, y = zeros((5,), np.float32), ones()
    calls = []

    def step():
        calls.append(1)
        add(x, y)
        add(x, y)

    capture(step, count)
    assert np.array_equal(to_host(x), np.full(5, 2 * count))
    assert len(calls) == min(count, 2)
    assert machine.log.count("launch graph") == max(count - 1, 0)


@pytest.mark.parametrize("part", ["__init__", "begin_capture", "end_capture"])
def test_where_cuda_makes_no_graph_the_function_is_called_each_time(part, machine, monkeypatch):
    def refuse(self, **options):
        raise standin.CUDARuntimeError("cudaErrorStreamCaptureInvalidated: ...")

    monkeypatch.setattr(standin.raw.Stream, part, refuse)
    x, y = zeros((5,), np.float32), ones()
    capture(lambda: add(x, y), 5)
    assert np.array_equal(to_host(x), np.full(5, 5))
    assert "launch graph" not in machine.log


def test_a_launch_that_fails_in_a_capture_alone_is_made_without(machine, monkeypatch):
    def spoiled(*args, **options):
        if machine.streams[-1].recorded is not None:
            raise standin.CUDADriverError("CUDA_ERROR_STREAM_CAPTURE_INVALIDATED: ...")
        return launch(*args, **options)

    launch = standin.raw.RawKernel.launch
    monkeypatch.setattr(standin.raw.RawKernel, "launch", spoiled)
    x, y = zeros((5,), np.float32), ones()
    capture(lambda: add(x, y), 3)
    assert np.array_equal(to_host(x), np.full(5, 3))


def test_work_goes_on_after_a_capture_that_failed(machine):
    calls = []

    def step():
        add(ones(), ones()) if not calls else calls[99]
        calls.append(1)

    with pytest.raises(IndexError):
        capture(step, 3)
    x = ones()
    add(x, x)
    assert np.array_equal(to_host(x), np.full(5, 2))


@pytest.mark.parametrize(
    "forbidden",
    [
        lambda x: zeros((5,), np.float32),
        lambda x: asarray(np.zeros(5)),
        lambda x: to_host(x),
        lambda x: load_kernel("add.cu", "add", REAL="double"),
    ],
    ids=["allocate", "copy to the device", "copy to the host", "compile"],
)
def test_a_capture_takes_nothing_but_launches(machine, forbidden):
    x, calls = ones(), []

    def step():
        if calls:
            forbidden(x)
        calls.append(1)

    with pytest.raises(standin.Misuse, match="while a graph is captured"):
        capture(step, 2)


def test_a_graph_does_not_keep_arrays_alive(machine):
    x, held = ones(), [ones()]

    def step():
        add(x, held[-1])
        if len(held) == 1:
            held.append(ones())
        else:
            held.pop()

    with pytest.raises(standin.Misuse, match="freed"):
        capture(step, 3)


# ---- the stand-in refuses what CuPy lets pass


@pytest.mark.parametrize(
    "change",
    [
        {2: 5},
        {3: 1},
        {3: 1.0},
        {3: True},
        {3: np.int64(1)},
        {2: np.int32(5)},
        {2: np.uint64(5)},
        {3: np.float32(1)},
        {0: np.ones(5, np.float32)},
        {0: None, 2: None},
        {0: "float64"},
        {1: "int32"},
        {1: "part"},
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused(machine, change):
    arrays = {
        "float64": zeros((5,), np.float64),
        "int32": zeros((5,), np.int32),
        "part": zeros((10,), np.float32)[::2],
    }
    args = [ones(), ones(), np.int64(5), np.int32(1)]
    for i, value in change.items():
        args[i] = arrays[value] if isinstance(value, str) else value
    with pytest.raises(standin.Misuse):
        load_kernel("add.cu", "add", REAL="float")((1,), (32,), tuple(args))


@pytest.mark.parametrize("count", [0, 3, 5])
def test_a_wrong_number_of_arguments_is_refused(machine, count):
    args = (ones(), ones(), np.int64(5), np.int32(1), np.int32(1))[:count]
    with pytest.raises(standin.Misuse, match="takes 4 arguments"):
        load_kernel("add.cu", "add", REAL="float")((1,), (32,), args)


@pytest.mark.parametrize("size", [(0,), (1, 0), (), (1, 1, 1, 1), [1], 1, (np.int64(1),)], ids=str)
@pytest.mark.parametrize("which", ["grid", "block"])
def test_a_grid_or_block_that_cupy_would_change_is_refused(machine, which, size):
    raw = load_kernel("add.cu", "add", REAL="float").raw
    sizes = {"grid": (1,), "block": (32,), which: size}
    with pytest.raises(standin.Misuse):
        raw.kernel(sizes["grid"], sizes["block"], (ones(), ones(), np.int64(5), np.int32(1)))


@pytest.mark.parametrize(("grid", "cooperative"), [((2**31,), False), ((1000,), True)])
def test_a_grid_that_cupy_would_cut_is_refused(machine, grid, cooperative):
    raw = load_kernel("add.cu", "add", REAL="float").raw
    args = ones(), ones(), np.int64(5), np.int32(1)
    with pytest.raises(standin.Misuse):
        raw.kernel(grid, (32,), args, enable_cooperative_groups=cooperative)


def test_a_module_that_cupy_links_is_refused(cupy):
    with pytest.raises(standin.Misuse, match="libcudadevrt"):
        cupy.RawModule(code=SOURCE, options=("-DREAL=float",), enable_cooperative_groups=True)


@pytest.mark.parametrize("shared_mem", [(48 << 10) + 1])
def test_more_than_48_kb_of_shared_memory_takes_the_attribute(machine, shared_mem):
    raw = load_kernel("add.cu", "reverse", REAL="float").raw
    with pytest.raises(standin.CUDADriverError):
        raw.kernel((1,), (32,), (ones(), np.int64(5)), shared_mem=shared_mem)


@pytest.mark.parametrize(
    "convert", [np.asarray, np.sum, lambda x: np.ones(5) + x, lambda x: x + 1, float, list],
)  # fmt: skip
def test_a_device_array_does_not_turn_into_numpy_unasked(machine, convert):
    with pytest.raises(TypeError):
        convert(ones())


def test_what_the_stand_in_offers_cupy_offers_too():
    real = pytest.importorskip("cupy", reason="CuPy is not installed: nothing to compare with")

    def missing(offered, real, path):
        for name, value in vars(offered).items():
            if name.startswith("__") and name != "__version__":
                continue
            if not hasattr(real, name):
                yield f"{path}.{name}"
            elif isinstance(value, SimpleNamespace):
                yield from missing(value, getattr(real, name), f"{path}.{name}")
            elif isinstance(value, type) and not issubclass(value, Exception):
                public = [part for part in dir(value) if not part.startswith("_")]
                own = {"machine"}
                yield from (
                    f"{path}.{name}.{part}"
                    for part in public
                    if part not in own and not hasattr(getattr(real, name), part)
                )

    with standin.install():
        assert list(missing(sys.modules["cupy"], real, "cupy")) == []

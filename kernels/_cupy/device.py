"""The GPU. All use of CuPy passes through the one object `device`; `cupy` is imported only inside.

    softmax = device.kernel("softmax.cu", "softmax_forward", REAL="float", ROW_THREADS=32)
    softmax((blocks,), (128,), (V, P, np.int64(n), np.int64(c)))

Arguments of a kernel are device arrays, NumPy scalars of exactly the parameter's C type, or None
for a null pointer. CuPy checks neither their number nor their types, and turns a Python int into a
long long whatever the kernel takes.
"""

import contextlib
import functools
import importlib
import importlib.resources
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from softstep.kernels.arrays import contiguous, is_on_gpu
from softstep.kernels.backend import BackendError

MAX_GRID = (2**31 - 1, 65_535, 65_535)
LEAST_CUPY = 14  # 13.3 passes None on as 0xffffffff
LEAST_CAPABILITY = 75  # the oldest the kernels are compiled for by the tests

PROBE = """
extern "C" __global__ void probe(int *out) {
  out[threadIdx.x] = 3 * (int)threadIdx.x + 1;
}
"""


# Keeps the GPU busy while the host fills its queue: what a launch takes the host is then not timed.
HOLD = """
extern "C" __global__ void hold(long long nanoseconds) {
#ifdef __CUDA_ARCH__
  long long begin, now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(begin));
  do {
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  } while (now - begin < nanoseconds);
#endif
}
"""
HOLD_NANOSECONDS = 1_000_000


class OutOfDeviceMemory(MemoryError):
    """The GPU has not got the memory asked for."""


class DeviceError(BackendError):
    """CUDA refused something, or a kernel failed while it ran."""


@functools.cache
def source(file: str) -> str:
    """The package's `file` behind what it shares; an #include would escape CuPy's cache."""
    folder = importlib.resources.files(__package__)
    names = ("common.cuh", *(("train.cuh",) if file.startswith("train_") else ()), file)
    return "".join(
        f'#line 1 "{name}"\n{folder.joinpath(name).read_text("utf-8")}\n' for name in names
    )


def options(defines: dict[str, Any]) -> tuple[str, ...]:
    """Definitions as NVRTC takes them. CuPy adds the architecture and -ftz=true."""
    return tuple(f"-D{name}={value}" for name, value in sorted(defines.items()))


class Kernel:
    """A compiled kernel; `kernel(grid, block, args, shared=0)` launches it."""

    def __init__(self, raw: Any, label: str, cooperative: bool):
        self.raw, self.label, self.cooperative = raw, label, cooperative
        self._shared_allowed = raw.max_dynamic_shared_size_bytes

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], shared: int = 0
    ) -> None:
        """Launch in the current stream.

        Args:
            grid, block: one to three ints.
            args: device arrays, NumPy scalars and None.
            shared: bytes of dynamic shared memory of a block.

        Raises:
            ValueError: the grid is empty or larger than CUDA or, for a cooperative kernel, this GPU
                takes. CuPy would cut it to size.
            DeviceError: CUDA refuses the launch.
        """
        what = (
            f"{self.label} could not be launched with grid {grid}, block {block} and {shared} "
            "bytes of dynamic shared memory"
        )
        with _refused(what):
            self._check_grid(grid, block, shared)
            self.allow_shared(shared)
            with device.clocked(self.label):
                self.raw.kernel(
                    grid, block, args, shared, enable_cooperative_groups=self.cooperative
                )
        device.last_launch = self.label

    def allow_shared(self, shared: int) -> None:
        """More than the default, 48 KB, of dynamic shared memory has to be asked for."""
        if shared > self._shared_allowed:
            self.raw.max_dynamic_shared_size_bytes = shared
            self._shared_allowed = shared

    def _check_grid(self, grid: tuple[int, ...], block: tuple[int, ...], shared: int) -> None:
        if not all(1 <= size <= limit for size, limit in zip(grid, MAX_GRID, strict=False)):
            raise ValueError(f"{self.label}: grid {grid}, but CUDA takes 1 to {MAX_GRID} blocks")
        if self.cooperative:
            resident = device.resident_blocks(self, math.prod(block), shared)
            if math.prod(grid) > resident:
                raise ValueError(
                    f"{self.label}: grid {grid}, but this GPU keeps only {resident} such blocks "
                    "alive at once"
                )


class Device:
    """The current GPU of this thread and its current stream."""

    def __init__(self) -> None:
        self.last_launch = "no kernel"
        self._kernels: dict[Any, Kernel] = {}
        self._clock: list[tuple[str, Any, Any]] | None = None  # launches and the events around them

    def probe(self) -> str:
        """What runs here, such as "CuPy 14.2.0 on NVIDIA A100 (sm_80)".

        Raises:
            ModuleNotFoundError: CuPy is not installed.
            RuntimeError: CuPy is too old or not for NVIDIA GPUs, there is no GPU, it is too old, or
                a test kernel gave wrong numbers. Whatever else CuPy raises passes through: no
                driver, ...
        """
        cupy = _cupy()
        if cupy.cuda.runtime.is_hip:
            raise RuntimeError("this CuPy is for AMD GPUs, the kernels are for NVIDIA GPUs")
        if cupy.cuda.runtime.getDeviceCount() == 0:
            raise RuntimeError("there is no NVIDIA GPU, or CUDA_VISIBLE_DEVICES hides it")
        if int(cupy.__version__.partition(".")[0]) < LEAST_CUPY:
            raise RuntimeError(f"CuPy is {cupy.__version__}, but at least {LEAST_CUPY} is needed")
        here = cupy.cuda.Device()
        name = cupy.cuda.runtime.getDeviceProperties(here.id)["name"].decode()
        if self.compute_capability() < LEAST_CAPABILITY:
            raise RuntimeError(
                f"the compute capability of {name} is {self.compute_capability() / 10}, "
                f"but at least {LEAST_CAPABILITY / 10} is needed"
            )
        out = self.zeros((32,), np.int32)
        cooperative = self.launches_cooperatively()
        self._load(PROBE, "probe", (), "probe", cooperative)((1,), (32,), (out,))
        if not np.array_equal(self.to_host(out), 3 * np.arange(32) + 1):
            raise RuntimeError("a test kernel ran on the GPU but gave wrong numbers")
        without = "" if cooperative else ", without cooperative launches: small banks train slower"
        return f"CuPy {cupy.__version__} on {name} (sm_{here.compute_capability}){without}"

    # ---- arrays

    def asarray(self, value: Any) -> Any:
        """`value` as a C-contiguous CuPy array of the same dtype and shape.

        NumPy arrays are copied to the GPU. Arrays on the GPU stay where they are (copied only if
        they are not contiguous) and are waited for, if another library may still write to them.

        Raises:
            OutOfDeviceMemory: no room for the copy.
            TypeError: neither a NumPy array nor an array on an NVIDIA GPU.
            ValueError: the array is on a GPU that is not the current one.
        """
        if isinstance(value, np.ndarray):
            return self._from_host(value)
        value = self.view(value)
        if value.flags.c_contiguous:
            return value
        ascontiguousarray = _cupy().ascontiguousarray
        return self._allocate(lambda: ascontiguousarray(value), value.shape, value.dtype)

    def view(self, value: Any) -> Any:
        """An array that is on the GPU as a CuPy array of the same memory. Raises as `asarray`."""
        cupy = _cupy()
        if not isinstance(value, cupy.ndarray):
            value = self._from_other_library(value)
        current = cupy.cuda.runtime.getDevice()
        if value.device.id != current:
            raise ValueError(
                f"an array is on GPU {value.device.id}, but the current one is GPU {current}: "
                f"call within `with cupy.cuda.Device({value.device.id})`"
            )
        return value

    def as_dtype(self, array: Any, dtype: Any) -> Any:
        """A device array, converted on the GPU; itself if it has that dtype already."""
        if array.dtype == dtype:
            return array
        return self._allocate(lambda: array.astype(dtype), array.shape, dtype)

    def _from_host(self, value: np.ndarray) -> Any:
        value = contiguous(value)  # CuPy has no arrays of the other byte order
        array = self.empty(value.shape, value.dtype)
        with self._waiting():
            array.set(value)
        self.synchronise()  # from pinned memory the copy would still read when this returns
        return array

    def _from_other_library(self, value: Any) -> Any:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        if not is_on_gpu(value):
            raise TypeError(f"neither a NumPy array nor an array on an NVIDIA GPU: {kind}")
        cupy = _cupy()
        if hasattr(value, "__dlpack_device__"):
            try:  # the current stream then waits for the other library's
                return cupy.from_dlpack(value)
            except (BufferError, RuntimeError) as error:  # such as: it requires a gradient
                if isinstance(error, _cuda_errors()):
                    raise
                raise TypeError(f"cannot be read as a CuPy array: {kind}: {error}") from error
        if "stream" not in value.__cuda_array_interface__:
            cupy.cuda.runtime.deviceSynchronize()  # no stream named to wait for: wait for all
        return cupy.asarray(value)

    def to_host(self, array: Any) -> np.ndarray:
        """A NumPy copy of a device array; a NumPy array itself."""
        if isinstance(array, np.ndarray):
            return array
        with self._waiting():
            values: np.ndarray = array.get()
        return values

    def is_its_own(self, array: Any) -> bool:
        """Whether this is a CuPy array."""
        return isinstance(array, _cupy().ndarray)

    def complete(self, arrays: list[Any]) -> None:
        """Wait for what CuPy's stream writes, if one of these arrays is another library's."""
        if not all(map(self.is_its_own, arrays)):
            self.synchronise()  # that library knows nothing of CuPy's stream

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A device array, not initialised. OutOfDeviceMemory if there is no room."""
        return self._allocate(lambda: _cupy().empty(shape, dtype), shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A device array of zeros. OutOfDeviceMemory if there is no room."""
        return self._allocate(lambda: _cupy().zeros(shape, dtype), shape, dtype)

    def nans(self, shape: tuple[int, ...]) -> Any:
        """A device array of float64 that are NaN. OutOfDeviceMemory if there is no room."""
        array = self.empty(shape, np.float64)
        with self._waiting():
            array.data.memset_async(0xFF, array.nbytes)  # a NaN has all bits of its exponent set
        return array

    def copy_into(self, target: Any, array: Any) -> None:
        """Write a device array to `target`, a NumPy or CuPy array.

        Costs nothing where `array` already is the target's memory.
        """
        if isinstance(target, np.ndarray):
            with self._waiting():
                array.get(out=target)
        elif target.data.ptr != array.data.ptr:
            with self._waiting():
                target[...] = array

    def _allocate(self, make: Callable[[], Any], shape: tuple[int, ...], dtype: Any) -> Any:
        try:
            with self._waiting():
                return make()
        except _cupy().cuda.memory.OutOfMemoryError as error:
            asked = math.prod(shape) * np.dtype(dtype).itemsize
            total = _cupy().cuda.runtime.memGetInfo()[1]
            raise OutOfDeviceMemory(
                f"out of GPU memory: {_size(asked)} asked for (shape {tuple(shape)}, "
                f"{np.dtype(dtype)}), {_size(self.free_memory())} of {_size(total)} free. "
                "What takes less: features as uint8 or float16, fewer rows in a call or a batch, "
                "fewer heads in a bank. A CPU backend needs no GPU memory"
            ) from error

    # ---- kernels

    def kernel(self, file: str, name: str, **defines: Any) -> Kernel:
        """The kernel `name` of the package's `file`, compiled with -D options on first use."""
        return self._load(source(file), name, options(defines), f"{file}: {name}", False)

    def cooperative_kernel(self, file: str, name: str, **defines: Any) -> Kernel:
        """The same, all blocks of a launch alive at once."""
        return self._load(source(file), name, options(defines), f"{file}: {name}", True)

    def _load(
        self, code: str, name: str, opts: tuple[str, ...], label: str, cooperative: bool
    ) -> Kernel:
        cupy = _cupy()
        key = (label, opts, cooperative, cupy.cuda.runtime.getDevice())
        if key not in self._kernels:
            # Only the launch is cooperative. A RawModule that is so links libcudadevrt.a, which the
            # wheels of CUDA 12 have in no place where CuPy looks, and its kernels spill registers.
            with _refused(f"{label} could not be compiled or loaded"):
                raw = cupy.RawModule(code=code, options=opts).get_function(name)
                self._kernels[key] = Kernel(raw, label, cooperative)
        return self._kernels[key]

    def capture(self, function: Callable[[], None], count: int) -> None:
        """Call `function`, which launches kernels, `count` times: from the second on as a graph.

        The graph is captured once and replayed: `function` must launch the same kernels on the same
        arrays every time, and may neither allocate memory nor copy to or from the host.
        """
        if count < 1:
            return
        function()  # also compiles and loads the kernels, which cannot be done in a capture
        if count == 1:
            return
        cupy = _cupy()
        stream = cupy.cuda.Stream(non_blocking=True)
        with stream:
            stream.begin_capture()
            clock, self._clock = self._clock, None  # events and copies cannot be captured
            try:
                function()
            finally:
                graph, self._clock = stream.end_capture(), clock
        for _ in range(count - 1):
            with self.clocked("graph"), _refused(f"a graph up to {self.last_launch} did not run"):
                graph.launch()

    # ---- time

    def launch_times(self, call: Callable[[], Any]) -> list[tuple[str, float]]:
        """Call it; what it launched, and the seconds each launch ran on the GPU, by CUDA events.

        Copies and the host's part are left out. The call itself takes longer than usual.
        """
        self._clock = []
        try:
            call()
            self.synchronise()
            elapsed = _cupy().cuda.get_elapsed_time  # in milliseconds
            return [(label, elapsed(start, stop) / 1e3) for label, start, stop in self._clock]
        finally:
            self._clock = None

    @contextlib.contextmanager
    def clocked(self, label: str) -> Iterator[None]:
        """Within `launch_times`, take the time of what this block gives the GPU to do."""
        if self._clock is None:
            yield
            return
        cupy = _cupy()
        start, stop, stream = cupy.cuda.Event(), cupy.cuda.Event(), cupy.cuda.get_current_stream()
        self._load(HOLD, "hold", (), "hold", False).raw.kernel(
            (1,), (1,), (np.int64(HOLD_NANOSECONDS),)
        )
        start.record(stream)
        yield
        stop.record(stream)
        self._clock.append((label, start, stop))

    # ---- the GPU itself

    def resident_blocks(self, kernel: Kernel, block_threads: int, shared: int = 0) -> int:
        """How many blocks of this many threads and bytes of dynamic shared memory can be alive.

        0 where a block asks for more shared memory than this GPU has for one.
        """
        try:
            kernel.allow_shared(shared)
        except _cuda_errors():
            return 0
        occupancy = _cupy().cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor
        with _refused(f"the occupancy of {kernel.label} could not be had"):
            per_multiprocessor = occupancy(kernel.raw.kernel.ptr, block_threads, shared)
        return int(per_multiprocessor) * self.multiprocessors()

    def compute_capability(self) -> int:
        """Such as 80 for 8.0."""
        return int(_cupy().cuda.Device().compute_capability)

    def multiprocessors(self) -> int:
        return int(_cupy().cuda.Device().attributes["MultiProcessorCount"])

    def launches_cooperatively(self) -> bool:
        """Whether this GPU can keep all blocks of a launch alive at once."""
        return bool(_cupy().cuda.Device().attributes["CooperativeLaunch"])

    def free_memory(self) -> int:
        """Bytes that can be had: free on the GPU or in CuPy's pool, within the pool's limit."""
        cupy = _cupy()
        pool = cupy.get_default_memory_pool()
        free = cupy.cuda.runtime.memGetInfo()[0] + pool.free_bytes()
        limit = pool.get_limit()  # 0: none
        return int(min(free, limit - pool.used_bytes()) if limit else free)

    def synchronise(self) -> None:
        """Wait until the current stream has done all it was given.

        Raises:
            DeviceError: a kernel failed; the last one launched is named.
        """
        with self._waiting():
            _cupy().cuda.get_current_stream().synchronize()

    def _waiting(self) -> contextlib.AbstractContextManager[None]:
        """Around what reports a kernel that failed before."""
        return _refused(f"a kernel failed, {self.last_launch} or before")


def _cupy() -> Any:
    try:
        return importlib.import_module("cupy")
    except ModuleNotFoundError as error:
        if error.name != "cupy":
            raise
        raise ModuleNotFoundError("CuPy is not installed", name="CuPy") from error


def _cuda_errors() -> tuple[type[Exception], ...]:
    cuda = _cupy().cuda
    return (
        cuda.driver.CUDADriverError,
        cuda.runtime.CUDARuntimeError,
        cuda.compiler.CompileException,
    )


@contextlib.contextmanager
def _refused(what: str) -> Iterator[None]:
    """Turns an error of CUDA within into a DeviceError that says what was refused."""
    try:
        yield
    except _cuda_errors() as error:
        raise DeviceError(f"{what}: {error}") from error


def _size(size: int) -> str:
    """A number of bytes in words."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.2f} {name}"
    return f"{size:,} bytes"


device = Device()

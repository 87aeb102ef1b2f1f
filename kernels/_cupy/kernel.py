"""Kernels: compiled, launched, replayed as graphs, and timed.

    softmax = load_kernel("softmax.cu", "softmax_forward", REAL="float", ROW_THREADS=32)
    softmax((blocks,), (128,), (V, P, np.int64(n), np.int64(c)))

Arguments of a kernel are CuPy arrays, NumPy scalars of exactly the parameter's C type, Structs of
these (launch.py), or None for a null pointer. CuPy checks neither their number nor their types, and
turns a Python int into a long long whatever the kernel takes.
"""

import contextlib
import functools
import importlib.resources
import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from softstep.kernels._cupy import device
from softstep.kernels._cupy.arrays import to_host, zeros
from softstep.kernels._cupy.device import (
    CACHE_CURE,
    MAX_GRID,
    DeviceError,
    cuda_errors,
    cupy,
    refused,
)
from softstep.kernels.errors import BackendError

LEAST_CUPY = 14  # 13.3 passes None on as 0xffffffff
LEAST_CAPABILITY = 75  # the oldest the kernels are compiled for by the tests
PROBED = {"REAL": "float", "ROW_THREADS": 32, "ROW_VALUES": 1, "ONE_TILE": 1}  # 32 classes

# Keeps the GPU busy while the host fills its queue: the time the host takes for a launch is then
# not measured.
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


# ---- compiling


@functools.cache
def source(file: str) -> str:
    """The package's `file`, with what it includes in place.

    CuPy keeps compiled kernels by their source: a header that changed would escape its cache.
    """
    return "\n".join(_lines(file))


def _lines(file: str) -> Iterator[str]:
    text = importlib.resources.files(__package__).joinpath(file).read_text("utf-8")
    yield f'#line 1 "{file}"'
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.fullmatch(r'#include "(\w+\.cuh)"', line):
            yield from _lines(header[1])
            yield f'#line {number + 1} "{file}"'
        else:
            yield line


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
            args: CuPy arrays, NumPy scalars, Structs and None.
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
        with refused(what):
            self._check_grid(grid, block, shared)
            self.allow_shared(shared)
            with clock.around(self.label):
                self.raw.kernel(
                    grid, block, args, shared, enable_cooperative_groups=self.cooperative
                )
        device.launched(self.label)

    def allow_shared(self, shared: int) -> None:
        """More than the default, 48 KB, of dynamic shared memory has to be asked for."""
        if shared > self._shared_allowed:
            self.raw.max_dynamic_shared_size_bytes = shared
            self._shared_allowed = shared

    def resident_blocks(self, block_threads: int, shared: int = 0) -> int:
        """How many blocks of this many threads and bytes of dynamic shared memory can be alive.

        0 where a block asks for more shared memory than this GPU has for one.
        """
        try:
            self.allow_shared(shared)
        except cuda_errors():
            return 0
        occupancy = cupy().cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor
        with refused(f"CUDA did not say how many blocks of {self.label} can be alive"):
            per_multiprocessor = occupancy(self.raw.kernel.ptr, block_threads, shared)
        return int(per_multiprocessor) * device.multiprocessors()

    def _check_grid(self, grid: tuple[int, ...], block: tuple[int, ...], shared: int) -> None:
        if not all(1 <= size <= limit for size, limit in zip(grid, MAX_GRID, strict=False)):
            raise ValueError(f"{self.label}: grid {grid}, but CUDA takes 1 to {MAX_GRID} blocks")
        if self.cooperative:
            resident = self.resident_blocks(math.prod(block), shared)
            if math.prod(grid) > resident:
                raise ValueError(
                    f"{self.label}: grid {grid}, but this GPU keeps only {resident} such blocks "
                    "alive at once"
                )


def load_kernel(file: str, name: str, *, cooperative: bool = False, **defines: Any) -> Kernel:
    """The kernel `name` of the package's `file`, compiled with -D options on first use.

    cooperative: all blocks of a launch are alive at once.
    """
    return _load(source(file), name, options(defines), f"{file}: {name}", cooperative)


def _load(code: str, name: str, opts: tuple[str, ...], label: str, cooperative: bool) -> Kernel:
    return compiled(code, name, opts, label, cooperative, device.current())


@functools.cache
def compiled(
    code: str, name: str, opts: tuple[str, ...], label: str, cooperative: bool, gpu: int
) -> Kernel:
    """A kernel for the current GPU, whose number is `gpu`."""
    # Only the launch is cooperative, never the module: CuPy would link that with libcudadevrt.a,
    # which it does not find among the wheels of CUDA 12, and its kernels would spill registers.
    with _compiling(label):
        raw = cupy().RawModule(code=code, options=opts).get_function(name)
        return Kernel(raw, label, cooperative)


@contextlib.contextmanager
def _compiling(label: str) -> Iterator[None]:
    """Turn what CuPy raises while it compiles and keeps a kernel into an error with its cure."""
    what = f"{label} could not be compiled or loaded"
    try:
        with refused(what):
            yield
    except UnicodeError as error:
        raise BackendError(
            f"{what}: CuPy writes files in the encoding of the locale: {error}. Set PYTHONUTF8=1"
        ) from error
    except OSError as error:
        raise BackendError(
            f"{what}: CuPy keeps machine code in {kernel_folder()}, and its sources in a folder "
            f"for temporary files on the way: {error}. {CACHE_CURE}, or TMPDIR"
        ) from error


def compiled_kernels() -> int:
    """How many kernels this process has compiled, or loaded from where CuPy keeps them."""
    return compiled.cache_info().misses


def kernel_folder() -> str:
    """Where CuPy keeps machine code."""
    return os.environ.get("CUPY_CACHE_DIR") or str(Path.home() / ".cupy/kernel_cache")


# ---- graphs


def capture(function: Callable[[], None], count: int) -> None:
    """Call `function`, which launches kernels, `count` times: from the second on as a graph.

    The graph is captured once and replayed: `function` must launch the same kernels on the same
    arrays every time, and may neither allocate memory nor copy to or from the host. Where CUDA
    makes no graph of it, it is called each time: another thread's calls can spoil a capture.
    """
    if count < 1:
        return
    function()  # also compiles and loads the kernels, which cannot be done in a capture
    if count == 1:
        return
    again = function
    with contextlib.suppress(DeviceError):  # what is wrong with the launches themselves shows again
        again = functools.partial(_replay, _captured(function))
    for _ in range(count - 1):
        again()


def _replay(graph: Any) -> None:
    with clock.around("graph"), refused(f"a graph up to {device.last_launch()} did not run"):
        graph.launch()


def _captured(function: Callable[[], None]) -> Any:
    """What `function` launches, as a graph."""
    with refused(f"CUDA could not make a graph of the launches up to {device.last_launch()}"):
        stream = cupy().cuda.Stream(non_blocking=True)
        with stream, clock.stopped():  # events and copies cannot be captured
            stream.begin_capture()
            try:
                function()
            except BaseException:
                with contextlib.suppress(*cuda_errors()):  # the other error tells why
                    stream.end_capture()
                raise
            return stream.end_capture()


# ---- time


class Clock:
    """How long launches run on the GPU, by CUDA events; what `registry.GPUClock` describes."""

    def __init__(self) -> None:
        self._events: list[tuple[str, Any, Any]] | None = None  # None: nothing is timed

    def synchronise(self) -> None:
        """Wait for the GPU."""
        device.synchronise()

    def launch_times(self, call: Callable[[], Any]) -> list[tuple[str, float]]:
        """Call it; what it launched, and the seconds each launch ran on the GPU.

        Copies and the host's part are left out. The call itself takes longer than usual.
        """
        self._events = []
        try:
            call()
            device.synchronise()
            elapsed = cupy().cuda.get_elapsed_time  # in milliseconds
            return [(label, elapsed(start, stop) / 1e3) for label, start, stop in self._events]
        finally:
            self._events = None

    @contextlib.contextmanager
    def around(self, label: str) -> Iterator[None]:
        """Within `launch_times`, take the time of what this block gives the GPU to do."""
        if self._events is None:
            yield
            return
        cuda = cupy().cuda
        start, stop, stream = cuda.Event(), cuda.Event(), cuda.get_current_stream()
        hold = _load(HOLD, "hold", (), "hold", False)
        hold.raw.kernel((1,), (1,), (np.int64(HOLD_NANOSECONDS),))
        start.record(stream)
        yield
        stop.record(stream)
        self._events.append((label, start, stop))

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """In this block nothing is timed."""
        events, self._events = self._events, None
        try:
            yield
        finally:
            self._events = events


clock = Clock()


# ---- does it run here?


def probe() -> str:
    """What runs here, such as "CuPy 14.2.0 on NVIDIA A100 (sm_80)".

    Raises:
        ModuleNotFoundError: CuPy is not installed.
        RuntimeError: CuPy is too old or not for NVIDIA GPUs, there is no GPU, it is too old, or a
            test kernel gave wrong numbers. Whatever else CuPy raises passes through: no driver, ...
        BackendError: the test kernel could not be compiled or launched.
    """
    runtime, version = cupy().cuda.runtime, cupy().__version__
    if runtime.is_hip:
        raise RuntimeError("this CuPy is for AMD GPUs, the kernels are for NVIDIA GPUs")
    if runtime.getDeviceCount() == 0:
        raise RuntimeError("there is no NVIDIA GPU, or CUDA_VISIBLE_DEVICES hides it")
    if int(version.partition(".")[0]) < LEAST_CUPY:
        raise RuntimeError(f"CuPy is {version}, but at least {LEAST_CUPY} is needed")
    name = runtime.getDeviceProperties(cupy().cuda.Device().id)["name"].decode()
    capability = device.compute_capability()
    if capability < LEAST_CAPABILITY:
        raise RuntimeError(
            f"the compute capability of {name} is {capability / 10}, "
            f"but at least {LEAST_CAPABILITY / 10} is needed"
        )
    cooperative = device.launches_cooperatively()
    # One of the package's kernels: what stands in the way of the others stands in the way of it.
    softmax = load_kernel("softmax.cu", "softmax_forward", cooperative=cooperative, **PROBED)
    rows = zeros((4, 32), np.float32)
    softmax((1,), (128,), (rows, rows, np.int64(4), np.int64(32)))
    if not np.array_equal(to_host(rows), np.full((4, 32), 1 / 32)):
        raise RuntimeError("a test kernel ran on the GPU but gave wrong numbers")
    without = "" if cooperative else ", without cooperative launches: small banks train slower"
    return f"CuPy {version} on {name} (sm_{capability}){without}"

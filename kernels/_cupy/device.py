"""The GPU and CuPy. `cupy` is imported here alone, at first use; arrays.py and kernel.py use it."""

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from softstep.kernels.errors import BackendError

MAX_GRID = (2**31 - 1, 65_535, 65_535)
CACHE_CURE = "Set CUPY_CACHE_DIR to a folder that can be written to"


class OutOfDeviceMemory(MemoryError):
    """The GPU does not have the memory asked for."""


class DeviceError(BackendError):
    """CUDA refused something, or a kernel failed while it ran."""


def cupy() -> Any:
    """The module `cupy`.

    Raises:
        ModuleNotFoundError: it is not installed, or something that it needs is not.
        BackendError: it cannot make the folder of its cache.
    """
    try:
        return importlib.import_module("cupy")
    except OSError as error:
        raise BackendError(f"CuPy cannot be imported: {error}. {CACHE_CURE}") from error
    except ModuleNotFoundError as error:
        if error.name != "cupy":
            raise
        raise ModuleNotFoundError("CuPy is not installed", name="CuPy") from error


# ---- errors


def cuda_errors() -> tuple[type[Exception], ...]:
    """What CuPy raises when CUDA refuses something."""
    cuda = cupy().cuda
    return (
        cuda.driver.CUDADriverError,
        cuda.runtime.CUDARuntimeError,
        cuda.compiler.CompileException,
    )


@contextlib.contextmanager
def refused(what: str) -> Iterator[None]:
    """Turn an error of CUDA in this block into a DeviceError that says what was refused."""
    try:
        yield
    except cuda_errors() as error:
        raise DeviceError(f"{what}: {error}") from error


_last_launch = "no kernel"


def last_launch() -> str:
    """The kernel launched last."""
    return _last_launch


def launched(label: str) -> None:
    """Remember what was launched: an error that shows later is then put down to it."""
    global _last_launch
    _last_launch = label


def waiting() -> contextlib.AbstractContextManager[None]:
    """Around whatever may report a kernel that failed earlier."""
    return refused(f"a kernel failed, {_last_launch} or before")


def synchronise() -> None:
    """Wait until the current stream has done all it was given.

    Raises:
        DeviceError: a kernel failed; the last one launched is named.
    """
    with waiting():
        cupy().cuda.get_current_stream().synchronize()


@contextlib.contextmanager
def named(name: str) -> Iterator[None]:
    """Give this block a name that NVIDIA's profilers show above its kernels."""
    nvtx = cupy().cuda.nvtx
    if not nvtx.available:
        yield
        return
    nvtx.RangePush(name)
    try:
        yield
    finally:
        nvtx.RangePop()


# ---- the current GPU


def current() -> int:
    """The number of this thread's current GPU."""
    return int(cupy().cuda.runtime.getDevice())


def on_gpu(number: int) -> contextlib.AbstractContextManager[Any]:
    """In this block GPU `number` is the current one."""
    if number == current():
        return contextlib.nullcontext()
    gpu: contextlib.AbstractContextManager[Any] = cupy().cuda.Device(number)
    return gpu


def compute_capability() -> int:
    """Such as 80 for 8.0."""
    return int(cupy().cuda.Device().compute_capability)


def multiprocessors() -> int:
    """How many multiprocessors the GPU has."""
    return int(cupy().cuda.Device().attributes["MultiProcessorCount"])


def launches_cooperatively() -> bool:
    """Whether the GPU can keep all blocks of a launch alive at once."""
    return bool(cupy().cuda.Device().attributes["CooperativeLaunch"])


def shared_memory_of_a_block() -> int:
    """Bytes a block can have: 64 KB on sm_75, 163 on sm_80, 227 on sm_90."""
    return int(cupy().cuda.Device().attributes["MaxSharedMemoryPerBlockOptin"])


def total_memory() -> int:
    """Bytes the GPU has."""
    return int(cupy().cuda.runtime.memGetInfo()[1])


def free_memory() -> int:
    """Bytes that can be had: free on the GPU or in CuPy's pool, within the pool's limit."""
    pool = cupy().get_default_memory_pool()
    free = cupy().cuda.runtime.memGetInfo()[0] + pool.free_bytes()
    limit = pool.get_limit()  # 0: none
    return int(min(free, limit - pool.used_bytes()) if limit else free)

"""Arrays on the GPU: made, copied there and back, and taken over from other libraries."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from softstep.kernels._cupy.device import (
    OutOfDeviceMemory,
    cuda_errors,
    cupy,
    current,
    free_memory,
    synchronise,
    total_memory,
    waiting,
)
from softstep.kernels.arrays import contiguous, is_on_gpu, lies_in_rows


def asarray(value: Any) -> Any:
    """`value` as a C-contiguous CuPy array of the same dtype and shape.

    NumPy arrays are copied to the GPU. Arrays on the GPU stay where they are (copied only if they
    are not contiguous) and are waited for, if another library may still write to them.

    Raises:
        OutOfDeviceMemory: no room for the copy.
        TypeError: neither a NumPy array nor an array on an NVIDIA GPU.
        ValueError: the array is on a GPU that is not the current one.
    """
    if isinstance(value, np.ndarray):
        return _from_host(value)
    value = view(value)
    if value.flags.c_contiguous:
        return value
    return _allocate(lambda: cupy().ascontiguousarray(value), value.shape, value.dtype)


def rows(value: Any) -> Any:
    """Features (n, d) as `asarray` gives them, but rows may lie apart. Raises as `asarray`."""
    if isinstance(value, np.ndarray):
        return _from_host(value)
    value = view(value)
    return value if lies_in_rows(value) else asarray(value)


def view(value: Any) -> Any:
    """An array on the GPU as a CuPy array of the same memory. Raises as `asarray`."""
    if not is_its_own(value):
        value = _from_other_library(value)
    if value.device.id != current():
        raise ValueError(
            f"an array is on GPU {value.device.id}, but the current one is GPU {current()}: "
            f"call within `with cupy.cuda.Device({value.device.id})`"
        )
    return value


def as_dtype(array: Any, dtype: Any) -> Any:
    """A CuPy array, C-contiguous, converted on the GPU; itself if it is so already."""
    array = asarray(array)
    if array.dtype == dtype:
        return array
    return _allocate(lambda: array.astype(dtype), array.shape, dtype)


def to_host(array: Any) -> np.ndarray:
    """A NumPy copy of a CuPy array; a NumPy array itself."""
    if isinstance(array, np.ndarray):
        return array
    with waiting():
        values: np.ndarray = array.get()
    return values


def is_its_own(array: Any) -> bool:
    """Whether this is a CuPy array."""
    return isinstance(array, cupy().ndarray)


def address(array: Any) -> int:
    """Where the memory of a CuPy array begins."""
    return int(array.data.ptr)


def complete(arrays: list[Any]) -> None:
    """Wait for what CuPy's stream writes, if one of these arrays is another library's."""
    if not all(map(is_its_own, arrays)):
        synchronise()  # that library knows nothing of CuPy's stream


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """A CuPy array, not initialised. OutOfDeviceMemory if there is no room."""
    return _allocate(lambda: cupy().empty(shape, dtype), shape, dtype)


def zeros(shape: tuple[int, ...], dtype: Any) -> Any:
    """A CuPy array of zeros. OutOfDeviceMemory if there is no room."""
    return _allocate(lambda: cupy().zeros(shape, dtype), shape, dtype)


def nans(shape: tuple[int, ...]) -> Any:
    """A CuPy array of float64 that are NaN. OutOfDeviceMemory if there is no room."""
    array = empty(shape, np.float64)
    with waiting():
        array.data.memset_async(0xFF, array.nbytes)  # a NaN has all bits of its exponent set
    return array


def copy_into(target: Any, array: Any) -> None:
    """Write a CuPy array to `target`, a NumPy or CuPy array.

    Costs nothing where `array` already is the target's memory.
    """
    if isinstance(target, np.ndarray):
        with waiting():
            array.get(out=target)
    elif target.data.ptr != array.data.ptr:
        with waiting():
            target[...] = array


def _from_host(value: np.ndarray) -> Any:
    value = contiguous(value)  # CuPy has no arrays of the other byte order
    array = empty(value.shape, value.dtype)
    with waiting():
        array.set(value)
    synchronise()  # from pinned memory the copy would still read when this returns
    return array


def _from_other_library(value: Any) -> Any:
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if not is_on_gpu(value):
        raise TypeError(f"neither a NumPy array nor an array on an NVIDIA GPU: {kind}")
    if hasattr(value, "__dlpack_device__"):
        try:  # the current stream then waits for the other library's
            return cupy().from_dlpack(value)
        except (BufferError, RuntimeError) as error:  # such as: it requires a gradient
            if isinstance(error, cuda_errors()):
                raise
            raise TypeError(f"cannot be read as a CuPy array: {kind}: {error}") from error
    if "stream" not in value.__cuda_array_interface__:
        cupy().cuda.runtime.deviceSynchronize()  # no stream named to wait for: wait for all
    return cupy().asarray(value)


def _allocate(make: Callable[[], Any], shape: tuple[int, ...], dtype: Any) -> Any:
    try:
        with waiting():
            return make()
    except cupy().cuda.memory.OutOfMemoryError as error:
        asked = math.prod(shape) * np.dtype(dtype).itemsize
        raise OutOfDeviceMemory(
            f"out of GPU memory: {_size(asked)} asked for (shape {tuple(shape)}, "
            f"{np.dtype(dtype)}), {_size(free_memory())} of {_size(total_memory())} free. "
            "What takes less: features as uint8 or float16, fewer rows in a call or a batch, "
            "fewer heads in a bank. A CPU backend needs no GPU memory"
        ) from error


def _size(size: int) -> str:
    """A number of bytes in words."""
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:.2f} {name}"
    return f"{size:,} bytes"

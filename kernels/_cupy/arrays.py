"""Arrays on the GPU: made, copied there and back, and taken over from other libraries."""

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from softstep.kernels._cupy.device import (
    OutOfDeviceMemory,
    cuda_errors,
    cupy,
    free_memory,
    on_gpu,
    synchronise,
    total_memory,
    waiting,
)
from softstep.kernels.arrays import contiguous, is_on_gpu, lies_in_rows


def asarray(value: Any) -> Any:
    """`value` as a C-contiguous CuPy array of the same dtype and shape.

    NumPy arrays are copied to the current GPU. Arrays on a GPU stay where they are (copied only if
    they are not contiguous) and are waited for, if another library may still write to them.

    Raises:
        OutOfDeviceMemory: no room for the copy.
        TypeError: neither a NumPy array nor an array on an NVIDIA GPU.
    """
    if isinstance(value, np.ndarray):
        return _from_host(value)
    value = view(value)
    if value.flags.c_contiguous:
        return value
    with on_gpu_of(value):
        return _allocate(lambda: cupy().ascontiguousarray(value), value.shape, value.dtype)


def beside(value: np.ndarray, like: Any) -> Any:
    """A NumPy array, copied to the GPU that `like` is on. Raises as `asarray`."""
    with on_gpu_of(like):
        return asarray(value)


def rows(value: Any) -> Any:
    """Features (n, d) as `asarray` gives them, but rows may lie apart. Raises as `asarray`."""
    if isinstance(value, np.ndarray):
        return _from_host(value)
    value = view(value)
    return value if lies_in_rows(value) else asarray(value)


def view(value: Any) -> Any:
    """An array on the GPU as a CuPy array of the same memory. TypeError if it is none."""
    return value if is_its_own(value) else _from_other_library(value)


def as_dtype(array: Any, dtype: Any) -> Any:
    """A CuPy array, C-contiguous, converted on the GPU; itself if it is so already."""
    array = asarray(array)
    if array.dtype == dtype:
        return array
    with on_gpu_of(array):
        return _allocate(lambda: array.astype(dtype), array.shape, dtype)


def to_host(array: Any) -> np.ndarray:
    """A NumPy copy of a CuPy array; a NumPy array itself."""
    if isinstance(array, np.ndarray):
        return array
    with on_gpu_of(array), waiting():
        values: np.ndarray = array.get()
    return values


def taken(array: Any, index: Any) -> Any:
    """A copy of `array[index]`, on its GPU. index: NumPy's whole numbers, (k,), or `...` for all.

    Raises as `asarray`.
    """
    with on_gpu_of(array):
        if index is ...:
            return _allocate(array.copy, array.shape, array.dtype)
        there = asarray(index)
        return _allocate(lambda: array[there], (len(index), *array.shape[1:]), array.dtype)


def put(array: Any, index: Any, values: Any) -> None:
    """array[index] = values, NumPy's or on the same GPU. index: as `taken` has it, each once.

    Raises as `asarray`.
    """
    with on_gpu_of(array):
        values = asarray(values)
        there = index if index is ... else asarray(index)
        with waiting():
            array[there] = values


def is_its_own(array: Any) -> bool:
    """Whether this is a CuPy array."""
    return isinstance(array, cupy().ndarray)


def address(array: Any) -> int:
    """Where the memory of a CuPy array begins."""
    return int(array.data.ptr)


def complete(arrays: list[Any]) -> None:
    """Wait for what CuPy's stream writes, if one of these arrays is another library's."""
    if not all(map(is_its_own, arrays)):  # that library knows nothing of CuPy's stream
        for number in sorted(set(map(_gpu_of, arrays))):
            with on_gpu(number):
                synchronise()


# ---- which GPU


def on_gpu_of(*values: Any) -> contextlib.AbstractContextManager[Any]:
    """In this block the GPU that these arrays are on is the current one; without any, it stays.

    values: what an op is given: arrays, tuples and bundles of them, and whatever else.

    Raises:
        ValueError: they are on several.
    """
    numbers = {_gpu_of(array) for array in _arrays_in(values)}
    if len(numbers) > 1:
        several = " and ".join(map(str, sorted(numbers)))
        raise ValueError(
            f"the arrays of one call are on GPUs {several}: move them to one of these first"
        )
    return on_gpu(*numbers) if numbers else contextlib.nullcontext()


def _arrays_in(value: Any) -> Iterator[Any]:
    """The arrays on a GPU that an argument of an op has in it."""
    if isinstance(value, tuple | list):
        for part in value:
            yield from _arrays_in(part)
    elif dataclasses.is_dataclass(value):
        yield from _arrays_in(tuple(vars(value).values()))
    elif is_on_gpu(value):
        yield value


def _gpu_of(array: Any) -> int:
    """The number of the GPU that an array of any library is on."""
    if is_its_own(array):
        return int(array.device.id)
    where = getattr(array, "__dlpack_device__", None)
    return int(where()[1] if where is not None else view(array).device.id)


# ---- made here


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


# ---- lent to other libraries


def lend(array: Any) -> Any:
    """A CuPy array as another library is to have it: of the same memory, which CuPy gives to nobody
    else until that library has let go of it and the GPU has done all it was given.

    A library that frees an array tells CuPy at once, while kernels on its own stream may still
    read it; CuPy's pool would give the memory to the next array on CuPy's stream.
    """
    cuda, number = cupy().cuda, _gpu_of(array)
    memory = cuda.UnownedMemory(address(array), array.nbytes, _Lent(array), number)
    return cupy().ndarray(array.shape, array.dtype, cuda.MemoryPointer(memory, 0))


class _Lent:
    """Keeps an array until nobody reads its memory any more."""

    def __init__(self, array: Any):
        self._array = array

    def __del__(self) -> None:
        # A kernel that failed is reported by what comes next: nothing can be raised here.
        with contextlib.suppress(Exception), on_gpu_of(self._array):
            cupy().cuda.runtime.deviceSynchronize()


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
            with on_gpu(_gpu_of(value)):
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

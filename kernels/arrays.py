"""Arrays on the way in and out: NumPy in host memory, or arrays that stay on the GPU.

NumPy arrays, sequences and whatever has `__array__` come in through `numpy.asarray`, torch, JAX and
other libraries through DLPack; results go back to the library and the device X came from. A library
that has no `from_dlpack` gets NumPy arrays or, on the GPU, the GPU backend's own. bfloat16, which
NumPy has not, is a dtype of the library ml_dtypes, imported where such an array is given.
"""

import importlib
import sys
from typing import Any

import numpy as np

from softstep.kernels.registry import GPU, GPUArrays

CUDA, CUDA_MANAGED = 2, 13  # what __dlpack_device__ calls the memory of NVIDIA GPUs


def gpu() -> GPUArrays:
    """How arrays on the GPU are read and checked; the GPU backend is imported at first need."""
    arrays: GPUArrays = GPU.load().gpu_arrays
    return arrays


def is_on_gpu(value: Any) -> bool:
    """Whether `value` is an array, of whatever library, in the memory of an NVIDIA GPU."""
    if isinstance(value, np.ndarray):
        return False
    # Asked first: a torch tensor that requires a gradient raises at the other.
    where = getattr(value, "__dlpack_device__", None)
    if where is not None:
        return where()[0] in (CUDA, CUDA_MANAGED)
    return hasattr(value, "__cuda_array_interface__")


def asarray(value: Any, name: str) -> Any:
    """`value` as a NumPy array, without a copy where that is possible; on the GPU it stays there.

    Raises:
        TypeError: something that is no array, or bfloat16 where ml_dtypes is not installed.
    """
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    if getattr(value, "is_neg", bool)():  # of PyTorch, whose DLPack leaves the sign out
        value = value.resolve_neg()
    if is_on_gpu(value):
        return gpu().view(value)
    try:
        if is_bfloat16(value):
            return _of_bfloat16(value)
        if hasattr(value, "__dlpack__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except Exception as error:  # of whatever library
        kind = type(value).__name__
        raise TypeError(f"{name} ({kind}) cannot be read as a NumPy array: {error}") from error


def bfloat16() -> np.dtype[Any]:
    """NumPy's dtype of bfloat16.

    Raises:
        TypeError: ml_dtypes, which has it, is not installed.
    """
    try:
        library = importlib.import_module("ml_dtypes")
    except ModuleNotFoundError as error:
        raise TypeError("NumPy has bfloat16 from ml_dtypes alone: pip install ml_dtypes") from error
    kind: np.dtype[Any] = np.dtype(library.bfloat16)
    return kind


def is_bfloat16(value: Any) -> bool:
    """Whether this is an array of bfloat16, of whatever library."""
    return "bfloat16" in str(getattr(value, "dtype", ""))


def _of_bfloat16(value: Any) -> np.ndarray:
    """An array of another library as one of NumPy's, of the same memory; from PyTorch by its
    bits, for it has no `__array__` of bfloat16, nor has NumPy DLPack of it."""
    kind, torch = bfloat16(), sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.Tensor):
        return np.asarray(value)  # JAX and TensorFlow have it from ml_dtypes too
    if value.requires_grad:
        raise BufferError("it requires a gradient: give its detach()")
    bits: np.ndarray = np.from_dlpack(value.view(torch.int16))
    return bits.view(kind)


def on_host(value: Any, name: str) -> np.ndarray:
    """`value` as a NumPy array; a copy of what is on the GPU."""
    return to_host(asarray(value, name))


def to_host(array: Any) -> np.ndarray:
    """A NumPy array itself, or a NumPy copy of an array on the GPU."""
    if isinstance(array, np.ndarray):
        return array
    copy: np.ndarray = gpu().to_host(array)
    return copy


def contiguous(array: Any) -> np.ndarray[Any, Any]:
    """The array C-contiguous, aligned and in native byte order; itself if it is so already."""
    if not isinstance(array, np.ndarray):
        on_gpu: np.ndarray[Any, Any] = gpu().asarray(array)  # as far as its methods go
        return on_gpu
    if array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative:
        return array
    native = array.dtype if array.dtype.isnative else array.dtype.newbyteorder("=")
    return np.require(array, dtype=native, requirements=["C", "A"])


def lies_in_rows(array: Any) -> bool:
    """Whether a matrix (n, d) can be read row by row, as `X[:, a:b]` can: the numbers of a row are
    next to each other, and rows begin a whole number of numbers apart, at least d."""
    (n, d), item = array.shape, array.dtype.itemsize
    apart, step = array.strides
    return bool((d <= 1 or step == item) and (n <= 1 or (apart >= d * item and apart % item == 0)))


def row_length(array: Any) -> int:
    """How many numbers apart the rows of a matrix that `lies_in_rows` begin: d or more."""
    apart: int = array.strides[0] // array.dtype.itemsize if len(array) > 1 else array.shape[1]
    return apart


def rows(array: Any) -> np.ndarray[Any, Any]:
    """A matrix (n, d) that `lies_in_rows`, aligned and in native byte order; itself if it is so."""
    if lies_in_rows(array):
        is_plain = not isinstance(array, np.ndarray) or (
            array.flags.aligned and array.dtype.isnative
        )
        if is_plain:
            found: np.ndarray[Any, Any] = array
            return found
    return contiguous(array)


def as_dtype(array: Any, dtype: Any) -> np.ndarray[Any, Any]:
    """The array C-contiguous and in this dtype; itself if it is so already."""
    if isinstance(array, np.ndarray):
        return np.ascontiguousarray(array, dtype=dtype)
    on_gpu: np.ndarray[Any, Any] = gpu().as_dtype(array, dtype)
    return on_gpu


def to_device_of(array: Any, like: Any) -> Any:
    """A NumPy array, or one on the GPU, moved to where `like` is."""
    if not is_on_gpu(like):
        return to_host(array)
    return gpu().beside(array, like) if isinstance(array, np.ndarray) else gpu().asarray(array)


def host_copy(array: Any) -> np.ndarray:
    """A NumPy copy of a NumPy array, or of one on the GPU."""
    return array.copy() if isinstance(array, np.ndarray) else to_host(array)


def taken(array: Any, index: Any) -> Any:
    """A copy of `array[index]`, where the array is. index: whole numbers, (k,), or `...`: all."""
    if isinstance(array, np.ndarray):
        return array[index].copy() if index is ... else array[index]
    return gpu().taken(array, index)


def put(array: Any, index: Any, values: Any) -> None:
    """array[index] = values, where the array is. index: as `taken` has it, each number once.
    values: of NumPy, or where the array is."""
    if isinstance(array, np.ndarray):
        array[index] = values
    else:
        gpu().put(array, index, values)


def to_caller(result: Any, like: Any, *written: Any) -> Any:
    """`result` on the device of `like`, in its library where that has `from_dlpack`.

    Else as a NumPy array or, on the GPU, as the GPU backend made it. If `like` or an array that was
    `written` belongs to another library than the GPU backend's, it is complete when this returns.
    """
    theirs = [array for array in (like, *written) if is_on_gpu(array)]
    if theirs:
        gpu().complete(theirs)
    if not is_on_gpu(like):
        result = to_host(result)
    elif gpu().is_its_own(like):
        return result
    from_dlpack = _from_dlpack(like)
    if from_dlpack is None:
        return result
    return from_dlpack(gpu().lend(result) if is_on_gpu(result) else result)


def _from_dlpack(like: Any) -> Any:
    """What makes arrays of the library of `like`, which is not NumPy's; None if it has nothing."""
    if isinstance(like, np.ndarray) or not hasattr(like, "__dlpack__"):
        return None
    name = type(like).__module__.partition(".")[0]
    library = sys.modules.get("jax.numpy" if name in ("jax", "jaxlib") else name)
    return getattr(library, "from_dlpack", None)

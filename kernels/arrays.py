"""Arrays on the way in and out: anything that holds numbers in host memory becomes NumPy.

NumPy arrays, sequences and whatever has `__array__` come in through `numpy.asarray`, torch, JAX and
other libraries through DLPack; results go back to the library X came from.
"""

import sys
from typing import Any

import numpy as np


def asarray(value: Any, name: str) -> np.ndarray:
    """`value` as a NumPy array, without a copy where that is possible.

    Raises:
        TypeError: an array on a device, or something that is no array.
    """
    if isinstance(value, np.ndarray):
        return np.asarray(value)
    if hasattr(value, "__cuda_array_interface__"):
        raise TypeError(f"{name} is on a GPU: move it to host memory for this backend")
    try:
        if hasattr(value, "__dlpack__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except (ValueError, TypeError, BufferError, RuntimeError) as error:
        kind = type(value).__name__
        raise TypeError(f"{name} ({kind}) cannot be read as a NumPy array: {error}") from error


def contiguous(array: np.ndarray) -> np.ndarray:
    """The array C-contiguous, aligned and in native byte order; itself if it is so already."""
    native = array.dtype.newbyteorder("=")
    return np.require(array, dtype=native, requirements=["C", "A"])


def give_back(result: np.ndarray, like: Any) -> Any:
    """`result` in the library of `like`, where that speaks DLPack; NumPy otherwise."""
    if isinstance(like, np.ndarray) or not hasattr(like, "__dlpack__"):
        return result
    library = sys.modules[type(like).__module__.partition(".")[0]]
    namespace = getattr(library, "numpy", library) if library.__name__ == "jax" else library
    return namespace.from_dlpack(result) if hasattr(namespace, "from_dlpack") else result

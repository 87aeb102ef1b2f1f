"""Values of any library as arrays, before anything is asked of them, and results as they were."""

from typing import Any

import numpy as np

from softstep.kernels.arrays import asarray, to_caller, to_device_of, to_host
from softstep.kernels.checks import Array


def array(value: Any, name: str) -> Array:
    """`value` as an array in native byte order; on the GPU it stays there.

    Raises:
        TypeError: no array, or a sparse one. ValueError: a masked array that hides values.
    """
    if hasattr(value, "tocsr"):
        raise TypeError(
            f"{name} is a sparse {type(value).__name__}, but dense data is required: "
            f"give {name}.toarray()"
        )
    if isinstance(value, np.ma.MaskedArray) and np.ma.getmaskarray(value).any():
        first = [int(i) for i in np.argwhere(np.ma.getmaskarray(value))[0]]
        raise ValueError(f"{name}{first} is masked: fill it, or leave its row out")
    found: Array = asarray(value, name)
    if isinstance(found, np.ndarray) and not found.dtype.isnative:
        return found.astype(found.dtype.newbyteorder("="))
    return found


def host_array(value: Any, name: str) -> Array:
    """As `array`, but always a NumPy array: a copy of what is on the GPU."""
    return to_host(array(value, name))


def as_given(result: Array, given: Any) -> Any:
    """`result` in the library and on the device of `given`; text, which NumPy alone has, stays."""
    if result.dtype.kind == "U":
        return result
    return to_caller(to_device_of(result, given), given)

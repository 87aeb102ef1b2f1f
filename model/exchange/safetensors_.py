"""A linear layer as .safetensors."""

from typing import Any

import numpy as np

from softstep.kernels.checks import Array
from softstep.model.archive import DataError, PathLike
from softstep.model.datasets import tensors
from softstep.model.exchange.linear import Linear, from_metadata
from softstep.model.extras import load
from softstep.model.writing import atomic_write

READ = {"float16": "float32", "bfloat16": "float32", "float32": "float32", "float64": "float64"}


def write(linear: Linear, path: PathLike) -> None:
    """Write the layer and what belongs to it."""
    arrays = {"weight": np.ascontiguousarray(linear.weight), "bias": linear.bias}
    packed: bytes = load("safetensors.numpy", extra="safetensors").save(arrays, linear.metadata())
    with atomic_write(path) as file:
        file.write(packed)


def read(path: PathLike) -> Linear:
    """The layer in the file; DataError if it holds none, or more."""
    with tensors.opened(path) as file:
        names = sorted(file.names)
        prefix = names[-1].removesuffix("weight") if names else ""
        if names not in ([f"{prefix}bias", f"{prefix}weight"], [f"{prefix}weight"]):
            shown = ", ".join(names[:5]) or "none"
            raise DataError(f"{path}: needs the tensors weight and bias alone; it has {shown}")
        weight = _floats(path, file.array(f"{prefix}weight"))
        if len(names) == 2:
            bias: Any = _floats(path, file.array(f"{prefix}bias"))
        else:
            bias = np.zeros(weight.shape[:1], weight.dtype)
        try:
            return from_metadata(weight, bias, file.metadata)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}: its metadata are damaged: {error}") from error


def _floats(path: PathLike, array: Array) -> Array:
    if array.dtype.name not in READ:
        raise DataError(f"{path}: its tensors hold {array.dtype}, not floats")
    return array.astype(READ[array.dtype.name])

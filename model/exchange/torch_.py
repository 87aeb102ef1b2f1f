"""torch.nn.Linear."""

from typing import Any

import numpy as np

from softstep.kernels.checks import Array
from softstep.model import inputs
from softstep.model.exchange.linear import Linear
from softstep.model.extras import load


def to_layer(linear: Linear) -> Any:
    """The layer, on the CPU."""
    torch = load("torch", extra="torch")
    weight, bias = torch.from_numpy(linear.weight.copy()), torch.from_numpy(linear.bias.copy())
    c, d = weight.shape
    layer = torch.nn.utils.skip_init(torch.nn.Linear, d, c, dtype=weight.dtype)
    layer.weight, layer.bias = torch.nn.Parameter(weight), torch.nn.Parameter(bias)
    return layer


def from_layer(layer: Any, classes: Any, names: Any) -> Linear:
    """What the layer computes, and the classes and names that it has no place for."""
    torch = load("torch", extra="torch")
    if not isinstance(layer, torch.nn.Linear):
        raise TypeError(f"this takes a torch.nn.Linear, not {type(layer).__name__}")
    weight = _numbers(torch, layer.weight)
    c, d = weight.shape
    bias = np.zeros(c, weight.dtype) if layer.bias is None else _numbers(torch, layer.bias)
    labels = np.arange(c) if classes is None else inputs.label_values(classes, c, "classes")
    if names is not None:
        names = np.array(names, dtype=object)
        if names.shape != (d,):
            raise ValueError(f"names must be {d}, one for each feature, not {names.shape}")
    return Linear(weight, bias, labels, names)


def _numbers(torch: Any, tensor: Any) -> Array:
    is_half = tensor.dtype in (torch.float16, torch.bfloat16)
    tensor = tensor.detach().cpu()
    found: Array = (tensor.float() if is_half else tensor).numpy().copy()
    return found

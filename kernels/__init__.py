"""softstep.kernels: the ops of the softmax layer. Arrays in, arrays out; no files, no state."""

if __name__ != "softstep.kernels":
    raise ImportError("this folder is the package softstep.kernels: import softstep.kernels")

from softstep.kernels.backend import use_backend
from softstep.kernels.csr import CSR
from softstep.kernels.errors import BackendError
from softstep.kernels.ops import (
    cross_entropy_backward,
    cross_entropy_forward,
    evaluate,
    gce_backward,
    gce_forward,
    gradient,
    linear_backward,
    linear_forward,
    mse_backward,
    mse_forward,
    predict,
    softmax_backward,
    softmax_forward,
    softmax_mse_backward,
    surface_forward,
    train,
)
from softstep.kernels.scaled import Scaled

__all__ = [
    "CSR",
    "BackendError",
    "Scaled",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "evaluate",
    "gce_backward",
    "gce_forward",
    "gradient",
    "linear_backward",
    "linear_forward",
    "mse_backward",
    "mse_forward",
    "predict",
    "softmax_backward",
    "softmax_forward",
    "softmax_mse_backward",
    "surface_forward",
    "train",
    "use_backend",
]

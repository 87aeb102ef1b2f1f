"""The GPU backend: hand-written CUDA C++ in *.cu, launched through CuPy by the .py of that name."""

from softstep.kernels._cupy.cross_entropy import cross_entropy_backward, cross_entropy_forward
from softstep.kernels._cupy.device import device as _device
from softstep.kernels._cupy.evaluate import evaluate, predict
from softstep.kernels._cupy.linear import linear_backward, linear_forward
from softstep.kernels._cupy.mse import mse_backward, mse_forward, softmax_mse_backward
from softstep.kernels._cupy.softmax import softmax_backward, softmax_forward
from softstep.kernels._cupy.surface import surface_forward
from softstep.kernels._cupy.train import train

__all__ = [
    "cross_entropy_backward",
    "cross_entropy_forward",
    "evaluate",
    "linear_backward",
    "linear_forward",
    "mse_backward",
    "mse_forward",
    "place",
    "predict",
    "probe",
    "softmax_backward",
    "softmax_forward",
    "softmax_mse_backward",
    "surface_forward",
    "train",
]

place = _device.asarray
probe = _device.probe

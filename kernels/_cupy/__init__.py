"""The GPU backend: hand-written CUDA C++ in *.cu, launched through CuPy by the .py of that name."""

from softstep.kernels._cupy import arrays as _arrays
from softstep.kernels._cupy import checks as _checks
from softstep.kernels._cupy.cross_entropy import cross_entropy_backward, cross_entropy_forward
from softstep.kernels._cupy.evaluate import evaluate, predict
from softstep.kernels._cupy.gce import gce_backward, gce_forward
from softstep.kernels._cupy.gradient import gradient
from softstep.kernels._cupy.kernel import clock, compiled_kernels, kernel_folder, probe
from softstep.kernels._cupy.linear import linear_backward, linear_forward
from softstep.kernels._cupy.mse import mse_backward, mse_forward, softmax_mse_backward
from softstep.kernels._cupy.softmax import softmax_backward, softmax_forward
from softstep.kernels._cupy.surface import surface_forward
from softstep.kernels._cupy.train import train
from softstep.kernels.registry import GPUArrays as _GPUArrays

__all__ = [
    "clock",
    "compiled_kernels",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "evaluate",
    "gce_backward",
    "gce_forward",
    "gpu_arrays",
    "gradient",
    "kernel_folder",
    "linear_backward",
    "linear_forward",
    "mse_backward",
    "mse_forward",
    "predict",
    "probe",
    "softmax_backward",
    "softmax_forward",
    "softmax_mse_backward",
    "surface_forward",
    "to_backend",
    "train",
]

to_backend = _arrays.rows

gpu_arrays = _GPUArrays(
    asarray=_arrays.asarray,
    beside=_arrays.beside,
    lend=_arrays.lend,
    view=_arrays.view,
    as_dtype=_arrays.as_dtype,
    to_host=_arrays.to_host,
    taken=_arrays.taken,
    put=_arrays.put,
    is_its_own=_arrays.is_its_own,
    address=_arrays.address,
    complete=_arrays.complete,
    in_range=_checks.in_range,
    are_distributions=_checks.are_distributions,
    all_finite=_checks.all_finite,
)

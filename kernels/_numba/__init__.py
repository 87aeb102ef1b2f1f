"""The CPU backend: every op by hand, in loops that Numba compiles."""

import numba

if getattr(numba.config, "DISABLE_JIT", 0):  # before the files that compile
    raise ImportError("NUMBA_DISABLE_JIT is set: these kernels exist as machine code only")

from softstep.kernels._numba import sparse
from softstep.kernels._numba.compiling.cache import compiled_kernels, kernel_folder
from softstep.kernels._numba.cross_entropy import cross_entropy_backward, cross_entropy_forward
from softstep.kernels._numba.evaluate import evaluate, predict
from softstep.kernels._numba.gce import gce_backward, gce_forward
from softstep.kernels._numba.gradient import gradient
from softstep.kernels._numba.linear import linear_backward, linear_forward
from softstep.kernels._numba.mse import mse_backward, mse_forward, softmax_mse_backward
from softstep.kernels._numba.softmax import softmax_backward, softmax_forward
from softstep.kernels._numba.surface import surface_forward
from softstep.kernels._numba.train import train
from softstep.kernels.arrays import rows as to_backend

READS_SCALED = True  # rows that are scaled as they are read

__all__ = [
    "READS_SCALED",
    "compiled_kernels",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "evaluate",
    "gce_backward",
    "gce_forward",
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
    "sparse",
    "surface_forward",
    "to_backend",
    "train",
]


def probe() -> str:
    """What this backend runs on."""
    return f"Numba {numba.__version__}"

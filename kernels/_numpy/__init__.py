"""The oracle: plain NumPy, each formula readable beside the mathematics of docs/derivation.md."""

import numpy as np

from softstep.kernels._numpy import sparse
from softstep.kernels._numpy.cross_entropy import cross_entropy_backward, cross_entropy_forward
from softstep.kernels._numpy.evaluate import evaluate, predict
from softstep.kernels._numpy.gce import gce_backward, gce_forward
from softstep.kernels._numpy.gradient import gradient
from softstep.kernels._numpy.linear import linear_backward, linear_forward
from softstep.kernels._numpy.mse import mse_backward, mse_forward, softmax_mse_backward
from softstep.kernels._numpy.softmax import softmax_backward, softmax_forward
from softstep.kernels._numpy.surface import surface_forward
from softstep.kernels._numpy.train import train
from softstep.kernels.arrays import rows as to_backend

READS_SCALED = True  # rows that are scaled as they are read
MAKES_SCALED = True

__all__ = [
    "MAKES_SCALED",
    "READS_SCALED",
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
    return f"NumPy {np.__version__}"

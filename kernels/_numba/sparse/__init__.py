"""The CPU kernels on rows in compressed form, CSR: of W they read what features that occur need."""

from softstep.kernels._numba.sparse.evaluate import evaluate, predict
from softstep.kernels._numba.sparse.linear import linear_forward
from softstep.kernels._numba.sparse.train import train

# Stored values of all, up to which this is faster (bench/studies/sparse).
DENSEST = 0.1

__all__ = ["evaluate", "linear_forward", "predict", "train"]

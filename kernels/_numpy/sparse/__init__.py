"""The oracle on rows in compressed form, CSR: from the values alone that are stored.

A row of W is gathered for each value that is stored, and what a step changes is scattered back.
"""

from softstep.kernels._numpy.sparse.evaluate import evaluate, predict
from softstep.kernels._numpy.sparse.linear import linear_forward
from softstep.kernels._numpy.sparse.train import train

# Stored values of all, up to which this is faster (bench/studies/sparse).
DENSEST = 0.005

__all__ = ["evaluate", "linear_forward", "predict", "train"]

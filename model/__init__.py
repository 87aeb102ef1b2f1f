"""softstep.model: the estimators, and what surrounds them."""

if __name__ != "softstep.model":
    raise ImportError("this folder is the package softstep.model: import softstep.model")

from softstep.model.checkpoint import CheckpointError
from softstep.model.fitted import Fitted, NotFittedError
from softstep.model.path import WeightPath
from softstep.model.regression import SoftmaxRegression
from softstep.model.sweep import FewShotSplit, SoftmaxSweep, WorkerError, few_shot

__all__ = [
    "CheckpointError",
    "FewShotSplit",
    "Fitted",
    "NotFittedError",
    "SoftmaxRegression",
    "SoftmaxSweep",
    "WeightPath",
    "WorkerError",
    "few_shot",
]

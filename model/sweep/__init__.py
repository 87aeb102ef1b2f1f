"""Many softmax regressions trained in one pass over the data."""

from softstep.model.sweep.estimator import SoftmaxSweep
from softstep.model.sweep.executor import WorkerError
from softstep.model.sweep.few_rows import FewShotSplit, few_shot

__all__ = ["FewShotSplit", "SoftmaxSweep", "WorkerError", "few_shot"]

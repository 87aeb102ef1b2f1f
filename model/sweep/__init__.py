"""Many softmax regressions trained in one pass over the data."""

from softstep.model.sweep.estimator import SoftmaxSweep

__all__ = ["SoftmaxSweep"]

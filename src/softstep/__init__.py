"""softstep: hand-written kernels for the softmax layer, and a minimal SGD trainer on top.

`softstep.kernels` holds the ops (arrays in, arrays out), `softstep.model` what people train.
"""

from softstep.kernels import use_backend
from softstep.model import SoftmaxRegression, SoftmaxSweep

__version__ = "0.1.0"
__all__ = ["SoftmaxRegression", "SoftmaxSweep", "__version__", "use_backend"]

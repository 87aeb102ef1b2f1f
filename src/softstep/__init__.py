"""softstep: hand-written kernels for the softmax layer, and a minimal SGD trainer on top.

`softstep.kernels` holds the ops (arrays in, arrays out), `softstep.model` what people train.
"""

from pathlib import Path

# In a checkout, kernels, model and bench stand beside src. Found there, and not through the links
# in this folder, they have the paths that git knows, and a clone without links runs as well.
_here = Path(__file__).resolve().parent
_kernels = _here / "kernels"
if _here.parent.name == "src" and (_kernels.is_symlink() or not _kernels.is_dir()):
    __path__.insert(0, str(_here.parents[1]))

from softstep.kernels import use_backend  # noqa: E402
from softstep.model import SoftmaxRegression, SoftmaxSweep  # noqa: E402

__version__ = "0.1.0"
__all__ = ["SoftmaxRegression", "SoftmaxSweep", "__version__", "use_backend"]

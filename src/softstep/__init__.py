"""softstep: hand-written kernels for the softmax layer, and a minimal SGD trainer on top.

`softstep.kernels` holds the ops (arrays in, arrays out), `softstep.model` what people train.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

# In a checkout, kernels, model and bench stand beside src. Found there, and not through the links
# in this folder, they have the paths that git knows, and a clone without links runs as well.
_here = Path(__file__).resolve().parent
_kernels = _here / "kernels"
if _here.parent.name == "src" and (_kernels.is_symlink() or not _kernels.is_dir()):
    __path__.insert(0, str(_here.parents[1]))

if TYPE_CHECKING:
    from softstep import kernels as kernels
    from softstep import model as model
    from softstep.kernels import use_backend
    from softstep.model import SoftmaxRegression, SoftmaxSweep

__version__ = "0.1.0"
__all__ = ["SoftmaxRegression", "SoftmaxSweep", "__version__", "use_backend"]

_PLACES = {
    "use_backend": "softstep.kernels",
    "SoftmaxRegression": "softstep.model",
    "SoftmaxSweep": "softstep.model",
}


def __getattr__(name: str) -> Any:
    """The public names, imported when asked for: the command can be interrupted before they are."""
    if name in ("kernels", "model"):
        return importlib.import_module(f"softstep.{name}")
    if name not in _PLACES:
        raise AttributeError(f"module 'softstep' has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PLACES})

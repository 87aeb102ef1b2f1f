"""The peers: the same work as an expert user of another library would write it.

A peer is a function that takes a problem of `softstep.bench.problems`, puts the data into its
library's arrays, and returns a call without arguments: the work that is timed. The call returns
NumPy arrays of the same form as softstep's; one that trains starts from zero weights every time. It
may leave out the losses and the counts that `train` also reports.

Those in ON_GPU leave their results on the GPU. Where they do not train, their problem is the op's
positional arguments.
"""

import importlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from softstep.bench.child import InChild
from softstep.kernels.threads import available_cores

Call = Callable[[], tuple[Any, ...]]


@dataclass(frozen=True)
class Peer:
    """What a competitor is called, the library it needs, its function, and in which file of peers/.

    file: without it, <library>_.py. environment: variables that its libraries read when they are
    loaded; it then runs in a process of its own.
    """

    name: str
    library: str
    function: str
    file: str = ""
    environment: tuple[tuple[str, str], ...] = ()

    def why_not(self, threads: int, cores: int) -> str | None:
        """Why it cannot run here on this number of threads; None if it can."""
        if not installed(self.library):
            return f"{self.library} is not installed"
        if threads == cores:
            return None
        if self.library in ALL_CORES:
            has_affinity = hasattr(os, "sched_setaffinity")
            return None if has_affinity else "its threads can be limited on Linux only"
        if not installed("threadpoolctl"):
            return "threadpoolctl, which limits the threads of BLAS, is not installed"
        return None

    def prepare(self, problem: Any, threads: int | None = None) -> Call:
        """The call that is timed; one of ALL_CORES on fewer `threads` runs in a child process."""
        if self.environment or (threads is not None and self.library in ALL_CORES):
            return InChild(self, problem, threads or available_cores())
        call: Call = self.load()(problem)
        return call

    def load(self) -> Callable[[Any], Call]:
        """Its function."""
        file = self.file or f"{self.library}_"
        module = importlib.import_module(f"softstep.bench.peers.{file}")
        function: Callable[[Any], Call] = getattr(module, self.function)
        return function


ALL_CORES = ("jax", "tensorflow")  # libraries that take every core they find when they are loaded


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


_NAMES = {"numpy": "NumPy", "torch": "torch", "jax": "JAX", "scipy": "SciPy", "sklearn": "sklearn"}


def _all(function: str, *libraries: str) -> tuple[Peer, ...]:
    return tuple(Peer(_NAMES[library], library, function) for library in libraries)


NUMPY_EPOCH = Peer("NumPy", "numpy", "epoch")
TORCH_AUTOGRAD = Peer("torch autograd", "torch", "autograd")
TORCH_BY_HAND = Peer("torch by hand", "torch", "by_hand")
TORCH_COMPILED = Peer("torch compiled", "torch", "compiled")
TORCH_DATALOADER = Peer("DataLoader by rows", "torch", "dataloader")
TORCH_DATALOADER_BATCHES = Peer("DataLoader by batches", "torch", "dataloader_batches")
TORCH_HEADS = Peer("torch head by head", "torch", "head_by_head")
JAX_SCAN = Peer("JAX scan", "jax", "scan")
# In a process of its own, and quiet: its threads would go on beside the others.
TENSORFLOW = Peer(
    "TensorFlow function",
    "tensorflow",
    "epoch",
    environment=(("TF_CPP_MIN_LOG_LEVEL", "2"),),
)

EPOCH = (NUMPY_EPOCH, TORCH_AUTOGRAD, TORCH_BY_HAND, JAX_SCAN)
RECIPE = (*EPOCH, TORCH_DATALOADER, TORCH_DATALOADER_BATCHES, TENSORFLOW)
FORWARD = _all("forward", "numpy", "torch")
BACKWARD = _all("backward", "numpy", "torch")
SOFTMAX = _all("softmax", "numpy", "scipy", "jax", "torch")
PREDICT = _all("predict", "numpy", "torch", "jax", "sklearn")
PREDICT_ONE = Peer("scikit-learn", "sklearn", "predict")
PARTIAL_FIT = Peer("scikit-learn", "sklearn", "partial_fit")
EVALUATE = _all("evaluate", "numpy", "torch", "jax")
GRADIENT = _all("gradient", "numpy", "torch", "jax")
FIT = (
    Peer("LogisticRegression", "sklearn", "fit"),
    Peer("the same on torch", "torch", "fit_on_torch", "sklearn_", (("SCIPY_ARRAY_API", "1"),)),
    Peer("the same by oneDAL", "sklearnex", "fit_by_onedal", "sklearn_"),
)
SWEEP = (
    Peer("torch, a loop of models", "torch", "loop_of_models", "torch_heads"),
    Peer("torch, stacked autograd", "torch", "stacked", "torch_heads"),
)
SURFACE = (
    Peer("torch, a product at each point", "torch", "product_at_each_point", "torch_surface"),
    Peer("torch, three products", "torch", "three_products", "torch_surface"),
)
ON_GPU: Any = {  # by op
    "linear_forward": (
        Peer("CuPy @", "cupy", "forward"),
        Peer("torch", "torch", "forward", "torch_cuda"),
    ),
    "linear_backward": (
        Peer("CuPy @", "cupy", "backward"),
        Peer("torch", "torch", "backward", "torch_cuda"),
    ),
    "softmax_forward": (Peer("torch", "torch", "softmax", "torch_cuda"),),
    "cross_entropy_forward": (Peer("torch", "torch", "cross_entropy", "torch_cuda"),),
    "train": (
        Peer("CuPy loop", "cupy", "epoch"),
        Peer("torch loop", "torch", "epoch", "torch_cuda"),
    ),
}

"""The peers: the same work as a good user of another library writes it, one file per library.

A peer is a function that takes a problem of `softstep.bench.problems`, puts the data into its
library's arrays, and returns a call without arguments: the work that is timed. The call gives NumPy
arrays of the forms that softstep gives, from fresh zero weights where it trains. It may skip the
losses and the counts that `train` reports beside.
"""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Call = Callable[[], tuple[Any, ...]]


@dataclass(frozen=True)
class Peer:
    """What a competitor is called, the library it needs, its function in `peers/<library>_.py`."""

    name: str
    library: str
    function: str

    def why_not(self, threads: int, cores: int) -> str | None:
        """Why it cannot run here in so many threads; None: it can."""
        if not installed(self.library):
            return f"{self.library} is not installed"
        if threads == cores:
            return None
        if self.library == "jax":
            return "XLA's threads cannot be limited within a process"
        if not installed("threadpoolctl"):
            return "threadpoolctl, which limits the threads of BLAS, is not installed"
        return None

    def prepare(self, problem: Any) -> Call:
        """The call that is timed."""
        module = importlib.import_module(f"softstep.bench.peers.{self.library}_")
        call: Call = getattr(module, self.function)(problem)
        return call


def installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


_NAMES = {"numpy": "NumPy", "torch": "torch", "jax": "JAX", "scipy": "SciPy", "sklearn": "sklearn"}


def _all(function: str, *libraries: str) -> tuple[Peer, ...]:
    return tuple(Peer(_NAMES[library], library, function) for library in libraries)


NUMPY_EPOCH = Peer("NumPy", "numpy", "epoch")
TORCH_AUTOGRAD = Peer("torch autograd", "torch", "autograd")
TORCH_BY_HAND = Peer("torch by hand", "torch", "by_hand")
TORCH_COMPILED = Peer("torch compiled", "torch", "compiled")
TORCH_DATALOADER = Peer("torch DataLoader", "torch", "dataloader")
TORCH_HEADS = Peer("torch head by head", "torch", "head_by_head")
JAX_SCAN = Peer("JAX scan", "jax", "scan")

EPOCH = (NUMPY_EPOCH, TORCH_AUTOGRAD, TORCH_BY_HAND, JAX_SCAN)
FORWARD = _all("forward", "numpy", "torch")
BACKWARD = _all("backward", "numpy", "torch")
SOFTMAX = _all("softmax", "scipy", "jax", "torch")
PREDICT = _all("predict", "numpy", "torch", "sklearn")
EVALUATE = _all("evaluate", "numpy", "torch")
FIT = (Peer("LogisticRegression", "sklearn", "fit"),)

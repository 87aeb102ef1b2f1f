"""The peers: the same work as a good user of another library writes it, one file per library.

A peer is a function that takes a problem of `softstep.bench.problems`, puts the data into its
library's arrays, and returns a call without arguments: the work that is timed. The call gives NumPy
arrays of the forms that softstep gives, from fresh zero weights where it trains. It may skip the
losses and the counts that `train` reports beside.
"""

import importlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from softstep.bench.child import InChild

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
        if self.library in ALL_CORES:
            has_affinity = hasattr(os, "sched_setaffinity")
            return None if has_affinity else "its threads can be limited on Linux only"
        if not installed("threadpoolctl"):
            return "threadpoolctl, which limits the threads of BLAS, is not installed"
        return None

    def prepare(self, problem: Any, threads: int | None = None) -> Call:
        """The call that is timed; one of ALL_CORES on fewer `threads` runs in a child process."""
        if threads is not None and self.library in ALL_CORES:
            return InChild(self, problem, threads)
        module = importlib.import_module(f"softstep.bench.peers.{self.library}_")
        call: Call = getattr(module, self.function)(problem)
        return call


ALL_CORES = ("jax", "tensorflow")  # libraries that take all cores that they find when loaded


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
TENSORFLOW = Peer("TensorFlow function", "tensorflow", "epoch")

EPOCH = (NUMPY_EPOCH, TORCH_AUTOGRAD, TORCH_BY_HAND, JAX_SCAN)
RECIPE = (*EPOCH, TORCH_DATALOADER, TORCH_DATALOADER_BATCHES, TENSORFLOW)
FORWARD = _all("forward", "numpy", "torch")
BACKWARD = _all("backward", "numpy", "torch")
SOFTMAX = _all("softmax", "numpy", "scipy", "jax", "torch")
PREDICT = _all("predict", "numpy", "torch", "jax", "sklearn")
EVALUATE = _all("evaluate", "numpy", "torch", "jax")
FIT = (Peer("LogisticRegression", "sklearn", "fit"),)

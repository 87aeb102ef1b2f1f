"""The backends there are, and what each must provide. Nothing here imports one."""

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol


@dataclass(frozen=True)
class Backend:
    """A row of the table: a backend's name, how a user gets it, and where its arrays are.

    Its package exports every op of `ops.py`, and
        probe() -> str: what it runs on; raises with the reason where it cannot run.
        to_backend(array): rows of features, (n, d), moved to where it computes.
    The ops take what `checks.py` and `bundles.py` describe, and check nothing.
    One that compiles kernels when they are first used, and keeps them, has besides
        compiled_kernels() -> int: how many this process has compiled;
        kernel_folder() -> str | None: where they are kept, if they can be.
    One that reads CSR (kernels/csr.py) has besides
        sparse: the package of the ops on it, linear_forward, predict, evaluate and train, with
            DENSEST: stored values of all, up to which they are faster than dense rows.
    One whose ops read `Scaled` rows (kernels/scaled.py) has besides
        READS_SCALED, which is True, and
        MAKES_SCALED, if its linear layer makes all of them before it reads any.
    A backend on a GPU has besides
        gpu_arrays (`GPUArrays`): how arrays on the GPU are read and checked.
        clock (`GPUClock`): how long the GPU takes.
    """

    name: str
    install: str
    on_gpu: bool = False

    @property
    def package(self) -> str:
        return f"softstep.kernels._{self.name}"

    def load(self) -> ModuleType:
        """Import its package."""
        return importlib.import_module(self.package)


BACKENDS = {
    backend.name: backend
    for backend in (
        Backend("numpy", "pip install softstep"),
        Backend("numba", "pip install numba"),
        Backend("cupy", 'pip install "softstep[cuda12]"  (or cuda13)', on_gpu=True),
    )
}
# "auto" takes it for arrays on the GPU, and its `gpu_arrays` reads them for every backend.
GPU = next(backend for backend in BACKENDS.values() if backend.on_gpu)
CHOICES = ("auto", *BACKENDS)


@dataclass(frozen=True, kw_only=True)
class GPUArrays:
    """What a GPU backend has as `gpu_arrays`: arrays on the GPU are read and checked there.

    Its own arrays are those of the library that it uses. They have NumPy's `shape`, `ndim`,
    `dtype`, `nbytes`, `strides`, `flags.c_contiguous`, `astype` and indexing.

    asarray(value): NumPy, or any array on the GPU, as one of its own, C-contiguous.
    beside(value, like): NumPy, as one of its own on the GPU that `like` is on.
    lend(array): one of its own as another library is to have it, which may free it at any time.
    view(value): an array on the GPU as one of its own, of the same memory.
    as_dtype(array, dtype): one of its own in this dtype, C-contiguous.
    to_host(array): a NumPy copy of one of its own.
    taken(array, index): a copy of array[index], of one of its own; index: NumPy's whole numbers,
        (k,), or `...`.
    put(array, index, values): array[index] = values, which are NumPy's or its own.
    is_its_own(array): whether this is one of its own.
    address(array): where the memory of one of its own begins.
    complete(arrays): wait for what the backend writes, if one of these is another library's array.
    in_range(values, count): whether all of these int64 are in [0, count).
    are_distributions(rows): whether these rows are >= 0 and sum to 1, NaN aside.
    all_finite(X): whether no feature is NaN or infinite.
    """

    asarray: Callable[[Any], Any]
    beside: Callable[[Any, Any], Any]
    lend: Callable[[Any], Any]
    view: Callable[[Any], Any]
    as_dtype: Callable[[Any, Any], Any]
    to_host: Callable[[Any], Any]
    taken: Callable[[Any, Any], Any]
    put: Callable[[Any, Any, Any], None]
    is_its_own: Callable[[Any], bool]
    address: Callable[[Any], int]
    complete: Callable[[list[Any]], None]
    in_range: Callable[[Any, int], bool]
    are_distributions: Callable[[Any], bool]
    all_finite: Callable[[Any], bool]


class GPUClock(Protocol):
    """What a GPU backend has as `clock`: how long the GPU takes."""

    def synchronise(self) -> None:
        """Wait until the GPU has done all it was given."""

    def launch_times(self, call: Callable[[], Any]) -> list[tuple[str, float]]:
        """Call it; what it launched, and the seconds each launch ran on the GPU."""

    def around(self, label: str) -> AbstractContextManager[None]:
        """Within `launch_times`: what this block gives the GPU counts as one launch."""

"""Which backend runs: the table of backends, SOFTSTEP_BACKEND, use_backend() and the error texts.

The choice, first match wins: the `backend=` argument, `with use_backend(...)`, the environment
variable SOFTSTEP_BACKEND (read at call time; empty counts as unset), then "auto". An explicit
choice that cannot run raises BackendError; only "auto" falls back.
"""

import contextlib
import contextvars
import functools
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from softstep.kernels import threads
from softstep.kernels.arrays import gpu, is_on_gpu, to_device_of
from softstep.kernels.errors import BackendError
from softstep.kernels.registry import BACKENDS, CHOICES, GPU, Backend

ENVIRONMENT_VARIABLE = "SOFTSTEP_BACKEND"


@dataclass(frozen=True)
class Status:
    """What probing a backend found: usable or not, and why in a few words; is it installed?"""

    backend: Backend
    usable: bool
    reason: str
    installed: bool = True


# The name asked for, and who asked.
_override: contextvars.ContextVar[tuple[str, str] | None] = contextvars.ContextVar(
    "backend", default=None
)


@functools.cache
def probe(name: str) -> Status:
    """Import one backend's package; whatever it raises is the reason it is not usable."""
    backend = BACKENDS[name]
    try:
        return Status(backend, True, backend.load().probe())
    except ModuleNotFoundError as error:
        return Status(backend, False, f"{error.name} is not installed", installed=False)
    except Exception as error:
        return Status(backend, False, f"{type(error).__name__}: {error}")


def check_name(name: object, variable: str = "") -> str:
    """Return `name` if it is one of CHOICES. variable: the environment variable that held it.

    Raises:
        TypeError: not a string.
        ValueError: an unknown name.
    """
    if not isinstance(name, str):
        raise TypeError(f"backend must be a string, not {type(name).__name__}")
    if name not in CHOICES:
        where = f"{variable}: " if variable else ""
        raise ValueError(f"{where}unknown backend {name!r}: choose one of {', '.join(CHOICES)}")
    return name


def _asked(argument: str | None) -> tuple[str, str]:
    """The name asked for, and who asked."""
    if argument is not None:
        return check_name(argument), f"backend={argument!r}"
    override = _override.get()
    if override is not None:
        return override
    variable = os.environ.get(ENVIRONMENT_VARIABLE, "")
    if variable:
        return check_name(variable, ENVIRONMENT_VARIABLE), f"{ENVIRONMENT_VARIABLE}={variable}"
    return "auto", "auto"


def asked_for() -> str:
    """The name asked for by a block or by SOFTSTEP_BACKEND; "auto" where none is."""
    return _asked(None)[0]


def _require(name: str, asked_by: str) -> Backend:
    """The named backend, or BackendError: what was asked, why not, what is there, the cure."""
    status = probe(name)
    if not status.usable:
        usable = ", ".join(n for n in BACKENDS if probe(n).usable)
        cure = "" if status.installed else f". To install it: {status.backend.install}"
        raise BackendError(
            f"{asked_by} asks for the {name} backend, which cannot run here: {status.reason}. "
            f"Usable here: {usable}{cure}"
        )
    return status.backend


def choose(argument: str | None = None, *, on_gpu: bool = False) -> tuple[Backend, str]:
    """The backend that runs, and why, in a few words. `on_gpu`: the arrays are on a GPU.

    Raises:
        BackendError: an explicit choice that cannot run, or arrays on a GPU that is not usable.
        TypeError, ValueError: `argument` or the environment variable is not one of CHOICES.
    """
    name, asked_by = _asked(argument)
    if name != "auto":
        return _require(name, asked_by), f"asked for by {asked_by}"
    if on_gpu:
        return _require(GPU.name, "an array on the GPU"), "auto: the arrays are on the GPU"
    status = probe("numba")
    if status.usable:
        return status.backend, "auto: it is usable here"
    return BACKENDS["numpy"], f"auto: numba is not usable ({status.reason})"


def load(argument: str | None = None, n_threads: int | None = None, **arrays: Any) -> ModuleType:
    """The package with the ops of the backend that runs on these arrays, in so many threads.

    Raises:
        TypeError: an array on a GPU, for a backend that runs on the CPU. Else as `choose`.
    """
    module = _module(argument, arrays)
    threads.ask(n_threads)
    return module


def _module(argument: str | None, arrays: dict[str, Any]) -> ModuleType:
    """As `load`, which says in how many threads besides."""
    on_gpu = [
        name for name, array in arrays.items() if type(array) is not np.ndarray and is_on_gpu(array)
    ]
    backend, why = choose(argument, on_gpu=bool(on_gpu))
    if on_gpu and not backend.on_gpu:
        raise TypeError(
            f"{on_gpu[0]} is on a GPU, but the {backend.name} backend runs ({why}): "
            f"move it to host memory, or use the {GPU.name} backend"
        )
    # `choose` has imported it, and Python takes longer to see that
    return sys.modules.get(backend.package) or backend.load()


def to_backend(array: Any, argument: str | None = None) -> Any:
    """`array` where the backend that runs on it computes: moved to the GPU if that is asked for."""
    return _module(argument, {"array": array}).to_backend(array)


def beside(array: Any, X: Any, argument: str | None = None) -> Any:
    """A NumPy array where the backend that runs on X computes: on the GPU that X is on or, for X in
    host memory, on the current one; for a CPU backend itself. Raises as `choose`."""
    backend, _ = choose(argument, on_gpu=is_on_gpu(X))
    if not backend.on_gpu:
        return array
    return to_device_of(array, X) if is_on_gpu(X) else gpu().asarray(array)


def densest_csr(argument: str | None = None) -> float:
    """How much of all values may be stored for CSR to be faster than dense rows on the backend that
    runs, from 0, where it does not read CSR, to 1. Raises as `choose`."""
    sparse = getattr(choose(argument)[0].load(), "sparse", None)
    return 0.0 if sparse is None else float(sparse.DENSEST)


def reads_scaled(argument: str | None = None) -> bool:
    """Whether the backend that runs reads `Scaled` rows. Raises as `choose`."""
    return hasattr(choose(argument)[0].load(), "READS_SCALED")


def makes_scaled(argument: str | None = None) -> bool:
    """Whether the linear layer of the backend that runs makes all `Scaled` rows it is given before
    it reads any. Raises as `choose`."""
    return hasattr(choose(argument)[0].load(), "MAKES_SCALED")


def use_backend(name: str) -> contextlib.AbstractContextManager[None]:
    """Within this block every op without a `backend=` argument runs on `name`.

    Blocks nest; each thread and each async task has its own.

    Args:
        name: "auto", "numpy", "numba" or "cupy".

    Raises:
        BackendError: at entry, when that backend cannot run here.
        TypeError, ValueError: at entry, when `name` is not a backend's name.
    """
    return override(name, f"use_backend({name!r})")


@contextlib.contextmanager
def override(name: str, asked_by: str) -> Iterator[None]:
    """`use_backend`, for whom its error texts are to name."""
    if check_name(name) != "auto":
        _require(name, asked_by)
    token = _override.set((name, asked_by))
    try:
        yield
    finally:
        _override.reset(token)

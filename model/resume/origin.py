"""How a result came to be: what a saved model, a surface or a run folder tells about itself."""

import contextlib
import functools
import platform
import time
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

from softstep.kernels import processor, threads
from softstep.kernels.arrays import is_on_gpu
from softstep.kernels.backend import choose

LIBRARIES = ("numpy", "numba", "cupy-cuda12x", "cupy-cuda13x")

_command: ContextVar[tuple[str, ...] | None] = ContextVar("softstep_command", default=None)


@contextlib.contextmanager
def commanded(words: Sequence[str]) -> Iterator[None]:
    """What is made within this block was made by this softstep command.

    Other programs are not recorded: a secret may be among their arguments.
    """
    token = _command.set(tuple(words))
    try:
        yield
    finally:
        _command.reset(token)


class Clock:
    """seconds(): since it was made, and `before`, those of the run that goes on."""

    start: float
    before: float

    def __init__(self) -> None:
        self.start, self.before = time.monotonic(), 0.0

    def seconds(self) -> float:
        return self.before + time.monotonic() - self.start


def origin_of(
    model: Any, X: Any, *, seed: int | None, data: dict[str, str] | None, seconds: float
) -> dict[str, Any]:
    """The origin of what was computed with the backend and the threads of `model` on rows X.

    data: their fingerprint; None where they came in parts.

    Returns:
        `versions`, `processor` (its name and vector instructions), `backend`, `threads` (at most),
        `seed`, `data`, `command` (the softstep command; None: another program) and `seconds`, for
        JSON.
    """
    backend, _ = choose(model.backend, on_gpu=is_on_gpu(X))
    command = _command.get()
    return {
        "versions": versions(),
        "processor": {"name": processor.name(), "features": list(processor.features())},
        "backend": backend.name,
        "threads": threads.at_most(model.n_threads),
        "seed": seed,
        "data": data,
        "command": None if command is None else list(command),
        "seconds": round(seconds, 3),
    }


def versions(more: tuple[str, ...] = ()) -> dict[str, str]:
    """Those of softstep, Python and the libraries that are installed; more: other ones."""
    from softstep import __version__

    return {"softstep": __version__, **_of_others((*LIBRARIES, *more))}


@functools.cache
def _of_others(libraries: tuple[str, ...]) -> dict[str, str]:
    from importlib import metadata  # it loads csv, email and more

    found = {"python": platform.python_version()}
    for name in libraries:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found

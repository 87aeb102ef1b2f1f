"""The error that says that a worker died, and what others say it by."""

from concurrent.futures import BrokenExecutor, CancelledError

KILLED = "KilledWorker"  # Dask's error for a task whose workers died again and again


class WorkerError(RuntimeError):
    """A worker of an executor or of Dask's died, and with it what it had computed."""


def is_death(error: BaseException) -> bool:
    """Whether it says that a worker is gone, or its cluster."""
    said = isinstance(error, BrokenExecutor | CancelledError)
    return said or type(error).__name__ == KILLED

"""The error that says that a worker died."""


class WorkerError(RuntimeError):
    """A worker of an executor or of Dask's died, and with it what it had computed."""

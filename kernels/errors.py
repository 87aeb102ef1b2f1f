"""Errors that name a backend."""


class BackendError(RuntimeError):
    """A backend that was asked for by name cannot run here, or failed while it ran."""

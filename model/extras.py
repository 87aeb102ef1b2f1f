"""Packages that only some functions need: imported there, named with the install command."""

import importlib
from types import ModuleType


class MissingExtraError(ImportError):
    """A package of one of softstep's extras is not installed."""


def load(module: str, *, extra: str) -> ModuleType:
    """The module of that name.

    Raises:
        MissingExtraError: its package is not there; the text has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"this needs {package} ({error}): pip install 'softstep[{extra}]'"
        ) from error

"""Optional packages: imported where they are needed; an error says how to install them."""

import importlib
from types import ModuleType


class MissingExtraError(ImportError):
    """A package that belongs to one of softstep's extras is not installed."""


def load(module: str, *, extra: str) -> ModuleType:
    """Import the module of that name.

    Raises:
        MissingExtraError: its package is not installed; the text has the command to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(
            f"this needs {package} ({error}): pip install 'softstep[{extra}]'"
        ) from error

"""Warnings that name the user's own line."""

import sys
import warnings


def sklearn_category(name: str) -> type[Warning]:
    """A category of scikit-learn's, which its users may filter; UserWarning if it is not loaded."""
    exceptions = sys.modules.get("sklearn.exceptions")
    return UserWarning if exceptions is None else getattr(exceptions, name)


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the first line outside this package."""
    level, frame = 2, sys._getframe(1)
    while frame.f_globals.get("__name__", "").startswith("softstep.") and frame.f_back:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)

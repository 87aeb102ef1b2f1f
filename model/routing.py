"""scikit-learn's metadata routing, by its own code: `set_fit_request`, `get_metadata_routing` …"""

import sys
from functools import cache
from typing import Any


def attribute(model: Any, name: str) -> Any:
    """What scikit-learn's routing adds to `model` under that name, where scikit-learn is loaded.

    Raises:
        AttributeError: nothing.
    """
    if "sklearn" in sys.modules:
        cls: Any = type(model)
        requester = _requester(cls)
        found: Any = next((vars(c)[name] for c in requester.__mro__ if name in vars(c)), None)
        if hasattr(found, "__get__"):
            return found.__get__(model, requester)
    raise AttributeError(f"{type(model).__name__!r} object has no attribute {name!r}")


@cache
def _requester(cls: Any) -> Any:
    """A subclass on which scikit-learn has put the requests that the signatures of `cls` make."""
    from sklearn.utils.metadata_routing import _MetadataRequester

    return type(cls.__name__, (cls, _MetadataRequester), {})

"""SciPy."""

from typing import Any

from scipy import special


def softmax(V: Any) -> Any:
    return lambda: (special.softmax(V, axis=1),)

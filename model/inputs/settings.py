"""Checks of the settings of the estimators: numbers, seeds, choices and flags."""

import numbers
from typing import Any

import numpy as np


def number(
    name: str,
    value: Any,
    *,
    least: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """A finite number within bounds, as float."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, not {value!r}")
    try:
        value = float(value)
    except OverflowError:  # of an integer or a fraction
        value = float("inf") if value > 0 else float("-inf")
    if not np.isfinite(value):
        raise ValueError(f"{name} must be finite, not {value}")
    if least is not None and value < least:
        raise ValueError(f"{name} must be at least {least:g}, not {value:g}")
    if above is not None and value <= above:
        raise ValueError(f"{name} must be above {above:g}, not {value:g}")
    if below is not None and value >= below:
        raise ValueError(f"{name} must be below {below:g}, not {value:g}")
    return value


def integer(name: str, value: Any, *, least: int, optional: bool = False) -> Any:
    """A whole number of at least `least`, as int; None where that is allowed."""
    if value is None and optional:
        return None
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    return int(value)


def check_seed(name: str, value: Any) -> None:
    """Raise TypeError or ValueError unless `seed` takes the value; nothing is drawn."""
    if not isinstance(value, np.random.RandomState):
        integer(name, value, least=0, optional=True)


def seed(name: str, value: Any) -> int:
    """A seed, a whole number >= 0; a random one for None, or drawn from a RandomState."""
    if isinstance(value, np.random.RandomState):
        return int(value.randint(2**31))
    given = integer(name, value, least=0, optional=True)
    return int(np.random.default_rng().integers(2**32)) if given is None else given


def choice(name: str, value: Any, choices: Any) -> Any:
    """One of `choices`."""
    if not any(isinstance(value, type(known)) and value == known for known in choices):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")
    return value


def function(name: str, value: Any) -> Any:
    """Something that can be called, or None."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a function, not {value!r}")
    return value


def flag(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return bool(value)

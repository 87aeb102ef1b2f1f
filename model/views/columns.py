"""Ranges of the columns of X, as `features=` gives them."""

import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np

Range = tuple[int, int]


def resolve(features: Any, width: int) -> Range:
    """The range, (start, stop), that `features` is of `width` columns.

    features: slice(a, b), in which a number below 0 counts from the end, and None is the end; or
    (a, b); or None, all of them.

    Raises:
        TypeError: it is none of these.
        ValueError: it is empty or reversed, has a step, or reaches beyond the columns.
    """
    if features is None:
        return 0, width
    start, stop = _ends(features, width)
    said = f"features={_said(features)}"
    if start < 0 or stop > width:
        raise ValueError(f"{said} reaches beyond the {width} columns of X, 0 to {width - 1}")
    if start >= stop:
        what = "is empty" if start == stop else "is reversed"
        raise ValueError(f"{said} {what}: give a start that is below the stop")
    return start, stop


def check(features: Any) -> None:
    """Raise TypeError for what is neither a range, whatever its numbers, nor None."""
    if features is not None and not is_range(features):
        raise TypeError(_no_range(features))


def is_range(features: Any) -> bool:
    """Whether this is a range, whatever its numbers."""
    if isinstance(features, slice):
        return True
    return isinstance(features, tuple) and len(features) == 2 and all(map(_is_whole, features))


def in_grid(features: Any) -> list[tuple[Any, str | None]]:
    """The ranges that a grid has under `features`, each with its name, if it has one.

    features: a range; a list of ranges; or a dict of them by name.

    Raises:
        TypeError: an entry is no range, or a name no text. ValueError: there is none.
    """
    if features is None or is_range(features):
        return [(features, None)]
    if isinstance(features, dict):
        pairs = [(value, name) for name, value in features.items()]
    elif isinstance(features, list | tuple):
        pairs = [(value, None) for value in features]
    else:
        raise TypeError(_no_range(features))
    if not pairs:
        raise ValueError("param_grid['features'] is empty")
    for value, name in pairs:
        if value is not None and not is_range(value):
            raise TypeError(_no_range(features if isinstance(value, numbers.Real) else value))
        if name is not None and not isinstance(name, str):
            raise TypeError(f"the name of a range in param_grid['features'] is {name!r}, no text")
    return pairs


def span(ranges: Iterable[Range]) -> Range:
    """The least range that all of these lie in."""
    starts, stops = zip(*ranges, strict=True)
    return min(starts), max(stops)


def seen(X: Any, columns: Range) -> Any:
    """These columns of X, (n, d), where they are; X itself if they are all."""
    return X if columns == (0, X.shape[1]) else X[:, slice(*columns)]


def _ends(features: Any, width: int) -> Range:
    check(features)
    if isinstance(features, tuple):
        start, stop = map(int, features)
        return start, stop
    if features.step not in (None, 1):
        raise ValueError(f"features={_said(features)} has a step: a view is of all columns between")
    ends = (0 if features.start is None else features.start), features.stop
    start, stop = (width if end is None else end for end in ends)
    for end in (start, stop):
        if not _is_whole(end):
            raise TypeError(_no_range(features))
    return tuple(int(end) + width * (end < 0) for end in (start, stop))  # type: ignore[return-value]


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool | np.bool_)


def _no_range(features: Any) -> str:
    return f"features must be a range of columns, slice(a, b) or (a, b), not {features!r}"


def _said(features: Any) -> str:
    if isinstance(features, slice):
        step = "" if features.step is None else f", {features.step}"
        return f"slice({features.start}, {features.stop}{step})"
    return str(tuple(map(int, features)))

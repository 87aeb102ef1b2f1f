"""The names of columns, kept and compared as scikit-learn does, in its words."""

from collections.abc import Hashable
from numbers import Integral
from typing import Any

import numpy as np

from softstep.kernels.checks import Array
from softstep.model.inputs.warnings import warn

SHOWN = 5  # names in a message


class NamedColumns(np.ndarray):
    """Rows with a name for each column, as in a DataFrame.

    The names stay with rows and columns that are taken of it; what else is made of it has none, as
    its columns may be others.
    """

    columns: tuple[str, ...] = ()

    @classmethod
    def of(cls, X: Array, columns: tuple[str, ...]) -> "NamedColumns":
        """A view of X, (n, d), with these d names."""
        named = X.view(cls)
        named.columns = columns
        return named

    def __array_finalize__(self, source: Any) -> None:
        self.columns = ()

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        if isinstance(found, NamedColumns) and self.columns:
            found.columns = self._names_of(index, found.shape)
        return found

    def _names_of(self, index: Any, shape: tuple[int, ...]) -> tuple[str, ...]:
        """The names of the columns that an index takes; none if they cannot be told."""
        rows, columns = index if isinstance(index, tuple) and len(index) == 2 else (index, ...)
        if isinstance(rows, tuple) or rows is None or columns is None or len(shape) != 2:
            return ()
        if columns is ...:
            return self.columns if shape[1] == len(self.columns) else ()
        if not isinstance(columns, slice) and not isinstance(rows, slice):
            return ()  # the two are matched, not crossed
        names = np.array(self.columns, dtype=object)[columns]
        return tuple(names) if names.shape == shape[1:] else ()

    def astype(self, *given: Any, **more: Any) -> Any:
        return NamedColumns.of(super().astype(*given, **more), self.columns)


def names_of(given: Any) -> Array | None:
    """The names of the columns of a table, (d,) objects; None where they are not strings.

    Raises:
        TypeError: some are strings and some are not.
    """
    columns = getattr(given, "column_names", getattr(given, "columns", None))
    if columns is None or not len(columns):
        return None
    kinds = sorted({type(name).__name__ for name in columns})
    are_text = [isinstance(name, str) for name in columns]
    if not any(are_text):
        return None
    if not all(are_text):
        raise TypeError(
            "Feature names are only supported if all input features have string names, but your "
            f"input has {kinds} as feature name / column name types. If you want feature names to "
            "be stored and validated, you must convert them all to strings, by using "
            "X.columns = X.columns.astype(str) for example. Otherwise you can remove feature / "
            "column names from your input data, or convert them all to a non-string data type."
        )
    return np.array(columns, dtype=object)


def keys_of(given: Any) -> tuple[Any, ...] | None:
    """What tells the columns of a table apart, (d,), where their names are no strings, but numbers,
    tuples or dates; None where there are none, or two are alike."""
    keys = tuple(getattr(given, "columns", ()))
    is_told = all(isinstance(key, Hashable) and not isinstance(key, str) for key in keys)
    return keys if keys and is_told and len(set(keys)) == len(keys) else None


def keys_for_json(keys: tuple[Any, ...] | None) -> dict[str, list[int]]:
    """The keys as a file keeps them, which it does if all are whole numbers."""
    if not keys or not all(isinstance(key, Integral) for key in keys):
        return {}
    return {"feature_keys": [int(key) for key in keys]}


def check_keys(found: tuple[Any, ...] | None, fitted: tuple[Any, ...] | None) -> None:
    """Raise ValueError if columns that are told apart by the same keys come in another order.

    Other keys are no error: a table has numbers where nobody named its columns.
    """
    if found and fitted and found != fitted and set(found) == set(fitted):
        raise ValueError(_difference([], []))


def check_names(found: Array | None, fitted: Array | None, name: str, owner: str) -> None:
    """Compare the names of the columns of `name` with those that `owner` was fitted with.

    Raises:
        ValueError: they differ, or come in another order. Where one side has none, it warns.
    """
    if found is None and fitted is None:
        return
    if fitted is None:
        warn(f"{name} has feature names, but {owner} was fitted without feature names")
    elif found is None:
        warn(f"{name} does not have valid feature names, but {owner} was fitted with feature names")
    elif found.tolist() != fitted.tolist():
        raise ValueError(_difference(found.tolist(), fitted.tolist()))


def _difference(found: list[str], fitted: list[str]) -> str:
    text = "The feature names should match those that were passed during fit.\n"
    unseen = sorted(set(found) - set(fitted))
    missing = sorted(set(fitted) - set(found))
    if unseen:
        text += "Feature names unseen at fit time:\n" + _listed(unseen)
    if missing:
        text += "Feature names seen at fit time, yet now missing:\n" + _listed(missing)
    if not (unseen or missing):
        text += "Feature names must be in the same order as they were in fit.\n"
    return text


def _listed(names: list[str]) -> str:
    lines = [f"- {name}\n" for name in names[:SHOWN]]
    return "".join(lines) + ("- ...\n" if len(names) > SHOWN else "")

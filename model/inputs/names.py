"""The names of columns, kept and compared as scikit-learn does, in its words."""

from typing import Any

import numpy as np

from softstep.kernels.checks import Array
from softstep.model.inputs.warnings import warn

SHOWN = 5  # names in a message


class NamedColumns(np.ndarray):
    """Rows with a name for each column, as in a DataFrame; the names stay with rows taken of it."""

    columns: tuple[str, ...] = ()

    @classmethod
    def of(cls, X: Array, columns: tuple[str, ...]) -> "NamedColumns":
        """A view of X, (n, d), with these d names."""
        named = X.view(cls)
        named.columns = columns
        return named

    def __array_finalize__(self, source: Any) -> None:
        columns = getattr(source, "columns", ())
        self.columns = columns if self.shape[1:] == (len(columns),) else ()


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

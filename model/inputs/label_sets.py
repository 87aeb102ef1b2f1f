"""The door for label sets: columns of labels, of which some may be missing."""

import numbers
from typing import Any, NamedTuple

import numpy as np

from softstep.kernels.arrays import to_host
from softstep.kernels.checks import Array
from softstep.model.inputs import tables
from softstep.model.inputs.arrays import array
from softstep.model.inputs.names import SHOWN
from softstep.model.inputs.targets import is_soft, label_values, target_array
from softstep.model.inputs.warnings import warn

NULLS = ("NAType", "NaTType", "NullType")  # the types of what pandas and pyarrow have for nothing


class LabelSet(NamedTuple):
    """Labels (n,) as `label_values` gives them, and whether each is there; None: all are. What is
    not there has the value of another label."""

    values: Array
    observed: Array | None


def check_missing(missing: Any) -> None:
    """Raise TypeError unless it is a number or text, or None."""
    is_bool = isinstance(missing, bool | np.bool_)
    if missing is not None and (is_bool or not isinstance(missing, numbers.Real | str)):
        raise TypeError(
            f"missing must be the number or the text that stands for no label, not {missing!r}"
        )


def label_sets(
    y: Any, n: int | None, name: str = "y", missing: Any = None, *, may_be_soft: bool = True
) -> list[LabelSet] | None:
    """The label sets that y is: one of labels (n,) or (n, 1), t of (n, t); None: soft targets.

    In (n, t), and with `missing` in all forms, a label may be missing: it is NaN, None, null or
    masked, or equals `missing`. Floats (n, t) are label sets if any is missing, or `missing` is
    given, and all others are whole numbers; else they are soft targets, if they `may_be_soft`.

    Raises:
        TypeError, ValueError: another form, or labels that `label_values` does not take.
    """
    check_missing(missing)
    columns = _with_gaps(y, name, missing)
    if columns is None:
        y = target_array(y, name)
        if may_be_soft and is_soft(y):
            return None
        return [LabelSet(column, None) for column in _columns(y, n, name)]
    if n is not None and len(columns[0][0]) != n:
        raise ValueError(f"{name} has {len(columns[0][0])} rows of labels, but there are {n} rows")
    places = [name] if len(columns) == 1 else [f"{name}[:, {t}]" for t in range(len(columns))]
    return [
        LabelSet(label_values(_filled(values, hidden), n, place), ~hidden)
        for place, (values, hidden) in zip(places, columns, strict=True)
    ]


def set_names(y: Any) -> tuple[str, ...] | None:
    """The names of the columns of a table, if there are several, each with one of its own."""
    if len(tables.columns_of(y)) < 2:
        return None
    found = tuple(getattr(y, "column_names", getattr(y, "columns", ())))
    is_named = all(isinstance(name, str) for name in found) and len(set(found)) == len(found)
    return found if is_named else None


def by_name(sets: list[LabelSet], y: Any, names: tuple[str, ...] | None, name: str) -> Any:
    """The label sets that y is, in the order of these names.

    names: of those learned from. Where either has none, they are matched by place.

    Raises:
        ValueError: y has other names.
    """
    found = set_names(y)
    if names is None or found is None or found == names:
        return sets
    other = next((one for one in found if one not in names), None)
    if other is not None:
        raise ValueError(
            f"{name} has a label set {other!r}, which y had not, but {', '.join(names[:SHOWN])} …: "
            "name them alike, or give an array, whose columns are matched by place"
        )
    return [sets[found.index(one)] for one in names]


def _columns(y: Any, n: int | None, name: str) -> list[Array]:
    y = to_host(y)
    if y.ndim != 2 or y.shape[1] == 1:
        return [label_values(y, n, name)]
    if (n is not None and len(y) != n) or not y.shape[1]:
        raise ValueError(
            f"{name} has shape {y.shape}, but there are {n} rows: give one column for each label "
            f"set, ({n}, t)"
        )
    if y.dtype.kind in "iub" and y.shape[1] > 2 and (np.sort(y, axis=1) == _one_hot(y)).all():
        warn(
            f"each row of {name} has a single 1: its {y.shape[1]} columns are read as label sets; "
            f"for {y.shape[1]} classes give {name}.argmax(axis=1), or floats"
        )
    return [label_values(y[:, t], n, f"{name}[:, {t}]") for t in range(y.shape[1])]


def _one_hot(y: Array) -> Array:
    """A sorted row of zeros and a single 1, as wide as y."""
    return np.arange(y.shape[1]) == y.shape[1] - 1


def _with_gaps(y: Any, name: str, missing: Any) -> list[tuple[Array, Array]] | None:
    """The columns of y, values and which of them are missing; None where none may be, or is."""
    columns = _values_of(y, name, missing)
    if columns is None:
        return None
    pairs = [(values, hidden | _equal(values, missing)) for values, hidden in columns]
    if all(values.dtype.kind == "f" for values, _ in pairs) and len(pairs) > 1:
        visible = (values[~hidden] for values, hidden in pairs)
        if not all((values == np.trunc(values)).all() for values in visible):
            return None  # soft targets, or what is refused as such
        is_given = missing is not None
    else:
        is_given = False
    return pairs if is_given or any(hidden.any() for _, hidden in pairs) else None


def _values_of(y: Any, name: str, missing: Any) -> list[tuple[Array, Array]] | None:
    """The columns of y as arrays, and where they are empty; None of what has another form."""
    columns = tables.columns_of(y)
    if not columns and _is_column(y):
        columns = [y]
    if len(columns) == 1 and missing is None:
        return None
    if columns:
        return [_of_column(column) for column in columns]
    if y is None or hasattr(y, "tocsr"):
        return None
    if isinstance(y, np.ma.MaskedArray):
        values, mask = np.asarray(y.data), np.ma.getmaskarray(y)
    elif isinstance(y, list | tuple):
        if missing is None and not isinstance(next(iter(y), None), list | tuple):
            return None
        try:
            values = np.array(y, dtype=object)
        except ValueError:  # rows of different lengths, which is said elsewhere
            return None
        mask = np.zeros(values.shape, bool)
    else:
        values = to_host(array(y, name))
        mask = np.zeros(values.shape, bool)
    if values.ndim not in (1, 2) or not values.size:
        return None
    if values.ndim == 1:
        values, mask = values[:, None], mask[:, None]
    if values.shape[1] == 1 and missing is None:
        return None
    pairs = []
    for column, masked in zip(values.T, mask.T, strict=True):
        hidden = masked | _is_empty(column)
        pairs.append((_typed(column, hidden), hidden))
    return pairs


def _is_column(y: Any) -> bool:
    """Whether it is a column of pandas, polars or pyarrow."""
    return getattr(y, "ndim", 1) == 1 and (hasattr(y, "null_count") or hasattr(y, "isna"))


def _of_column(column: Any) -> tuple[Array, Array]:
    """The values of a column of a table, and where it is empty."""
    own = getattr(column, "dtype", None)
    if isinstance(own, np.dtype) and own.kind in "biuf":
        values = np.asarray(column)
    else:
        listed = "to_pylist" if hasattr(column, "to_pylist") else "to_list"
        values = np.empty(len(column), object)
        values[:] = getattr(column, listed)()
        values = _typed(values, _is_empty(values))
    return values, _is_empty(values)


def _typed(values: Array, hidden: Array) -> Array:
    """Objects that are all numbers, though not all of them integers, as floats."""
    if values.dtype.kind != "O":
        return values
    kinds = {type(value) for value in values[~hidden]}
    is_float = [issubclass(kind, numbers.Real) for kind in kinds]
    is_whole = [issubclass(kind, numbers.Integral | np.bool_) for kind in kinds]
    if not kinds or not all(is_float) or all(is_whole):
        return values
    found = np.full(len(values), np.nan)
    found[~hidden] = values[~hidden].astype(np.float64)
    return found


def _is_empty(values: Array) -> Array:
    """Where these are NaN, None or null, (n,)."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    if values.dtype.kind != "O":
        return np.zeros(len(values), bool)
    return np.array([_is_nothing(value) for value in values.tolist()], bool)


def _is_nothing(value: Any) -> bool:
    if value is None or type(value).__name__ in NULLS:
        return True
    return isinstance(value, float | np.floating) and bool(value != value)


def _equal(values: Array, missing: Any) -> Array:
    """Where these are the label that stands for none, (n,)."""
    if missing is None:
        return np.zeros(len(values), bool)
    kind: Any = str if isinstance(missing, str) else numbers.Real
    if values.dtype.kind == "O":
        found = [
            isinstance(v, kind) and not isinstance(v, bool | np.bool_) and v == missing
            for v in values.tolist()
        ]
        return np.array(found, bool)
    if (values.dtype.kind in "UT") != (kind is str) or values.dtype.kind == "b":
        return np.zeros(len(values), bool)
    return np.asarray(values == missing, bool)


def _filled(values: Array, hidden: Array) -> Array:
    """The labels with another one in place of those that are missing; zeros where all are."""
    if hidden.all():
        return np.zeros(len(values), np.int64)
    if values.dtype.kind == "O" and all(isinstance(v, bool) for v in values[~hidden].tolist()):
        values = np.where(hidden, False, values).astype(bool)
    return np.where(hidden, values[~hidden][0], values)

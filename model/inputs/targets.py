"""The door for y: labels, label sets or soft targets of any library as an array."""

import numbers
from typing import Any

import numpy as np

from softstep.kernels.arrays import to_host
from softstep.kernels.checks import FLOAT_DTYPES, SUM_TOLERANCE, are_beyond
from softstep.model.inputs import tables
from softstep.model.inputs.arrays import array, is_plain, refuse_missing
from softstep.model.inputs.names import SHOWN, NamedColumns
from softstep.model.inputs.warnings import sklearn_category, warn

FEW_ROWS = 20  # of which each may have a class of its own


def target_array(y: Any, name: str = "y") -> Any:
    """y as an array; on the GPU it stays there. Objects that are all integers are integers.

    A table is an array of its columns: (n, 1), label sets (n, t), or soft targets.

    Raises:
        TypeError: no array. ValueError: None, values that are missing or masked, or integers beyond
            64 bits.
    """
    if is_plain(y):
        return y
    if y is None:
        raise ValueError(f"a classifier requires y to be passed, but the target {name} is None")
    columns = tables.columns_of(y)
    if columns:
        values = [_column(column, f"{name}[{{}}, {j}]") for j, column in enumerate(columns)]
        kinds = {column.dtype.kind in "OTU" for column in values}
        if kinds == {True, False}:  # text beside numbers, which is to stay what it is
            values = [column.astype(object) for column in values]
        return _named(np.column_stack(values), y)
    if isinstance(y, list | tuple):
        found = array(y, name)
        # NumPy reads [1, "1"] as text; whether all are text is asked of the objects
        return np.array(y, dtype=object) if found.dtype.kind == "U" else _whole(found, name)
    return _column(y, name + "[{}]") if getattr(y, "ndim", 1) == 1 else _whole(array(y, name), name)


def _named(values: Any, table: Any) -> Any:
    """The values of a table, with the names of its columns if they may be those of classes."""
    found = list(getattr(table, "column_names", table.columns))
    kinds = {type(name) for name in found}
    is_named = len(found) > 1 and (kinds == {str} or all(issubclass(k, int) for k in kinds))
    return NamedColumns.of(values, tuple(found)) if is_named else values


def _column(values: Any, where: str) -> Any:
    """One column as an array. where: the place, {} standing for the row."""
    refuse_missing(values, where)
    name = where.partition("[")[0]
    found = array(values, name)
    if found.dtype.kind == "U" and hasattr(
        values, "to_list"
    ):  # of polars: it drops a NUL at the end
        found = np.array(values.to_list(), dtype=object)
    return _whole(found, name)


def _whole(values: Any, name: str) -> Any:
    """Objects that are all integers as int64, or uint64; anything else as it is."""
    if values.dtype.kind != "O" or not values.size:
        return values
    found = values.ravel().tolist()
    if not all(isinstance(v, numbers.Integral | np.bool_) for v in found):
        return values
    for dtype in (np.int64, np.uint64):
        limits = np.iinfo(dtype)
        if limits.min <= min(found) and max(found) <= limits.max:
            return values.astype(dtype)
    raise ValueError(f"{name} holds integers beyond 64 bits: give them as text")


def is_soft(y: Any) -> bool:
    """Whether an array holds float targets (n, c) rather than labels."""
    return y.ndim == 2 and y.shape[1] > 1 and y.dtype.name in (*FLOAT_DTYPES, "float16")


def warn_of_other_rows(X: Any, others: dict[str, Any], rows: str = "X") -> None:
    """Warn of what belongs to the rows X and has their index, of pandas, in another order.

    others: by name. rows: the name of X.
    """
    one: Any = getattr(X, "index", None)
    if not hasattr(one, "equals"):
        return
    for name, given in others.items():
        other: Any = getattr(given, "index", None)
        if not hasattr(other, "equals") or len(one) != len(other) or one.equals(other):
            continue
        if set(one) == set(other):
            warn(
                f"{rows} and {name} have the same index in another order: their rows are matched "
                f"by place; give {name}.loc[{rows}.index] if they belong together by name"
            )


def label_values(y: Any, n: int | None, name: str = "y") -> Any:
    """Labels as given: (n,) integers, whole floats, booleans or strings; (n, 1) with a warning.

    n: None for any number.

    Raises:
        TypeError: complex numbers, bytes or mixed objects.
        ValueError: not 1-D, not of length n, or a label that is missing, not a whole number or not
            told apart from others in its dtype.
    """
    y = _whole(to_host(target_array(y, name)), name)
    if y.ndim == 2 and y.shape[1] == 1:
        warn(
            f"A column-vector {name} was passed when a 1d array was expected. Please change the "
            f"shape of {name} to (n_samples, ), for example using ravel().",
            sklearn_category("DataConversionWarning"),
        )
        y = y.ravel()
    if y.ndim != 1:
        _refuse_multi_label(y, name)
        raise ValueError(f"{name} must be 1-D, one label per row, but its shape is {y.shape}")
    if n is not None and len(y) != n:
        raise ValueError(f"{name} has {len(y)} labels, but there are {n} rows")
    if y.dtype.kind in "OT":
        return _texts(y, name)
    if y.dtype.kind not in "iufbU":
        raise TypeError(f"{name} must hold integers or strings, not {y.dtype}")
    if y.dtype.kind == "f":
        _refuse_fractions(y, name)
    return y


def class_values(classes: Any) -> Any:
    """The labels that `classes` lists, sorted, (c,); None stays None.

    Raises:
        TypeError, ValueError: as `label_values`; fewer than two.
    """
    if classes is None:
        return None
    found = np.unique(label_values(classes, None, "classes"))
    if len(found) < 2:
        raise ValueError(f"classes holds {len(found)} labels: at least two are needed")
    return found


def are_same(given: Any, classes: Any) -> bool:
    """Whether this is an array of the same type and the same bytes as those `class_values`."""
    if type(given) is not np.ndarray or type(classes) is not np.ndarray:
        return False
    form = given.dtype == classes.dtype and given.shape == classes.shape
    return form and given.tobytes() == classes.tobytes()


def _texts(y: Any, name: str) -> Any:
    """Objects that are all text as text."""
    for i, label in enumerate(y):
        if not isinstance(label, str):
            raise TypeError(f"{name}[{i}] is {label!r}: labels must be all integers or all strings")
        if label.endswith("\0"):
            raise ValueError(f"{name}[{i}] ends in NUL, which the text of NumPy drops")
    return np.array(y.tolist(), dtype=str)


def _refuse_fractions(y: Any, name: str) -> None:
    """Raise ValueError unless floats are whole numbers that their dtype tells apart."""
    bad = np.flatnonzero(~(y == np.trunc(y)) | np.isinf(y))
    if bad.size and np.isnan(y[bad[0]]):
        raise ValueError(f"{name}[{bad[0]}] = nan: fill it, or leave its row out")
    if bad.size:
        raise ValueError(
            f"{name}[{bad[0]}] = {y[bad[0]]} is not a whole number. Unknown label type: "
            "continuous: a classifier takes labels; continuous targets call for regression"
        )
    large = np.flatnonzero(np.abs(y) >= 2.0 ** (np.finfo(y.dtype).nmant + 1))
    if large.size:
        raise ValueError(
            f"{name}[{large[0]}] = {y[large[0]]:.0f} is too large for {y.dtype} to tell it from "
            "its neighbours: give labels as integers or text"
        )


def warn_of_regression(y: Any, classes: Any, name: str = "y") -> None:
    """Warn of labels that are numbers of which few come again, as scikit-learn does."""
    if y.dtype.kind in "iuf" and len(y) > FEW_ROWS and 2 * len(classes) > len(y):
        warn(
            f"{name} has {len(classes)} classes in {len(y)} rows: the number of unique classes is "
            "greater than 50% of the number of samples; numbers to be predicted call for regression"
        )


def encode(y: Any, classes: Any, name: str = "y") -> Any:
    """The index of each label in `classes` (sorted), (n,) int64.

    Raises:
        ValueError: a label that is not one of `classes`; the first is named.
    """
    if (y.dtype.kind == "U") != (classes.dtype.kind == "U"):
        raise ValueError(f"{name} holds {y.dtype} labels, but the classes are {classes.dtype}")
    if y.dtype.kind == classes.dtype.kind == "i" and classes[0] == 0 and classes[-1] < len(classes):
        if not are_beyond(y, len(classes)):  # the classes are 0, 1, 2 …
            return y.astype(np.int64)
        codes, is_bad = y, (y < 0) | (y >= len(classes))
    else:
        if np.result_type(y, classes).kind == "f" and y.dtype.kind in "iu":  # int64 and uint64
            y, classes = y.astype(object), classes.astype(object)
        codes = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
        is_bad = classes[codes] != y
    if is_bad.any():
        i = int(is_bad.argmax())
        raise ValueError(f"{name}[{i}] = {y[i]!s} is not one of the classes")
    return codes.astype(np.int64)


def soft_target_rows(y: Any, n: int, classes: Any = None, name: str = "y") -> tuple[Any, Any]:
    """Soft targets (n, c), a column for each class in order, and the classes, (c,).

    The columns of a table are named as the classes, in any order. classes: those of the model; None
    before it has any: the names, sorted, else 0…c-1. Targets on the GPU stay there.

    Raises:
        ValueError: another shape; an entry that is not finite; rows that are no probabilities, and
            what they look like instead. The first row is named.
    """
    if len(y) != n:
        raise ValueError(f"{name} has {len(y)} rows of targets, but there are {n} rows")
    names = [str(label) for label in getattr(y, "columns", ())]
    if classes is None:
        classes = np.unique(np.array(y.columns)) if names else np.arange(y.shape[1])
    wanted = [str(label) for label in classes.tolist()]
    if y.shape[1] != len(classes):
        c = len(classes)
        raise ValueError(f"{name} has targets for {y.shape[1]} classes, but there are {c}")
    if names and sorted(names) != sorted(wanted):
        raise ValueError(
            f"{name} has the columns {', '.join(names[:SHOWN])} …, but the classes are "
            f"{', '.join(wanted[:SHOWN])} …: name them alike, or give an array"
        )
    _refuse_no_probabilities(to_host(y), name)
    if names:
        y = np.asarray(y)[:, [names.index(label) for label in wanted]]
    return y, classes


def _refuse_no_probabilities(y, name):
    """Raise ValueError unless each row is >= 0 and sums to 1, as nearly as float16 can say it."""
    bad = np.argwhere(~np.isfinite(y))
    if len(bad):
        i, j = bad[0]
        raise ValueError(f"{name}[{i}, {j}] is {y[i, j]}: targets must be finite")
    if (y == np.trunc(y)).all() and ((y < 0) | (y > 1)).any():
        raise ValueError(
            f"{name} holds whole numbers up to {y.max():g} as {y.dtype}, which is read as targets "
            f"(n, c): give labels in an integer dtype"
        )
    _refuse_multi_label(y, name)
    sums = y.sum(axis=1, dtype=np.float64)
    bad = np.flatnonzero((y < 0).any(axis=1) | (np.abs(sums - 1) > SUM_TOLERANCE))
    if bad.size:
        i = bad[0]
        least = y[i].min()
        what = f"holds {least:g}" if least < 0 else f"sums to {sums[i]:g}"
        raise ValueError(
            f"{name}[{i}] {what}, but soft targets are probabilities, >= 0 with sum 1 in each row. "
            "Unknown label type: continuous-multioutput: other numbers call for regression"
        )


def _refuse_multi_label(y, name):
    """Raise ValueError for rows of zeros and ones of which some have not exactly one 1."""
    if y.ndim != 2 or y.shape[1] < 2 or y.dtype.kind not in "iufb" or not np.isin(y, (0, 1)).all():
        return
    ones = np.count_nonzero(y, axis=1)
    bad = np.flatnonzero(ones != 1)
    if not bad.size and y.dtype.kind != "f":
        raise ValueError(
            f"each row of {name} has a single 1: give {name}.argmax(axis=1), or floats"
        )
    if bad.size:
        raise ValueError(
            f"{name}[{bad[0]}] has {ones[bad[0]]} ones: these look like multi-label targets, but a "
            "softmax chooses one class for each row; use scikit-learn's OneVsRestClassifier, or a "
            "model for each column"
        )

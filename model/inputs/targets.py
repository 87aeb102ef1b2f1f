"""The door for y: labels, label sets or soft targets of any library as an array."""

import numbers
from typing import Any

import numpy as np

from softstep.kernels.arrays import to_host
from softstep.kernels.checks import FLOAT_DTYPES, SUM_TOLERANCE
from softstep.model.inputs.arrays import array, refuse_missing
from softstep.model.inputs.warnings import sklearn_category, warn


def target_array(y: Any, name: str = "y") -> Any:
    """y as an array; on the GPU it stays there. Objects that are all integers become int64.

    Raises:
        TypeError: no array. ValueError: None, or a masked array that hides values.
    """
    if y is None:
        raise ValueError(f"a classifier requires y to be passed, but the target {name} is None")
    if getattr(y, "ndim", 1) == 1:
        refuse_missing(y, name + "[{}]")
    y = array(y, name)
    if y.dtype.kind == "O" and y.size:
        values = y.ravel().tolist()
        if all(isinstance(v, numbers.Integral | np.bool_) for v in values):
            return y.astype(np.int64)
    return y


def is_soft(y: Any) -> bool:
    """Whether an array holds float targets (n, c) rather than labels."""
    return y.ndim == 2 and y.shape[1] > 1 and y.dtype.name in (*FLOAT_DTYPES, "float16")


def label_values(y: Any, n: int, name: str = "y") -> Any:
    """Labels as given: (n,) integers, whole floats, booleans or strings; (n, 1) with a warning.

    Raises:
        TypeError: complex numbers, bytes or mixed objects.
        ValueError: not 1-D, not of length n, or a label that is not a whole number.
    """
    y = to_host(target_array(y, name))
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
    if len(y) != n:
        raise ValueError(f"{name} has {len(y)} labels, but there are {n} rows")
    if y.dtype.kind in "OT":
        strange = [i for i, label in enumerate(y) if not isinstance(label, str)]
        if strange:
            i = strange[0]
            raise TypeError(f"{name}[{i}] is {y[i]!r}: labels must be all integers or all strings")
        return np.array(y.tolist(), dtype=str)
    if y.dtype.kind not in "iufbU":
        raise TypeError(f"{name} must hold integers or strings, not {y.dtype}")
    if y.dtype.kind == "f":
        bad = np.flatnonzero(~(y == np.trunc(y)) | np.isinf(y))
        if bad.size:
            raise ValueError(
                f"{name}[{bad[0]}] = {y[bad[0]]} is not a whole number. Unknown label type: "
                "continuous: a classifier takes labels; continuous targets call for regression"
            )
    return y


def encode(y: Any, classes: Any, name: str = "y") -> Any:
    """The index of each label in `classes` (sorted), (n,) int64.

    Raises:
        ValueError: a label that is not one of `classes`; the first is named.
    """
    if (y.dtype.kind == "U") != (classes.dtype.kind == "U"):
        raise ValueError(f"{name} holds {y.dtype} labels, but the classes are {classes.dtype}")
    if y.dtype.kind == classes.dtype.kind == "i" and classes[0] == 0 and classes[-1] < len(classes):
        codes, is_bad = y, (y < 0) | (y >= len(classes))  # the classes are 0, 1, 2 …
    else:
        codes = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
        is_bad = classes[codes] != y
    bad = np.flatnonzero(is_bad)
    if bad.size:
        raise ValueError(f"{name}[{bad[0]}] = {y[bad[0]]!s} is not one of the classes")
    return codes.astype(np.int64)


def soft_target_rows(y: Any, n: int, c: int | None = None, name: str = "y") -> Any:
    """Soft targets (n, c), probabilities of c classes; `c` None: any number.

    Targets on the GPU stay there.

    Raises:
        ValueError: another shape; an entry that is not finite; rows that are no probabilities, and
            what they look like instead. The first row is named.
    """
    if len(y) != n:
        raise ValueError(f"{name} has {len(y)} rows of targets, but there are {n} rows")
    if c is not None and y.shape[1] != c:
        raise ValueError(f"{name} has targets for {y.shape[1]} classes, but there are {c}")
    _refuse_no_probabilities(to_host(y), name)
    return y


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
    if bad.size:
        raise ValueError(
            f"{name}[{bad[0]}] has {ones[bad[0]]} ones: these look like multi-label targets, but a "
            "softmax chooses one class for each row; use scikit-learn's OneVsRestClassifier, or a "
            "model for each column"
        )

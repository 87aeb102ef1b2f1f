"""Checks that the estimators make of rows, labels and weights, beyond those of the ops."""

import math
import numbers

import numpy as np

from softstep.kernels.arrays import asarray, gpu, is_on_gpu, on_host, to_host
from softstep.kernels.checks import FEATURE_DTYPES, FLOAT_DTYPES

BLOCK_VALUES = 1 << 22


def features(X, name="X", n_features=None):
    """X as an array (n, d) that the ops take; integers but uint8, and booleans, become float64.

    Raises:
        TypeError: a dtype that is not supported, such as complex or object.
        ValueError: not 2-D, empty, or without exactly `n_features` columns.
    """
    X = asarray(X, name)
    if X.dtype.kind in "iub" and X.dtype != np.uint8:
        X = X.astype(np.float64)
    if X.dtype.type.__name__ not in FEATURE_DTYPES:
        raise TypeError(f"{name} must hold numbers ({', '.join(FEATURE_DTYPES)}), not {X.dtype}")
    if X.ndim != 2:
        raise ValueError(f"{name} must be 2-D, one row per sample, but its shape is {X.shape}")
    if X.size == 0:
        raise ValueError(f"{name} is empty: its shape is {X.shape}")
    if n_features is not None and X.shape[1] != n_features:
        raise ValueError(f"{name} has {X.shape[1]} features, but the model has {n_features}")
    return X


def refuse_non_finite(X, name="X", first_row=0):
    """Raise ValueError naming the first row and column of X that holds NaN or an infinity.

    first_row: the number that the error gives X's first row.
    """
    if X.dtype == np.uint8 or _finite_on_gpu(X):
        return
    wide = np.float64 if X.dtype == np.float64 else np.float32
    block = max(1, BLOCK_VALUES // X.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(X), block):
            rows = to_host(X[start : start + block])
            if not math.isfinite(rows.sum(dtype=wide)):  # overflows too: look closer
                _refuse_first_of(rows, name, first_row + start)


def _refuse_first_of(rows, name, first_row):
    """Raise ValueError if one of these is not finite."""
    bad = np.argwhere(~np.isfinite(rows))
    if len(bad):
        i, j = bad[0]
        raise ValueError(f"{name}[{first_row + i}, {j}] is {rows[i, j]}: {name} must be finite")


def _finite_on_gpu(X):
    """Whether X is on the GPU and all finite. If not, the host looks for the bad value to name."""
    return is_on_gpu(X) and gpu().all_finite(X)


def label_values(y, n, name="y"):
    """Labels as given: (n,) integers, whole floats, booleans or strings.

    Raises:
        TypeError: complex numbers, bytes or mixed objects.
        ValueError: not 1-D, not of length n, or a label that is not a whole number.
    """
    y = on_host(y, name)
    if y.ndim != 1:
        raise ValueError(f"{name} must be 1-D, one label per row, but its shape is {y.shape}")
    if len(y) != n:
        raise ValueError(f"{name} has {len(y)} labels, but there are {n} rows")
    if y.dtype.kind in "OT":
        strange = [i for i, label in enumerate(y) if not isinstance(label, str)]
        if strange:
            i = strange[0]
            raise TypeError(f"{name}[{i}] is {y[i]!r}: labels must be all integers or all strings")
        return y.astype(str)
    if y.dtype.kind not in "iufbU":
        raise TypeError(f"{name} must hold integers or strings, not {y.dtype}")
    if y.dtype.kind == "f":
        bad = np.flatnonzero(~(y == np.trunc(y)) | np.isinf(y))
        if bad.size:
            raise ValueError(f"{name}[{bad[0]}] = {y[bad[0]]} is not a whole number")
    return y


def encode(y, classes, name="y"):
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


def soft_targets(y):
    """Whether y holds float targets (n, c) rather than labels."""
    y = y if hasattr(y, "dtype") else np.asanyarray(y)
    return y.ndim == 2 and str(y.dtype).removeprefix("torch.") in (*FLOAT_DTYPES, "float16")


def soft_target_rows(y, n, c=None, name="y"):
    """Float targets (n, c), finite, with at least two classes; `c` None: any number.

    Targets on the GPU stay there.

    Raises:
        ValueError: another shape; an entry that is not finite (the first is named); whole numbers
            other than 0 and 1, which are probably labels (checked on the host only).
    """
    y = asarray(y, name)
    if len(y) != n:
        raise ValueError(f"{name} has {len(y)} rows of targets, but there are {n} rows")
    if c is not None and y.shape[1] != c:
        raise ValueError(f"{name} has targets for {y.shape[1]} classes, but there are {c}")
    if y.shape[1] < 2:
        raise ValueError(f"{name} has one class only: at least two are needed")
    if _finite_on_gpu(y):
        return y
    y = to_host(y)
    bad = np.argwhere(~np.isfinite(y))
    if len(bad):
        i, j = bad[0]
        raise ValueError(f"{name}[{i}, {j}] is {y[i, j]}: targets must be finite")
    if (y == np.trunc(y)).all() and ((y < 0) | (y > 1)).any():
        raise ValueError(
            f"{name} holds whole numbers up to {y.max():g} as {y.dtype}, which is read as targets "
            f"(n, c): give labels in an integer dtype"
        )
    return y


def row_weights(sample_weight, class_weight, codes, classes, n):
    """sample_weight × class_weight per row, (n,) float64 of mean 1; None if neither is given.

    Raises:
        TypeError, ValueError: not numbers, of the wrong length, negative, not finite or all
            zero; an unknown class; class weights with soft targets.
    """
    if sample_weight is None and class_weight is None:
        return None
    weights = np.ones(n)
    if sample_weight is not None:
        weights = on_host(sample_weight, "sample_weight")
        if weights.dtype.kind not in "iuf":
            raise TypeError(f"sample_weight must hold numbers, not {weights.dtype}")
        if weights.shape != (n,):
            raise ValueError(f"sample_weight has shape {weights.shape}, but there are {n} rows")
        weights = weights.astype(np.float64)
        bad = np.flatnonzero(~((weights >= 0) & np.isfinite(weights)))
        if bad.size:
            raise ValueError(f"sample_weight[{bad[0]}] = {weights[bad[0]]} must be finite and >= 0")
    if class_weight is not None:
        if codes is None:
            raise ValueError("class_weight needs labels, not soft targets")
        weights = weights * _class_weights(class_weight, codes, classes)[codes]
    mean = weights.mean()
    if not 0 < mean < np.inf:
        raise ValueError("the weights of the rows sum to zero, or to infinity")
    return weights / mean


def _class_weights(class_weight, codes, classes):
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f"class_weight must be a dict or 'balanced', not {class_weight!r}")
        counts = np.bincount(codes, minlength=len(classes))
        return len(codes) / (len(classes) * np.maximum(counts, 1))
    if not isinstance(class_weight, dict):
        raise TypeError(f"class_weight must be a dict or 'balanced', not {class_weight!r}")
    known = classes.tolist()
    weights = np.ones(len(classes))
    for label, weight in class_weight.items():
        if label not in known:
            raise ValueError(f"class_weight names {label!r}, which is not one of the classes")
        weights[known.index(label)] = number(f"class_weight[{label!r}]", weight, least=0.0)
    return weights


def number(name, value, *, least=None, above=None, below=None):
    """A finite number within bounds, as float."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, not {value!r}")
    value = float(value)
    if not np.isfinite(value):
        raise ValueError(f"{name} must be finite, not {value}")
    if least is not None and value < least:
        raise ValueError(f"{name} must be at least {least:g}, not {value:g}")
    if above is not None and value <= above:
        raise ValueError(f"{name} must be above {above:g}, not {value:g}")
    if below is not None and value >= below:
        raise ValueError(f"{name} must be below {below:g}, not {value:g}")
    return value


def integer(name, value, *, least, optional=False):
    """A whole number of at least `least`, as int; None where that is allowed."""
    if value is None and optional:
        return None
    if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    return int(value)


def seed(name, value):
    """A seed, a whole number >= 0; a random one for None."""
    given = integer(name, value, least=0, optional=True)
    return int(np.random.default_rng().integers(2**32)) if given is None else given


def choice(name, value, choices):
    """One of `choices`."""
    if not any(isinstance(value, type(known)) and value == known for known in choices):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")
    return value


def function(name, value):
    """Something that can be called, or None."""
    if value is not None and not callable(value):
        raise TypeError(f"{name} must be a function, not {value!r}")
    return value


def flag(name, value):
    """True or False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return bool(value)

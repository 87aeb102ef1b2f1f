"""Tables of pandas, polars or pyarrow as one array: column by column, copied once at most."""

from typing import Any

import numpy as np

from softstep.kernels.checks import FEATURE_DTYPES, Array
from softstep.model.inputs.arrays import numbers_of, refuse_missing

COLUMNS_AT_ONCE, ROWS_AT_ONCE = 16, 4096  # so that what is converted is small, and stays in cache


def dense(given: Any, name: str, names: Array | None) -> tuple[Array, np.dtype[Any]] | None:
    """A table's values, (n, d), and the dtype they have in common; None if it is no table.

    The values are read without a copy where they are one array, else into a new one: of the common
    dtype, or float64 for integers and booleans. names: of the columns, (d,) objects, or None.

    Raises:
        TypeError: a column that holds no numbers. ValueError: a value is missing. Row and column
            are named.
    """
    columns = columns_of(given)
    if not columns or not len(columns[0]):
        return None
    if _are_one_block(columns):
        block = given.to_numpy()
        return block, block.dtype
    dtypes = []
    for j, column in enumerate(columns):
        where = f"{name}[{{}}, {j if names is None else repr(names[j])}]"
        refuse_missing(column, where)
        dtype = _dtype_of(column, where.format(":"))
        if dtype.kind in "OUT":
            columns[j], dtype = numbers_of(np.asarray(column), where)
        elif dtype.kind not in "biuf":
            raise TypeError(f"{where.format(':')} holds {dtype}: features must be numbers")
        dtypes.append(dtype)
    common = common_dtype(dtypes)
    X = np.empty((len(columns[0]), len(columns)), np.float64 if _is_whole(common) else common)
    for first in range(0, len(columns), COLUMNS_AT_ONCE):
        some = [
            np.asarray(columns[j], dtype=None if isinstance(columns[j], np.ndarray) else dtypes[j])
            for j in range(first, min(first + COLUMNS_AT_ONCE, len(columns)))
        ]
        for start in range(0, len(X), ROWS_AT_ONCE):
            rows = slice(start, start + ROWS_AT_ONCE)
            for j, values in enumerate(some, first):
                X[rows, j] = values[rows]
    return X, common


def columns_of(given: Any) -> list[Any]:
    """The columns of a table in host memory; none of anything else."""
    if hasattr(given, "iter_columns"):  # polars
        return list(given.iter_columns())
    if hasattr(given, "itercolumns"):  # pyarrow
        return list(given.itercolumns())
    if hasattr(given, "to_numpy") and hasattr(given, "iloc") and hasattr(given, "dtypes"):  # pandas
        return [column for _, column in given.items()] if given.ndim == 2 else []
    return []


def _dtype_of(column: Any, where: str) -> np.dtype[Any]:
    """The NumPy dtype of a column's values; pandas' own dtypes name it.

    Raises:
        TypeError: NumPy has none such, or they are arrays or records.
    """
    own = getattr(getattr(column, "dtype", None), "numpy_dtype", None)
    try:
        first = np.asarray(column[:1] if own is None else np.empty(0, own))
    except Exception as error:  # of the table's library
        raise TypeError(f"{where} cannot be read as a NumPy array: {error}") from error
    if first.ndim > 1:
        raise TypeError(f"{where} holds {first.shape[1]} values in each row: give each a column")
    return first.dtype


def _are_one_block(columns: list[Any]) -> bool:
    """Whether these are columns of pandas in one array: of one dtype, evenly spaced in memory."""
    kinds = {getattr(column, "dtype", None) for column in columns}
    if len(kinds) > 1 or not isinstance(next(iter(kinds)), np.dtype):
        return False
    if columns[0].dtype.kind not in "biuf":
        return False
    some = [
        columns[j].to_numpy().__array_interface__["data"][0] for j in (0, len(columns) // 2, -1)
    ]
    first, middle, last = some
    half, rest = len(columns) // 2, len(columns) - 1 - len(columns) // 2
    return bool((middle - first) * rest == (last - middle) * half)


def common_dtype(dtypes: list[np.dtype[Any]]) -> np.dtype[Any]:
    """The dtype that holds the values of all; int64 for different integers and booleans."""
    if len(set(dtypes)) == 1:
        return dtypes[0]
    whole = all(dtype.kind in "iub" for dtype in dtypes)
    return np.dtype(np.int64) if whole else np.result_type(*dtypes)


def _is_whole(dtype: np.dtype[Any]) -> bool:
    """Whether values of this dtype are read as float64."""
    return dtype.name not in FEATURE_DTYPES and dtype.kind in "iub"

"""The door for X: rows of any library as an array that the ops take."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from softstep.kernels.arrays import gpu, is_on_gpu, taken, to_host
from softstep.kernels.checks import FEATURE_DTYPES, Array
from softstep.kernels.integers import ceil_div
from softstep.model.inputs import tables
from softstep.model.inputs.arrays import (
    array,
    cure_of_void,
    is_plain,
    numbers_of,
    refuse_unread,
)
from softstep.model.inputs.names import NamedColumns, keys_of, names_of
from softstep.model.inputs.sharded import Shard, ShardedRows, nothing
from softstep.model.inputs.sparse import MadeRows, SparseRows, compressed
from softstep.model.views import Range, seen

BLOCK_VALUES = 1 << 22
SAMPLE_ROWS = 1000


@dataclass(frozen=True)
class Features:
    """Rows as the ops take them, or sparse, and what they were given as.

    X: (n, d); `SparseRows` of a sparse matrix, `ShardedRows` of one in shards. names: of all
    columns that were given, (width,) objects, or None. dtype: as given. columns: which of the
    `width` that were given are in X. keys: of the columns, in place of names (`keys_of`), or None.
    """

    X: Array
    names: Array | None
    dtype: np.dtype[Any]
    columns: Range
    width: int
    keys: tuple[Any, ...] | None = None

    def seen(self, columns: Range) -> "Features":
        """What a model sees of rows of which all columns are here."""
        if columns == self.columns:
            return self
        return replace(self, X=seen(self.X, columns), columns=columns)

    def taken(self, rows: Any) -> Any:
        """Some of the rows for a model to read, by number or `...` for all, with the names of their
        columns; sparse ones as SciPy has them."""
        if isinstance(self.X, SparseRows):
            return self.X.matrix if rows is ... else self.X.matrix[rows]
        X = self.X if rows is ... else taken(self.X, rows)
        return X if self.names is None else NamedColumns.of(np.asarray(X), tuple(self.names))

    @cached_property
    def extremes(self) -> tuple[Any, Any]:
        """The least and the largest value of some rows."""
        some = sample(self.X, SAMPLE_ROWS)
        return some.min(), some.max()

    @property
    def labels(self) -> Any:
        """What the columns of X are called in messages, see `labels_of`."""
        return labels_of(self.names, self.columns)

    @property
    def are_whole(self) -> bool:
        """Whether they were given as integers or booleans, but not as uint8."""
        return self.dtype.kind in "iub" and self.dtype != np.uint8


def labels_of(names: Array | None, columns: Range) -> Any:
    """What these columns of those given are called in messages: their names, or their numbers; None
    where they are called as they are counted in X."""
    if names is not None:
        return names[slice(*columns)]
    return range(*columns) if columns[0] else None


def sample(X: Array, count: int) -> Array:
    """Some `count` rows of X, evenly spread over it, in host memory."""
    if isinstance(X, MadeRows):
        return X[:: ceil_div(len(X), min(count, X.rows_at_once))]
    return to_host(X[:: max(1, len(X) // count)])


def features(given: Any, name: str = "X") -> Features:
    """Rows (n, d) that the ops take; integers but uint8 and int8, booleans and objects become
    float64.

    Raises:
        TypeError: a dtype that is not supported, or an object that is no number.
        ValueError: not 2-D, empty, or complex.
    """
    if (
        is_plain(given)
        and given.ndim == 2
        and given.size
        and given.dtype.type.__name__ in FEATURE_DTYPES
    ):
        return Features(given, None, given.dtype, (0, given.shape[1]), given.shape[1])
    if isinstance(given, ShardedRows):
        return _of_shards(given)
    refuse_unread(given, name, takes_bfloat16=True)
    names = names_of(given)
    table = tables.dense(given, name, names)
    X: Any
    if table is not None:
        X = table[0]
    elif hasattr(given, "tocsr"):
        X = SparseRows(compressed(given, name))
    else:
        X = array(given, name, takes_bfloat16=True)
    if X.ndim != 2:
        keeps = f"reshape(len({name}), -1) keeps its rows"
        cure = keeps if X.ndim > 2 else "reshape(1, -1) is one row"
        raise ValueError(
            f"{name} must be 2-D, one row per sample, but its shape is {X.shape}. Reshape your "
            f"data: {name}.{cure}"
        )
    if X.size == 0:
        what = "feature(s)" if len(X) else "sample(s)"
        raise ValueError(
            f"{name} is empty: 0 {what} (shape={X.shape}) while a minimum of 1 is required."
        )
    if X.dtype.kind == "c":
        raise ValueError(f"{name} is {X.dtype}. Complex data not supported")
    dtype = X.dtype if table is None else table[1]
    if dtype.kind == "O":
        X, dtype = numbers_of(X, name + "[{}, {}]")
    if X.dtype.kind in "iub" and X.dtype.name not in FEATURE_DTYPES:
        X = X.astype(np.float64, order="C")
    if not X.dtype.isnative:
        X = X.astype(X.dtype.newbyteorder("="))
    if X.dtype.name not in FEATURE_DTYPES:
        kinds = ", ".join(FEATURE_DTYPES)
        cure = cure_of_void(X.dtype, name)
        raise TypeError(f"{name} must hold numbers ({kinds}), not {X.dtype}{cure}")
    keys = None if table is None or names is not None else keys_of(given)
    return Features(X, names, dtype, (0, X.shape[1]), X.shape[1], keys)


def _of_shards(X: Any) -> Features:
    """Rows in shards, each of which has been through this door."""
    names = None if X.names is None else np.array(X.names, dtype=object)
    return Features(X, names, X.given, (0, X.shape[1]), X.shape[1])


def refuse_non_finite(X: Any, name: str = "X", first_row: int = 0, names: Any = None) -> None:
    """Raise ValueError naming the first row and column of X that holds NaN or an infinity.

    first_row: the number that the error gives X's first row. names: of the columns, if they have
    (`labels_of`).
    """
    if X.dtype.kind in "iu" or _finite_on_gpu(X) or (isinstance(X, SparseRows) and X.is_finite()):
        return
    if isinstance(X, ShardedRows):
        X.reduced(_refuse_of_shard, name, names, combine=nothing)
        return
    wide = np.float64 if X.dtype == np.float64 else np.float32
    block = max(1, BLOCK_VALUES // X.shape[1])
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(X), block):
            rows = to_host(X[start : start + block])
            if not math.isfinite(rows.sum(dtype=wide)):  # overflows too: look closer
                _refuse_first_of(rows, name, first_row + start, names)


def _refuse_of_shard(shard: Shard, name: str, names: Any) -> None:
    refuse_non_finite(shard.X, name, shard.first, names)


def _refuse_first_of(rows, name, first_row, names):
    """Raise ValueError if one of these is not finite."""
    bad = np.argwhere(~np.isfinite(rows))
    if len(bad):
        i, j = bad[0]
        column = j if names is None else repr(names[j])
        place = f"{name}[{first_row + i}, {column}]"
        raise ValueError(f"{place} is {rows[i, j]}: {name} must hold neither NaN nor inf")


def _finite_on_gpu(X):
    """Whether X is on the GPU and all finite. If not, the host looks for the bad value to name."""
    return is_on_gpu(X) and gpu().all_finite(X)

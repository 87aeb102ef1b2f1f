"""Parquet and Feather (Arrow IPC): tables whose columns have names and types. Read by pyarrow."""

import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from softstep.model import archive
from softstep.model.archive import Array, DataError, Limits
from softstep.model.datasets import table, text
from softstep.model.datasets.table import Columns, Table, Tell
from softstep.model.extras import load
from softstep.model.inputs import NamedColumns, tables

PARQUET = (".parquet", ".pq")
FEATHER = (".feather", ".arrow", ".ipc")
INDEX = re.compile(r"__index_level_\d+__")  # as pandas names an index that it writes
CELL = 8  # bytes, at least, that a number may take once it is unpacked


def read_training(path: Path, label: str | None, tell: Tell) -> Table:
    """Features and labels, as `table.read_training`; the features in their widest type."""
    return _read(path, partial(table.of_training, label=label), tell, label)


def read_features(
    path: Path, n_features: int, names: Sequence[str] | None, label: str | None, tell: Tell
) -> Table:
    """Features for a model, as `table.read_features`."""

    def choose(where: str, cells: list[str]) -> Columns:
        if names is not None:
            return table.by_name(where, cells, list(names), label)
        return table.by_place(where, cells, n_features, label)

    return _read(path, choose, tell, label)


def _read(path: Path, choose: Any, tell: Tell, label: str | None) -> Table:
    found = _table(path)
    where, names = f"{path}: the table", table.names_of(f"{path}: the table", found.column_names)
    if index := [name for name in names if INDEX.fullmatch(name) or name in _indices(found)]:
        raise DataError(
            f"{path}: the column {index[0]!r} is an index, which pandas wrote: write the file with "
            "index=False, or reset_index() to make a column of it"
        )
    columns = choose(where, names)
    table.refuse_two_meanings(where, names, label, columns.label)
    if not found.num_rows:
        raise DataError(f"{path}: holds no rows")
    X = _features(path, found, columns.features)
    X = NamedColumns.of(X, tuple(names[j] for j in columns.features))
    y = None if columns.label is None else _labels(path, found, columns.label)
    tell(table.told(path, "named columns", names, columns, len(names), X, y))
    return Table(X, y)


def _indices(found: Any) -> list[str]:
    """The columns that pandas wrote an index to, by what it noted beside the table."""
    try:
        about = found.schema.pandas_metadata
    except ValueError:  # it is damaged, and only a note
        return []
    columns = about.get("index_columns") if isinstance(about, dict) else None
    return [n for n in columns if isinstance(n, str)] if isinstance(columns, list) else []


def _table(path: Path) -> Any:
    """The Arrow table, of no more memory than the limits allow."""
    arrow = load("pyarrow", extra="tables")
    with archive.opened(path) as file:  # an ordinary file
        stored = os.fstat(file.fileno()).st_size
    try:
        if path.suffix.lower() in PARQUET:
            return _parquet(path, Limits.of_environment(), stored)
        return _feather(arrow, path, Limits.of_environment(), stored)
    except (arrow.ArrowException, OSError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise DataError(f"{path}: cannot be read as a table: {reason}") from error


def _parquet(path: Path, limits: Limits, stored: int) -> Any:
    with load("pyarrow.parquet", extra="tables").ParquetFile(path) as file:
        about = file.metadata
        said = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
        limits.check(path, max(said, CELL * about.num_rows * about.num_columns), stored)
        return file.read()


def _feather(arrow: Any, path: Path, limits: Limits, stored: int) -> Any:
    batches, size = [], 0
    with load("pyarrow.ipc", extra="tables").open_file(path) as file:
        for i in range(file.num_record_batches):
            batches.append(file.get_batch(i))
            size += batches[-1].nbytes
            limits.check(path, size, stored)
        found = arrow.Table.from_batches(batches, file.schema)
    found.validate(full=True)
    return found


def _features(path: Path, found: Any, positions: list[int]) -> Array:
    """X, (n, d): one copy, in the narrowest dtype that holds all columns.

    Of different integers and booleans that is int64, by the rule for tables in memory: uint8 alone
    may be pixels.
    """
    types = load("pyarrow.types", extra="tables")
    columns = [(found.column_names[j], found.column(j)) for j in positions]
    for name, column in columns:
        kind = column.type
        if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
            raise DataError(f"{path}: the column {name!r} holds {kind}, not numbers")
        _refuse_missing(path, name, column)
    dtypes = [np.dtype(column.type.to_pandas_dtype()) for _, column in columns]
    # of uint64 beside int64, float64: int64 would not hold all values
    dtype = np.result_type(tables.common_dtype(dtypes), *dtypes)
    X = np.empty((found.num_rows, len(columns)), dtype)
    for j, (_, column) in enumerate(columns):
        X[:, j] = column.to_numpy()
    return X


def _labels(path: Path, found: Any, position: int) -> Array:
    """Whole numbers, truths or text; whole floats become int64, as in a table of text."""
    types = load("pyarrow.types", extra="tables")
    name, column = found.column_names[position], found.column(position)
    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    _refuse_missing(path, name, column)
    kind = column.type
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        cells = column.to_pylist()
        if bad := [row for row, cell in enumerate(cells) if text.stands_for_none(cell)]:
            raise table.no_class(f"{path}: row {bad[0]}", position, cells[bad[0]])
        if bad := [row for row, cell in enumerate(cells) if cell.endswith("\0")]:
            raise DataError(f"{path}: row {bad[0]}: the label, {name!r}, ends in NUL")
        return np.array(cells)
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        raise DataError(f"{path}: the label, {name!r}, holds {kind}, not whole numbers or text")
    y: Array = column.to_numpy()
    if y.dtype.kind != "f":
        return y
    if not np.isfinite(y).all():
        row = int(np.flatnonzero(~np.isfinite(y))[0])
        raise DataError(f"{path}: row {row}: the label, {name!r}, is {y[row]}")
    if bad := np.flatnonzero(y % 1).tolist():
        raise table.not_whole(f"{path}: row {bad[0]}", position, y[bad[0]])
    if not (np.abs(y) < 2.0 ** (np.finfo(y.dtype).nmant + 1)).all():
        raise DataError(
            f"{path}: the label, {name!r}, holds whole numbers that {y.dtype} does not tell apart: "
            "write them as integers or as text"
        )
    return y.astype(np.int64)


def _refuse_missing(path: Path, name: str, column: Any) -> None:
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise DataError(f"{path}: row {row} (from 0) of the column {name!r} is missing")

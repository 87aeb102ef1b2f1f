"""The user's own files: .npz, .npy, .csv and IDX. Pickled objects are never loaded."""

import itertools
import os
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from softstep.model import archive
from softstep.model.archive import DataError
from softstep.model.datasets import idx

Array = np.ndarray[Any, Any]
PathLike = str | os.PathLike[str]

LONGEST_LINE = 1 << 24  # characters of a line of a .csv: half a million numbers


@dataclass(frozen=True, eq=False)
class Dataset:
    """X_train (n, d), y_train (n,), and the held-out rows X_test, y_test, or None without any.

    image_shape: rows and columns of the image in each row of X, with product d; None: not images.
    """

    name: str
    X_train: Array
    y_train: Array
    X_test: Array | None
    y_test: Array | None
    image_shape: tuple[int, int] | None = None


def load_file(path: PathLike, labels: PathLike | None = None) -> Dataset:
    """A data set of your own, in the format that the file name's ending says. X is (n, d), y (n,).

    - `.npz`: arrays X_train, y_train and, if there are held-out rows, X_test, y_test; or X and y.
    - `.npy`: features, memory-mapped read-only; `labels` names a file of labels.
    - `.csv`: commas, last column the label, features as float64. The first line is a header when
      none of its feature cells is empty or a number. Whole-number labels become int64, other
      numbers float64, anything else stays text.
    - IDX (`...-idx3-ubyte`, `.idx`; also with `.gz`): images as uint8 rows; `labels` as for `.npy`.

    `labels` is a `.npy` or IDX file. Pickled objects are never loaded. Raises FileNotFoundError, or
    DataError (a ValueError) that names the file and what is wrong with it.
    """
    path = _existing(path)
    kind = _kind(path)
    if kind in ("npz", "csv") and labels is not None:
        raise DataError(f"{path}: a .{kind} file holds its labels itself, so give no labels file")
    if kind == "npz":
        return _load_npz(path)
    if kind == "csv":
        X, cells = _read_csv(path)
        return Dataset(path.name, X, _csv_labels(cells), None, None)
    if labels is None:
        raise DataError(f"{path}: holds features only; name the .npy or IDX file of its labels")
    X, image_shape = _read_features(path, kind)
    return Dataset(path.name, X, _read_labels(_existing(labels), X), None, None, image_shape)


def load_features(path: PathLike, n_features: int | None = None) -> tuple[Array, Array | None]:
    """Features to predict from, (n, d), and their labels, (n,), where the file has them, else None.

    The kinds of files are those of `load_file`: `.npz` with X (and y) or X_test (and y_test),
    `.npy`, IDX images, `.csv`. A `.csv` needs `n_features`: with that many columns it is features
    alone, with one more the last is the label. Raises FileNotFoundError or
    DataError.
    """
    path = _existing(path)
    kind = _kind(path)
    if kind == "csv":
        if n_features is None:
            raise DataError(f"{path}: n_features is needed to tell features from labels in a .csv")
        X, cells = _read_csv(path, n_features)
        return X, _csv_labels(cells) if cells else None
    if kind == "npz":
        return _load_npz_features(path)
    return _read_features(path, kind)[0], None


def _existing(given: PathLike) -> Path:
    path = Path(given)
    if path.is_dir():
        raise DataError(f"{path}: a folder, not a file")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    return path


def _kind(path: Path) -> str:
    name = path.name.lower()
    if re.search(r"[.-]idx\d?(-ubyte)?(\.gz)?$", name):
        return "idx"
    if name.endswith((".npz", ".npy", ".csv")):
        return name[-3:]
    raise DataError(
        f"{path}: unknown kind of file; known are .npz, .npy, .csv and IDX (as in "
        "train-images-idx3-ubyte or images.idx, also with .gz)"
    )


def _features(path: Path, X: Array, name: str = "X") -> Array:
    if X.ndim != 2:
        raise DataError(f"{path}: {name} must be 2-D (rows, features), but has shape {X.shape}")
    if 0 in X.shape:
        raise DataError(f"{path}: {name} is empty, it has shape {X.shape}")
    return X


def _labels(path: Path, y: Array, X: Array, name: str = "y") -> Array:
    if y.ndim != 1:
        raise DataError(f"{path}: {name} must be labels, one for each row, not of shape {y.shape}")
    if len(y) != len(X):
        raise DataError(f"{path}: {name} has {len(y)} labels for {len(X)} rows of features")
    return y


def _read_features(path: Path, kind: str) -> tuple[Array, tuple[int, int] | None]:
    """Features (n, d), and rows and columns of the images where they are such."""
    if kind == "npy":
        return _features(path, archive.map_npy(path)), None
    images = idx.read_images(path)
    n, rows, columns = images.shape
    return _features(path, images.reshape(n, rows * columns)), (rows, columns)


def _read_labels(path: Path, X: Array) -> Array:
    kind = _kind(path)
    if kind not in ("npy", "idx"):
        raise DataError(f"{path}: labels are read from .npy and IDX files")
    y = np.array(archive.map_npy(path)) if kind == "npy" else idx.read_labels(path)
    return _labels(path, y, X)


def _load_npz(path: Path) -> Dataset:
    arrays = archive.read_npz(path)
    X_name, y_name = ("X_train", "y_train") if "X_train" in arrays else ("X", "y")
    if X_name not in arrays or y_name not in arrays:
        raise DataError(
            f"{path}: needs the arrays X_train and y_train (and X_test, y_test for held-out rows), "
            f"or X and y; it has {_listed(arrays)}"
        )
    if ("X_test" in arrays) != ("y_test" in arrays):
        raise DataError(f"{path}: needs both X_test and y_test, or neither")
    X = _features(path, arrays[X_name], X_name)
    y = _labels(path, arrays[y_name], X, y_name)
    if "X_test" not in arrays:
        return Dataset(path.name, X, y, None, None)
    X_test = _features(path, arrays["X_test"], "X_test")
    if X_test.shape[1] != X.shape[1]:
        raise DataError(
            f"{path}: X_test has {X_test.shape[1]} features, but {X_name} has {X.shape[1]}"
        )
    return Dataset(path.name, X, y, X_test, _labels(path, arrays["y_test"], X_test, "y_test"))


def _load_npz_features(path: Path) -> tuple[Array, Array | None]:
    arrays = archive.read_npz(path)
    X_name, y_name = ("X", "y") if "X" in arrays else ("X_test", "y_test")
    if X_name not in arrays:
        raise DataError(f"{path}: needs an array X or X_test; it has {_listed(arrays)}")
    X = _features(path, arrays[X_name], X_name)
    return X, _labels(path, arrays[y_name], X, y_name) if y_name in arrays else None


def _listed(arrays: dict[str, Array]) -> str:
    return ", ".join(arrays) or "none"


def _read_csv(path: Path, n_features: int | None = None) -> tuple[Array, list[str]]:
    """Features (n, d) float64, and the cells of the last column, which holds the labels.

    With `n_features`, a file of just that many columns has no labels: the list is empty.
    """
    rows = _csv_rows(path)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{path}: holds no rows")
    width = len(first[1])
    d = _csv_features(*first, n_features)
    if not _is_header(first[1][:d]):
        rows = itertools.chain([first], rows)
    values, labels = array("d"), []
    for where, row in rows:
        if len(row) != width:
            raise DataError(f"{where} has {len(row)} columns, but the first line has {width}")
        values.extend(_numbers(where, row[:d]))
        labels += row[d:]
        if labels and not labels[-1].strip():
            raise DataError(f"{where}: the label, in the last column, is empty")
    if not values:
        raise DataError(f"{path}: holds no rows below its header")
    return np.frombuffer(values).reshape(-1, d), labels


def _csv_rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    """The lines that are not empty: a name for error messages, and the cells."""
    import csv
    import io

    try:
        with (
            archive.opened(path) as binary,
            io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as file,
        ):
            reader = csv.reader(_lines(path, file), skipinitialspace=True)
            for row in reader:
                if row:
                    yield f"{path}: line {reader.line_num}", row
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a text file of comma-separated values: {error}") from error


def _lines(path: Path, file: TextIO) -> Iterator[str]:
    """The lines, none of which is longer than a line of numbers can be."""
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE and not line.endswith("\n"):
            raise DataError(f"{path}: line {number} is longer than {LONGEST_LINE:,} characters")
        if "\0" in line:
            raise DataError(f"{path}: line {number} holds NUL: this is no text file")
        yield line


def _csv_features(where: str, row: list[str], n_features: int | None) -> int:
    """How many of the columns are features."""
    width = len(row)
    if n_features is None:
        if width < 2:
            raise DataError(
                f"{where} has one column; a .csv has features, then the label, split by commas"
            )
        return width - 1
    if width not in (n_features, n_features + 1):
        raise DataError(
            f"{where} has {width} columns; expected {n_features} features, "
            f"or {n_features + 1} columns with the label last"
        )
    return n_features


def _is_header(cells: list[str]) -> bool:
    return not any(_is_number(cell) or not cell.strip() for cell in cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # float() would read 1_000


def _numbers(where: str, cells: list[str]) -> list[float]:
    try:
        if "_" not in "".join(cells):
            return [float(cell) for cell in cells]
    except ValueError:
        pass
    column = next(j for j, cell in enumerate(cells) if not _is_number(cell))
    raise DataError(f"{where}, column {column + 1}: {cells[column]!r} is not a number")


def _csv_labels(cells: list[str]) -> Array:
    if not all(map(_is_number, cells)):
        return np.array([cell.strip() for cell in cells])
    try:
        return np.array([int(cell) for cell in cells], dtype=np.int64)
    except (ValueError, OverflowError):
        numbers = np.array([float(cell) for cell in cells])
    # Past 2**53 a float no longer says which whole number was meant.
    whole = (np.abs(numbers) < 2**53) & (numbers == np.trunc(numbers))
    return numbers.astype(np.int64) if whole.all() else numbers

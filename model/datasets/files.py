"""The user's own files: one door, in which a name's ending says how a file is read.

Pickled objects are never loaded.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from softstep.model import archive
from softstep.model.archive import DataError
from softstep.model.datasets import arrays, columnar, idx, stdin, table
from softstep.model.datasets.table import Table, Tell

Array = np.ndarray[Any, Any]
PathLike = str | os.PathLike[str]

IDX, FOLDER = "IDX", "a folder of .npy"
SHOWN_ARRAYS = 10  # in a message
# What reads a file of arrays, by name; and of a table, with `read_training` and `read_features`.
ARRAYS: dict[str, Callable[[Path], dict[str, Array]]] = {
    ".npz": archive.read_npz,
    ".npy": arrays.read_npy,
    ".safetensors": arrays.read_safetensors,
    ".pt": arrays.read_torch,
    ".pth": arrays.read_torch,
    FOLDER: arrays.read_folder,
    IDX: lambda path: {"X": idx.read_images(path)},
}
TABLES: dict[str, ModuleType] = {
    **{kind + gz: table for kind in (".csv", ".tsv", ".txt", ".data") for gz in ("", ".gz")},
    **dict.fromkeys((*columnar.PARQUET, *columnar.FEATHER), columnar),
}
KNOWN = (
    ".npz, .npy, .csv, .tsv, .txt and .data (also with .gz), .parquet, .feather, .safetensors, "
    ".pt, folders of .npy, and IDX (as in train-images-idx3-ubyte or images.idx, also with .gz)"
)


def no_one(sentence: str) -> None:
    """Tells nobody."""


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


def load_file(
    path: PathLike,
    labels: PathLike | None = None,
    label: str | None = None,
    tell: Tell = no_one,
) -> Dataset:
    """A data set of your own, in the format that the file name's ending says. X is (n, d), y (n,).

    - `.npz`, `.safetensors`, `.pt`: arrays X_train, y_train and, if there are held-out rows,
      X_test, y_test; or x_train and so on, as Keras names them; or X and y; or arr_0 and arr_1, as
      np.savez(file, X, y) and torch.save((X, y), file) leave them. One array alone is the features.
    - `.npy`: features, memory-mapped read-only; a folder of them: their rows, one after another.
    - IDX (`...-idx3-ubyte`, `.idx`; also with `.gz`): images as uint8 rows.
    - `.csv`, `.tsv`, `.txt`, `.data`, also with `.gz`: a label and features as float64, split by
      whatever mark splits all lines alike, or blanks. `label` is the number (0 is the first, -1 the
      last) or the name of the column of labels; else it is the column named "label", "class" or
      "target", or the last. The first line is a header if it holds names, also those that pandas
      gives (0, 1, 2 …). A column without a name is refused, as it may be an index. Whole-number
      labels become int64, anything else stays text, as do whole numbers too long to be told apart
      or with zeros in front; fractions are no labels.
    - `.parquet`, `.feather` (softstep[tables]): the same, with the features in the narrowest dtype
      that holds all of them.
    - `-`: any of these but a folder through standard input, told by its first bytes.

    uint8 of more than two dimensions are images, each of which becomes a row. `labels` is a file of
    one array, where features have no labels beside them. `tell` is called with a sentence on what
    was taken for what, and which arrays were not read. Pickled objects are never loaded.

    Raises:
        FileNotFoundError: there is no such file. MissingExtraError: what reads it is not installed.
        DataError: a ValueError that names the file and what is wrong with it.
    """
    with stdin.as_file(Path(path)) as given:
        file = _existing(given)
        kind = _kind(file)
        if kind in TABLES:
            _refuse_labels(file, kind, labels)
            read: Table = TABLES[kind].read_training(file, label, tell)
            assert read.y is not None
            return Dataset(file.name, read.X, read.y, None, None)
        _refuse_label(file, kind, label)
        return _from_arrays(file, ARRAYS[kind](file), labels, tell)


def load_features(
    path: PathLike,
    n_features: int | None = None,
    names: Sequence[str] | None = None,
    label: str | None = None,
    tell: Tell = no_one,
    labels: PathLike | None = None,
) -> tuple[Array, Array | None]:
    """Features to predict from, (n, d), and their labels, (n,), where the file has them, else None.

    The kinds of files are those of `load_file`; of arrays, X (and y) or X_test (and y_test) are
    read. A table needs `n_features`: with that many columns it is features alone, with one more
    that is the label. With `names`, those of the model's columns, a table that has names may have
    them in any order. `label`, `labels`, `tell`: as for `load_file`.

    Raises as `load_file`.
    """
    with stdin.as_file(Path(path)) as given:
        file = _existing(given)
        kind = _kind(file)
        if kind in TABLES:
            _refuse_labels(file, kind, labels)
            if n_features is None:
                raise DataError(f"{file}: n_features is needed to tell features from labels")
            known = None if names is None else list(names)
            read: Table = TABLES[kind].read_features(file, n_features, known, label, tell)
            return read.X, read.y
        _refuse_label(file, kind, label)
        found = ARRAYS[kind](file)
        X_name, y_name = _names(file, found, arrays.PREDICTED)
        X, _ = _features(file, found[X_name], X_name)
        y = _labels_of(file, found, X, y_name, labels)
        tell(_told(file, found, X, y, (X_name, y_name), labels))
        return X, y


def _from_arrays(
    path: Path, found: dict[str, Array], labels: PathLike | None, tell: Tell
) -> Dataset:
    X_name, y_name = _names(path, found, arrays.TRAINING)
    X, image_shape = _features(path, found[X_name], X_name)
    y = _labels_of(path, found, X, y_name, labels)
    if y is None:
        raise DataError(f"{path}: holds features only; name the file of its labels")
    X_test, y_test = _held_out(path, found, X, X_name)
    test = next((pair for pair in arrays.TEST if pair[0] in found), ())
    tell(_told(path, found, X, y, (X_name, y_name, *test), labels))
    return Dataset(path.name, X, y, X_test, y_test, image_shape)


def _told(
    path: Path,
    found: dict[str, Array],
    X: Array,
    y: Array | None,
    taken: tuple[str, ...],
    labels: PathLike | None,
) -> str:
    """A sentence on which arrays were taken for what, and which were not read.

    taken: the names of features and labels, and of those held out. labels: the file of labels.
    """
    X_name, y_name, *held_out = taken
    sentence = f"{path.name}: {len(X)} rows of {X.shape[1]} features, {X.dtype}"
    if X_name != "X" or len(found) > 1:
        sentence += f", from {X_name}"
    if y is None:
        sentence += "; no labels"
    else:
        source = y_name if labels is None else Path(labels).name
        sentence += f"; labels from {source}, {table.classes_told(y)}"
    if held_out:
        sentence += f"; held out: {held_out[0]}, {len(found[held_out[0]])} rows"
    unread = [name for name in found if name not in taken]
    if unread:
        more = ", …" if len(unread) > SHOWN_ARRAYS else ""
        sentence += f"; not read: {', '.join(unread[:SHOWN_ARRAYS])}{more}"
    return sentence


def _labels_of(
    path: Path, found: dict[str, Array], X: Array, y_name: str, labels: PathLike | None
) -> Array | None:
    """The labels beside X, or those of a file of labels; None where there is neither."""
    if y_name not in found:
        return None if labels is None else _read_labels(_existing(Path(labels)), X)
    if labels is not None:
        raise DataError(f"{path}: holds its labels itself, as {y_name}, so give no labels file")
    return _labels(path, found[y_name], X, y_name)


def _held_out(
    path: Path, found: dict[str, Array], X: Array, learned: str
) -> tuple[Array | None, Array | None]:
    for X_name, y_name in arrays.TEST:
        if X_name not in found:
            continue
        if y_name not in found:
            raise DataError(f"{path}: needs both {X_name} and {y_name}, or neither")
        X_test, _ = _features(path, found[X_name], X_name)
        if X_test.shape[1] != X.shape[1]:
            raise DataError(
                f"{path}: {X_name} has {X_test.shape[1]} features, but {learned} has {X.shape[1]}"
            )
        return X_test, _labels(path, found[y_name], X_test, y_name)
    if "y_test" in found:
        raise DataError(f"{path}: needs both X_test and y_test, or neither")
    return None, None


def _names(
    path: Path, found: dict[str, Array], pairs: Sequence[tuple[str, str]]
) -> tuple[str, str]:
    """The names of features and labels; of a file of one array, its name, and one it has not."""
    for X_name, y_name in pairs:
        if X_name in found:
            return X_name, y_name
    if len(found) == 1 and not arrays.NAMED & set(found):
        return next(iter(found)), ""
    needed = " or ".join(f"{X_name} and {y_name}" for X_name, y_name in pairs)
    shown = ", ".join(list(found)[:SHOWN_ARRAYS]) or "none"
    raise DataError(f"{path}: needs the arrays {needed}, or one alone; it has {shown}")


def _refuse_labels(path: Path, kind: str, labels: PathLike | None) -> None:
    if labels is not None:
        raise DataError(f"{path}: a {kind} holds its labels itself, so give no labels file")


def _refuse_label(path: Path, kind: str, label: str | None) -> None:
    if label is not None:
        raise DataError(f"{path}: a label column is for tables such as .csv, but this is {kind}")


def is_table(path: PathLike) -> bool:
    """Whether the name is that of a table, which holds labels as a column."""
    return Path(path).name.lower().endswith(tuple(TABLES))


def _existing(path: Path) -> Path:
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    return path


def _kind(path: Path) -> str:
    """The ending by which a file is read."""
    if path.is_dir():
        return FOLDER
    name = path.name.lower()
    if re.search(r"[.-]idx\d?(-ubyte)?(\.gz)?$", name):
        return IDX
    for kind in (*ARRAYS, *TABLES):
        if name.endswith(kind):
            return kind
    raise DataError(f"{path}: unknown kind of file; known are {KNOWN}")


def _features(path: Path, X: Array, name: str) -> tuple[Array, tuple[int, int] | None]:
    """Rows (n, d); of images, which are uint8, also the rows and columns of each."""
    image_shape = None
    if 0 in X.shape:
        raise DataError(f"{path}: {name} is empty, it has shape {X.shape}")
    if X.ndim > 2 and X.dtype == np.uint8:
        if X.ndim == 3:
            image_shape = (X.shape[1], X.shape[2])
        X = X.reshape(len(X), -1)
    if X.ndim != 2:
        raise DataError(f"{path}: {name} must be 2-D (rows, features), but has shape {X.shape}")
    return stdin.kept(X) if path.name.startswith(stdin.NAME) else X, image_shape


def _labels(path: Path, y: Array, X: Array, name: str = "y") -> Array:
    if y.ndim == 2 and y.shape[1] == 1:  # as Keras has them of CIFAR
        y = y[:, 0]
    if y.ndim != 1:
        raise DataError(f"{path}: {name} must be labels, one for each row, not of shape {y.shape}")
    if len(y) != len(X):
        raise DataError(f"{path}: {name} has {len(y)} labels for {len(X)} rows of features")
    return y


def _read_labels(path: Path, X: Array) -> Array:
    kind = _kind(path)
    if kind == IDX:
        return _labels(path, idx.read_labels(path), X)
    if kind not in ARRAYS:
        raise DataError(f"{path}: labels are read from .npy and IDX files, .npz and the like")
    found = ARRAYS[kind](path)
    if len(found) != 1:
        raise DataError(f"{path}: must hold one array, the labels; it has {len(found)}")
    return _labels(path, np.array(next(iter(found.values()))), X)

"""The user's own files: .npz, .npy, .csv and IDX. Pickled objects are never loaded."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from softstep.model import archive
from softstep.model.archive import DataError
from softstep.model.datasets import idx, table
from softstep.model.datasets.table import Tell

Array = np.ndarray[Any, Any]
PathLike = str | os.PathLike[str]


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

    - `.npz`: arrays X_train, y_train and, if there are held-out rows, X_test, y_test; or X and y.
    - `.npy`: features, memory-mapped read-only; `labels` names a file of labels.
    - `.csv`: commas, a label and features as float64. `label` is the name or the number of the
      column of labels (0 is the first, -1 the last); else it is the column named "label", "class"
      or "target", or the last. The first line is a header if it holds names, also those that pandas
      gives (0, 1, 2 …). A column without a name is refused, as it may be an index. Whole-number
      labels become int64, other numbers float64, anything else stays text, and so do numbers too
      long to be told apart. `tell` is called with a sentence on what was taken for what.
    - IDX (`...-idx3-ubyte`, `.idx`; also with `.gz`): images as uint8 rows; `labels` as for `.npy`.

    `labels` is a `.npy` or IDX file. Pickled objects are never loaded. Raises FileNotFoundError, or
    DataError (a ValueError) that names the file and what is wrong with it.
    """
    path = _existing(path)
    kind = _kind(path)
    if kind in ("npz", "csv") and labels is not None:
        raise DataError(f"{path}: a .{kind} file holds its labels itself, so give no labels file")
    if kind == "csv":
        read = table.read_training(path, label, tell)
        assert read.y is not None
        return Dataset(path.name, read.X, read.y, None, None)
    _refuse_label(path, kind, label)
    if kind == "npz":
        return _load_npz(path)
    if labels is None:
        raise DataError(f"{path}: holds features only; name the .npy or IDX file of its labels")
    X, image_shape = _read_features(path, kind)
    return Dataset(path.name, X, _read_labels(_existing(labels), X), None, None, image_shape)


def load_features(
    path: PathLike,
    n_features: int | None = None,
    names: Sequence[str] | None = None,
    label: str | None = None,
    tell: Tell = no_one,
) -> tuple[Array, Array | None]:
    """Features to predict from, (n, d), and their labels, (n,), where the file has them, else None.

    The kinds of files are those of `load_file`: `.npz` with X (and y) or X_test (and y_test),
    `.npy`, IDX images, `.csv`. A `.csv` needs `n_features`: with that many columns it is features
    alone, with one more that is the label. With `names`, those of the model's columns, a `.csv`
    with a header may have them in any order. `label`, `tell`: as for `load_file`. Raises
    FileNotFoundError or DataError.
    """
    path = _existing(path)
    kind = _kind(path)
    if kind == "csv":
        if n_features is None:
            raise DataError(f"{path}: n_features is needed to tell features from labels in a .csv")
        known = None if names is None else list(names)
        read = table.read_features(path, n_features, known, label, tell)
        return read.X, read.y
    _refuse_label(path, kind, label)
    if kind == "npz":
        return _load_npz_features(path)
    return _read_features(path, kind)[0], None


def _refuse_label(path: Path, kind: str, label: str | None) -> None:
    if label is not None:
        raise DataError(f"{path}: a label column is for a .csv, but this is .{kind}")


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

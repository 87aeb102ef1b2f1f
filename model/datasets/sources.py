"""Data to train on: digits (built in), MNIST and Fashion-MNIST (found or downloaded), own files.

A data set that is not available is an error; no other takes its place. Pixels stay uint8.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from softstep.model import archive
from softstep.model.datasets import idx
from softstep.model.datasets.download import SHA256, DatasetError, fetch
from softstep.model.datasets.files import Dataset, PathLike, load_features, load_file, no_one
from softstep.model.datasets.stdin import DASH
from softstep.model.datasets.table import Tell

__all__ = [
    "Dataset",
    "DatasetError",
    "hold_out",
    "load",
    "load_digits",
    "load_fashion_mnist",
    "load_features",
    "load_file",
    "load_mnist",
]


def load(
    name: PathLike, labels: PathLike | None = None, label: str | None = None, tell: Tell = no_one
) -> Dataset:
    """The data set called `name`, "digits", "mnist" or "fashion-mnist", or else the file `name`.

    labels, label, tell: as for `load_file`. Raises what `load_mnist` and `load_file` raise.
    """
    if name not in NAMED:
        if not Path(name).exists() and str(name) != DASH:
            raise FileNotFoundError(f"{name}: neither a data set ({', '.join(NAMED)}) nor a file")
        return load_file(name, labels, label, tell)
    if labels is not None or label is not None:
        raise ValueError(f"{name} has its own labels, so give no labels file and no label column")
    return NAMED[str(name)]()


def hold_out(data: Dataset, *, fraction: float, seed: int) -> Dataset:
    """`data` with `fraction` of its training rows, drawn with `seed`, as test rows.

    Raises ValueError if either part would be empty.
    """
    n = len(data.X_train)
    count = round(fraction * n)
    if not 0 < count < n:
        raise ValueError(f"{data.name}: {n} rows are too few to hold some out")
    order = np.random.default_rng((seed, 3)).permutation(n)
    test, train = np.sort(order[:count]), np.sort(order[count:])
    X, y = data.X_train, data.y_train
    return replace(data, X_train=X[train], y_train=y[train], X_test=X[test], y_test=y[test])


def load_digits() -> Dataset:
    """The UCI digits: 1437 training and 360 test rows of 64 float32 pixels in [0, 1], 10 classes.

    Each pixel counts the inked dots of a block of 16, divided by 16; labels are 0...9 as int64.
    The split is fixed: of the 1797 rows, sorted stably by label, every fifth is a test row (the
    first, the sixth, ...); each part keeps the original order. Source and licence: NOTICE.
    """
    arrays = archive.read_npz(Path(__file__).parent / "data" / "digits.npz")
    return Dataset(
        "digits",
        arrays["X_train"] / np.float32(16),
        arrays["y_train"].astype(np.int64),
        arrays["X_test"] / np.float32(16),
        arrays["y_test"].astype(np.int64),
        image_shape=(8, 8),
    )


def load_mnist() -> Dataset:
    """MNIST: 60000 training and 10000 test rows of 784 uint8 pixels, labels 0...9 as int64.

    The four IDX files, plain or gzip, are looked for in `$SOFTSTEP_DATA/mnist`, `$SOFTSTEP_DATA`
    and the cache, `$XDG_CACHE_HOME/softstep/mnist` (`~/.cache/softstep/mnist`), then downloaded to
    the cache. Only files whose uncompressed SHA-256 is right are used. Raises DatasetError.
    """
    return _load_idx_set("mnist")


def load_fashion_mnist() -> Dataset:
    """Fashion-MNIST: shapes, dtypes and places as for `load_mnist`, in folders `fashion-mnist`.

    Source: Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747. Raises DatasetError.
    """
    return _load_idx_set("fashion-mnist")


def _load_idx_set(name: str) -> Dataset:
    arrays = []
    for file in SHA256[name]:
        parse = idx.parse_images if "images" in file else idx.parse_labels
        arrays.append(parse(fetch(name, file)))
    X_train, y_train, X_test, y_test = arrays
    shape = X_train.shape[1:]
    X_train, X_test = (images.reshape(len(images), -1) for images in (X_train, X_test))
    return Dataset(name, X_train, y_train, X_test, y_test, image_shape=shape)


NAMED = {"digits": load_digits, "mnist": load_mnist, "fashion-mnist": load_fashion_mnist}

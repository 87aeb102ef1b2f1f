"""Data to train on: built-in digits, MNIST and Fashion-MNIST, and a user's own files."""

from softstep.model.datasets.download import DatasetError
from softstep.model.datasets.files import Dataset, load_features, load_file
from softstep.model.datasets.sources import (
    NAMED,
    hold_out,
    load,
    load_digits,
    load_fashion_mnist,
    load_mnist,
)

__all__ = [
    "NAMED",
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

"""Features of real images, made on the spot: blocks of random patches, and a pooled one."""

from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np

from softstep.bench.problems import Array
from softstep.bench.studies.optimum.works import pooled
from softstep.model import datasets
from softstep.model.datasets import download

SEED = 0
# By the side of the images: the sides of the patches of each block, and from one to the next.
PATCHES = {28: ((4, 6, 8, 10), 2), 8: ((2, 3, 4, 5), 1)}


@dataclass(frozen=True)
class Images:
    """name: of the data set. pixels: (n, side, side) float32 in [0, 1], in random order. digits:
    (n,), what they show."""

    name: str
    pixels: Array
    digits: Array

    @classmethod
    def found(cls, n: int) -> "Images":
        """So many of MNIST, where its files are on this machine, else of the digits, or all."""
        data: Any
        try:
            with mock.patch.dict(download.MIRRORS, mnist=()):  # it is looked for, not fetched
                data = datasets.load_mnist()
        except datasets.DatasetError:
            data = datasets.load_digits()
        X = np.concatenate([data.X_train, data.X_test])
        y = np.concatenate([data.y_train, data.y_test])
        rows = np.random.default_rng(SEED).permutation(len(X))[:n]
        pixels = X[rows]
        if pixels.dtype == np.uint8:
            pixels = pixels / np.float32(255)
        return cls(data.name, pixels.reshape(len(rows), *data.image_shape), y[rows])

    def block(self, d: int, rng: Any, level: int = 1) -> Array:
        """The features of one block, (n, d): larger patches at a higher level, 0 to 3."""
        sides, stride = PATCHES[self.pixels.shape[1]]
        return _normed(pooled(self.pixels, d // 4, rng, patch=sides[level], stride=stride))

    def blocks(self, d: int, rng: Any) -> Array:
        """Four blocks, and the means of the last one's kind over whole images, (n, 5 d)."""
        sides, stride = PATCHES[self.pixels.shape[1]]
        X = np.empty((len(self.pixels), 5 * d), np.float32)
        for level in range(4):
            X[:, level * d : (level + 1) * d] = self.block(d, rng, level)
        quarters = pooled(self.pixels, d, rng, patch=sides[-1], stride=stride)
        X[:, 4 * d :] = _normed(quarters.reshape(len(X), 4, d).mean(axis=1))
        return X


def _normed(x: Array) -> Array:
    """Each row with mean 0 and variance 1, as a layer norm leaves it."""
    x = x - x.mean(axis=1, keepdims=True)
    x /= x.std(axis=1, keepdims=True) + np.float32(1e-6)
    return x

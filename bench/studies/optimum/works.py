"""What is solved: rows, labels, and a grid of C."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from softstep.bench.problems import Array
from softstep.model.datasets import load_digits, load_mnist

SEED = 0
FOLDS = 5
PATCH, STRIDE = 6, 2  # pixels of the random features, and from one to the next
BLOCK = 5_000  # rows whose logits are computed at once, to judge what was found


@dataclass(frozen=True)
class Work:
    """name; rows to learn from and to test, with labels; the grid of C; folds: pairs of rows to
    learn from and to judge on, or none."""

    name: str
    X: Array
    y: Array
    X_test: Array
    y_test: Array
    C: Array
    folds: tuple[tuple[Array, Array], ...] = ()

    @property
    def classes(self) -> int:
        return int(self.y.max()) + 1

    def objectives(self, W: Array, b: Array, C: Array, rows: Any = slice(None)) -> Array:
        """The mean loss plus ‖W‖²/(2 C n) of heads W (h, d, c), b (h, c), in float64."""
        h, d, c = W.shape
        X, y = self.X[rows], self.y[rows]
        columns = W.astype(np.float64).transpose(1, 0, 2).reshape(d, h * c)
        total = np.zeros(h)
        for start in range(0, len(X), BLOCK // h + 1):
            part = slice(start, start + BLOCK // h + 1)
            V = (X[part] @ columns + b.reshape(-1)).reshape(-1, h, c)
            V -= V.max(axis=2, keepdims=True)
            right = V[np.arange(len(V)), :, y[part]]
            total += (np.log(np.exp(V).sum(axis=2)) - right).sum(axis=0)
        return (total + (W.astype(np.float64) ** 2).sum(axis=(1, 2)) / (2 * C)) / len(X)

    def accuracies(self, W: Array, b: Array) -> Array:
        """The share of the test rows that each head gets right."""
        columns = W.transpose(1, 0, 2).reshape(W.shape[1], -1)
        V = (self.X_test @ columns + b.reshape(-1)).reshape(-1, *b.shape)
        accuracies: Array = (V.argmax(axis=2) == self.y_test[:, None]).mean(axis=0)
        return accuracies


def _digits(quick: bool) -> Work:
    data: Any = load_digits()
    X, X_test = (x.astype(np.float32) for x in (data.X_train, data.X_test))
    name = f"one head, digits {'x'.join(map(str, X.shape))}->10, C = 1"
    return Work(name, X, data.y_train, X_test, data.y_test, np.ones(1))


def _mnist(quick: bool) -> Work:
    data: Any = load_mnist()
    n, count = (2_000, 4) if quick else (60_000, 40)
    X, X_test = ((x / np.float32(255)).astype(np.float32) for x in (data.X_train[:n], data.X_test))
    C = np.geomspace(1e-6, 1e2, count)
    name = f"MNIST {n}x784->10, {count} C from 1e-6 to 1e2"
    return Work(name, X, data.y_train[:n], X_test, data.y_test, C)


def _sgd(quick: bool) -> Work:
    work = _mnist(quick)
    n, d = work.X.shape
    return replace(work, name=f"MNIST {n}x{d}->10, 8 learning rates x 2 l2")


def _folds(quick: bool) -> Work:
    from sklearn.model_selection import StratifiedKFold

    work = _mnist(quick)
    folds = tuple(StratifiedKFold(FOLDS).split(work.X, work.y))
    name = f"{work.name}, {FOLDS} folds: {(FOLDS + 1) * len(work.C)} heads"
    return Work(name, work.X, work.y, work.X_test, work.y_test, work.C, folds)


def _embeddings(quick: bool) -> Work:
    return embeddings(*((500, 64, 3) if quick else (20_000, 768, 20)))


def embeddings(n: int, d: int, count: int) -> Work:
    """Random patches of MNIST as convolution kernels, rectified and pooled over quarters;
    100 classes: each of the ten cut into ten by a random direction of its pixels."""
    rng = np.random.default_rng(SEED)
    data: Any = load_mnist()
    rows = rng.permutation(len(data.X_train))[: n + n // 5]
    images = (data.X_train[rows] / np.float32(255)).reshape(-1, 28, 28)
    X = pooled(images, d // 4, rng)
    y = hundred_classes(images, data.y_train[rows], rng)
    C = np.geomspace(1e-3, 1e3, count)
    name = f"embeddings {n}x{d}->100, {count} C from 1e-3 to 1e3"
    return Work(name, X[:n], y[:n], X[n:], y[n:], C)


def hundred_classes(images: Array, labels: Array, rng: Any) -> Array:
    """Each of ten labels cut into ten of equal size by a random direction of the pixels, (n,)."""
    pixels = images.reshape(len(images), -1)
    direction = pixels @ rng.standard_normal(pixels.shape[1])
    y = np.empty(len(images), np.int64)
    for label in range(10):
        own = np.flatnonzero(labels == label)
        y[own] = 10 * label + np.argsort(np.argsort(direction[own])) * 10 // len(own)
    return y


def pooled(
    images: Array, count: int, rng: Any, *, patch: int = PATCH, stride: int = STRIDE
) -> Array:
    """So many random patches of images (n, side, side) as convolution kernels, rectified, and their
    means over quarters: (n, 4 · count) float32."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (patch, patch), axis=(1, 2))
    windows = windows[:, ::stride, ::stride]
    picks = rng.integers((len(images), windows.shape[1], windows.shape[2]), size=(count, 3))
    kernels = windows[tuple(picks.T)].reshape(count, -1)
    kernels = kernels - kernels.mean(axis=1, keepdims=True)
    kernels /= np.linalg.norm(kernels, axis=1, keepdims=True) + 1e-6
    half = windows.shape[1] // 2
    features = np.empty((len(images), 2, 2, count), np.float32)
    for start in range(0, len(images), 500):
        found = windows[start : start + 500].reshape(-1, *windows.shape[1:3], patch**2) @ kernels.T
        np.maximum(found, 0, out=found)
        for i, top in enumerate((found[:, :half], found[:, half:])):
            for j, part in enumerate((top[:, :, :half], top[:, :, half:])):
                features[start : start + 500, i, j] = part.mean(axis=(1, 2))
    return features.reshape(len(images), -1)


# By the word that --only takes; whether they are to be small.
WORKS: dict[str, Callable[[bool], Work]] = {
    "digits": _digits,
    "mnist": _mnist,
    "sgd": _sgd,
    "folds": _folds,
    "embeddings": _embeddings,
}

"""Rows as a scaler makes them, some at a time, and the statistics of the columns it goes by."""

from collections.abc import Callable
from typing import Any

import numpy as np

from softstep.kernels.arrays import is_on_gpu
from softstep.kernels.checks import Array, compute_dtype
from softstep.model.inputs.sparse import MadeRows
from softstep.model.views import Moments, Scaler

MOMENT_ROWS = 1024  # whose sums are taken at once: the same chunks of rows give the same bits


class ScaledRows(MadeRows):
    """Rows s X as a scaler makes them, in the dtype of their arithmetic."""

    block_bytes = 1 << 22  # in the cache, when a kernel reads it

    def __init__(self, X: Any, scaler: Scaler, feature_scale: float) -> None:
        self.X, self.scaler, self.feature_scale = X, scaler, feature_scale
        self.shape, self.dtype = X.shape, compute_dtype(X)

    def __getitem__(self, rows: Any) -> Array:
        if isinstance(rows, int):
            row: Array = self[np.array([rows])][0]
            return row
        given: Array = self.X[rows]
        is_copy = isinstance(rows, np.ndarray) or isinstance(self.X, MadeRows)
        x = given.astype(self.dtype, order="C", copy=not is_copy)
        if self.feature_scale != 1:
            x *= self.dtype.type(self.feature_scale)
        return self.scaler.apply(x)

    def astype(self, dtype: Any, order: str = "K") -> "ScaledRows":
        return ScaledRows(self.X.astype(dtype), self.scaler, self.feature_scale)


def scaled(X: Any, scaler: Scaler | None, feature_scale: float) -> tuple[Any, float]:
    """The rows as a scaler makes them, and the factor that is left for the ops.

    Raises:
        ValueError: they are on a GPU.
    """
    if scaler is None:
        return X, feature_scale
    refuse_on_gpu(X)
    return ScaledRows(X, scaler, feature_scale), 1.0


def refuse_on_gpu(X: Any) -> None:
    """Raise ValueError for rows that are not in host memory, where they are scaled."""
    if is_on_gpu(X):
        raise ValueError(
            "scaling= scales rows in host memory, but X is on a GPU: give NumPy arrays, and "
            "the backend that is to train there"
        )


def measured(
    X: Any,
    scaling: str,
    feature_scale: float,
    weights: list[Array | None],
    *,
    centers: bool,
    release: Callable[[int, int], None] | None = None,
) -> list[Scaler]:
    """A scaler for each set of row weights, by the rows of X (n, d), and in the dtype of X.

    weights: (n,) each; None: 1. centers: whether the mean is taken off, which takes a bias.
    release: called with the first row and the last, exclusive, of those no longer needed.
    """
    refuse_on_gpu(X)
    unit = scaling.startswith("l2")
    if "standard" not in scaling:
        return [Scaler(unit)] * len(weights)
    made, moments = ScaledRows(X, Scaler(unit), feature_scale), Moments(len(weights))
    sets = [None if w is None else w.astype(made.dtype, copy=False) for w in weights]
    for start in range(0, len(X), MOMENT_ROWS):
        some = slice(start, start + MOMENT_ROWS)
        moments.add(made[some], [None if w is None else w[some] for w in sets])
        if release is not None:
            release(start, min(start + MOMENT_ROWS, len(X)))
    return moments.scalers(unit, centers=centers, n=len(X))

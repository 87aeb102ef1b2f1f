"""Rows as a scaler makes them, some at a time, and the statistics of the columns it goes by."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from softstep.kernels import Scaled
from softstep.kernels.arrays import is_on_gpu
from softstep.kernels.backend import reads_scaled
from softstep.kernels.checks import Array, compute_dtype
from softstep.model.inputs.rows import refuse_non_finite
from softstep.model.inputs.sharded import Shard, ShardedRows
from softstep.model.inputs.sparse import MadeRows, placed
from softstep.model.views import Moments, Scaler

# Sums are taken of so many values at once, 1 MB in float64, and so many times as many are made: the
# same chunks of rows give the same bits.
MOMENT_VALUES, CHUNKS = 1 << 17, 8


class ScaledRows(MadeRows):
    """Rows s X as a scaler makes them, in the dtype of their arithmetic."""

    block_bytes = 1 << 23  # in the cache, when a kernel reads it
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    scaler: Scaler
    feature_scale: float

    def __init__(
        self, X: Any, scaler: Scaler, feature_scale: float, kept: Array | None = None
    ) -> None:
        """kept: where 1/‖x‖ may be kept, (n,); None: it is not."""
        self.X, self.scaler, self.feature_scale = X, scaler, feature_scale
        self.shape, self.dtype = X.shape, compute_dtype(X)
        self._scaled = scaler.of(X, feature_scale, kept)

    def __getitem__(self, rows: Any) -> Array:
        if isinstance(rows, int):
            row: Array = self[np.array([rows])][0]
            return row
        return self._scaled[rows]

    def as_read(self, backend: str | None) -> Scaled | None:
        """All rows as the ops scale them while they read them; None where they do not: rows of a
        sparse matrix, and on a GPU."""
        return self._scaled if isinstance(self.X, np.ndarray) and reads_scaled(backend) else None

    def astype(self, dtype: Any, order: str = "K") -> "ScaledRows":
        return ScaledRows(self.X.astype(dtype), self.scaler, self.feature_scale)


class Factors:
    """Where 1/‖x‖ is kept, for each range of columns, of one matrix in host memory: the first that
    it is asked for. Of another, as of some of its rows, nothing is kept."""

    def __init__(self) -> None:
        self._X: Any = None
        self._kept: dict[Any, Array] = {}

    def of(self, X: Any, columns: Any) -> Array | None:
        """Those of these columns of X, (n,)."""
        if not isinstance(X, np.ndarray):
            return None
        self._X = X if self._X is None else self._X
        if X is not self._X:
            return None
        if columns not in self._kept:
            self._kept[columns] = np.zeros(len(X), compute_dtype(X))
        return self._kept[columns]

    def __reduce__(self) -> tuple[Any, ...]:
        """What is sent elsewhere is begun anew there."""
        return Factors, ()


def scaled(
    X: Any, scaler: Scaler | None, feature_scale: float, kept: Array | None = None
) -> tuple[Any, float]:
    """The rows as a scaler makes them, and the factor that is left for the ops. kept: as
    `ScaledRows` has it.

    Raises:
        ValueError: they are on a GPU.
    """
    if scaler is None:
        return X, feature_scale
    refuse_on_gpu(X)
    return ScaledRows(placed(X, "numpy"), scaler, feature_scale, kept), 1.0


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
    weights: Array | None,
    sets: Sequence[int | None],
    *,
    centers: bool,
    names: Any = None,
    release: Callable[[int, int], None] | None = None,
) -> list[Scaler]:
    """A scaler for each of these sets of row weights, by the rows of X (n, d), in the dtype of X.

    weights: (n,) or (k, n); None: 1. sets: which of the k each is of; None: of weights 1. centers:
    whether the mean is taken off, which takes a bias. names: of the columns, or None (`labels_of`).
    release: called with the first row and the last, exclusive, of those no longer needed.

    Raises:
        ValueError: X is on a GPU, or not finite; a column is too large or too small to be scaled;
            no row has any weight.
    """
    refuse_on_gpu(X)
    unit = scaling.startswith("l2")
    if "standard" not in scaling:
        return [Scaler(unit)] * len(sets)
    # The columns as they are given, which a factor rounds; of unit rows it counts by its sign.
    factor = math.copysign(1, feature_scale) if unit else feature_scale
    if isinstance(X, ShardedRows):
        # As they are, all of them: the shards keep them for what is learned from.
        beside = () if weights is None else ((weights, -1),)
        moments = X.reduced(_moments_of_shard, unit, sets, beside=beside, combine=_both)
    else:
        moments = _moments(X, unit, _chosen(weights, sets), release)
    dtype = compute_dtype(X)
    eps = float(np.finfo(dtype).eps)
    found = [of_set.scaler(unit, centers=centers, n=len(X), eps=eps) for of_set in moments]
    for scaler in found:
        _refuse_unusable(scaler, X, dtype, names)
    return [scaler.times(factor) for scaler in found]


def _moments(
    X: Any,
    unit: bool,
    weights: Sequence[Array | None],
    release: Callable[[int, int], None] | None = None,
) -> list[Moments]:
    """Those of the rows of X for each set of weights; see `measured`."""
    made, moments = ScaledRows(X, Scaler(unit), 1.0), [Moments() for _ in weights]
    sets = [None if w is None else w.astype(made.dtype, copy=False) for w in weights]
    chunk = max(1, MOMENT_VALUES // X.shape[1])
    block = max(1, CHUNKS * MOMENT_VALUES // X.shape[1] // chunk) * chunk
    for start in range(0, len(X), block):
        end = min(start + block, len(X))
        u = made[start:end]
        for first in range(start, end, chunk):
            some = slice(first, min(first + chunk, end))
            rows = u[some.start - start : some.stop - start]
            for of_set, w in zip(moments, sets, strict=True):
                of_set.add(rows, None if w is None else w[some])
        if release is not None:
            release(start, end)
    return moments


def _moments_of_shard(shard: Shard, *given: Any) -> list[Moments]:
    """given: the weights, if there are any; whether rows are of unit length; and which sets."""
    *weights, unit, sets = given
    return _moments(shard.X, unit, _chosen(weights[0] if weights else None, sets))


def _chosen(weights: Array | None, sets: Sequence[int | None]) -> list[Array | None]:
    """These sets of weights, (n,) each."""
    if weights is None:
        return [None] * len(sets)
    all_sets = np.atleast_2d(weights)
    return [None if s is None else all_sets[s] for s in sets]


def _both(one: list[Moments], other: list[Moments]) -> list[Moments]:
    """Those of the rows of two neighbours."""
    return [a.and_then(b) for a, b in zip(one, other, strict=True)]


def _refuse_unusable(scaler: Scaler, X: Any, dtype: np.dtype[Any], names: Any) -> None:
    """Raise ValueError unless this scaler, measured by X, can scale its columns in this dtype."""
    usable = scaler.usable(dtype)
    if usable.all():
        return
    refuse_non_finite(X, names=names)
    j = int(usable.argmin())
    column = j if names is None else repr(names[j])
    raise ValueError(
        f"scaling={scaler.scaling!r} squares the deviations of the columns and divides by them, "
        f"which those of column {column} of X are too large or too small for in {dtype}: give X "
        "in another unit"
    )

"""Rows that are made some at a time; those of a sparse matrix, also read as they are stored."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from softstep.kernels.arrays import is_on_gpu, to_device_of
from softstep.kernels.backend import densest_csr, makes_scaled, to_backend
from softstep.kernels.checks import Array
from softstep.kernels.csr import CSR
from softstep.kernels.scaled import Scaled

BLOCK_BYTES = 1 << 24


class MadeRows(ABC):
    """A matrix (n, d) that gives rows as a dense array of their own."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    block_bytes = BLOCK_BYTES

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def as_read(self, backend: str | None) -> CSR | Scaled | None:
        """All rows in a form that the ops of the backend read, without making them before; None
        where there is none."""
        return None

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def __getitem__(self, rows: Any) -> Any:
        """These rows, dense."""

    @property
    def rows_at_once(self) -> int:
        """How many rows are made at once."""
        return max(1, self.block_bytes // (self.shape[1] * self.dtype.itemsize))

    def blocks(self) -> Iterator[slice]:
        """All rows from first to last, so many at once."""
        for start in range(0, len(self), self.rows_at_once):
            yield slice(start, start + self.rows_at_once)


class SparseRows(MadeRows):
    """A matrix of SciPy's in compressed rows (CSR), which gives rows as a dense array."""

    shape: tuple[int, int]
    dtype: np.dtype[Any]

    def __init__(self, matrix: Any) -> None:
        self.matrix = matrix
        self.shape = matrix.shape
        self.dtype = matrix.dtype
        self._cut: dict[tuple[int, int], SparseRows] = {}

    def __getitem__(self, rows: Any) -> Any:
        """These rows made dense; with columns beside them a sparse matrix: `X[rows, :]`, or
        `X[:, a:b]`, which is cut out once."""
        if isinstance(rows, tuple):
            some, columns = rows
            if not isinstance(some, slice) or some != slice(None):
                return SparseRows(self.matrix[rows])
            ends = columns.start, columns.stop
            if ends not in self._cut:
                self._cut[ends] = SparseRows(self.matrix[rows])
            return self._cut[ends]
        return self.matrix[rows].toarray(order="C")

    def stored(self, rows: slice) -> tuple[Array, Array, Array]:
        """What these rows store: values, their features, and where each row begins, in 64 bits."""
        part = self.matrix[rows]
        return part.data, part.indices.astype(np.int64), part.indptr.astype(np.int64)

    def astype(self, dtype: Any, order: str = "K") -> "SparseRows":
        return SparseRows(self.matrix.astype(dtype))

    def as_read(self, backend: str | None) -> CSR | None:
        """All rows as they are stored; None where the ops would take longer, or cannot read
        them."""
        stored = self.matrix
        if stored.nnz > densest_csr(backend) * self.size:
            return None
        return CSR(stored.data, stored.indices, stored.indptr, self.shape[1])

    def is_finite(self) -> bool:
        return bool(np.isfinite(self.matrix.data).all())


def compressed(given: Any, name: str) -> Any:
    """A matrix of SciPy's in compressed rows (CSR), each with every feature once, in order; a copy
    where the one given has not. Whole numbers that are stored twice are added in 64 bits.

    Raises:
        ValueError: a sum is beyond uint8 or int8, which the matrix has.
    """
    if getattr(given, "has_canonical_format", True):
        return given.tocsr()
    is_small = given.dtype.kind in "iu" and given.dtype.itemsize < 8
    made = given.astype(np.int64).tocsr() if is_small else given.tocsr(copy=True)
    made.sum_duplicates()
    if given.dtype not in (np.uint8, np.int8):
        return made
    kept = made.astype(given.dtype)
    beyond = np.flatnonzero(kept.data != made.data)
    if beyond.size:
        raise ValueError(
            f"{name} stores values twice, and these add up to {made.data[beyond[0]]}, beyond "
            f"{given.dtype}: give {name}.astype(float)"
        )
    return kept


def placed(X: Any, backend: str | None, like: Any = None) -> Any:
    """X where the backend computes: NumPy's on the GPU that `like` is on, if it is on one; rows
    that are made stay, their blocks go there."""
    if isinstance(X, MadeRows):
        return X
    if isinstance(X, np.ndarray) and is_on_gpu(like):
        return to_device_of(X, like)
    return to_backend(X, backend)


def by_rows(op: Callable[[Any], Any], X: Any, backend: str | None) -> Any:
    """op(X), for an op that computes each row by itself; rows that are made as the op reads them,
    or block by block."""
    if not isinstance(X, MadeRows):
        return op(X)
    read = X.as_read(backend)
    if read is None or (isinstance(read, Scaled) and makes_scaled(backend)):
        return np.concatenate([op(X[rows]) for rows in X.blocks()])
    return op(read)

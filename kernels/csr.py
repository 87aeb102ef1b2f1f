"""Rows in compressed form, for features that are mostly zero."""

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# With l2 a step multiplies every weight by the same factor. On CSR that factor is kept apart, as
# `decay`, and only the weights of features that occur are written. They take it in once it leaves
# LEAST_DECAY … 1/LEAST_DECAY.
LEAST_DECAY = 2.0**-10


@dataclass(frozen=True, eq=False)
class CSR:
    """Rows (n, n_features) of which only some values are stored: compressed rows, as SciPy's.

    Row r has data[k] at feature indices[k] for k in indptr[r] … indptr[r + 1] - 1, in any order.
    What is stored twice is added, what is not stored is 0.

    data: (m,), float32, float64, uint8 or int8. indices: (m,), and indptr: (n + 1,), whole numbers;
    int32 and int64 are read as they are stored. n_features: d.
    """

    data: Array
    indices: Array
    indptr: Array
    n_features: int

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return len(self), self.n_features

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the values."""
        kind: np.dtype[Any] = self.data.dtype
        return kind

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def __getitem__(self, rows: slice) -> "CSR":
        """Consecutive rows, without a copy. Raises ValueError for a step."""
        start, stop, step = rows.indices(len(self))
        if step != 1:
            raise ValueError(f"CSR gives rows that follow each other, X[a:b], not a step of {step}")
        part = self.indptr[start : max(start, stop) + 1]
        return CSR(self.data, self.indices, part, self.n_features)


def settle(W: Array, decay: Array) -> None:
    """Let weights W (h, d, c) take in their factors (h,), which become 1; both in place."""
    if (decay != 1).any():
        with np.errstate(all="ignore"):
            W *= decay[:, None, None]
        decay[:] = 1

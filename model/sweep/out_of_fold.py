"""What heads say of the rows that they did not learn from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from softstep import kernels
from softstep.kernels.arrays import is_on_gpu, to_host
from softstep.kernels.checks import Array, compute_dtype
from softstep.kernels.integers import ceil_div
from softstep.model import inputs, resume
from softstep.model.fitted import Fitted
from softstep.model.inputs import Schema, SparseRows
from softstep.model.sweep.best import PredictsByBest

BLOCK_BYTES = 1 << 22  # of rows that are picked out at once: in the cache, when a kernel reads them


@dataclass(frozen=True)
class LeftOut:
    """The rows that each of k splits is judged on, and has not learned from.

    bits: (k, n/8 or the next whole number), uint8, one bit for each row. n: the number of rows.
    """

    bits: Array
    n: int

    @classmethod
    def of(cls, learn: Array, judge: Array | None) -> Self:
        """learn: (k, n), how often each split learns from each row. judge: (k, n), the rows it is
        judged on; None: those that it does not learn from."""
        k, n = learn.shape
        bits = np.empty((k, ceil_div(n, 8)), np.uint8)
        for i in range(k):
            left_out = learn[i] == 0
            bits[i] = np.packbits(left_out if judge is None else left_out & judge[i])
        return cls(bits, n)

    def __iter__(self) -> Iterator[Array]:
        """The numbers of the rows of each split, ascending."""
        for bits in self.bits:
            yield np.flatnonzero(np.unpackbits(bits, count=self.n))


class OutOfFold(PredictsByBest):
    """Predictions of a fitted sweep for the rows that it learned from."""

    _trained: Any
    best_index_: Any
    backend: Any
    n_threads: Any

    def out_of_fold(self, X: Any, index: int | None = None) -> Any:
        """The probabilities of each row by a head that did not learn from it.

        They are what scikit-learn's `cross_val_predict(method="predict_proba")` gives, without
        training again: for stacking, calibration, cleanlab. The sweep keeps the heads of all folds
        and bootstraps, k settings·c·(d + 1) numbers, and a bit for each row and split, but not the
        rows, which may be larger than memory: they are given again.

        Args:
            X: the rows that `fit` was given, in their order.
            index: an entry of `results_`; None: the best, for label sets the best of each.

        Returns:
            p, (n, c), float32 or float64: of the head whose fold leaves the row out and is judged
            on it; the mean, where several are; NaN, where none is. For label sets without an
            `index` as `predict_proba` has them.

        Raises:
            NotFittedError: before `fit`.
            TypeError, ValueError: X is not as `fit` was given it, which some of its rows tell if it
                is stored alike; there are no splits.
            IndexError: no such entry. FloatingPointError: the setting diverged.
        """
        self._require_fit()
        index = self.best_index_ if index is None else index
        if isinstance(index, list):
            found = [None if i is None else self._out_of_fold(X, i) for i in index]
            return self._together(found, X)
        return self._out_of_fold(X, index)

    def _out_of_fold(self, given: Any, index: Any) -> Any:
        trained = self._trained
        if not len(trained.left_out.bits):
            raise ValueError("there are no folds: fit with cv or n_bootstrap")
        first = Fitted.of(trained.estimator(index, 0))
        X, scale = first.unscaled(given)
        n = trained.left_out.n
        if len(X) != n:
            raise ValueError(
                f"X has {len(X)} rows, but fit was given {n}: give these, in their order"
            )
        if resume.are_others(Schema.of_model(self).rows(given).X, trained.origin["data"]):
            raise ValueError(
                "X holds other rows than fit was given, or in another order: give these, in their "
                "order"
            )
        total = np.zeros((n, len(first.b)))  # in float64, as many may be added
        times = np.zeros((n, 1), np.int64)
        for split, rows in enumerate(trained.left_out):
            if len(rows):
                fitted = Fitted.of(trained.estimator(index, split))
                total[rows] += self._probabilities(fitted, X, scale, rows)
                times[rows] += 1
        with np.errstate(invalid="ignore"):
            mean = (total / times).astype(compute_dtype(X))
        return inputs.as_given(mean, given)

    def _probabilities(self, fitted: Fitted, X: Any, scale: float, rows: Array) -> Array:
        """Those of these rows of X."""
        X, scale = inputs.scaled(X, fitted.scaler, scale)
        W, b = fitted.weights(X)
        how: dict[str, Any] = {"backend": self.backend, "n_threads": self.n_threads}

        def of(x: Any) -> Array:
            V = kernels.linear_forward(x, W, b, feature_scale=scale, **how)
            return to_host(kernels.softmax_forward(V, **how))

        if is_on_gpu(X):  # where rows are not picked out
            return of(X)[rows]
        if isinstance(X, SparseRows):
            found: Array = inputs.by_rows(of, X[rows, :], self.backend)
            return found
        count = max(1, BLOCK_BYTES // (X.shape[1] * X.dtype.itemsize))
        starts = range(0, len(rows), count)
        return np.concatenate([of(X[rows[start : start + count]]) for start in starts])

"""What is minimised: f(W, b) = (1/n) Σ_r w_r L_r + (λ/2)‖W‖² of each head, over all rows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from softstep import kernels
from softstep.kernels import Scaled
from softstep.kernels.arrays import to_device_of, to_host
from softstep.kernels.checks import Array, compute_dtype
from softstep.kernels.integers import ceil_div
from softstep.model import blocks, trainer
from softstep.model.inputs import MadeRows, ScaledRows
from softstep.model.shards.over import added, over_rows, shards_of

# The convex losses, whose curvature proof.py has written out.
PROVEN = ("cross_entropy",)
# Losses of the label's probability alone, which falls with that of a class without rows: the best
# that such a class can have is none.
OF_THE_LABEL = ("cross_entropy", "gce")
WIDENED_VALUES = 1 << 21  # of features that are of another dtype at a time
SOFT_VALUES = 1 << 18  # of soft targets that are scaled at a time
SOFT_ARRAYS = 3  # float64, of SOFT_VALUES: those before, the next, and what scaling them takes


def is_provable(loss: Array, l2: Array) -> Array:
    """Of which heads the objective is strongly convex in W, (h,): a bound exists."""
    provable: Array = np.isin(loss, PROVEN) & (l2 > 0)
    return provable


def soft_rows(c: int) -> int:
    """How many rows of soft targets of c classes are scaled at a time."""
    return max(1, SOFT_VALUES // c)


def bytes_of_soft(n: int, c: int) -> int:
    """Bytes that soft targets (n, c) take besides themselves."""
    return 8 * SOFT_ARRAYS * c * min(n, soft_rows(c))


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The objective of each of h heads.

    data: rows, with a label set and a weight set for each head. loss, l2: (h,), l2 is λ. l2_bias:
    whether (λ/2)‖b‖² counts too. fit_bias: False keeps the bias as it is. layout: the blocks in
    which a file is read; None: X is in memory. columns: of the bank of which these heads are some;
    None: they are all.
    """

    data: trainer.Rows
    loss: Array
    l2: Array
    l2_bias: bool
    fit_bias: bool
    backend: str | None = None
    n_threads: int | None = None
    layout: blocks.Layout | None = None
    columns: int | None = None

    @classmethod
    def of(
        cls,
        sgd: trainer.SGDSettings,
        data: trainer.Rows,
        loss: Array,
        l2: Array,
        layout: blocks.Layout | None = None,
    ) -> Self:
        """That of heads with these losses and l2, which share the other settings.

        Row weights are those that the ops take, in the dtype of X's arithmetic: the same numbers
        however wide the rows are computed.
        """
        weights = data.sample_weight
        if weights is not None:
            weights = weights.astype(compute_dtype(data.X), copy=False)
        return cls(
            data=replace(data, sample_weight=weights),
            loss=loss,
            l2=l2,
            l2_bias=sgd.l2_bias,
            fit_bias=sgd.fit_bias,
            backend=sgd.backend,
            n_threads=sgd.n_threads,
            layout=layout,
            columns=sgd.columns,
        )

    @property
    def has_free_bias(self) -> bool:
        """Whether the bias is fitted, and not penalised."""
        return self.fit_bias and not self.l2_bias

    @property
    def provable(self) -> Array:
        """(h,), the heads whose objective is strongly convex in W: a bound exists."""
        return is_provable(self.loss, self.l2)

    def take(self, heads: Array) -> "Problem":
        """That of these heads."""
        y_index, weight_index = (
            None if index is None else np.asarray(index)[heads]
            for index in (self.data.y_index, self.data.weight_index)
        )
        data = replace(self.data, y_index=y_index, weight_index=weight_index)
        return replace(self, data=data, loss=self.loss[heads], l2=self.l2[heads])

    def value(self, W: Array, b: Array) -> tuple[Array, Array, Array]:
        """f, (h,), and its gradient, (h, d, c) and (h, c), in float64.

        All is computed in the dtype of W, and summed in float64.
        """
        # W (h, d, c), b (h, c)
        f, dW, db = (total / len(self.data.X) for total in self.total(_sums, W, b))
        l2 = self.l2
        wide = W.astype(np.float64, copy=False)
        f += l2 / 2 * np.einsum("hdc,hdc->h", wide, wide)
        dW += l2[:, None, None] * wide
        if self.l2_bias:
            wide = b.astype(np.float64, copy=False)
            f += l2 / 2 * (wide**2).sum(axis=1)
            db += l2[:, None] * wide
        if not self.fit_bias:
            db[:] = 0
        return f, dW, db

    def total(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        combine: Callable[[Any, Any], Any] = added,
        finish: Callable[[Array], list[Any]] | None = None,
    ) -> Any:
        """function(problem, *arguments) for all rows, as `over_rows` has it."""
        bare = replace(self, data=None)  # type: ignore[arg-type]
        given = bare, function, arguments
        return over_rows(self.data, _with_rows, *given, combine=combine, finish=finish)

    def rows(self, dtype: Any = None, columns: int = 1) -> Iterator[trainer.Rows]:
        """The rows in their order, in blocks: those of a file, dense ones of sparse rows.

        Soft targets are scaled to sum to 1 in each row, as far as float64 can say: only then p - y
        is the gradient of their cross-entropy.

        dtype: in smaller blocks, whose features are of this dtype; None: as they are stored.
        columns: numbers of a row that are held beside its features, where there is a dtype.
        """
        data, step = self.data, self._step(dtype, columns)
        for X, first in self._blocks():
            read = self._as_read(X, dtype)
            for start in range(0, len(X), step):
                some = slice(start, start + step)
                x: Any = read.rows(some) if isinstance(read, Scaled) else read[some]
                part = slice(first + start, first + start + len(x))
                yield replace(
                    data,
                    X=x if dtype is None or x.dtype == dtype else x.astype(dtype),
                    y=_of_sum_one(data.y[part], data.X) if self._is_soft else data.y[..., part],
                    sample_weight=None
                    if data.sample_weight is None
                    else data.sample_weight[..., part],
                )

    @property
    def block_count(self) -> int:
        """How many sums of blocks, those of `rows()`, are added at most."""
        n, more, shards = len(self.data.X), 1, shards_of(self.data.X)
        if self.layout is not None:
            more = ceil_div(n, self.layout.block_rows)
        if shards is not None:  # whose last blocks may be short, and whose sums are added
            more = 2 * shards.count
        return ceil_div(n, self._step(None, 1)) + more

    @property
    def _is_soft(self) -> bool:
        return bool(self.data.y.dtype.kind == "f")

    def _step(self, dtype: Any, columns: int) -> int:
        """The most rows of a block; see `rows`."""
        X: Any = self.data.X
        step = len(X)
        if dtype is not None:
            step = max(1, WIDENED_VALUES // max(X.shape[1], columns))
        if self._is_soft:
            step = min(step, soft_rows(self.data.y.shape[1]))
        if isinstance(self._as_read(X, dtype), MadeRows):
            step = min(step, X.rows_at_once)
        return step

    def _as_read(self, X: Any, dtype: Any) -> Any:
        """X, or, where its own dtype will do, as the ops scale it while they read it."""
        read = X.as_read(self.backend) if isinstance(X, ScaledRows) and dtype is None else None
        return X if read is None else read

    def _blocks(self) -> Iterator[tuple[Any, int]]:
        """The rows as they are read, and the number of the first: at once, or blocks of a file."""
        X: Any = self.data.X
        if self.layout is None:
            yield X, 0
            return
        made = isinstance(X, ScaledRows)
        for x, numbers in blocks.in_order(X.X if made else X, self.layout):
            whole = ScaledRows(x, X.scaler, X.feature_scale) if made else x
            yield whole, int(numbers[0])

    def class_weights(self, c: int) -> Array:
        """How much each of c classes weighs in the rows of each head, Σ_r w_r y_r / n: (h, c)."""
        y, h = np.atleast_2d(to_host(self.data.y)), len(self.loss)
        n, weights = len(self.data.X), np.ones((1, len(self.data.X)))
        if self.data.sample_weight is not None:
            weights = np.atleast_2d(to_host(self.data.sample_weight))
        first = np.zeros(h, np.int64)
        y_index = first if self.data.y_index is None else self.data.y_index
        weight_index = first if self.data.weight_index is None else self.data.weight_index
        pairs, at = np.unique(np.stack([y_index, weight_index]), axis=1, return_inverse=True)
        if y.dtype.kind == "f":
            found = [np.einsum("r,rc->c", weights[s], y) / n for _, s in pairs.T]
        else:
            found = [np.bincount(y[t], weights[s], c) / n for t, s in pairs.T]
        return np.array(found)[at.reshape(-1)]


def _with_rows(
    data: trainer.Rows, bare: Problem, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> Any:
    """What the function says of the problem on these rows."""
    return function(replace(bare, data=data), *arguments)


def _sums(problem: Problem, W: Array, b: Array) -> tuple[Array, Array, Array]:
    """The sums over the rows of w L, (h,), and of its gradient, (h, d, c) and (h, c)."""
    f, dW, db = np.zeros(len(W)), np.zeros(W.shape), np.zeros(b.shape)
    for part in problem.rows():
        sums = kernels.gradient(
            part.X,
            part.y,
            W,
            b,
            loss=tuple(problem.loss),
            backend=problem.backend,
            n_threads=problem.n_threads,
            **part.keywords(),
        )
        for total, more in zip((f, dW, db), sums, strict=True):
            total += to_host(more)
    return f, dW, db


def _of_sum_one(y: Array, X: Any) -> Array:
    """Soft targets (n, c) in float64, scaled, where X is."""
    wide = to_host(y).astype(np.float64)
    wide /= wide.sum(axis=1, keepdims=True)
    return to_device_of(wide, X)

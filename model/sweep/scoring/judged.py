"""Heads with the rows that judge them, which come in blocks, and the groups they are taken in."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep import kernels
from softstep.kernels.arrays import to_host
from softstep.kernels.checks import Array, compute_dtype
from softstep.model import blocks, inputs, views
from softstep.model.inputs import SparseRows
from softstep.model.scores import Answers, Score
from softstep.model.sweep.heads import Heads
from softstep.model.sweep.scoring import draws
from softstep.model.trainer import Rows, SGDSettings
from softstep.model.views import Part, Weights, taken

ROWS = 512  # of a block, at most
WORK = 1 << 18  # logits computed at once, unless one row has more
VALUES = 1 << 21  # what the rows of a block count for all heads, likewise
HELD = 1 << 26  # bytes of probabilities held at once, unless those of one head take more
COPIES = 8  # of logits in float64, that scores make on their way
OF_A_ROW = 10  # float64 for each row of a head whose rows are ranked


@dataclass(frozen=True)
class Group:
    """Heads that are computed on together: on the same rows, in one part, with one loss and as many
    classes. place: theirs among the heads that they were grouped of. W: (d, g·c), b: (g·c,)."""

    place: Array
    part: Part
    loss: str
    classes: int
    W: Array
    b: Array


@dataclass(frozen=True)
class Judged:
    """heads: those that are judged, with the weights W, b of each. data: the held-out rows: a head
    is judged by those of the weight set that `judge` (h,) says, as much as they count there; None:
    by all rows alike. classes: how many each label set has. layout: the blocks that rows are read
    in; None: they are in memory.
    """

    heads: Heads
    W: Any
    b: Array
    data: Rows
    judge: Array | None
    parts: tuple[Part, ...]
    classes: tuple[int, ...]
    sgd: SGDSettings
    layout: blocks.Layout | None

    def sets(self) -> Iterator[tuple[int, Array]]:
        """Each set of held-out rows, and the heads that it judges."""
        if self.judge is None:
            yield 0, np.arange(len(self.b))
            return
        for k in np.unique(self.judge).tolist():
            yield k, np.flatnonzero(self.judge == k)

    def weights(self, k: int) -> Array | None:
        """What the rows count in set k, (n,); None: 1 each."""
        sets = self.data.sample_weight
        return None if sets is None else sets[k]

    def mass(self, k: int) -> float:
        """What all its rows count together."""
        weights = self.weights(k)
        return float(len(self.data.X) if weights is None else weights.sum(dtype=np.float64))

    def counted(self, k: int, first: int, count: int) -> tuple[Array, Array | None]:
        """Of so many rows from number `first` on those of set k, by their place among these, and
        what they count; None: 1 each."""
        weights = self.weights(k)
        if weights is None:
            return np.arange(count), None
        own = weights[first : first + count]
        rows = np.flatnonzero(own)
        own = own[rows].astype(np.float64)
        return rows, None if (own == 1).all() else own

    def labels(self, t: int, rows: Array) -> Array:
        """Those of label set t, (len(rows),); of soft targets the most probable class."""
        y = self.data.y
        found: Array = y[rows].argmax(axis=1) if y.dtype.kind == "f" else y[t, rows]
        return found

    def in_blocks(self) -> Iterator[tuple[Any, int]]:
        """All held-out rows from first to last, some at once, and the number of the first."""
        X, size = self.data.X, self._block_rows
        parts: Any = [(X, [0])] if self.layout is None else blocks.in_order(X, self.layout)
        for x, numbers in parts:
            for start in range(0, len(x), size):
                yield _some(x, slice(start, start + size)), int(numbers[0]) + start

    @property
    def _block_rows(self) -> int:
        h, c = map(int, self.b.shape)
        return max(1, min(ROWS, WORK // c, VALUES // max(1, h)))

    def groups(self, heads: Array, bytes_of_head: int | None = None) -> Iterator[Group]:
        """These heads in groups: as many at once as `WORK` logits of a block allow, or so many
        bytes of each head within `HELD`."""
        c = self.b.shape[1]
        most = WORK // (self._block_rows * c)
        if bytes_of_head is not None:
            most = min(most, HELD // bytes_of_head)
        classes = np.array(self.classes)[self.heads.label_set]
        keys = list(zip(self.heads.part, self.heads.loss, classes, strict=True))
        for key in dict.fromkeys(keys[k] for k in heads):
            place = np.array([i for i, k in enumerate(heads) if keys[k] == key])
            for start in range(0, len(place), max(1, most)):
                yield self._group(heads, place[start : start + max(1, most)], *key)

    def _group(self, heads: Array, place: Array, part: int, loss: str, classes: int) -> Group:
        own = heads[place]
        W = taken(self.W, own)
        W = W.arrays[part] if isinstance(W, Weights) else W
        W = np.ascontiguousarray(W[:, :, :classes].transpose(1, 0, 2)).reshape(W.shape[1], -1)
        b = np.ascontiguousarray(self.b[own, :classes]).ravel()
        return Group(place, self.parts[part], loss, int(classes), W, b)

    def answers(self, x: Any, first: int, rows: Array, group: Group, heads: Array) -> Answers:
        """What the heads of a group say of some rows of a block.

        x: the block, whose first row is number `first`. rows: of the block. heads: those that were
        grouped.
        """
        n, y = len(x), self.data.y
        can_be_cut = len(rows) < n and isinstance(x, np.ndarray | SparseRows)
        V = self._logits(_some(x, rows) if can_be_cut else x, group)
        V = V if can_be_cut or len(rows) == n else V[rows]
        if y.dtype.kind == "f":
            y = y[first + rows]
        else:
            y = y[np.ix_(self.heads.label_set[heads[group.place]], first + rows)].T
        return Answers(V, y, group.loss, self.sgd.backend, self.sgd.n_threads)

    def _logits(self, x: Any, group: Group) -> Array:
        """(r, g, c), of rows (r, d)."""
        sgd = self.sgd
        x = x if compute_dtype(x) == group.W.dtype else x.astype(group.W.dtype)
        seen = views.seen(x, group.part.columns)
        seen, scale = inputs.scaled(seen, group.part.scaler, self.data.feature_scale)

        def logits(rows: Any) -> Any:
            return kernels.linear_forward(
                rows,
                group.W,
                group.b,
                feature_scale=scale,
                backend=sgd.backend,
                n_threads=sgd.n_threads,
            )

        V: Array = to_host(inputs.by_rows(logits, seen, sgd.backend))
        return V.reshape(len(V), -1, group.classes)


def _some(x: Any, rows: Any) -> Any:
    """These rows, sparse ones as they are stored."""
    return x[rows, :] if isinstance(x, SparseRows) else x[rows]


def bytes_needed(
    scores: list[Score], heads: int, groups: int, n: int, columns: int, c: int, size: int
) -> int:
    """What it takes at most to score heads on n rows of so many columns, of c classes, beside the
    rows and the weights. size: bytes of a number."""
    if not scores:
        return 0
    means = sum(score.is_mean for score in scores)
    values = (means + 2) * max(heads, min(VALUES, ROWS * heads))
    work = 8 * (COPIES * max(WORK, c) + values) + columns * c * size * heads
    drawn = draws.bytes_needed(means, groups, ROWS) if means else 0
    held = 0
    if any(score.kind == "all" for score in scores):
        held = max(min(HELD, heads * n * c * size), n * c * size)
        held += 8 * n * (OF_A_ROW + c) * 4
    return work + drawn + held

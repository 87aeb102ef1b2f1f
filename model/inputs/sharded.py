"""Rows in shards, which no process holds all of: what is asked of them is computed where they are.

A shard is the rows of one MPI rank, or one chunk of a Dask array. Shards are in the order of their
rows, and what is said of them is combined in that order, in a tree of neighbours: the same shards
give the same bits, whoever computes on them.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from operator import add
from typing import Any, NamedTuple, Self

import numpy as np

from softstep.kernels.arrays import to_host
from softstep.kernels.checks import Array
from softstep.model.inputs.sparse import MadeRows, SparseRows
from softstep.model.views import Range, seen

MOST_DEALT = 6  # arrays that shards keep beside their rows


class Form(NamedTuple):
    """What the rows of a shard are: `dtype` as they are read, `given` as they were given; names of
    the columns, if they have; whether they are sparse."""

    n: int
    width: int
    dtype: np.dtype[Any]
    given: np.dtype[Any]
    names: tuple[str, ...] | None
    sparse: bool


@dataclass(frozen=True)
class Shard:
    """Rows (m, d) that lie together: X as the ops take them; `first` is the number of the first."""

    X: Any
    first: int


class Shards(ABC):
    """All shards of a matrix, as one process asks them.

    starts: where each begins, and at last where they end.
    """

    kind = "shard"  # what a shard is called in messages
    starts: list[int]

    def __init__(self) -> None:
        self._dealt: dict[int, tuple[Array, Any]] = {}

    @abstractmethod
    def asked(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        beside: list[Any],
        combine: Callable[[Any, Any], Any],
        finish: Callable[[Array], list[Any]] | None = None,
    ) -> Any:
        """function(shard, pieces, *arguments) of each, combined from the first to the last.

        beside: what `deal` returned, of which each shard has its piece. combine changes neither of
        the two that it is given. finish: what is made of the array that they come to, entry by
        entry, which whoever has shards shares out: a list. All functions are those of a module.
        """

    @abstractmethod
    def deal(self, pieces: list[Array], forgotten: Any) -> Any:
        """Have each shard keep its piece. forgotten: what it need not keep longer, or None."""

    def dealt(self, array: Array, axis: int) -> Any:
        """Have each shard keep its rows of an array, which lie along this axis; those that were
        dealt last are there already."""
        known = self._dealt.pop(id(array), None)
        if known is None:
            oldest = None
            if len(self._dealt) == MOST_DEALT:
                _, oldest = self._dealt.pop(next(iter(self._dealt)))
            spans = (slice(*span) for span in pairwise(self.starts))
            pieces = [array[span] if axis == 0 else array[..., span] for span in spans]
            known = array, self.deal(pieces, oldest)
        self._dealt[id(array)] = known
        return known[1]


class ShardedRows(MadeRows):
    """A matrix (n, d) in shards, in the dtype of its rows; rows that are asked for come here.

    are_sparse: whether all shards are.
    """

    block_bytes = 1 << 23  # the fewest bytes that rows take which are made at once, of any kind
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    shards: Shards
    names: tuple[str, ...] | None
    given: np.dtype[Any]
    are_sparse: bool

    def __init__(self, shards: Shards, form: Form) -> None:
        """form: of all its rows."""
        self.shards, self.names, self.given = shards, form.names, form.given
        self.shape, self.dtype, self.are_sparse = (form.n, form.width), form.dtype, form.sparse
        self._columns: Range = (0, form.width)

    @classmethod
    def of(cls, shards: Shards, forms: list[Form]) -> Self:
        """Those of these shards, whose forms are these.

        Raises:
            ValueError: they are not alike.
        """
        for number, form in enumerate(forms):
            _refuse_unlike(forms[0], form, shards.kind, number)
        are_sparse = all(form.sparse for form in forms)
        return cls(shards, forms[0]._replace(n=shards.starts[-1], sparse=are_sparse))

    @property
    def rows_at_once(self) -> int:
        return max(1, self.block_bytes // (8 * self.shape[1]))

    @property
    def count(self) -> int:
        """How many shards there are."""
        return len(self.shards.starts) - 1

    def __getitem__(self, rows: Any) -> Any:
        """These rows, dense, in host memory; or `X[:, a:b]`, in shards."""
        if isinstance(rows, tuple):
            _, columns = rows
            start, stop, _ = columns.indices(self.shape[1])
            part = self._like((len(self), stop - start), self.dtype)
            part._columns = self._columns[0] + start, self._columns[0] + stop
            return part
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        rows = np.asarray(rows)
        found = np.empty((len(rows), self.shape[1]), self.dtype)
        are_there = np.zeros(len(rows), bool)
        for places, values in self.reduced(_taken, rows, combine=add):
            found[places], are_there[places] = values, True
        if not are_there.all():
            raise IndexError(f"no {self.shards.kind} has row {rows[~are_there][0]} of {len(self)}")
        return found

    def stored(self, rows: slice) -> tuple[Array, Array, Array]:
        """As `SparseRows.stored`."""
        parts = self.reduced(_stored, *rows.indices(len(self))[:2], combine=add)
        values, features, begins = zip(*parts, strict=True)
        counts = np.concatenate([np.diff(of_part) for of_part in begins])
        return np.concatenate(values), np.concatenate(features), np.append(0, counts.cumsum())

    def astype(self, dtype: Any, order: str = "K") -> "ShardedRows":
        part = self._like(self.shape, np.dtype(dtype))
        part._columns = self._columns
        return part

    def reduced(
        self,
        function: Callable[..., Any],
        *arguments: Any,
        beside: tuple[tuple[Array, int], ...] = (),
        combine: Callable[[Any, Any], Any],
        finish: Callable[[Array], list[Any]] | None = None,
    ) -> Any:
        """function(shard, *pieces, *arguments) of each shard, combined two by two, and finished.

        beside: arrays, each with the axis along which its rows lie; the pieces are of these.
        """
        keys = [self.shards.dealt(array, axis) for array, axis in beside]
        given = self._columns, self.dtype, function, arguments
        return self.shards.asked(_of_view, given, keys, combine, finish)

    def _like(self, shape: tuple[int, int], dtype: np.dtype[Any]) -> "ShardedRows":
        return ShardedRows(self.shards, Form(*shape, dtype, self.given, None, self.are_sparse))


def _of_view(
    shard: Shard,
    pieces: list[Array],
    columns: Range,
    dtype: np.dtype[Any],
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> Any:
    """What the function says of these columns of a shard, in this dtype."""
    X = seen(shard.X, columns)
    X = X if X.dtype == dtype else X.astype(dtype)
    return function(Shard(X, shard.first), *pieces, *arguments)


def nothing(one: None, other: None) -> None:
    """What two shards say together that say nothing."""


def _taken(shard: Shard, rows: Array) -> list[tuple[Array, Array]]:
    """Those of these rows that are here, and their places among them."""
    places = np.flatnonzero((rows >= shard.first) & (rows < shard.first + len(shard.X)))
    if not len(places):
        return []
    found = shard.X[rows[places] - shard.first]
    return [(places, found if isinstance(shard.X, SparseRows) else to_host(found))]


def _stored(shard: Shard, first: int, stop: int) -> list[tuple[Array, Array, Array]]:
    """What is stored of those of these rows that are here."""
    here = slice(max(0, first - shard.first), max(0, stop - shard.first))
    return [shard.X.stored(here)]


def _refuse_unlike(first: Form, form: Form, kind: str, number: int) -> None:
    """Raise ValueError unless rows have the width, the dtype and the names of the first."""
    for what, one, other in (
        ("{} features", form.width, first.width),
        ("dtype {}", form.given, first.given),
        ("dtype {}", form.dtype, first.dtype),
        ("names of columns {}", form.names, first.names),
    ):
        if one != other:
            raise ValueError(
                f"the rows of {kind} {number} have {what.format(one)}, those of {kind} 0 have "
                f"{other}: all must have the same"
            )

"""The weights of heads that see X in different ways: an array for each part of the bank."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels.checks import Array
from softstep.model.views.columns import Range
from softstep.model.views.scaler import Scaler


@dataclass(frozen=True, eq=False)
class Part:
    """What some heads of a bank see: these columns of X, scaled; None: as they are. They have as
    many classes.

    own: how many rows they learn from, where they visit these alone; None: all.
    """

    columns: Range
    scaler: Scaler | None = None
    own: int | None = None


@dataclass
class Weights:
    """W of h heads, (h, d, c), where d and c are each part's own: as an array of heads is, it is
    copied, and read and written by heads.

    parts: of the bank. part: (h,), which of them each head is in. arrays: for each part the weights
    of its heads, in their order, (heads, columns, c).
    """

    parts: tuple[Part, ...]
    part: Array
    arrays: list[Array]

    def __len__(self) -> int:
        return len(self.part)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.arrays[0].dtype

    def by_part(self) -> Iterator[tuple[int, Array]]:
        """Each part that has heads, and their numbers."""
        for p in range(len(self.parts)):
            heads = np.flatnonzero(self.part == p)
            if len(heads):
                yield p, heads

    def biases(self, p: int, b: Array) -> Array:
        """Those of heads in part p, of b (heads, c), in which others may have more classes."""
        return np.ascontiguousarray(b[:, : self.arrays[p].shape[2]])

    def copy(self) -> "Weights":
        return Weights(self.parts, self.part, [array.copy() for array in self.arrays])

    def __getitem__(self, heads: Any) -> "Weights":
        arrays = [self.arrays[p][at] for p, at in self._places(heads)]
        return Weights(self.parts, self.part[heads], arrays)

    def __setitem__(self, heads: Any, values: "Weights") -> None:
        for p, at in self._places(heads):
            self.arrays[p][at] = values.arrays[p]

    def _places(self, heads: Any) -> Iterator[tuple[int, Array]]:
        """Of each part, where these heads are in its array."""
        heads = np.arange(len(self))[heads]
        for p in range(len(self.parts)):
            place = np.cumsum(self.part == p) - 1
            yield p, place[heads[self.part[heads] == p]]


# Of W, (h, d, c): an array, or `Weights`.


def zeros_like(W: Any) -> Any:
    """Weights of 0 of the form of W."""
    if isinstance(W, Weights):
        return Weights(W.parts, W.part, [np.zeros_like(array) for array in W.arrays])
    return np.zeros_like(W)


def are_finite(W: Any) -> Array:
    """Whether all weights of a head are finite, (h,)."""
    if not isinstance(W, Weights):
        found: Array = np.isfinite(W).all(axis=(1, 2))
        return found
    finite = np.empty(len(W), bool)
    for p, heads in W.by_part():
        finite[heads] = np.isfinite(W.arrays[p]).all(axis=(1, 2))
    return finite


def of_head(W: Any, k: int) -> Array:
    """A copy of those of head k, (1, d, c)."""
    own = slice(k, k + 1)
    if isinstance(W, Weights):
        return W[own].arrays[W.part[k]]
    copy: Array = W[own].copy()
    return copy


def named(name: str, W: Any) -> dict[str, Array]:
    """The arrays that W is: under `name`, or under that and the number of the part."""
    if not isinstance(W, Weights):
        return {name: W}
    return {f"{name}.{p}": array for p, array in enumerate(W.arrays)}

"""The weights of heads that see different columns of X: an array for each view."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels.checks import Array
from softstep.model.views.columns import Range


@dataclass
class Weights:
    """W of h heads, (h, d, c), where d is each view's own: as an array of heads is, it is copied,
    and read and written by heads.

    columns: of each view, (start, stop). view: (h,), which of them each head sees. arrays: for each
    view the weights of its heads, in their order, (heads, stop - start, c).
    """

    columns: tuple[Range, ...]
    view: Array
    arrays: list[Array]

    def __len__(self) -> int:
        return len(self.view)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.arrays[0].dtype

    def by_view(self) -> Iterator[tuple[int, Array]]:
        """Each view that has heads, and their numbers."""
        for v in range(len(self.columns)):
            heads = np.flatnonzero(self.view == v)
            if len(heads):
                yield v, heads

    def copy(self) -> "Weights":
        return Weights(self.columns, self.view, [array.copy() for array in self.arrays])

    def __getitem__(self, heads: Any) -> "Weights":
        view = self.view[heads]
        return Weights(self.columns, view, [self.arrays[v][at] for v, at in self._places(heads)])

    def __setitem__(self, heads: Any, values: "Weights") -> None:
        for v, at in self._places(heads):
            self.arrays[v][at] = values.arrays[v]

    def _places(self, heads: Any) -> Iterator[tuple[int, Array]]:
        """Of each view, where these heads are in its array."""
        heads = np.arange(len(self))[heads]
        for v in range(len(self.columns)):
            place = np.cumsum(self.view == v) - 1
            yield v, place[heads[self.view[heads] == v]]


# Of W, (h, d, c): an array, or `Weights`.


def zeros_like(W: Any) -> Any:
    """Weights of 0 of the form of W."""
    if isinstance(W, Weights):
        return Weights(W.columns, W.view, [np.zeros_like(array) for array in W.arrays])
    return np.zeros_like(W)


def are_finite(W: Any) -> Array:
    """Whether all weights of a head are finite, (h,)."""
    if not isinstance(W, Weights):
        found: Array = np.isfinite(W).all(axis=(1, 2))
        return found
    finite = np.empty(len(W), bool)
    for v, heads in W.by_view():
        finite[heads] = np.isfinite(W.arrays[v]).all(axis=(1, 2))
    return finite


def of_head(W: Any, k: int) -> Array:
    """A copy of those of head k, (1, d, c)."""
    own = slice(k, k + 1)
    if isinstance(W, Weights):
        return W[own].arrays[W.view[k]]
    copy: Array = W[own].copy()
    return copy


def named(name: str, W: Any) -> dict[str, Array]:
    """The arrays that W is: under `name`, or under that and the number of the view."""
    if not isinstance(W, Weights):
        return {name: W}
    return {f"{name}.{v}": array for v, array in enumerate(W.arrays)}

"""The weights of heads that see X in different ways: an array for each part of the bank.

W of a bank is an array (h, d, c), or `Weights`, in host memory or on a GPU: the functions here take
all of these.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels import arrays
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
    """W of h heads, (h, d, c), where d and c are each part's own.

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

    def biases(self, p: int, b: Any) -> Any:
        """Those of heads in part p, of b (heads, c), in which others may have more classes."""
        return arrays.contiguous(b[:, : self.arrays[p].shape[2]])

    def places(self, heads: Any) -> Iterator[tuple[int, Array]]:
        """Of each part, where these heads are in its array."""
        heads = np.arange(len(self))[heads]
        for p in range(len(self.parts)):
            place = np.cumsum(self.part == p) - 1
            yield p, place[heads[self.part[heads] == p]]


def mapped(function: Callable[[Any], Any], W: Any) -> Any:
    """What `function` makes of the array, or of those of each part, in the form of W."""
    if not isinstance(W, Weights):
        return function(W)
    return Weights(W.parts, W.part, [function(array) for array in W.arrays])


def taken(W: Any, heads: Any) -> Any:
    """A copy of the weights of these heads, where W is. heads: numbers (k,), or `...` for all."""
    if not isinstance(W, Weights):
        return arrays.taken(W, heads)
    found = [arrays.taken(W.arrays[p], at) for p, at in W.places(heads)]
    return Weights(W.parts, W.part[heads], found)


def put(W: Any, heads: Any, values: Any) -> None:
    """Write the weights of these heads, in the form that `taken` gives them, where W is."""
    if not isinstance(W, Weights):
        arrays.put(W, heads, values)
        return
    for p, at in W.places(heads):
        arrays.put(W.arrays[p], at, values.arrays[p])


def are_finite(W: Any) -> Array:
    """Whether all weights of a head are finite, (h,)."""
    if not isinstance(W, Weights):
        return _are_finite(W)
    finite = np.empty(len(W), bool)
    for p, heads in W.by_part():
        finite[heads] = _are_finite(W.arrays[p])
    return finite


def _are_finite(array: Any) -> Array:
    """Of an array of heads, W or b. On a GPU, where all are as a rule, it is looked at there."""
    if arrays.is_on_gpu(array) and arrays.gpu().all_finite(array.reshape(len(array), -1)):
        return np.ones(len(array), bool)
    values = arrays.to_host(array)
    found: Array = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    return found


def of_head(W: Any, k: int) -> Array:
    """A copy of those of head k, (1, d, c)."""
    own = taken(W, np.array([k]))
    copy: Array = own.arrays[W.part[k]] if isinstance(W, Weights) else own
    return copy


def named(name: str, W: Any) -> dict[str, Array]:
    """The arrays that W is: under `name`, or under that and the number of the part."""
    if not isinstance(W, Weights):
        return {name: W}
    return {f"{name}.{p}": array for p, array in enumerate(W.arrays)}

"""The weights of a bank on its way to the optimum, as a keeper saves them.

A run that is resumed begins with these weights. What L-BFGS knows about the curvature is found
again, so it may take another way, to an optimum within the same `tol`.
"""

from collections.abc import Callable
from typing import Any

from softstep.kernels.checks import Array
from softstep.model.resume import Keeper

Keep = Callable[[Array, Array, Array], None]  # these heads are now at W, b


class _NoSums:
    """What an epoch of a descent sums; here there is none."""

    def state(self) -> dict[str, Array]:
        return {}

    def restore(self, arrays: dict[str, Array]) -> None:
        pass


def keeping(keeper: Keeper | None, put: Callable[[Array, Array, Array], Any]) -> Keep | None:
    """What `solve` is to call after each round: it puts the weights into the bank that the keeper
    saves, and lets it save them; None without a keeper."""
    if keeper is None:
        return None
    keeper.begin_epoch(0, _NoSums())

    def keep(heads: Array, W: Array, b: Array) -> None:
        put(heads, W, b)
        keeper.look()

    return keep

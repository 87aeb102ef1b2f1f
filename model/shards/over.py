"""What is computed over all rows: here, or of each shard where that is, then combined."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from softstep.kernels import blas
from softstep.kernels.checks import Array
from softstep.model.inputs import ScaledRows, ShardedRows
from softstep.model.inputs.sharded import Shard

Sums = tuple[Array, ...]


def added(one: Sums, other: Sums) -> Sums:
    """The sums of the arrays of both."""
    return tuple(a + b for a, b in zip(one, other, strict=True))


def shards_of(X: Any) -> ShardedRows | None:
    """The rows in shards that X is, or is made of; None if it lies here."""
    X = X.X if isinstance(X, ScaledRows) else X
    return X if isinstance(X, ShardedRows) else None


def over_rows(
    data: Any,
    function: Callable[..., Any],
    *arguments: Any,
    combine: Callable[[Any, Any], Any] = added,
    finish: Callable[[Array], list[Any]] | None = None,
) -> Any:
    """function(data, *arguments) for all rows of `data`, `trainer.Rows`.

    Of rows in shards it is that of each shard, combined two by two in their order. combine changes
    neither of the two that it is given.

    finish: what is made of the array that it is, entry by entry: a list. Those that have the shards
    share the entries out. All functions are those of a module.
    """
    X = shards_of(data.X)
    if X is None:
        found = function(data, *arguments)
        return found if finish is None else finish(found)
    scaler = None if X is data.X else (data.X.scaler, data.X.feature_scale)
    beside = [(data.y, 0 if data.y.dtype.kind == "f" else -1)]
    if data.sample_weight is not None:
        beside.append((data.sample_weight, -1))
    bare = replace(data, X=None, y=None, sample_weight=None)
    given = bare, scaler, function, arguments
    return X.reduced(_of_shard, *given, beside=tuple(beside), combine=combine, finish=finish)


@blas.on_one_thread()
def _of_shard(shard: Shard, y: Array, *given: Any) -> Any:
    """given: weights of its rows, if there are any, then what `over_rows` gives."""
    *weights, bare, scaler, function, arguments = given
    X = shard.X if scaler is None else ScaledRows(shard.X, *scaler)
    data = replace(bare, X=X, y=y, sample_weight=weights[0] if weights else None)
    return function(data, *arguments)

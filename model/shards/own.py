"""One shard, as a rank or a task of Dask has it: what it is asked, how its rows are opened."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from softstep.model import inputs
from softstep.model.inputs import SparseRows
from softstep.model.inputs.sharded import Form


@dataclass(frozen=True)
class Request:
    """function(…, *arguments) of each shard, combined.

    where: what an error of a rank begins with, {} standing for its number.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    combine: Callable[[Any, Any], Any]
    where: str = ""


def own_rows(given: Any, name: str) -> tuple[Any, Form]:
    """The rows as the ops take them, and their form. Raises as `inputs.features`."""
    rows = inputs.features(given, name)
    names = None if rows.names is None else tuple(rows.names)
    X = inputs.placed(rows.X, None)
    return X, Form(len(X), rows.width, X.dtype, rows.dtype, names, isinstance(X, SparseRows))

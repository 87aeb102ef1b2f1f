"""The rows of one shard, as a rank or a task of Dask's opens them."""

from typing import Any

from softstep.model import inputs
from softstep.model.inputs.sharded import Form


def own_rows(given: Any, name: str) -> tuple[Any, Form]:
    """The rows as the ops take them, and their form. Raises as `inputs.features`."""
    rows = inputs.features(given, name)
    names = None if rows.names is None else tuple(rows.names)
    X = inputs.placed(rows.X, None)
    return X, Form(len(X), rows.width, X.dtype, rows.dtype, names)

"""The door for rows that no process holds all of, told by their type."""

import contextlib
from collections.abc import Iterator
from typing import Any

from softstep.model.inputs import ShardedRows


def is_of_dask(value: Any) -> bool:
    """Whether it is one of Dask's collections, which is told without importing Dask."""
    return type(value).__module__.partition(".")[0] in ("dask", "dask_expr")


@contextlib.contextmanager
def opened(**given: Any) -> Iterator[dict[str, Any]]:
    """X and X_val, by name; of a Dask array its chunks, as `ShardedRows`, which the workers have
    within this block.

    Raises:
        TypeError: another of Dask's collections. Whatever `chunks.rows_of` raises.
    """
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(_chunks_of(X, name)) if is_of_dask(X) else X
            for name, X in given.items()
        }


def _chunks_of(X: Any, name: str) -> contextlib.AbstractContextManager[ShardedRows]:
    from softstep.model.shards import chunks

    if not hasattr(X, "chunks"):
        cure = ".to_dask_array(lengths=True)" if hasattr(X, "to_dask_array") else ".compute()"
        raise TypeError(
            f"{name} is a {type(X).__name__} of Dask's, not an array: give {name}{cure}"
        )
    return chunks.rows_of(X, name)


def here(values: Any) -> Any:
    """Targets, weights or groups; of Dask's they come here."""
    if not is_of_dask(values):
        return values
    from softstep.model.shards import chunks

    return chunks.whole(values)


def check(X: Any, solver: str, **given: Any) -> None:
    """Raise ValueError if X is on several workers, and what goes with rows that are here alone is
    given too: solver="sgd", or one of these, by name."""
    if not (is_of_dask(X) or isinstance(X, ShardedRows)):
        return
    here = "give rows that are here, such as X.compute()"
    if solver == "sgd":
        raise ValueError(
            "solver='sgd' takes a step for every few rows, and would wait for the network each "
            f"time: {here}, or take solver='lbfgs', which goes over rows on several workers"
        )
    for name, value in given.items():
        if value is not None:
            raise ValueError(
                f"{name} does not go with rows on several workers: leave it out, or {here}"
            )

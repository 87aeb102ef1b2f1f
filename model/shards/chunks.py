"""The optimum over the chunks of a Dask array, which stay where Dask's workers hold them.

All that is asked of them is a graph, by whatever engine Dask runs it: what a worker takes with it
when it dies, Dask computes again.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import accumulate, chain
from typing import Any

import dask
import numpy as np
from dask import delayed

from softstep.kernels import blas
from softstep.kernels.checks import Array
from softstep.model.inputs import ShardedRows
from softstep.model.inputs.sharded import Form, Shard, Shards
from softstep.model.shards.deaths import WorkerError, is_death
from softstep.model.shards.own import Request, own_rows

TOGETHER = 8  # answers that are combined by one task
PATIENCE = 20.0  # seconds after which it is asked whether there are workers left
OF_CLUSTER = (None, "distributed", "dask.distributed")  # what the scheduler is called then
# Targets and weights go in the graph, so that they can be had again.
QUIET = {"distributed.admin.large-graph-warning-threshold": "1 TB"}


@dataclass(frozen=True)
class Held:
    """What a worker holds of X: a shard, and its form."""

    shard: Shard
    form: Form


@contextlib.contextmanager
def rows_of(array: Any, name: str) -> Iterator[ShardedRows]:
    """The rows of a Dask array (n, d), held by the workers chunk by chunk within this block; chunks
    without rows count for nothing.

    Raises:
        ValueError: it is not 2-D, has no rows or chunks of unknown length, or its chunks are not
            alike, or not as long as Dask says. Whatever the door for rows raises, or a worker that
            computes a chunk.
    """
    if array.ndim != 2:
        raise ValueError(f"{name} must be 2-D, one row per sample, but its shape is {array.shape}")
    counts = array.chunks[0]
    if np.isnan(counts).any():
        raise ValueError(
            f"{name} has chunks of unknown length: give {name}.compute_chunk_sizes(), or a "
            "DataFrame's to_dask_array(lengths=True)"
        )
    if 0 in array.shape:
        raise ValueError(f"{name} is empty: its shape is {array.shape}")
    blocks = array.rechunk({1: -1}).to_delayed().ravel()
    starts = accumulate((int(count) for count in counts), initial=0)
    held = [
        delayed(_held)(block, f"{name}.blocks[{number}]", start, int(count))
        for number, (block, start, count) in enumerate(zip(blocks, starts, counts, strict=False))
        if count
    ]
    shards = Chunks(held, [int(count) for count in counts if count])
    try:
        yield ShardedRows.of(shards, shards.forms())
    finally:
        shards.release()


def whole(values: Any) -> Any:
    """The values of a Dask array, here."""
    return _computed(values)


class Chunks(Shards):
    """Shards that are tasks of Dask's. counts: the rows of each."""

    kind = "chunk"

    def __init__(self, held: list[Any], counts: list[int]):
        super().__init__()
        self.starts = [0, *accumulate(counts)]
        self._held = _persisted(held)

    def forms(self) -> list[Form]:
        """That of each."""
        found: list[Form] = _computed(delayed(_listed)(*map(delayed(_form), self._held)))
        return found

    def asked(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        beside: list[Any],
        combine: Callable[[Any, Any], Any],
        finish: Callable[[Array], list[Any]] | None = None,
    ) -> Any:
        request = delayed(Request(function, arguments, combine), traverse=False)
        answer, join = delayed(_answer), delayed(_combined)
        shards = zip(self._held, *beside, strict=True)
        parts = [answer(request, held, *pieces) for held, *pieces in shards]
        while len(parts) > 1:
            starts = range(0, len(parts), TOGETHER)
            parts = [join(request, *parts[start : start + TOGETHER]) for start in starts]
        return _computed(parts[0] if finish is None else _finished_by_all(finish, parts[0]))

    def deal(self, pieces: list[Array], forgotten: Any) -> Any:
        own = map(np.ascontiguousarray, pieces)
        return _persisted([delayed(piece, traverse=False) for piece in own])

    def release(self) -> None:
        """Have the workers keep nothing any longer, whoever still has this, as the traceback of an
        error has."""
        client = _client()
        if client is not None and client.status == "running":  # or all is gone with it
            kept = [self._held, [pieces for _, pieces in self._dealt.values()]]
            for future in sys.modules["distributed"].futures_of(kept):
                future.release()
        self._held = []
        self._dealt.clear()


def _held(block: Any, name: str, first: int, count: int) -> Held:
    """A chunk, through the door for rows. count: the rows that Dask says it has."""
    X, form = own_rows(block, name)
    if form.n != count:
        raise ValueError(
            f"{name} has {form.n} rows, but Dask says {count}: give "
            f"{name.partition('.')[0]}.compute_chunk_sizes()"
        )
    return Held(Shard(X, first), form)


def _form(held: Held) -> Form:
    return held.form


def _listed(*values: Any) -> list[Any]:
    return list(values)


def _answer(request: Request, held: Held, *pieces: Array) -> Any:
    return request.function(held.shard, list(pieces), *request.arguments)


def _combined(request: Request, *answers: Any) -> Any:
    return reduce(request.combine, answers)


def _finished_by_all(finish: Callable[[Array], list[Any]], entries: Any) -> Any:
    """A task: the list of what is made of the entries of this array, by all workers there are."""
    client, made = _client(), []
    workers = [] if client is None else sorted(client.ncores())
    for number, worker in enumerate(workers or [None]):
        part = delayed(_part)(entries, number, max(1, len(workers)))
        # Else all are done where the array is. One that is gone is not waited for.
        asked = {} if worker is None else {"workers": [worker], "allow_other_workers": True}
        with dask.annotate(**asked):
            made.append(delayed(_finished)(finish, part))
    return delayed(_joined)(*made)


def _part(entries: Array, number: int, count: int) -> Array:
    return np.array_split(entries, count)[number]


@blas.on_one_thread()
def _finished(finish: Callable[[Array], list[Any]], entries: Array) -> list[Any]:
    return finish(entries)


def _joined(*lists: list[Any]) -> list[Any]:
    return list(chain.from_iterable(lists))


def _persisted(tasks: list[Any]) -> list[Any]:
    with dask.config.set(QUIET):
        return list(dask.persist(*tasks))


def _computed(task: Any) -> Any:
    """What the task says.

    Raises:
        WorkerError: workers died, and nobody computes it again. Whatever the task raises.
    """
    client = _client()
    try:
        return task.compute() if client is None else _waited_for(task, client)
    except Exception as error:
        if is_death(error):
            why = " ".join(str(error).split()) or type(error).__name__
            raise WorkerError(f"a worker of Dask's died: {why}") from error
        raise


def _waited_for(task: Any, client: Any) -> Any:
    with dask.config.set(QUIET):
        future = client.compute(task)
    patience, alone = PATIENCE, 0
    try:
        while alone < 2:
            try:
                return future.result(timeout=patience)
            except TimeoutError:
                if future.status == "error":
                    return future.result()
                if future.done():  # it takes so long to come here
                    patience *= 2
                alone = 0 if client.ncores() else alone + 1
        raise WorkerError("no worker of the Dask cluster is left: start some, then fit again")
    except BaseException:
        future.release()  # which the traceback refers to: or the workers would go on
        raise


def _client() -> Any:
    """That of the cluster by which Dask computes; None where another engine does."""
    distributed = sys.modules.get("distributed")
    if distributed is None or dask.config.get("scheduler", None) not in OF_CLUSTER:
        return None
    try:
        return distributed.get_client()
    except ValueError:
        return None

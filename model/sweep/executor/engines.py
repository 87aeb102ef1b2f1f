"""What kinds of executors do each in their way: count and greet workers, share rows and cores.

Any executor is an `Engine`; Dask's is a `Dask`, which brings data to its workers and runs the tasks
of dead ones again.
"""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any

from softstep.kernels import threads
from softstep.model.shards.deaths import WorkerError
from softstep.model.sweep.executor import tasks
from softstep.model.sweep.executor.shipment import Filed, Sent
from softstep.model.sweep.heads import Plan

COUNTS = ("num_workers", "_max_workers")  # that executors have: of mpi4py, of pools of processes
POOL = "ProcessPoolExecutor"  # of processes here: Python's, loky's
# What a worker is asked first. One of Dask's that has no softstep would die of a function of its.
GREETING: tuple[Any, ...] = eval, "__import__('softstep').__version__"


class Engine:
    """An executor of processes, here or elsewhere."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.workers: int | None = self._count()

    def _count(self) -> int | None:
        """How many workers there are; None: it does not say."""
        counts = (getattr(self.executor, name, None) for name in COUNTS)
        return next((int(n) for n in counts if n is not None), None)

    def greet(self, most: int) -> list["Future[str]"]:
        """Have the workers begin, as many as there are to be tasks."""
        return [self.executor.submit(*GREETING) for _ in range(min(most, self.workers or 1))]

    def threads(self, count: int) -> int | None:
        """How many threads each of so many tasks takes at most: of processes here its share of the
        cores; None: as many as it finds."""
        if any(kind.__name__ == POOL for kind in type(self.executor).__mro__):
            at_a_time = max(1, min(count, self.workers or count))
            return max(1, threads.at_most(None) // at_a_time)
        return None

    @contextlib.contextmanager
    def given(self, plan: Plan) -> Iterator[Any]:
        """Within this block the workers have the plan: what the block is given is the first
        argument of tasks. Its arrays are in a file, that each maps.

        Raises:
            OSError: the file cannot be written.
        """
        with tempfile.TemporaryDirectory(prefix="softstep-") as folder:
            yield Filed.of(plan, folder)

    def submit(self, work: Callable[..., Any], job: tuple[Any, ...]) -> "Future[Any]":
        """Have work(*job) done."""
        return self.executor.submit(work, *job)


class Dask(Engine):
    """That of a client of Dask."""

    executor: Any

    def __init__(self, executor: Any) -> None:
        self.client: Any = executor._client
        # Where the scheduler keeps how often tasks of this client have begun.
        self.counts: str = f"softstep-{self.client.id}"
        super().__init__(executor)

    def _count(self) -> int:
        return len(self.client.ncores())

    def greet(self, most: int) -> list["Future[str]"]:
        """All of them, for tasks go to any. What is equal would be done once."""
        of_one = {"pure": False, "allow_other_workers": True}
        workers = self.client.ncores()
        return [self.executor.submit(*GREETING, workers=[w], **of_one) for w in workers]

    def threads(self, count: int) -> int:
        """Those that Dask gives a worker."""
        return int(min(self.client.ncores().values(), default=1))

    @contextlib.contextmanager
    def given(self, plan: Plan) -> Iterator[Any]:
        """Its arrays are in the memory of each worker."""
        rows = self._brought(Sent.of(plan))
        try:
            yield rows
        finally:
            rows.release()
            if self.client.status == "running":  # or its scheduler may be gone
                self.client.set_metadata([self.counts], {})

    def _brought(self, arrays: Sent) -> Any:
        """These, in the memory of each worker; again where one dies as they come to it.

        Raises:
            WorkerError: workers died again and again, or the scheduler is gone.
        """
        lost: OSError | None = None
        for _ in range(tasks.RUNS):
            try:
                rows = self.client.scatter(arrays, broadcast=True, hash=False)
                self.client.replicate(rows)  # where a busy worker was left out
                return rows
            except OSError as error:
                lost = error
        raise WorkerError(
            "a worker died as the rows were brought to it, or the scheduler is gone; it was tried "
            f"{tasks.RUNS} times: {lost}"
        ) from lost

    def submit(self, work: Callable[..., Any], job: tuple[Any, ...]) -> "Future[Any]":
        import dask

        # Equal tasks of two fits are two tasks. Weights go with them: they can be run again.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
            found: Future[Any] = self.executor.submit(
                tasks.counted, self.counts, work, *job, pure=False
            )
            return found


def engine_of(executor: Executor) -> Engine:
    """That of this executor."""
    is_dask = type(executor).__module__.partition(".")[0] == "distributed"
    return Dask(executor) if is_dask else Engine(executor)

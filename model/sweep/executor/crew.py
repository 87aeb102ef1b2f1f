"""The workers of an executor: what is taken for one, how many there are, and how tasks end."""

import contextlib
import tempfile
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ThreadPoolExecutor,
    as_completed,
)
from dataclasses import dataclass
from typing import Any, Self

from softstep.kernels import threads
from softstep.model import inputs
from softstep.model.shards.deaths import WorkerError
from softstep.model.sweep.executor import tasks
from softstep.model.sweep.executor.shipment import Filed, Sent
from softstep.model.sweep.heads import Plan

COUNTS = ("num_workers", "_max_workers")  # that executors have: of mpi4py, of pools of processes
POOL = "ProcessPoolExecutor"  # of processes here: Python's, loky's
KILLED = "KilledWorker"  # Dask's error for a task whose workers died again and again


@dataclass(frozen=True)
class Crew:
    """The workers of `executor`.

    most: how many tasks they are given at a time, at most. client: of Dask, if they are its.
    greetings: the versions of softstep that they have, when they begin.
    """

    executor: Executor
    most: int
    client: Any
    greetings: list["Future[str]"]

    @classmethod
    def of(cls, executor: Any, n_tasks: Any) -> Self | None:
        """Those of what `fit` was given as `executor` and `n_tasks`; None without an executor.

        Raises:
            TypeError: it is no executor of processes, or does not say how many there are.
            ValueError: it is closed or broken, or has no workers; `n_tasks` alone was given.
        """
        most = inputs.integer("n_tasks", n_tasks, least=1, optional=True)
        if executor is None:
            if most is not None:
                raise ValueError("n_tasks deals the heads to an executor: give executor too")
            return None
        _refuse_no_processes(executor)
        client = executor._client if _is_dask(executor) else None
        most = most or _count(executor, client)
        return cls(executor, most, client, _greeted(executor, most))

    def check(self) -> None:
        """Wait until the workers have begun.

        Raises:
            ValueError: they have another version of softstep. WorkerError: one died.
        """
        from softstep import __version__

        for greeting, _ in self._ended(dict.fromkeys(self.greetings, "what it does first")):
            if greeting != __version__:
                raise ValueError(
                    f"a worker has softstep {greeting}, but here it is {__version__}: install the "
                    "same everywhere"
                )

    def threads(self, n_threads: int | None) -> int | None:
        """How many threads each worker uses at most: n_threads, or those that Dask gives it, or its
        share of the cores where all are on this machine; None: as many as it finds."""
        if n_threads is not None:
            return n_threads
        if self.client is not None:
            return int(min(self.client.ncores().values()))
        if any(kind.__name__ == POOL for kind in type(self.executor).__mro__):
            return max(1, threads.at_most(None) // min(self.most, _count(self.executor, None)))
        return None

    @contextlib.contextmanager
    def given(self, plan: Plan) -> Iterator[Any]:
        """Within this block the workers have the plan: its arrays in a file, that each maps, or as
        Dask scatters them. What the block is given is the first argument of tasks.

        Raises:
            OSError: the file cannot be written.
        """
        if self.client is not None:
            yield self.client.scatter(Sent.of(plan), broadcast=True, hash=False)
            return
        with tempfile.TemporaryDirectory(prefix="softstep-") as folder:
            yield Filed.of(plan, folder)

    def ended(
        self, work: Callable[..., Any], jobs: list[tuple[Any, ...]], names: list[str]
    ) -> Generator[tuple[int, Any]]:
        """Have work(*job) done for each job; yields the number of one and its result as they end.

        names: of the jobs, in errors.

        Raises:
            WorkerError: a worker died; the other tasks have ended. Whatever `work` raises; what is
                left is cancelled.
        """
        futures: dict[Future[Any], str] = {}
        numbers: dict[Future[Any], int] = {}
        try:
            for number, (job, name) in enumerate(zip(jobs, names, strict=True)):
                try:
                    future = self._submitted(work, job)
                except BrokenExecutor as error:
                    raise WorkerError(_lost(error, [*futures.values(), name])) from error
                futures[future], numbers[future] = name, number
            for result, future in self._ended(futures):
                yield numbers.pop(future), result
        finally:
            for future in futures:
                future.cancel()

    def _submitted(self, work: Callable[..., Any], job: tuple[Any, ...]) -> "Future[Any]":
        if self.client is None:
            return self.executor.submit(work, *job)
        import dask

        # Equal tasks of two fits are two tasks. Weights go with them: they can be run again.
        with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
            return self.executor.submit(work, *job, pure=False)

    def _ended(self, futures: dict["Future[Any]", str]) -> Iterator[tuple[Any, "Future[Any]"]]:
        """Their results as they end; what has ended is removed. That a worker died is said last."""
        lost, reason = [], None
        for future in as_completed(list(futures)):
            name = futures.pop(future)
            try:
                result = future.result()
            except Exception as error:
                if not _is_death(error):
                    raise
                lost.append(name)
                reason = reason or error
            else:
                yield result, future
        if reason is not None:
            raise WorkerError(_lost(reason, lost)) from reason


def _refuse_no_processes(executor: Any) -> None:
    """Raise TypeError unless it is an executor of processes."""
    if not isinstance(executor, Executor):
        cure = ": give its get_executor()" if hasattr(executor, "get_executor") else ""
        raise TypeError(
            f"executor must be a concurrent.futures.Executor, not {type(executor).__name__}{cure}"
        )
    if isinstance(executor, ThreadPoolExecutor):
        raise TypeError(
            "executor is one of threads, but fit uses the threads of this process already "
            "(n_threads=): give one of processes, such as ProcessPoolExecutor"
        )


def _is_dask(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "distributed"


def _count(executor: Any, client: Any) -> int:
    """How many workers there are."""
    counts = (getattr(executor, name, None) for name in COUNTS)
    found = next((n for n in counts if n is not None), None)
    if client is not None:
        found = len(client.ncores())
    if found is None:
        kind = type(executor).__name__
        raise TypeError(f"{kind} does not say how many workers it has: give n_tasks")
    if found < 1:
        raise ValueError("executor has no workers: start some, then fit")
    return int(found)


def _greeted(executor: Executor, count: int) -> list["Future[str]"]:
    """Have as many workers begin."""
    try:
        return [executor.submit(tasks.greet) for _ in range(count)]
    except BrokenExecutor as error:
        raise ValueError(
            "executor is broken, for a worker of it has died: make a new one"
        ) from error
    except RuntimeError as error:
        raise ValueError(f"executor is closed ({error}): make a new one") from error


def _is_death(error: Exception) -> bool:
    """Whether it says that a worker is gone, or its cluster."""
    if isinstance(error, BrokenExecutor | CancelledError):
        return True
    return type(error).__name__ == KILLED and _is_dask(error)


def _lost(error: BaseException, names: list[str]) -> str:
    """What is said of a worker that died, and of the tasks that did not end."""
    why = " ".join(str(error).split()) or type(error).__name__
    return f"a worker died, in {' or '.join(dict.fromkeys(names))}: {why}"

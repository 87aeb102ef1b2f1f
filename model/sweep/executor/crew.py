"""The workers of an executor: what is taken for one, and how tasks end."""

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

from softstep.model import inputs
from softstep.model.shards.deaths import WorkerError, is_death
from softstep.model.sweep.executor.engines import Engine, engine_of
from softstep.model.sweep.executor.tasks import TooOftenError

FIRST = (
    "its first task (it begins with the script that started it, but for what is below "
    'if __name__ == "__main__")'
)


@dataclass(frozen=True)
class Crew:
    """The workers of an executor.

    most: how many tasks they are given at a time, at most. greetings: the versions of softstep that
    they have, when they begin.
    """

    engine: Engine
    most: int
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
        engine = engine_of(executor)
        if engine.workers == 0:
            raise ValueError("executor has no workers, or is closed: give one that has some")
        most = most or engine.workers
        if most is None:
            kind = type(executor).__name__
            raise TypeError(f"{kind} does not say how many workers it has: give n_tasks")
        return cls(engine, most, _greeted(engine, most))

    def check(self) -> None:
        """Wait until the workers have begun.

        Raises:
            ValueError: they have another version of softstep, or none. WorkerError: one died.
        """
        from softstep import __version__

        try:
            found = {greeting for greeting, _ in _ended(dict.fromkeys(self.greetings, FIRST))}
        except ImportError as error:
            raise ValueError(
                f"a worker cannot import softstep ({error}): install softstep {__version__} there"
            ) from error
        others = sorted(found - {__version__})
        if others:
            raise ValueError(
                f"a worker has softstep {others[0]}, but here it is {__version__}: install the "
                "same everywhere"
            )

    def threads(self, n_threads: int | None, count: int) -> int | None:
        """How many threads each of so many tasks takes at most: n_threads, if it is given."""
        return self.engine.threads(count) if n_threads is None else n_threads

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
                    future = self.engine.submit(work, job)
                except BrokenExecutor as error:
                    raise WorkerError(_lost(error, [*futures.values(), name])) from error
                futures[future], numbers[future] = name, number
            for result, future in _ended(futures):
                yield numbers.pop(future), result
        finally:
            for future in futures:
                future.cancel()


def _ended(futures: dict["Future[Any]", str]) -> Iterator[tuple[Any, "Future[Any]"]]:
    """Their results as they end; what has ended is removed. That a worker died is said last."""
    lost, reason = [], None
    for future in as_completed(list(futures)):
        name = futures.pop(future)
        try:
            result = future.result()
        except Exception as error:
            if not (is_death(error) or isinstance(error, TooOftenError)):
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


def _greeted(engine: Engine, most: int) -> list["Future[str]"]:
    """What the workers answer."""
    try:
        return engine.greet(most)
    except BrokenExecutor as error:
        raise ValueError(
            "executor is broken, for a worker of it has died: make a new one"
        ) from error
    except RuntimeError as error:
        if "shutdown" not in str(error):  # such as a script that starts itself again
            raise
        raise ValueError(f"executor is closed ({error}): make a new one") from error


def _lost(error: BaseException, names: list[str]) -> str:
    """What is said of a worker that died, and of the tasks that did not end."""
    why = " ".join(str(error).split())
    if isinstance(error, CancelledError):  # what Dask says of that
        why = "what it worked on is gone, with all workers that had it or with the scheduler"
    return f"a worker died, in {' or '.join(dict.fromkeys(names))}: {why}"

"""The processes that a command has its heads trained by: some of its own, or a Dask cluster's."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

from softstep.model import extras, inputs
from softstep.model.sweep.heads import SweepEpoch
from softstep.runs.progress import Progress


def check(workers: int | None, scheduler: str | None) -> None:
    """Raise TypeError or ValueError for what cannot be; MissingExtraError without Dask."""
    inputs.integer("--workers", workers, least=1, optional=True)
    if workers is not None and scheduler is not None:
        raise ValueError("--workers starts processes here, --scheduler asks Dask: give one of them")
    if scheduler is not None:
        extras.load("distributed", extra="dask")


@contextlib.contextmanager
def executor(workers: int | None, scheduler: str | None) -> Iterator[Any]:
    """Within this block so many processes of this machine, or the workers of the Dask scheduler at
    this address; None for neither.

    Raises:
        OSError: no scheduler answers there.
    """
    if scheduler is not None:
        distributed = extras.load("distributed", extra="dask")
        with distributed.Client(scheduler) as client:
            yield client.get_executor()
    elif workers is not None:
        with _processes(workers) as pool:
            yield pool
    else:
        yield None


@contextlib.contextmanager
def _processes(count: int) -> Iterator[Any]:
    """A pool of processes, which end at once if the block is left by an error."""
    import multiprocessing  # other commands need not wait for it
    from concurrent.futures import ProcessPoolExecutor

    from softstep.runs import quiet_processes

    before = set(multiprocessing.active_children())
    context, initializer = quiet_processes.Context(), quiet_processes.leave_interrupts
    with ProcessPoolExecutor(count, context, initializer=initializer) as pool:
        try:
            yield pool
        except BaseException:
            for process in set(multiprocessing.active_children()) - before:
                process.terminate()
            raise


class TasksProgress(Progress):
    """Shows how many tasks have ended, and the epoch that they train up to.

    seconds: from the start to the end of the last task. rounds: how many tasks there were.
    """

    ROUNDS = "tasks"

    def __init__(self) -> None:
        super().__init__()
        self.start: float = time.perf_counter()
        self.seconds: float = 0.0
        self.rounds: int = 0
        self.epochs: int = 0  # that all heads have trained

    def __call__(self, epoch: SweepEpoch) -> None:
        assert epoch.tasks is not None
        (ended, count), done, of = epoch.tasks, epoch.number + 1, epoch.epochs
        self.seconds = time.perf_counter() - self.start
        self.rounds += 1
        best = "" if epoch.score is None else f"  best score {epoch.score:.4f}"
        text = f"{ended} of {count} tasks up to epoch {done}/{of}  {epoch.alive} heads{best}"
        self.tell(text, self.epochs * count + ended * (done - self.epochs), of * count)
        if ended == count:
            self.epochs = done

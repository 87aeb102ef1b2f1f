"""Workers killed with SIGKILL at random moments of a sweep in eight tasks with a checkpoint."""

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from softstep import SoftmaxSweep
from softstep.bench.studies.workers.engines import ENGINES, job
from softstep.bench.studies.workers.works import (
    SEED,
    SETTINGS,
    digest,
    overhead,
    processes_of,
    rates,
    rows,
    sweep,
)
from softstep.model import WorkerError

ENDED, RESUMED, JOB = "ended all the same", "a WorkerError, resumed", "the job ended, resumed"
HEADINGS = ("workers", "killed", "what became of the sweep", "the same bits")


def fit(X: Any, y: Any, epochs: int, folder: str, **how: Any) -> SoftmaxSweep:
    """The sweep, which may be resumed from what is in the folder."""
    kept: dict[str, Any] = {"checkpoint": folder, "resume": any(Path(folder).glob("*.npz"))}
    return sweep(rates(SETTINGS), epochs, n_threads=1).fit(X, y, n_tasks=8, **kept, **how)


def kill(process: int) -> None:
    """If it is there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def killed(name: str, fit: Callable[..., SoftmaxSweep], after: float) -> tuple[str, str]:
    """What became of a sweep of which a worker was killed so many seconds after its begin, and the
    bits that it came to in the end."""
    try:
        with ENGINES[name]() as executor:
            overhead(executor, rounds=1)
            process = processes_of(executor)[0]
            timer = threading.Timer(after, kill, (process,))
            timer.start()
            try:
                return ENDED, digest(fit(executor=executor))
            finally:
                timer.join()
    except WorkerError:
        with ENGINES[name]() as executor:
            return RESUMED, digest(fit(executor=executor))


def killed_rank(count: int, epochs: int, folder: str, after: float) -> tuple[str, str]:
    """The same of a job of MPI, in a process of its own: with a rank the whole job dies."""
    command = job("fit", str(count), str(epochs), folder)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        process = int(first.stdout.readline())  # of a rank that works
        timer = threading.Timer(after, kill, (process,))
        timer.start()
        told = first.stdout.read().split()
        timer.cancel()
    if first.returncode == 0:
        return ENDED, told[-1]
    again = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return JOB, again.stdout.split()[-1]


def line(name: str, count: int, epochs: int, moments: list[float], bits: str) -> str:
    """The row of an engine in the table.

    moments: after which workers are killed. bits: those of one process.
    """
    (X, y), found = rows(count), []
    for moment in moments:
        with tempfile.TemporaryDirectory() as folder:
            if name == "mpi":
                found.append(killed_rank(count, epochs, folder, moment))
            else:
                found.append(killed(name, partial(fit, X, y, epochs, folder), moment))
    same = sum(own == bits for _, own in found)
    became = Counter(what for what, _ in found)
    said = "; ".join(f"{times} times {what}" for what, times in became.items())
    return f"| {name} | {len(found)} times | {said} | {same} of {len(found)} |"


def moments(count: int, longest: float) -> list[float]:
    """So many random ones within these seconds."""
    found: list[float] = np.random.default_rng(SEED).uniform(0.05, longest, count).tolist()
    return found

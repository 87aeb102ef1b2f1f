"""What a fit costs: heads × workers, measured, and what else a model of it has to know.

Each point is a fit by so many processes of one thread. `MEASURED` says which kinds of points there
are. How long an empty task takes is measured for each engine, and how far apart the times of equal
tasks are.
"""

import itertools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from softstep.bench.machine import machine
from softstep.bench.studies.workers.engines import ENGINES, of_job, processes
from softstep.bench.studies.workers.works import (
    CLASSES,
    SPLITS,
    WORKERS,
    overhead,
    rates,
    rows,
    seconds,
    share,
    sweep,
)

COUNTS = (1, 2, 4)  # of processes
SETTINGS = (4, 16, 50)  # of sweeps
EMPTY, EQUAL = 500, 12  # tasks: that do nothing, and that do the same


@dataclass(frozen=True)
class Point:
    """A fit of a bank of so many columns (heads × classes) to rows × features, which were read in
    so many passes (epochs), by so many workers: its seconds."""

    rows: int
    features: int
    columns: int
    passes: int
    workers: int
    seconds: float


@dataclass(frozen=True)
class Curves:
    """points: by their kind. empty: seconds of a task that does nothing, by engine. spread: the
    standard deviation of the times of equal tasks, relative to their mean. cores: that the workers
    shared. about: the machine."""

    points: dict[str, list[Point]]
    empty: dict[str, float]
    spread: float
    cores: int
    about: dict[str, str]

    def save(self, file: Path) -> None:
        file.write_text(f"{json.dumps(asdict(self), indent=1)}\n", encoding="utf-8")

    @classmethod
    def load(cls, file: Path) -> "Curves":
        found = json.loads(file.read_text(encoding="utf-8"))
        kinds = found.pop("points")
        return cls({kind: [Point(**p) for p in points] for kind, points in kinds.items()}, **found)


def of_heads(executor: Executor, workers: int, count: int, rounds: int) -> list[Point]:
    """Sweeps of more and more settings, in one epoch."""
    X, y = rows(count)
    found = []
    for settings in SETTINGS:
        one = sweep(rates(settings), 1, n_threads=1)
        fit = partial(one.fit, X, y, executor=executor)
        fit()  # compile, load
        (took,) = seconds(fit, rounds=rounds)
        columns = settings * SPLITS * CLASSES
        found.append(Point(len(X), X.shape[1], columns, 1, workers, took))
    return found


MEASURED: dict[str, Callable[[Executor, int, int, int], list[Point]]] = {"heads": of_heads}


def nothing(_: int) -> None:
    """What an empty task does."""


def empty(executor: Executor) -> float:
    """Seconds of a task that does nothing, of many at a time."""
    numbers = itertools.count()

    def all_of_them() -> None:
        for job in [executor.submit(nothing, next(numbers)) for _ in range(EMPTY)]:
            job.result()

    all_of_them()
    (took,) = seconds(all_of_them, rounds=3)
    return took / EMPTY


def spread(executor: Executor, count: int) -> float:
    """How far apart the times of equal tasks are, while each worker has one."""
    X, y = rows(count)
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "x.npy")
        np.save(file, X)
        times: list[float] = []
        for again in range(1 + EQUAL // WORKERS):
            numbers = range(again * WORKERS, (again + 1) * WORKERS)
            jobs = [executor.submit(share, rates(4), file, y, 1, number) for number in numbers]
            times += [job.result() for job in jobs]
    times = times[WORKERS:]  # the first compile
    return statistics.stdev(times) / statistics.mean(times)


def measured(count: int, rounds: int, engines: list[str], tell: Callable[[str], None]) -> Curves:
    """All of it."""
    points: dict[str, list[Point]] = {kind: [] for kind in MEASURED}
    for workers in COUNTS:
        with processes(workers) as executor:
            overhead(executor, rounds=1)
            for kind, measure in MEASURED.items():
                points[kind] += measure(executor, workers, count, rounds)
                tell(f"{time.strftime('%H:%M:%S')} {kind}, {workers} processes")
    empties = {}
    for name in engines:
        if name == "mpi":
            empties[name] = float(of_job("empty"))
            continue
        with ENGINES[name]() as executor:
            empties[name] = empty(executor)
    with processes() as executor:
        apart = spread(executor, count)
    about = machine()
    return Curves(points, empties, apart, int(about["cores"]), about)


def table(points: list[Point]) -> list[str]:
    """Markdown: a row for each size, a column for each number of workers."""
    counts = sorted({point.workers for point in points})
    names = [f"{count} process{'es' if count > 1 else ''}" for count in counts]
    found = [_row("rows", "columns", *names), _row(*("---",) * (2 + len(counts)))]
    for size in dict.fromkeys((point.rows, point.columns) for point in points):
        own: dict[int, Any] = {p.workers: p for p in points if (p.rows, p.columns) == size}
        found.append(_row(*size, *(f"{own[count].seconds:.2f} s" for count in counts)))
    return found


def _row(*cells: Any) -> str:
    return f"| {' | '.join(map(str, cells))} |"

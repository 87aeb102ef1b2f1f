"""How much memory a worker takes: X once, whatever way it comes by it.

Linux says of a process what it has in memory (Rss), what of that is its alone to have changed
(Private_Dirty: its own arrays), and what it has if pages that several processes map are shared out
among them (Pss). While a sweep trains, the processes of all workers are looked at again and again;
what counts is how much each figure grew at most, in the worker where it grew most, since a small
sweep had compiled and loaded all.
"""

import contextlib
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np

from softstep.bench.studies.workers.works import overhead, processes_of, rates, rows, sweep

FIGURES = ("Rss", "Pss", "Private_Dirty")
SETTINGS = 8  # of a sweep that has little beside its rows
PAUSE = 0.01  # seconds between two looks
HEADINGS = ("workers", "X", *(f"{name}, MB" for name in FIGURES), "Rss, in X")


def of(process: int) -> dict[str, int]:
    """What a process has in memory now, in bytes."""
    text = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="utf-8")
    lines = dict(line.split(":", 1) for line in text.splitlines()[1:])
    return {name: 1024 * int(lines[name].split()[0]) for name in FIGURES}


@contextlib.contextmanager
def growth(processes: list[int]) -> Iterator[dict[str, int]]:
    """How much each figure grows within this block at most, in the worker where it grows most."""
    before = {process: of(process) for process in processes}
    found = dict.fromkeys(FIGURES, 0)
    over = threading.Event()

    def look() -> None:
        while not over.wait(PAUSE):
            for process, then in before.items():
                now = of(process)
                for name in FIGURES:
                    found[name] = max(found[name], now[name] - then[name])

    watch = threading.Thread(target=look)
    watch.start()
    try:
        yield found
    finally:
        over.set()
        watch.join()


def lines(name: str, executor: Executor, count: int) -> list[str]:
    """The rows of an engine in the table: X as an array in float32, and as the path of a file."""
    pixels, y = rows(count)
    X = pixels.astype(np.float32) / np.float32(255)
    overhead(executor, rounds=1)
    small = sweep(rates(SETTINGS), 1, max_steps=2)
    small.fit(X[:500], y[:500], executor=executor)  # compiles and loads what the next takes
    workers, found = processes_of(executor), []
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "x.npy", X)
        given: dict[str, Any] = {"an array": X, "a .npy file": Path(folder) / "x.npy"}
        for what, rows_given in given.items():
            with growth(workers) as grew:
                sweep(rates(SETTINGS), 1, n_threads=1).fit(rows_given, y, executor=executor)
            cells = [f"{grew[figure] / 1e6:.0f}" for figure in FIGURES]
            cells.append(f"{grew['Rss'] / X.nbytes:.2f}")
            found.append(f"| {name} | {what} | {' | '.join(cells)} |")
    return found

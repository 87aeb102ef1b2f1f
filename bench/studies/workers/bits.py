"""The same bits as in one process, at which efficiency, and what an executor adds."""

import itertools
import tempfile
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np

from softstep import SoftmaxSweep
from softstep.bench.studies.workers.works import (
    SETTINGS,
    WORKERS,
    digest,
    overhead,
    rates,
    rows,
    seconds,
    share,
    sweep,
)


def alone(count: int, epochs: int, rounds: int) -> tuple[str, float]:
    """The bits and the seconds of one process with all its threads."""
    X, y = rows(count)
    sweep(rates(SETTINGS), 1, max_steps=1).fit(X, y)  # compiles
    bits = digest(sweep(rates(SETTINGS), epochs).fit(X, y))
    (took,) = seconds(lambda: sweep(rates(SETTINGS), epochs).fit(X, y), rounds=rounds)
    return bits, took


def line(name: str, executor: Executor, count: int, epochs: int, rounds: int, bits: str) -> str:
    """The row of an engine in the table.

    bits: those of one process.
    """
    X, y = rows(count)
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "x.npy")
        np.save(file, X)
        again = itertools.count()

        def side_by_side() -> list[float]:
            same = file, y, epochs, next(again)
            shares = [rates(SETTINGS)[k::WORKERS] for k in range(WORKERS)]
            jobs = [executor.submit(share, mine, *same) for mine in shares]
            return [job.result() for job in jobs]

        def fit() -> SoftmaxSweep:
            return sweep(rates(SETTINGS), epochs, n_threads=1).fit(X, y, executor=executor)

        cost = overhead(executor)
        found = digest(fit())
        side_by_side()  # compile, load
        limit, took = seconds(side_by_side, fit, rounds=rounds)
    same = "the same" if found == bits else f"OTHERS: {found}"
    return f"| {name} | {took:.2f} s | {limit:.2f} s | {limit / took:.0%} | {cost:.3f} s | {same} |"


HEADINGS: Any = ("workers", "300 heads", "side by side", "efficiency", "overhead", "bits")

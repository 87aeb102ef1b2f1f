"""A sweep by the workers of an executor: the same bits, at which efficiency, and what it costs.

300 heads on MNIST (50 settings, each with a head on all rows and on five folds) are trained in one
process, by two processes, and by two workers of Dask where it is installed; the weights of all
heads are compared by their hash. The efficiency is against the same two processes side by side,
each with half of the settings as a sweep of its own on the mapped file: what two processes reach
on this machine, sharing its caches and memory. The overhead is that of a sweep of two small heads;
memory is how much a worker's peak grew from there.

With --kills N a worker is killed with SIGKILL N times, each at a random moment of a sweep in eight
tasks with a checkpoint; where that is an error, the sweep is resumed by new workers.
"""

import argparse
import contextlib
import hashlib
import importlib.util
import itertools
import multiprocessing
import os
import signal
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from softstep import SoftmaxSweep
from softstep.bench.machine import machine
from softstep.bench.studies import parser
from softstep.model import WorkerError
from softstep.model.datasets import load_mnist

FOLDS, SETTINGS, WORKERS, SEED = 5, 50, 2, 0
RATES = np.geomspace(0.01, 0.5, SETTINGS).tolist()


def sweep(rates: list[float], epochs: int, **more: Any) -> SoftmaxSweep:
    grid = {"learning_rate": rates, "loss": "cross_entropy", "momentum": 0.5}
    return SoftmaxSweep(grid, cv=FOLDS, epochs=epochs, random_state=SEED, **more)


def digest(fitted: SoftmaxSweep) -> str:
    """Of the weights of all heads."""
    found = hashlib.sha256()
    for index in range(len(fitted.results_["rank"])):
        for split in (None, *range(FOLDS)):
            model = fitted.estimator(index, split)
            found.update(np.ascontiguousarray(model.coef_).data)
            found.update(np.ascontiguousarray(model.intercept_).data)
    return found.hexdigest()[:16]


def half(number: int, file: str, y: Any, epochs: int, _again: int) -> float:
    """The seconds that one of two processes takes for its half of the settings.

    _again: another number each time, or Dask would know the answer.
    """
    X = np.load(file, mmap_mode="r")
    start = time.perf_counter()
    sweep(RATES[number::WORKERS], epochs, n_threads=1).fit(X, y)
    return time.perf_counter() - start


def peak(_: int) -> tuple[int, int]:
    """The process of this worker, and the bytes that it had in memory at most."""
    time.sleep(0.2)  # so that each worker takes one
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return os.getpid(), 1024 * int(status.partition("VmHWM:")[2].split()[0])


@contextlib.contextmanager
def processes() -> Iterator[Executor]:
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as pool:
        yield pool


@contextlib.contextmanager
def dask() -> Iterator[Executor]:
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as executor,
    ):
        yield executor


ENGINES: dict[str, Callable[[], Any]] = {"2 processes": processes, "Dask, 2 workers": dask}


def seconds(*fits: Callable[[], Any], rounds: int) -> list[float]:
    """The median for each of these, which take turns."""
    times: list[list[float]] = [[] for _ in fits]
    for _ in range(rounds):
        for fit, own in zip(fits, times, strict=True):
            start = time.perf_counter()
            fit()
            own.append(time.perf_counter() - start)
    return [statistics.median(own) for own in times]


def overhead(executor: Executor) -> float:
    """How much longer a sweep of two small heads takes by the executor."""
    X, y = np.zeros((100, 4), np.float32), np.arange(100) % 2

    def fit(**how: Any) -> None:
        grid = {"learning_rate": [0.1, 0.2]}
        SoftmaxSweep(grid, epochs=1, random_state=0).fit(X, y, X_val=X, y_val=y, **how)

    for how in ({}, {"executor": executor}):  # compile, load
        fit(**how)
    by_executor, alone = seconds(lambda: fit(executor=executor), fit, rounds=9)
    return by_executor - alone


def measure(name: str, X: Any, y: Any, given: argparse.Namespace, alone: str) -> bool:
    """One engine's line; returns whether its bits are those of one process."""
    if name.startswith("Dask") and importlib.util.find_spec("distributed") is None:
        print(f"{name}: distributed is not installed")
        return True
    with tempfile.TemporaryDirectory() as folder, ENGINES[name]() as executor:
        file = str(Path(folder) / "x.npy")
        np.save(file, X)
        again = itertools.count()

        def side_by_side() -> list[float]:
            same = file, y, given.epochs, next(again)
            jobs = [executor.submit(half, k, *same) for k in range(WORKERS)]
            return [job.result() for job in jobs]

        def fit() -> SoftmaxSweep:
            return sweep(RATES, given.epochs).fit(X, y, executor=executor)

        cost = overhead(executor)
        before = dict(executor.map(peak, range(2 * WORKERS)))
        found_digest = digest(fit())
        after = dict(executor.map(peak, range(2 * WORKERS)))
        grew = max(after[pid] - before[pid] for pid in before.keys() & after.keys()) / 1e6
        side_by_side()  # compile, load
        limit, took = seconds(side_by_side, fit, rounds=given.rounds)
    print(
        f"{name}: {took:.2f} s; side by side {limit:.2f} s, efficiency {limit / took:.0%}; "
        f"overhead {cost:.3f} s; {grew:.0f} MB in a worker; bits {found_digest}, "
        f"{'the same' if found_digest == alone else 'OTHERS'}",
        flush=True,
    )
    return found_digest == alone


def killed(name: str, fit: Callable[..., SoftmaxSweep], after: float) -> tuple[str, str]:
    """What became of a sweep of which a worker was killed so many seconds after its begin, and the
    bits that it came to in the end."""
    with tempfile.TemporaryDirectory() as folder:
        kept = {"checkpoint": folder, "n_tasks": 8}
        try:
            with ENGINES[name]() as executor:
                overhead(executor)
                pid, _ = next(executor.map(peak, range(1)))
                timer = threading.Timer(after, os.kill, (pid, signal.SIGKILL))
                timer.start()
                try:
                    return "ended all the same", digest(fit(executor=executor, **kept))
                finally:
                    timer.join()
        except WorkerError:
            with ENGINES[name]() as executor:
                return "resumed", digest(fit(executor=executor, resume=True, **kept))


def kill(name: str, X: Any, y: Any, given: argparse.Namespace, alone: str, took: float) -> bool:
    """An engine's line of kills; returns whether all came to the bits of one process."""
    if name.startswith("Dask") and importlib.util.find_spec("distributed") is None:
        return True

    def fit(**how: Any) -> SoftmaxSweep:
        return sweep(RATES, given.epochs).fit(X, y, **how)

    moments = np.random.default_rng(SEED).uniform(0, took, given.kills)
    found = [killed(name, fit, moment) for moment in moments.tolist()]
    same = sum(bits == alone for _, bits in found)
    counts = ", ".join(f"{n} {what}" for what, n in Counter(what for what, _ in found).items())
    print(f"{name}: {given.kills} kills: {counts}; the same bits {same} times", flush=True)
    return same == given.kills


def main(argv: list[str] | None = None) -> int:
    arguments = parser("workers", __doc__)
    arguments.add_argument("--rows", type=int, default=60_000, help="of MNIST (%(default)s)")
    arguments.add_argument("--epochs", type=int, default=2, help="of each head (%(default)s)")
    arguments.add_argument("--rounds", type=int, default=3, help="median of so many (%(default)s)")
    arguments.add_argument("--kills", type=int, default=0, help="of a worker (%(default)s)")
    given = arguments.parse_args(argv)
    data: Any = load_mnist()
    X, y = data.X_train[: given.rows], data.y_train[: given.rows]
    about, heads = machine(), SETTINGS * (1 + FOLDS)
    print(f"{about['date']}, {about['processor']}, {about['cores']} cores")
    print(f"{heads} heads, {len(X)} rows of MNIST ({X.nbytes / 1e6:.0f} MB), {given.epochs} epochs")
    sweep(RATES, 1, max_steps=1).fit(X, y)  # compiles
    alone = digest(sweep(RATES, given.epochs).fit(X, y))
    (took,) = seconds(lambda: sweep(RATES, given.epochs).fit(X, y), rounds=given.rounds)
    print(f"1 process: {took:.2f} s; bits {alone}", flush=True)
    same = [measure(name, X, y, given, alone) for name in ENGINES]
    if given.kills:
        same += [kill(name, X, y, given, alone, took) for name in ENGINES]
    return 0 if all(same) else 1


if __name__ == "__main__":
    raise SystemExit(main())

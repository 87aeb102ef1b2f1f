"""The optimum over rows on several processes: the same optimum, how fast, and what if one dies?

30 heads on MNIST (five penalties, each on all rows and on five folds) are solved by one process on
one thread, by MPI ranks that have a part of the rows each, and over the chunks of a Dask array on
as many workers. The objectives must be within 2 tol of those of one process, and all be proven.

With --kills N that is not timed, but of two ranks and of two workers of Dask's one is killed with
SIGKILL N times each, at a random moment of a fit. A run of MPI ends then, and one process resumes
on all rows what it kept every second; Dask computes again what the worker had.
"""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from softstep.bench.machine import machine
from softstep.bench.studies import parser
from softstep.bench.studies.over_rows import problem
from softstep.model import CheckpointError, SoftmaxSweep
from softstep.model.optimum.shortfall import ConvergenceWarning

RANKS = "softstep.bench.studies.over_rows.ranks"
PATIENCE = 60.0  # seconds in which a run whose rank died has to end


class Found(NamedTuple):
    """The seconds of each fit, and what the last came to."""

    seconds: list[float]
    objective: Any
    converged: bool

    @classmethod
    def of(cls, fitted: SoftmaxSweep, seconds: list[float]) -> "Found":
        results = fitted.results_
        return cls(seconds, results["objective"], bool(results["converged"].all()))

    def is_as(self, alone: "Found") -> bool:
        """Whether it is the same optimum, and proven to be."""
        gap = np.abs(np.array(self.objective) - alone.objective)
        return self.converged and bool((gap <= 2 * problem.TOL * np.array(alone.objective)).all())


def timed(fit: Callable[[], SoftmaxSweep], fits: int) -> Found:
    seconds = []
    for _ in range(fits):
        start = time.perf_counter()
        fitted = fit()
        seconds.append(time.perf_counter() - start)
    return Found.of(fitted, seconds)


def launched(ranks: int, rows: int, fits: int, folder: Path) -> subprocess.Popen[bytes]:
    beside = str(Path(sys.executable).parent)
    launcher = shutil.which("mpiexec", path=os.pathsep.join([beside, os.environ["PATH"]]))
    if launcher is None:
        raise SystemExit("mpiexec is not installed: pip install mpich")
    command = [launcher, "-n", str(ranks), sys.executable, "-m", RANKS]
    quiet: Any = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([*command, str(rows), str(fits), str(folder)], **quiet)


def by_mpi(ranks: int, rows: int, fits: int) -> Found:
    with tempfile.TemporaryDirectory() as folder:
        if launched(ranks, rows, fits, Path(folder)).wait():
            raise SystemExit(f"{ranks} MPI ranks failed")
        return Found(**json.loads((Path(folder) / "found.json").read_text(encoding="utf-8")))


@contextlib.contextmanager
def cluster(workers: int) -> Iterator[Any]:
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None
        ) as local,
        distributed.Client(local) as client,
    ):
        yield client


def over_chunks(X: Any, y: Any, workers: int) -> Callable[..., SoftmaxSweep]:
    """A fit over two chunks for each worker, which are there."""
    import dask.array

    chunks = dask.array.from_array(X, chunks=(-(-len(X) // (2 * workers)), -1)).persist()
    problem.sweep(max_iter=1).fit(chunks, y)  # compiles, loads
    return lambda **how: problem.sweep().fit(chunks, y, **how)


def by_dask(X: Any, y: Any, workers: int, fits: int) -> Found:
    with cluster(workers):
        return timed(over_chunks(X, y, workers), fits)


def say(name: str, found: Found, alone: Found) -> bool:
    seconds, of_one = (statistics.median(each.seconds) for each in (found, alone))
    same = found.is_as(alone)
    verdict = "the same optimum" if same else "ANOTHER OPTIMUM"
    print(f"{name}: {seconds:.2f} s, {of_one / seconds:.2f} times as fast; {verdict}", flush=True)
    return same


def kill_rank(X: Any, y: Any, after: float, victim: int) -> tuple[str, Found]:
    """What became of a run of two ranks of which one was killed so long after its fit began, and
    what one process came to that resumed it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = launched(2, len(X), 0, folder)
        marks = [folder / f"rank-{rank}" for rank in range(2)]
        while not all(mark.exists() and mark.read_text(encoding="utf-8") for mark in marks):
            time.sleep(0.01)
        time.sleep(after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(marks[victim].read_text(encoding="utf-8")), signal.SIGKILL)
        start = time.perf_counter()
        try:
            code = run.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            run.kill()
            return "HUNG", Found([], [], False)
        took = time.perf_counter() - start
        kept = list((folder / "kept").glob("*.npz"))
        what = f"ended within {np.ceil(took):.0f} s" if code else "was done before"
        what += ", its state kept" if kept else ", before a state was kept"
        try:
            resumed = problem.sweep().fit(X, y, checkpoint=folder / "kept", resume=True)
        except CheckpointError:
            return f"{what}, but NOT SOUND", Found([], [], False)
        return what, Found.of(resumed, [])


def kill_worker(X: Any, y: Any, after: float, victim: int) -> tuple[str, Found]:
    """The same of a worker of Dask's, of two."""
    with cluster(2) as client:
        fit = over_chunks(X, y, 2)
        pid = sorted(client.run(os.getpid).values())[victim]
        timer = threading.Timer(after, os.kill, (pid, signal.SIGKILL))
        timer.start()
        try:
            return "ended all the same", Found.of(fit(), [])
        finally:
            timer.join()


def kill(
    name: str, trial: Callable[..., tuple[str, Found]], X: Any, y: Any, kills: Any, alone: Found
) -> bool:
    """An engine's line of kills; returns whether all came to the same optimum."""
    ended = []
    for after, victim in kills:
        ended.append(trial(X, y, after, victim))
        what, found = ended[-1]
        verdict = "the same optimum" if found.is_as(alone) else "ANOTHER OPTIMUM"
        print(f"  {name}, killed after {after:.1f} s: {what}; {verdict}", flush=True)
    same = sum(found.is_as(alone) for _, found in ended)
    counts = "; ".join(f"{n} {what}" for what, n in Counter(what for what, _ in ended).items())
    print(f"{name}: {len(ended)} kills: {counts}; the same optimum {same} times", flush=True)
    return same == len(ended)


def main(argv: list[str] | None = None) -> int:
    arguments = parser("over_rows", __doc__)
    arguments.add_argument("--rows", type=int, default=60_000, help="of MNIST (%(default)s)")
    arguments.add_argument("--fits", type=int, default=3, help="median of so many (%(default)s)")
    arguments.add_argument("--kills", type=int, default=0, help="of each engine (%(default)s)")
    given = arguments.parse_args(argv)
    X, y = problem.rows(given.rows)
    about = machine()
    print(f"{about['date']}, {about['processor']}, {about['cores']} cores")
    warnings.simplefilter("ignore", ConvergenceWarning)  # of fits that only compile
    print(f"30 heads, {len(X)} rows of MNIST, tol={problem.TOL:g}", flush=True)
    problem.sweep(max_iter=1).fit(X[:500], y[:500])  # compiles
    alone = timed(lambda: problem.sweep().fit(X, y), given.fits)
    same = [say("1 process", alone, alone)]
    engines = [name for name in ("mpi4py", "distributed") if importlib.util.find_spec(name)]
    counts = () if given.kills else (1, 2, 4)
    for count in counts if "mpi4py" in engines else ():
        found = by_mpi(count, len(X), given.fits)
        same.append(say(f"{count} MPI ranks", found, alone))
    # Last: what Dask sets for malloc stays, and slows whatever is started after it.
    for count in counts if "distributed" in engines else ():
        found = by_dask(X, y, count, given.fits)
        same.append(say(f"Dask, {count} workers", found, alone))
    if given.kills:
        rng = np.random.default_rng(0)
        moments = rng.uniform(0, alone.seconds[-1] / 2, given.kills).tolist()
        victims = rng.integers(2, size=given.kills).tolist()
        trials = {"mpi4py": kill_rank, "distributed": kill_worker}
        for engine in engines:
            same.append(
                kill(engine, trials[engine], X, y, zip(moments, victims, strict=True), alone)
            )
    return 0 if all(same) else 1

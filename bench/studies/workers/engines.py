"""The executors that are studied; MPI's is that of a job that `mpiexec` starts."""

import contextlib
import importlib.util
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from softstep.bench.studies.workers.works import WORKERS
from softstep.kernels import threads


@contextlib.contextmanager
def processes(count: int = WORKERS) -> Iterator[Executor]:
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
        yield pool


@contextlib.contextmanager
def dask(count: int = WORKERS) -> Iterator[Executor]:
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=count, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as executor,
    ):
        yield executor


@contextlib.contextmanager
def mpi() -> Iterator[Executor]:
    """In the rank that leads; see `job`."""
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor(backoff=BACKOFF) as executor:
        yield executor


ENGINES: dict[str, Callable[[], Any]] = {"processes": processes, "dask": dask, "mpi": mpi}
PACKAGES = {"dask": "distributed", "mpi": "mpi4py"}
BACKOFF = 1e-4  # seconds between looks: with the millisecond of mpi4py, 7 MB/s to a worker
RANKS = "softstep.bench.studies.workers.ranks"


def missing(name: str) -> str | None:
    """What is not installed that this engine needs."""
    package = PACKAGES.get(name)
    if package is not None and importlib.util.find_spec(package) is None:
        return package
    return "mpiexec" if name == "mpi" and _mpiexec() is None else None


def job(*words: str) -> list[str]:
    """The command that has one rank of MPI do what `ranks` does with these words, and `WORKERS`
    others work for it, each with its share of the cores: a rank knows of no other."""
    launcher = _mpiexec()
    assert launcher is not None
    ranks, share = str(1 + WORKERS), max(1, threads.available_cores() // WORKERS)
    python = ["env", f"OMP_NUM_THREADS={share}", sys.executable, "-m", "mpi4py.futures"]
    return [launcher, "-n", ranks, *python, "-m", RANKS, *words]


def of_job(*words: str) -> str:
    """What such a job prints."""
    done = subprocess.run(job(*words), stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.rstrip()


def _mpiexec() -> str | None:
    """Beside this Python, where its wheel puts it, or anywhere."""
    beside = str(Path(sys.executable).parent)
    return shutil.which("mpiexec", path=os.pathsep.join([beside, os.environ.get("PATH", "")]))

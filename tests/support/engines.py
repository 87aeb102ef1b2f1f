"""Engines that other packages bring, or why a test of theirs is skipped."""

import contextlib
import importlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def engine(*names):
    """The first of these packages that is installed."""
    for name in names:
        if importlib.util.find_spec(name.partition(".")[0]) is not None:
            return importlib.import_module(name)
    pytest.skip(f"{names[0]} is not installed")
    return None


@contextlib.contextmanager
def client_of_two():
    """Of a Dask cluster of two processes."""
    distributed = engine("distributed")
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    )
    try:
        with distributed.Client(cluster) as client:
            yield client
    finally:
        with contextlib.suppress(TimeoutError):  # one that was killed is on its way back
            cluster.close(timeout=60)


def mpiexec(count, *command):
    """Python with these arguments in so many MPI ranks, as it ended, in two minutes at most."""
    if importlib.util.find_spec("mpi4py") is None:
        pytest.skip("mpi4py is not installed")
    beside = str(Path(sys.executable).parent)
    launcher = shutil.which("mpiexec", path=os.pathsep.join([beside, os.environ["PATH"]]))
    if launcher is None:
        pytest.skip("mpiexec is not installed")
    job = [launcher, "-n", str(count), sys.executable, *map(str, command)]
    with subprocess.Popen(
        job, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            told = process.communicate(timeout=120)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)  # its ranks too
            raise
    return subprocess.CompletedProcess(job, process.returncode, *told)


def mpiexec_fails(*command):
    """What Python with these arguments in two MPI ranks, which fails in a minute, told of it."""
    start = time.monotonic()
    ended = mpiexec(2, *command)
    assert ended.returncode != 0
    assert time.monotonic() - start < 60
    return ended.stderr

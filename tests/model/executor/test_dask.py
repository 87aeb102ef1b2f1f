"""Promise: whatever becomes of workers of Dask, a fit ends: with its results or one sentence."""

import os
import signal
from contextlib import suppress
from functools import partial

import numpy as np
import pytest
from engines import engine
from on_workers import (
    executing,
    have_another_version,
    have_no_softstep,
    have_this_version,
    kill_itself,
)
from only import BETWEEN_PROCESSES
from processes import comes_true, interrupted_when
from sweeps import assert_same_bits

from softstep import SoftmaxSweep, __version__
from softstep.model import WorkerError
from softstep.model.sweep.executor import Crew

pytestmark = [BETWEEN_PROCESSES, pytest.mark.filterwarnings("default")]

Y = np.arange(600) % 3
X = np.random.default_rng(0).standard_normal((600, 10)).astype(np.float32) + Y[:, None]
GRID = {"learning_rate": [0.01, 0.1, 0.3], "l2": [0.1, 0.0], "loss": "cross_entropy"}


def sweep(**settings):
    return SoftmaxSweep(GRID, **{"cv": 2, "epochs": 5, "random_state": 0, **settings})


@pytest.fixture
def executor(client):
    client.wait_for_workers(2, timeout=60)  # those that were killed come back
    with client.get_executor() as executor:
        yield executor


@pytest.fixture
def killing(client):
    """A callback that kills so many workers as the first task ends."""
    pids = sorted(client.run(os.getpid).values())

    def callback(epoch, *, count):
        while len(pids) > 2 - count:
            os.kill(pids.pop(), signal.SIGKILL)

    return callback


def test_the_task_of_a_worker_that_died_is_run_again(executor, killing):
    settings = {"halving": True}
    kill = partial(killing, count=1)
    found = sweep(**settings).fit(X, Y, executor=executor, n_tasks=4, callback=kill)
    assert_same_bits(found, sweep(**settings).fit(X, Y))


def test_a_task_is_run_twice_again_at_most(executor, tmp_path):
    config = engine("dask").config
    assert config.get("distributed.scheduler.allowed-failures") > 2  # of Dask: more often
    ended = Crew.of(executor, None).ended(kill_itself, [(tmp_path / "runs",)], ["task 1 of 1"])
    with pytest.raises(WorkerError, match=r"in task 1 of 1: it was run 3 times, and its worker"):
        list(ended)
    assert (tmp_path / "runs").read_bytes() == b"..."


def test_all_workers_that_had_the_rows_died(executor, killing):
    gone = "what it worked on is gone, with all workers that had it or with the scheduler"
    with pytest.raises(WorkerError, match=gone):
        sweep().fit(X, Y, executor=executor, n_tasks=4, callback=partial(killing, count=2))


@pytest.mark.parametrize("deaths", [2, 3])
def test_a_worker_dies_as_the_rows_come_to_it(deaths, client, executor, monkeypatch):
    scatter, left = client.scatter, [OSError("Stream is closed")] * deaths

    def dying(*arguments, **keywords):
        if left:
            raise left.pop()
        return scatter(*arguments, **keywords)

    monkeypatch.setattr(client, "scatter", dying)
    if deaths < 3:
        assert_same_bits(sweep().fit(X, Y, executor=executor), sweep().fit(X, Y))
    else:
        with pytest.raises(
            WorkerError, match=r"died as the rows were brought to it, or .* 3 times"
        ):
            sweep().fit(X, Y, executor=executor)
    assert not left


def test_the_scheduler_keeps_nothing_of_a_fit_that_failed(client, executor):
    def fail(epoch):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        sweep().fit(X, Y, executor=executor, n_tasks=1, callback=fail)
    assert client.get_metadata([f"softstep-{client.id}"]) == {}


def test_ctrl_c_ends_what_trains(client, executor):
    endless = sweep(epochs=100_000, batch_size=10)

    def both_train():
        with suppress(OSError):  # a worker that another test has killed
            return sum(client.run(executing).values()) == 2

    with (
        interrupted_when(both_train),
        pytest.raises(KeyboardInterrupt),
    ):
        endless.fit(X, Y, executor=executor)
    assert comes_true(lambda: sum(client.run(executing).values()) == 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (have_another_version, f"a worker has softstep 9.9.9, but here it is {__version__}"),
        (have_no_softstep, r"a worker cannot import softstep \(.*\): install softstep \d"),
    ],
)
def test_one_worker_is_not_like_the_others(change, message, client, executor):
    one = min(client.ncores())
    client.run(change, workers=[one])
    try:
        with pytest.raises(ValueError, match=message):
            sweep().fit(X, Y, executor=executor)
    finally:
        client.run(have_this_version, __version__, workers=[one])
    sweep().fit(X, Y, executor=executor)


def test_there_are_no_workers():
    distributed = engine("distributed")
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as executor,
        pytest.raises(ValueError, match="executor has no workers"),
    ):
        sweep().fit("not read", Y, executor=executor, n_tasks=2)

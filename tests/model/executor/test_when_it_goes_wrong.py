"""Promise: a worker that dies is one error, and costs its task alone; Ctrl-C leaves nothing."""

import os
import signal
from functools import partial

import numpy as np
import pytest
from only import BETWEEN_PROCESSES
from processes import interrupted_when
from sweeps import assert_same_bits

from softstep import SoftmaxSweep
from softstep.model import CheckpointError, WorkerError

N, D = 3000, 20
Y = np.arange(N) % 3
X = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32) + Y[:, None]
RATES = {"learning_rate": np.geomspace(0.001, 0.1, 8).tolist()}


def sweep(**settings):
    given = {"cv": 2, "epochs": 40, "batch_size": 10, "random_state": 0, **settings}
    return SoftmaxSweep(RATES, **given)


def killing(pool):
    """A callback that kills the workers as the first task ends."""

    def kill(epoch):
        if epoch.tasks[0] == 1:
            for pid in list(pool._processes):
                os.kill(pid, signal.SIGKILL)

    return kill


@BETWEEN_PROCESSES
def test_a_worker_that_dies_is_named_with_its_heads(own_pool):
    fitted = sweep()
    lost = r"a worker died, in (task \d of 8 \(3 heads, of results \d\)( or |:)){1,7} ."
    with pytest.raises(WorkerError, match=lost):
        fitted.fit(X, Y, executor=own_pool, n_tasks=8, callback=killing(own_pool))
    assert not hasattr(fitted, "results_")
    with pytest.raises(ValueError, match="executor is broken, for a worker of it has died"):
        fitted.fit(X, Y, executor=own_pool)


@BETWEEN_PROCESSES
@pytest.mark.parametrize("settings", [{}, {"halving": True, "patience": 2}], ids=["plain", "rungs"])
def test_what_had_ended_is_kept_and_the_rest_is_resumed(settings, own_pool, pool, tmp_path):
    kept = {"checkpoint": tmp_path, "n_tasks": 8}
    with pytest.raises(WorkerError):
        sweep(**settings).fit(X, Y, executor=own_pool, callback=killing(own_pool), **kept)
    with pytest.raises(CheckpointError, match="its trained was 'in tasks', but is not given now"):
        sweep(**settings).fit(X, Y, checkpoint=tmp_path, resume=True)
    told = []
    found = sweep(**settings).fit(X, Y, executor=pool, callback=told.append, resume=True, **kept)
    assert told[0].tasks[1] < 8  # what had ended is not done again
    assert told[0].number + 1 == (10 if settings else 40)
    assert_same_bits(found, sweep(**settings).fit(X, Y))
    again = sweep(**settings).fit(X, Y, executor=pool, resume=True, **kept)
    assert_same_bits(again, found)


def test_an_error_of_a_worker_is_the_error_it_would_be_here(pool):
    bad = X.copy()
    bad[7, 3] = np.nan
    with pytest.raises(ValueError, match=r"X\[7, 3\] is nan: X must hold neither NaN nor inf"):
        sweep().fit(bad, Y, executor=pool)
    with pytest.raises(FloatingPointError, match="every setting diverged"):
        SoftmaxSweep({"learning_rate": [1e30, 1e31], "l2": 0.1}, cv=2, epochs=2).fit(
            X, Y, executor=pool
        )


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ZeroDivisionError])
def test_what_a_callback_raises_cancels_what_is_left_and_takes_its_file_away(
    kind, pool, tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def interrupt(epoch):
        assert [len(list(folder.iterdir())) for folder in tmp_path.iterdir()] == [1]
        raise kind

    with pytest.raises(kind):
        sweep().fit(X, Y, executor=pool, n_tasks=8, callback=interrupt)
    assert list(tmp_path.iterdir()) == []
    quick = sweep(epochs=2)
    assert_same_bits(quick.fit(X, Y, executor=pool), sweep(epochs=2).fit(X, Y))
    assert list(tmp_path.iterdir()) == []


@BETWEEN_PROCESSES
def test_ctrl_c_ends_what_trains(own_pool):
    settings = {"cv": None, "epochs": 100_000}
    fit = partial(sweep(**settings).fit, X, Y, X_val=X, y_val=Y, executor=own_pool)
    with interrupted_when(lambda: own_pool._pending_work_items), pytest.raises(KeyboardInterrupt):
        fit()
    for answer in [own_pool.submit(os.getpid) for _ in range(2)]:
        assert answer.result(timeout=10)


def test_what_falls_short_of_the_optimum_is_said_once(pool):
    fitted = SoftmaxSweep({"C": [1.0, 10.0]}, cv=2, solver="lbfgs", max_iter=1, random_state=0)
    with pytest.warns(UserWarning, match="heads stopped short of tol") as said:
        fitted.fit(X, Y, executor=pool)
    assert len(said) == 1

"""Promise: loky and Dask train the same bits as a pool of processes does."""

import contextlib
import os
import signal

import numpy as np
import pytest
from engines import engine
from on_workers import held
from only import BETWEEN_PROCESSES
from processes import comes_true
from sweeps import assert_same_bits

from softstep import SoftmaxSweep
from softstep.model import WorkerError
from softstep.model.sweep.executor import Crew

Y = np.arange(600) % 3
X = np.random.default_rng(0).standard_normal((600, 10)).astype(np.float32) + Y[:, None]
GRID = {"learning_rate": [0.01, 0.1, 0.3], "l2": [0.1, 0.0], "loss": "cross_entropy"}


def sweep():
    return SoftmaxSweep(GRID, cv=2, epochs=5, halving=True, random_state=0)


@BETWEEN_PROCESSES
def test_loky():
    loky = engine("loky", "joblib.externals.loky")
    with loky.ProcessPoolExecutor(max_workers=2) as executor:
        found = sweep().fit(X, Y, executor=executor)
        assert Crew.of(executor, None).most == 2
        worker = executor.submit(os.getpid).result()

        def kill(epoch):
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)

        with pytest.raises(WorkerError, match=r"a worker died, in task \d of \d "):
            sweep().fit(X, Y, executor=executor, n_tasks=4, callback=kill)
    assert_same_bits(found, sweep().fit(X, Y))


@pytest.mark.filterwarnings("default")
def test_dask(client, tmp_path):
    np.save(tmp_path / "x.npy", X)
    expected = sweep().fit(X, Y)
    with client.get_executor() as executor:
        assert Crew.of(executor, None).most == 2
        assert Crew.of(executor, None).threads(None, 2) == 1
        for given in (X, tmp_path / "x.npy"):
            assert_same_bits(sweep().fit(given, Y, executor=executor), expected)
        optimum = SoftmaxSweep({"C": [0.1, 1.0]}, cv=2, solver="lbfgs", random_state=0)
        found = optimum.fit(X, Y, executor=executor).results_["objective"]
    assert np.array_equal(found, optimum.fit(X, Y).results_["objective"])
    assert comes_true(lambda: set(client.run(held).values()) == {0})  # no rows remain
    with pytest.raises(ValueError, match="executor is closed"):
        sweep().fit(X, Y, executor=executor)
    with pytest.raises(TypeError, match=r"not Client: give its get_executor\(\)"):
        sweep().fit(X, Y, executor=client)

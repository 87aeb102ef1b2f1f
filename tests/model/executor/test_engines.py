"""Promise: loky, Dask and MPI train the same bits as a pool of processes does."""

import os
import signal

import numpy as np
import pytest
from engines import engine, mpiexec
from only import BETWEEN_PROCESSES
from sweeps import assert_same_bits

from softstep import SoftmaxSweep
from softstep.model.sweep.executor import Crew

Y = np.arange(600) % 3
X = np.random.default_rng(0).standard_normal((600, 10)).astype(np.float32) + Y[:, None]
GRID = {"learning_rate": [0.01, 0.1, 0.3], "l2": [0.1, 0.0], "loss": "cross_entropy"}


def sweep():
    return SoftmaxSweep(GRID, cv=2, epochs=5, halving=True, random_state=0)


def test_loky():
    loky = engine("loky", "joblib.externals.loky")
    with loky.ProcessPoolExecutor(max_workers=2) as executor:
        found = sweep().fit(X, Y, executor=executor)
        assert Crew.of(executor, None).most == 2
    assert_same_bits(found, sweep().fit(X, Y))


@pytest.fixture(scope="module")
def client():
    distributed = engine("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.mark.filterwarnings("default")
def test_dask(client, tmp_path):
    np.save(tmp_path / "x.npy", X)
    expected = sweep().fit(X, Y)
    with client.get_executor() as executor:
        assert Crew.of(executor, None).most == 2
        assert Crew.of(executor, None).threads(None) == 1
        for given in (X, tmp_path / "x.npy"):
            assert_same_bits(sweep().fit(given, Y, executor=executor), expected)
        optimum = SoftmaxSweep({"C": [0.1, 1.0]}, cv=2, solver="lbfgs", random_state=0)
        found = optimum.fit(X, Y, executor=executor).results_["objective"]
    assert np.array_equal(found, optimum.fit(X, Y).results_["objective"])
    with pytest.raises(ValueError, match="executor is closed"):
        sweep().fit(X, Y, executor=executor)
    with pytest.raises(TypeError, match=r"not Client: give its get_executor\(\)"):
        sweep().fit(X, Y, executor=client)


@BETWEEN_PROCESSES
@pytest.mark.filterwarnings("default")
def test_dask_runs_the_task_of_a_worker_that_died_again(client):
    killed = []

    def kill(epoch):
        if not killed:
            killed.append(min(client.run(os.getpid).values()))
            os.kill(killed[0], signal.SIGKILL)

    with client.get_executor() as executor:
        found = sweep().fit(X, Y, executor=executor, n_tasks=4, callback=kill)
    assert killed
    assert_same_bits(found, sweep().fit(X, Y))


SCRIPT = """
import sys
import numpy as np
from mpi4py.futures import MPIPoolExecutor
from softstep import SoftmaxSweep

if __name__ == "__main__":
    grid = {"learning_rate": [0.01, 0.1, 0.3], "l2": [0.1, 0.0], "loss": "cross_entropy"}
    sweep = SoftmaxSweep(grid, cv=2, epochs=5, halving=True, random_state=0, n_threads=1)
    X, y = (np.load(f"{sys.argv[1]}/{name}.npy") for name in "xy")
    with MPIPoolExecutor() as executor:
        sweep.fit(X, y, executor=executor)
    np.savez(sys.argv[1] + "/found.npz", *[sweep.estimator(k).coef_ for k in range(6)])
"""


def test_mpi(tmp_path):
    (tmp_path / "fit.py").write_text(SCRIPT)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    ended = mpiexec(3, "-m", "mpi4py.futures", tmp_path / "fit.py", tmp_path)
    assert ended.returncode == 0, ended.stderr
    expected = sweep().fit(X, Y)
    with np.load(tmp_path / "found.npz") as found:
        for k in range(6):
            assert np.array_equal(found[f"arr_{k}"], expected.estimator(k).coef_)

"""Promise: ranks of MPI train the same bits; one that dies ends the job, which can be resumed."""

from functools import partial

import numpy as np
import pytest
from engines import mpiexec
from only import BETWEEN_PROCESSES
from sweeps import assert_same_bits

from softstep import SoftmaxSweep

Y = np.arange(600) % 3
X = np.random.default_rng(0).standard_normal((600, 10)).astype(np.float32) + Y[:, None]
RANKS = 3  # one leads and trains nothing

SCRIPT = """
import os
import signal
import sys
import time
import numpy as np
from mpi4py.futures import MPIPoolExecutor
from softstep import SoftmaxSweep

if __name__ == "__main__":
    folder, kills = sys.argv[1], len(sys.argv) > 2
    grid = {"learning_rate": [0.01, 0.1, 0.3], "l2": [0.1, 0.0], "loss": "cross_entropy"}
    sweep = SoftmaxSweep(grid, cv=2, epochs=5, halving=True, random_state=0, n_threads=1)
    X, y = (np.load(f"{folder}/{name}.npy") for name in "xy")
    with MPIPoolExecutor() as executor:
        worker = executor.submit(os.getpid).result()

        def callback(epoch):
            if kills:
                os.kill(worker, signal.SIGKILL)
                time.sleep(60)

        kept = {"checkpoint": f"{folder}/kept", "n_tasks": 4}
        sweep.fit(X, y, executor=executor, callback=callback, **kept)
    np.savez(f"{folder}/found.npz", *[sweep.estimator(k).coef_ for k in range(6)])
    try:
        sweep.fit(X, y, executor=executor)
    except ValueError as error:
        print(error)
"""


@pytest.fixture
def job(tmp_path):
    """Starts the script in so many ranks."""
    (tmp_path / "fit.py").write_text(SCRIPT)
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    return partial(mpiexec, RANKS, "-m", "mpi4py.futures", tmp_path / "fit.py", tmp_path)


def here(**kept):
    grid = {"learning_rate": [0.01, 0.1, 0.3], "l2": [0.1, 0.0], "loss": "cross_entropy"}
    sweep = SoftmaxSweep(grid, cv=2, epochs=5, halving=True, random_state=0, n_threads=1)
    return sweep.fit(X, Y, **kept)


def test_the_same_bits(job, tmp_path):
    done = job()
    assert done.returncode == 0, done.stderr
    assert "executor has no workers, or is closed" in done.stdout
    expected = here()
    with np.load(tmp_path / "found.npz") as found:
        for k in range(6):
            assert np.array_equal(found[f"arr_{k}"], expected.estimator(k).coef_)


@BETWEEN_PROCESSES
def test_a_rank_that_dies_ends_the_job_and_others_resume_it(job, pool, tmp_path):
    done = job("kills")
    assert done.returncode != 0
    assert not (tmp_path / "found.npz").exists()
    told = []
    kept = {"checkpoint": tmp_path / "kept", "resume": True}
    found = here(executor=pool, callback=told.append, **kept)
    assert told[0].tasks[1] < 4  # the task that had ended is not done again
    assert_same_bits(found, here())

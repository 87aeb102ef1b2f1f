"""Promise: what can train no heads is refused in one sentence, before any rows are read."""

import subprocess
import sys
from concurrent.futures import Executor, ThreadPoolExecutor

import numpy as np
import pytest

import softstep
from softstep import SoftmaxSweep
from softstep.model.archive import DataError
from softstep.model.sweep.executor.shipment import Filed, Mapped

Y = np.arange(60) % 3
X = np.random.default_rng(0).standard_normal((60, 4))


def fit(given=X, **how):
    return SoftmaxSweep({"learning_rate": [0.1, 0.2]}, cv=2, epochs=1).fit(given, Y, **how)


class Silent(Executor):
    """One that does not say how many workers it has."""


class Client:
    """As Dask's."""

    def get_executor(self):
        raise NotImplementedError


class Deserted(Executor):
    """One whose workers are gone."""

    _max_workers = 0


@pytest.mark.parametrize(
    ("executor", "error", "message"),
    [
        (2, TypeError, "executor must be a concurrent.futures.Executor, not int$"),
        (Client(), TypeError, r"not Client: give its get_executor\(\)"),
        (Executor, TypeError, "not type$"),
        (Silent(), TypeError, "Silent does not say how many workers it has: give n_tasks"),
        (Deserted(), ValueError, "executor has no workers, or is closed"),
    ],
)
def test_what_is_no_executor_of_workers(executor, error, message):
    with pytest.raises(error, match=message):
        fit(given="not read", executor=executor)


def test_no_workers_however_many_tasks_are_asked_for():
    with pytest.raises(ValueError, match="executor has no workers"):
        fit(given="not read", executor=Deserted(), n_tasks=4)


def test_threads_for_they_are_used_already():
    with (
        ThreadPoolExecutor(2) as executor,
        pytest.raises(TypeError, match="one of threads, but fit uses the threads of this process"),
    ):
        fit(given="not read", executor=executor)


@pytest.mark.parametrize(
    ("n_tasks", "error", "message"),
    [
        (0, ValueError, "n_tasks must be at least 1"),
        (2.0, TypeError, "n_tasks must be an integer"),
        (2, ValueError, "give executor too"),
    ],
)
def test_numbers_of_tasks(n_tasks, error, message):
    with pytest.raises(error, match=message):
        fit(given="not read", n_tasks=n_tasks)


def test_an_executor_that_is_closed(own_pool):
    own_pool.shutdown()
    with pytest.raises(ValueError, match=r"executor is closed .*: make a new one"):
        fit(given="not read", executor=own_pool)


def test_workers_of_another_version(pool, monkeypatch):
    installed = softstep.__version__
    monkeypatch.setattr(softstep, "__version__", "9.9.9")
    with pytest.raises(ValueError, match=f"has softstep {installed}, but here it is 9.9.9"):
        fit(executor=pool)


UNGUARDED = """
from concurrent.futures import ProcessPoolExecutor
import multiprocessing
import numpy as np
from softstep import SoftmaxSweep

X, y = np.zeros((20, 2), np.float32), np.arange(20) % 2
with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
    SoftmaxSweep({}, cv=2, epochs=1).fit(X, y, executor=executor)
"""


def test_a_script_whose_workers_start_it_again(tmp_path):
    (tmp_path / "fit.py").write_text(UNGUARDED)
    command = [sys.executable, str(tmp_path / "fit.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 1
    assert (
        "WorkerError: a worker died, in its first task (it begins with the script that started "
        'it, but for what is below if __name__ == "__main__"): '
    ) in done.stderr.splitlines()[-1]
    assert "is closed" not in done.stderr


def test_paths_of_other_files(pool, tmp_path):
    (tmp_path / "x.npy").write_text("1,2\n")
    with pytest.raises(DataError, match=r"x.npy: not a .npy array"):
        fit(tmp_path / "x.npy", executor=pool)
    with pytest.raises(FileNotFoundError, match=r"y.npy"):
        fit(tmp_path / "y.npy", executor=pool)


def test_rows_that_a_worker_cannot_read(tmp_path):
    shipment = Filed(b"", str(tmp_path / "rows"), [])
    with pytest.raises(OSError, match=r"a worker on .* cannot read .*rows \(No such"):
        shipment.plan()
    np.save(tmp_path / "x.npy", X)
    mapped = Mapped.of(np.load(tmp_path / "x.npy", mmap_mode="r"))
    assert np.array_equal(mapped.opened(), X)
    np.save(tmp_path / "x.npy", X[:-1])
    with pytest.raises(ValueError, match=r"x.npy is shorter here than X"):
        mapped.opened()


def test_a_folder_without_room(pool, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="none"):
        fit(executor=pool)


def test_a_score_that_workers_cannot_compute(pool):
    def mine(model, x, y):
        return model.score(x, y)

    judged = {"X_val": X, "y_val": Y}
    fitted = SoftmaxSweep({}, epochs=1, random_state=0, scoring={"mine": mine}, refit="accuracy")
    fitted.fit(X, Y, **judged, executor=pool)  # in this process, when they are done
    assert fitted.results_["mean_val_mine"][0] == fitted.results_["mean_val_accuracy"][0]
    with pytest.raises(ValueError, match=r"refit='mine' is a function .* workers .* do not call"):
        fitted.set_params(refit="mine").fit(X, Y, **judged, executor=pool)

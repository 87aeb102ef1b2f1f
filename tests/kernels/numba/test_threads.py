"""Promise: threads change no bit, need no threading layer, and any number of trainings may run."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from processes import is_so_in_child

from softstep import SoftmaxRegression, kernels
from softstep.kernels import threads
from softstep.kernels._numba.parallel import pool, workers
from softstep.kernels.verify import cases

N, D, C, BATCH = 2000, 300, 10, 250


def trained(n_threads=None, seed=0):
    X, y = cases.features(N, D, np.float32, seed), cases.labels(N, C, seed)
    W, b = cases.weights(2, D, C, np.float32, seed)
    order = np.random.default_rng(seed).permutation(N)
    for _ in range(5):
        kernels.train(
            *(X, y, order, BATCH, W, b),
            loss="mse",
            learning_rate=0.5,
            backend="numba",
            n_threads=n_threads,
        )
    return W, b


def assert_same(found, expected):
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_array_equal(f, e)


# How many.


def test_the_argument_wins_over_the_variable_and_the_variable_over_the_cores(monkeypatch):
    monkeypatch.setenv(threads.VARIABLE, "3")
    assert threads_of_large_work(2) == 2
    assert threads_of_large_work(None) == 3
    monkeypatch.setenv(threads.VARIABLE, "")
    assert threads_of_large_work(None) == threads.available_cores()


@pytest.fixture(autouse=True)
def no_variables_of_others(monkeypatch):
    for variable in threads.OF_OTHERS:
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize("variable", threads.OF_OTHERS)
@pytest.mark.parametrize(
    ("value", "expected"), [("1", 1), ("2", 2), ("99", 4), ("1,4", 1), ("", 4), ("x", 4), ("0", 4)]
)
def test_the_variables_of_other_libraries_lower_the_cores(variable, value, expected, monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 4)
    monkeypatch.setenv(variable, value)
    assert threads_of_large_work(None) == expected
    assert threads_of_large_work(3) == 3
    monkeypatch.setenv(threads.VARIABLE, "3")
    assert threads_of_large_work(None) == 3


def test_workers_of_joblib_share_the_cores(monkeypatch):
    joblib = pytest.importorskip("joblib")
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    monkeypatch.setattr("joblib._parallel_backends.cpu_count", lambda *args, **kwargs: 2)
    call = joblib.delayed(threads.threads_for)
    assert joblib.Parallel(n_jobs=2, backend="loky")(call(1e12) for _ in range(2)) == [1, 1]


def test_a_grid_search_on_two_workers_leaves_each_its_share(monkeypatch):
    """Each process of two is told by joblib to take one of two cores, and starts no thread."""
    pytest.importorskip("joblib")
    selection = pytest.importorskip("sklearn.model_selection")
    monkeypatch.delenv(threads.VARIABLE, raising=False)
    monkeypatch.setattr("joblib._parallel_backends.cpu_count", lambda *args, **kwargs: 2)
    V = np.zeros((20_000, 200))

    def started(n_threads):
        kernels.softmax_forward(V, backend="numba", n_threads=n_threads)
        return sum(thread.name == "softstep worker" for thread in threading.enumerate())

    assert started(2) >= 1
    search = selection.GridSearchCV(
        SoftmaxRegression(epochs=1, random_state=0),
        {"l2": [0.0, 0.1]},
        cv=2,
        n_jobs=2,
        scoring=lambda model, X, y: started(model.n_threads),
    )
    y = np.arange(40) % 2
    search.fit(np.eye(2)[y] + 1.0, y)
    assert search.cv_results_["mean_test_score"].tolist() == [0.0, 0.0]


def threads_of_large_work(n_threads):
    threads.ask(n_threads)
    return threads.threads_for(1e12)


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "٣", "1" * 5000])
def test_a_bad_variable_is_named(value, monkeypatch):
    monkeypatch.setenv(threads.VARIABLE, value)
    with pytest.raises(ValueError, match=threads.VARIABLE):
        trained()


@pytest.mark.parametrize(("value", "error"), [(0, ValueError), (1.5, TypeError), ("2", TypeError)])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_a_bad_argument_is_refused_on_every_backend(value, error, backend):
    with pytest.raises(error, match="n_threads"):
        kernels.softmax_forward(np.zeros((2, 3)), backend=backend, n_threads=value)


def test_small_work_is_done_in_one_thread():
    threads.ask(8)
    assert threads.threads_for(1e4) == 1
    assert threads.threads_for(1e9) == min(8, threads.MAX_PER_CORE * threads.available_cores())
    assert threads.threads_for(1e9, 1e4) == 1


@pytest.mark.parametrize(
    ("files", "membership", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, "0::/\n", 1.5),
        ({"cpu.max": "max 100000\n"}, "0::/\n", np.inf),
        ({"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"}, "0::/a/b\n", 2.0),
        (
            {"cpu/a/cpu.cfs_quota_us": "50000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
            "3:cpu,cpuacct:/a\n",
            0.5,
        ),
        (
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            "3:cpu,cpuacct:/\n2:memory:/\n",
            np.inf,
        ),
    ],
)
def test_the_quota_of_the_cgroup_counts(files, membership, expected, tmp_path):
    for name, text in files.items():
        file = tmp_path / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (tmp_path / "membership").write_text(membership)
    assert threads.cgroup_quota(tmp_path / "cgroup", tmp_path / "membership") == expected


# Where.


def test_no_threading_layer_of_numba_is_started():
    trained(2)
    import numba

    with pytest.raises(ValueError, match="not initialized"):
        numba.threading_layer()


@pytest.mark.parametrize("layer", ["workqueue", "omp", "tbb"])
def test_any_choice_of_a_threading_layer_makes_no_difference(layer):
    code = "import test_threads as t; W, b = t.trained(2); print(W.tobytes().hex()[:64], W.sum())"
    environment = {**os.environ, "NUMBA_THREADING_LAYER": layer}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    W, _ = trained(1)
    assert found == [W.tobytes().hex()[:64], str(W.sum())]


def test_several_python_threads_train_at_once():
    expected = [trained(1, seed) for seed in range(4)]
    found = [None] * 4

    def work(seed):
        found[seed] = trained(2, seed)

    at_once = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in at_once:
        thread.start()
    for thread in at_once:
        thread.join(timeout=60)
    for f, e in zip(found, expected, strict=True):
        assert_same(f, e)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # of JAX, where it is loaded too
def test_a_forked_child_trains():
    expected = trained(2)
    assert is_so_in_child(lambda: all(map(np.array_equal, trained(2), expected)))


def test_where_no_thread_can_be_started_the_caller_does_all(monkeypatch):
    expected = trained(2)

    def refuse(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(workers, "_idle", [])
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert_same(trained(2), expected)


def test_a_thread_that_waits_is_taken_and_no_other_started():
    trained(2)
    X, order = cases.features(N, D, np.float32, 0), np.arange(N)
    y, (W, b) = cases.labels(N, C, 0), cases.weights(2, D, C, np.float32, 0)
    for _ in range(10):
        end = time.monotonic() + 10
        while not workers._idle and time.monotonic() < end:
            time.sleep(0.001)
        started = len(workers._all)
        kernels.train(X, y, order, N, W, b, loss="mse", learning_rate=0.1, n_threads=2,
                      backend="numba")  # fmt: skip
        assert len(workers._all) == started > 0


def test_there_are_no_more_workers_than_a_few_for_each_core(monkeypatch):
    monkeypatch.setattr(workers, "MAX_WORKERS", len(workers._all))
    monkeypatch.setattr(workers, "_idle", [])
    expected, alive = trained(1), threading.active_count()
    assert_same(trained(2), expected)
    assert threading.active_count() == alive


def test_work_that_has_not_begun_is_cancelled():
    begun = threading.Event()
    release = threading.Event()
    done = []

    def busy():
        begun.set()
        release.wait(10)

    worker = workers.Worker()
    worker.queue.put([busy, ()])
    begun.wait(10)
    late = [done.append, (1,)]
    worker.queue.put(late)
    late.clear()
    worker.queue.put([done.append, (2,)])
    release.set()
    end = time.monotonic() + 10
    while not done and time.monotonic() < end:
        time.sleep(0.001)
    assert done == [2]


def test_the_estimator_hands_the_number_on(monkeypatch):
    monkeypatch.setenv(threads.VARIABLE, "2")
    X, y = cases.features(N, D, np.float32, 0), cases.labels(N, C, 0)
    sizes = set()
    run = pool.run
    monkeypatch.setattr(
        pool, "run", lambda kernel, size, *job: (sizes.add(size), run(kernel, size, *job))
    )
    model = SoftmaxRegression(epochs=1, random_state=0, batch_size=1000, backend="numba")
    for n_threads in (None, 1):
        sizes.clear()
        model.set_params(n_threads=n_threads).fit(X, y)
        model.predict(X)
        model.predict_proba(X)
        assert max(sizes) == (n_threads or 2)

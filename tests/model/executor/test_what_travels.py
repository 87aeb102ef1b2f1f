"""Promise: rows travel once to a worker: those of a file by its name, others as they are stored."""

import pickle
import tracemalloc

import numpy as np
import pytest

from softstep import SoftmaxSweep
from softstep.model import blocks
from softstep.model.sweep.executor import Crew, shipment, tasks
from softstep.model.sweep.executor.parts import Parcel
from softstep.model.sweep.heads import Training

N, D = 20_000, 100
Y = np.arange(N) % 3
X = np.random.default_rng(0).standard_normal((N, D)).astype(np.float16)


@pytest.fixture
def planned(monkeypatch):
    """The training of a sweep that has not yet begun."""

    def training(given, **settings):
        found = []
        monkeypatch.setattr(Training, "run", lambda self, callback: found.append(self))
        monkeypatch.setattr("softstep.model.sweep.results.trained", lambda *_: 1 / 0)
        grid = {"learning_rate": [0.1, 0.2, 0.3], "loss": "cross_entropy", "l2": 0.1}
        with pytest.raises(ZeroDivisionError):
            SoftmaxSweep(grid, cv=2, epochs=3, random_state=0, **settings).fit(given, Y)
        monkeypatch.undo()
        return found[0]

    return training


def test_an_array_is_written_from_where_it_is_and_mapped(planned, tmp_path):
    plan = planned(X).plan
    tracemalloc.start()
    filed = shipment.Filed.of(plan, str(tmp_path))
    peak = tracemalloc.get_traced_memory()[1]
    opened = filed.plan()
    peaks = peak, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert max(peaks) < X.nbytes / 10
    assert len(pickle.dumps(filed)) < 10_000
    assert opened.data.X.dtype == np.float16
    assert np.array_equal(opened.data.X, X)
    assert opened.data.X.ctypes.data % shipment.ALIGNED == 0
    assert not opened.data.X.flags.writeable
    assert np.array_equal(opened.data.y, plan.data.y)
    assert np.array_equal(opened.held_out.sample_weight, plan.held_out.sample_weight)
    size = (tmp_path / "rows").stat().st_size
    others = plan.data.y, plan.data.sample_weight, plan.held_out.sample_weight
    assert size < X.nbytes + sum(array.nbytes for array in others) + 10_000  # X once


@pytest.mark.parametrize("memory", [None, "120MB"])
def test_a_map_travels_as_its_place(planned, memory, tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")[:, 10:90]
    plan = planned(mapped, memory=memory).plan
    (tmp_path / "folder").mkdir()
    filed = shipment.Filed.of(plan, str(tmp_path / "folder"))
    assert (tmp_path / "folder" / "rows").stat().st_size < 2_000_000
    found = filed.plan()
    opened = found.data.X
    assert found.held_out.X is opened  # mapped once, as X is there once
    assert isinstance(opened, np.memmap) == isinstance(plan.data.X, np.memmap)
    assert np.array_equal(opened, X[:, 10:90])
    if memory is not None:
        blocks.features(opened, "X")
        blocks.page_release(opened)(0, N)
        assert np.array_equal(opened[-3:], X[-3:, 10:90])


def test_a_file_that_is_another_where_the_worker_is_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = shipment.Mapped.of(np.load(tmp_path / "x.npy", mmap_mode="r"))
    other = X.copy()
    other[-1, 7] += 1
    np.save(tmp_path / "x.npy", other)
    with pytest.raises(ValueError, match=r"x.npy holds other values on .* than where fit was"):
        mapped.opened()


def test_a_map_that_may_differ_from_its_file_travels_as_what_it_holds(planned, tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="c")
    mapped[0] = 1
    assert shipment.Mapped.of(mapped) is None
    sent = shipment.Sent.of(planned(mapped).plan)
    assert np.array_equal(sent.plan().data.X[0], np.ones(D))


def test_what_nobody_waits_for_is_given_up(planned, tmp_path):
    training = planned(X)
    filed = shipment.Filed.of(training.plan, str(tmp_path))
    parcel = Parcel.of(training, np.arange(3), threads=1)
    back = tasks.train(filed, parcel, 0, 2)
    assert back.curves.loss.shape == (2, 3)
    assert len(pickle.dumps(back)) < 50_000  # no rows
    (tmp_path / "rows").unlink()
    assert not filed.is_wanted()
    look = tasks._while_wanted(filed)
    with pytest.raises(tasks.UnwantedError, match="was given up"):
        look(None)


def test_threads_of_one_machine_are_shared_by_the_tasks_there_are(pool, monkeypatch):
    monkeypatch.setenv("SOFTSTEP_NUM_THREADS", "6")
    crew = Crew.of(pool, 8)
    shares = [crew.threads(None, count) for count in (1, 2, 8)]
    assert shares == [6, 3, 3]
    assert crew.threads(5, 2) == 5

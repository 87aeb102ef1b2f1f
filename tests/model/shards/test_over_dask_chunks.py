"""Promise: the optimum over the chunks of a Dask array is that of all rows, whoever dies."""

import operator
import os
import signal

import numpy as np
import on_workers
import over_rows
import pytest
from engines import client_of_two, engine
from only import BETWEEN_PROCESSES
from over_rows import (
    LABELS,
    MODELS,
    SWEEPS,
    N,
    X,
    Y,
    assert_same_optimum,
    assert_same_sweep,
    objective,
)
from processes import comes_true

from softstep.model import WorkerError

pytestmark = pytest.mark.filterwarnings("default")
CHUNKS = (100, 0, 250, 50, 200)  # as rows that were filtered leave them


@pytest.fixture(scope="module")
def client():
    with client_of_two() as client:
        yield client


def chunked(array, rows=CHUNKS):
    """The array as Dask's, in chunks of so many rows, and of columns too."""
    dask_array = pytest.importorskip("dask.array")
    if hasattr(array, "tocsr"):
        dense = dask_array.from_array(array.toarray(), chunks=(rows, -1))
        return dense.map_blocks(type(array), dtype=array.dtype)
    if len(array) != N:
        rows = (len(array) // 2, len(array) - len(array) // 2)
    columns = ((5, 5),) if array.shape[1:] == (10,) else tuple((n,) for n in array.shape[1:])
    return dask_array.from_array(array, chunks=(-1, *[-1] * (array.ndim - 1))).rechunk(
        (rows, *columns)
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_model_over_chunks_is_at_the_optimum_of_all_rows(name, client):
    alone, given = over_rows.model(name)
    alone.fit(**given)
    found, _ = over_rows.model(name)
    found.fit(**{name: chunked(array) for name, array in given.items()})
    assert_same_optimum(found, alone)


def test_the_certificate_is_about_all_rows_and_a_rerun_has_the_same_bits(client):
    found = [over_rows.model("plain")[0].fit(chunked(X), Y) for _ in range(2)]
    assert found[0].objective_ == pytest.approx(objective(found[0], {"X": X, "y": Y}), rel=1e-12)
    assert found[0].coef_.tobytes() == found[1].coef_.tobytes()
    assert found[0].bound_ == found[1].bound_


def test_a_sweep_over_chunks_has_the_folds_of_all_rows(client):
    found = over_rows.sweep().fit(chunked(X), chunked(Y))
    assert_same_sweep(found, over_rows.sweep().fit(X, Y))


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_over_chunks_learns_from_the_rows_that_it_is_to_learn_from(name, client):
    given, _ = SWEEPS[name]
    alone = over_rows.sweep(name).fit(**given)
    assert_same_sweep(over_rows.sweep(name).fit(**given | {"X": chunked(X)}), alone)


def test_any_engine_of_dask():
    dask = pytest.importorskip("dask")
    model, given = over_rows.model("plain")
    with dask.config.set(scheduler="threads"):
        model.fit(chunked(X), Y)
    assert_same_optimum(model, over_rows.model("plain")[0].fit(**given))


def test_what_is_made_of_the_sums_is_shared_out(client):
    from softstep.model.shards import chunks

    def ones(shard, pieces):
        return np.ones(5)

    def whose(entries):
        return [(os.getpid(), entry) for entry in entries]

    with chunks.rows_of(chunked(X), "X") as rows:
        found = rows.shards.asked(ones, (), [], operator.add, whose)
    workers, entries = zip(*found, strict=True)
    assert len(set(workers)) == 2
    assert os.getpid() not in workers
    assert set(entries) == {float(rows.count)}


def test_weights_by_which_rows_are_scaled_are_sent_once(monkeypatch):
    dask = pytest.importorskip("dask")
    from softstep.model.shards import chunks

    sent, deal = [], chunks.Chunks.deal
    monkeypatch.setattr(
        chunks.Chunks, "deal", lambda self, *what: sent.append(what) or deal(self, *what)
    )
    model, given = over_rows.model("balanced, scaled, of float64")
    with dask.config.set(scheduler="threads"):
        model.fit(**given | {"X": chunked(given["X"])})
        assert len(sent) == 2  # labels and weights
        sent.clear()
        over_rows.sweep(cv=3).fit(chunked(X), Y)
    assert len(sent) == 3  # and those by which it is judged


@BETWEEN_PROCESSES
def test_what_a_worker_that_dies_had_is_computed_again_to_the_same_bits(client):
    expected = over_rows.model("plain")[0].fit(chunked(X), Y)
    killed = []

    def kill(done):
        if done.number == 3:
            killed.append(min(client.run(os.getpid).values()))
            os.kill(killed[0], signal.SIGKILL)

    found = over_rows.model("plain")[0].fit(chunked(X), Y, callback=kill)
    assert killed
    assert found.coef_.tobytes() == expected.coef_.tobytes()


def test_that_no_worker_is_left_is_an_error_that_says_so(monkeypatch):
    distributed = engine("distributed")
    from softstep.model.shards import chunks

    monkeypatch.setattr(chunks, "PATIENCE", 0.2)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        model, _ = over_rows.model("plain")

        def leave(done):
            cluster.scale(0)

        with pytest.raises(WorkerError, match="no worker of the Dask cluster is left: start some"):
            model.fit(chunked(X), Y, callback=leave)
    assert not hasattr(model, "coef_")


def test_an_answer_may_take_longer_to_come_than_it_is_waited_for_at_a_time(client, monkeypatch):
    from softstep.model.shards import chunks

    monkeypatch.setattr(chunks, "PATIENCE", 0.2)
    with chunks.rows_of(chunked(X, rows=(N,)), "X") as rows:
        assert rows.reduced(on_workers.slow_answer, combine=None) == "it is here"


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_the_workers_keep_nothing_of_a_fit_that_failed(error, client):
    kept = []

    def fail(done):
        kept.append(sum(client.run(on_workers.held).values()))
        raise error

    with pytest.raises(error) as raised:
        over_rows.model("plain")[0].fit(chunked(X), Y, callback=fail)
    assert kept[0] > 0
    assert raised.tb is not None  # which refers to the rows
    assert comes_true(lambda: not any(client.run(on_workers.held).values()))


def test_rows_that_no_chunk_has_are_an_error():
    dask = pytest.importorskip("dask")
    from softstep.model.shards import chunks

    with dask.config.set(scheduler="threads"), chunks.rows_of(chunked(X), "X") as rows:
        assert np.array_equal(rows[[599, 0]], X[[599, 0]])
        for wrong in (-1, 600):
            with pytest.raises(IndexError, match=f"no chunk has row {wrong} of 600"):
                rows[[5, wrong]]


def refused(match, X=None, error=ValueError, *, fitted=None, **given):
    model = over_rows.model("plain")[0] if fitted is None else fitted
    with pytest.raises(error, match=match):
        model.fit(chunked(over_rows.X) if X is None else X, **{"y": Y, **given})


def test_what_cannot_be_meant_is_refused():
    dask_array = pytest.importorskip("dask.array")
    sgd = over_rows.model("plain")[0].set_params(solver="sgd")
    cure = r"give rows that are here, such as X.compute\(\), or take solver='lbfgs'"
    refused(cure, fitted=sgd)
    refused(
        r"^memory does not go with rows on several workers", fitted=over_rows.sweep(memory="1 GB")
    )
    scored = over_rows.sweep(scoring="brier")
    refused(r"^scoring does not go with rows on several workers", fitted=scored)
    refused(r"^executor does not go with rows", fitted=over_rows.sweep(), executor=object())
    unknown = chunked(X)[dask_array.from_array(Y > 0)]
    refused(r"^X has chunks of unknown length: give X.compute_chunk_sizes\(\)", unknown)
    refused(r"^X must be 2-D", chunked(Y))
    refused(r"^X is empty: its shape is \(0, 10\)", chunked(X)[:0])
    refused(r"^X.blocks\[\d\] is complex128. Complex data not", chunked(X.astype(complex)))
    shorter = chunked(X).map_blocks(on_workers.two_rows_less, dtype=X.dtype)
    cure = r"give X.compute_chunk_sizes\(\)$"
    refused(rf"^X.blocks\[3\] has 48 rows, but Dask says 50: {cure}", shorter)
    refused(r"^y has 599 labels, but there are 600 rows", y=Y[1:])
    bad = X.copy()
    bad[477, 7] = np.inf
    refused(r"^X\[477, 7\] is inf: X must hold neither", chunked(bad))
    refused(r"^comm must be a communicator of mpi4py", X, TypeError, comm="world")
    assert chunked(LABELS).dtype.kind == "U"

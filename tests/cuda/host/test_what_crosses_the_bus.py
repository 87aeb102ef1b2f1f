"""Promise: a training on the GPU keeps rows and bank there; what crosses the bus in an epoch is the
order of the rows and figures, and the bits are those of a bank that crosses in each epoch.
"""

import gc
import os
import sys
from collections import Counter

import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.kernels import arrays
from softstep.kernels._cupy.arrays import asarray
from softstep.model import WeightPath, few_shot, trainer, views
from softstep.model.resume import keeper, store

FIGURES = 512  # bytes of an array at most, that are losses, flags, settings or numbers of heads
N, D, C, VAL = 310, 50, 3, 90
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, D)).astype(np.float32)
Y = (X @ RNG.standard_normal((D, C)) + RNG.standard_normal((N, C))).argmax(axis=1)
WEIGHTS = RNG.uniform(0.5, 2.0, N)
HELD_OUT = {"X_val": X[:VAL], "y_val": Y[:VAL]}
RANDOM = RNG.integers(C, size=N)  # labels from which nothing is learned that holds elsewhere

LABELS = ORDER = 8 * N
W = 4 * D * C
SAMPLE = {16 * 4 * D: 16}  # of the rows on the GPU, for their fingerprint
EPOCHS = 5
FIXED = {"backend": "cupy", "epochs": EPOCHS, "batch_size": 100, "random_state": 0}


def crossed(machine, way):
    """How many arrays larger than figures crossed the bus that way, by their bytes."""
    lines = (line for line in machine.log if line.startswith(f"to {way} "))
    sizes = (int(line.split()[-1]) for line in lines)
    return Counter(size for size in sizes if size > FIGURES)


def regression(**settings):
    fixed = {"loss": "cross_entropy", "learning_rate": 0.5, "momentum": 0.5, **FIXED}
    return SoftmaxRegression(**fixed | settings)


def sweep(grid, **settings):
    return SoftmaxSweep(grid, **FIXED | settings)


def found_by(model):
    """All that a fit found, as arrays."""
    if isinstance(model, SoftmaxRegression):
        bank, more = model._bank, [model.loss_curve_, model.coef_, model.intercept_]
    else:
        tables = [np.array(v) for k, v in model.results_.items() if k != "params"]
        bank, more = model._trained.bank, [model.loss_curves_, *tables]
    return [*bank.arrays().values(), *more]


def same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert type(a) is np.ndarray
        assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


@pytest.fixture
def by_the_host(monkeypatch, machine):
    """fit(): what it finds with rows and bank in host memory, which cross in each call."""

    def fitted(fit):
        with monkeypatch.context() as patch:
            patch.setattr(trainer.BankState, "beside", lambda bank, *where: bank)
            patch.setattr(trainer.Rows, "placed", lambda rows: rows)
            machine.log.clear()
            found = found_by(fit())
            assert max(crossed(machine, "host").values()) > EPOCHS
            machine.log.clear()
        return found

    return fitted


def test_a_fit_moves_rows_once_and_the_bank_once_each_way(machine, by_the_host):
    def fit():
        return regression(patience=9).fit(X, Y, WEIGHTS, **HELD_OUT)

    expected = by_the_host(fit)
    same(found_by(fit()), expected)
    held_out = {X[:VAL].nbytes: 1, 8 * VAL: 1}
    rows = {X.nbytes: 1, LABELS: 1, 4 * N: 1}
    assert crossed(machine, "device") == Counter(rows) + Counter(held_out) + Counter(
        {ORDER: EPOCHS, W: 2}
    )
    assert crossed(machine, "host") == Counter(SAMPLE) + Counter({W: 2})


def test_rows_that_are_on_the_gpu_stay_and_held_out_ones_join_them(machine):
    there = asarray(X)
    machine.log.clear()
    model = regression(backend=None).fit(there, Y, **HELD_OUT)
    assert crossed(machine, "device") == Counter(
        {X[:VAL].nbytes: 1, 8 * VAL: 1, ORDER: 1 + EPOCHS, W: 2}  # labels as the order
    )
    same(found_by(model), found_by(regression().fit(X, Y, **HELD_OUT)))


def test_best_weights_are_put_back_on_the_gpu(machine, by_the_host):
    def fit():
        settings = {"learning_rate": 3.0, "patience": 1, "epochs": 9}
        return regression(**settings).fit(X, RANDOM, X_val=X[:VAL], y_val=Y[:VAL])

    expected = by_the_host(fit)
    model = fit()
    same(found_by(model), expected)
    assert model.n_iter_ < 9
    assert crossed(machine, "host") == Counter(SAMPLE) + Counter({W: 2})


def test_ctrl_c_puts_the_best_weights_back_too(machine, by_the_host):
    def interrupt(epoch):
        if epoch.number == 3:
            raise KeyboardInterrupt

    def fit():
        model = regression(patience=9, warm_start=True)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, Y, callback=interrupt, **HELD_OUT)
        return model

    expected = by_the_host(fit)
    same(found_by(fit()), expected)


def test_each_partial_fit_moves_the_bank_once_each_way(machine, by_the_host):
    def fit():
        model = regression()
        for _ in range(3):
            model.partial_fit(X, Y, sample_weight=WEIGHTS)
        return model

    expected = by_the_host(fit)
    same(found_by(fit()), expected)
    assert crossed(machine, "device") == {X.nbytes: 3, LABELS: 2 * 3, 4 * N: 3, W: 2 * 3}
    assert crossed(machine, "host") == {W: 2 * 3}


GRID = {"learning_rate": [0.05, 0.2, 0.5, 50.0], "momentum": 0.5}
SETTINGS = {
    "folds": {"cv": 3},
    "halving": {"cv": 3, "halving": True},
    "patience": {"cv": 3, "patience": 1},
    "both": {"cv": 3, "halving": True, "patience": 2},
}
HEADS = 4 * (1 + 3)


@pytest.mark.parametrize("case", SETTINGS)
def test_a_sweep_moves_rows_once_and_the_bank_once_each_way(case, machine, by_the_host):
    def fit():
        return sweep(GRID, **SETTINGS[case]).fit(X, Y)

    expected = by_the_host(fit)
    model = fit()
    same(found_by(model), expected)
    ran = model.results_["epochs"]
    assert (ran.min() < EPOCHS) == (case != "folds")
    weights, judges = 4 * 4 * N, 4 * 3 * N
    most = {X.nbytes: 1, LABELS: 1, weights: 1, judges: 1, HEADS * W: 2}
    assert crossed(machine, "device") == Counter(most) + Counter({ORDER: ran.max()})
    assert crossed(machine, "host") == Counter(SAMPLE) + Counter({HEADS * W: 2})


def test_a_sweep_judged_by_held_out_rows_moves_them_once(machine, by_the_host):
    def fit():
        soft = np.eye(C)[Y] * 0.7 + 0.1
        held_out = {"X_val": X[:VAL], "y_val": soft[:VAL]}
        return sweep(GRID, patience=2).fit(X, soft, WEIGHTS, **held_out)

    same(found_by(fit()), by_the_host(fit))
    machine.log.clear()
    ran = fit().results_["epochs"].max()
    soft = 8 * C
    assert crossed(machine, "device") == Counter(
        {X.nbytes: 1, soft * N: 1, 4 * N: 1, X[:VAL].nbytes: 1, soft * VAL: 1, 4 * W: 2}
    ) + Counter({ORDER: ran})
    assert crossed(machine, "host") == Counter(SAMPLE) + Counter({4 * W: 2})


def test_the_parts_of_a_bank_whose_heads_see_other_columns_stay_too(machine, by_the_host):
    def fit():
        grid = {"learning_rate": [0.1, 0.5], "features": [(0, 25), (10, 50)], "momentum": [0.5]}
        return sweep(grid, halving=True, patience=2).fit(X, Y, **HELD_OUT)

    expected = by_the_host(fit)
    same(found_by(fit()), expected)
    narrow, wide = (2 * 4 * d * C for d in (25, 40))
    assert crossed(machine, "host") == Counter(SAMPLE) + Counter({narrow: 2, wide: 2})
    to_device = crossed(machine, "device")
    assert (to_device[X.nbytes], to_device[narrow], to_device[wide]) == (1, 2, 2)


def test_rows_that_are_scaled_cross_in_each_epoch_but_the_bank_does_not(machine, by_the_host):
    def fit():
        grid = {"learning_rate": [0.1, 0.5], "scaling": [None, "standard"]}
        return sweep(grid, patience=3, epochs=3).fit(X, Y, **HELD_OUT)

    expected = by_the_host(fit)
    same(found_by(fit()), expected)
    assert crossed(machine, "host") == {2 * W: 4}
    assert crossed(machine, "device")[2 * W] == 4


def test_heads_that_visit_few_rows_stay_too(machine, by_the_host):
    def fit():
        return sweep(GRID, cv=few_shot(Y, 20, 2), patience=2).fit(X, Y)

    expected = by_the_host(fit)
    same(found_by(fit()), expected)
    parts = 1 + 2  # the heads on all rows, and those of each split
    assert crossed(machine, "host")[4 * W] == 2 * parts
    assert crossed(machine, "device")[4 * W] == 2 * parts


# what the host needs


def own_score(model, X, y):
    return model.score(X, y)


@pytest.mark.parametrize("refit", ["balanced_accuracy", "own"])
def test_heads_may_stop_by_a_score_that_reads_their_weights(refit, machine, by_the_host):
    def fit():
        scoring = {"balanced_accuracy": "balanced_accuracy", "own": own_score}
        held_out = {"X_val": X[:VAL], "y_val": Y[:VAL]}
        settings = {"epochs": 3, "patience": 1}
        return sweep(GRID, scoring=scoring, refit=refit, **settings).fit(X, Y, **held_out)

    expected = by_the_host(fit)
    same(found_by(fit()), expected)


def test_a_function_scores_folds_of_rows_that_are_given_on_the_gpu(machine):
    results = sweep(GRID, scoring=own_score, cv=2, epochs=2).fit(asarray(X), Y).results_
    np.testing.assert_allclose(results["mean_val_score"], results["mean_val_accuracy"], rtol=1e-12)
    assert results["mean_val_score"].max() > 0.5


def test_a_path_takes_the_weights_of_its_points(machine):
    path = WeightPath()
    regression().fit(X, Y, path=path)
    assert crossed(machine, "host") == Counter(SAMPLE) + Counter({W: 2 + len(path) - 1})
    whole = [regression(max_steps=steps).fit(X, Y).coef_.T for steps in path.steps[1:4]]
    assert np.array_equal(path.W[1:4], whole)


def test_a_callback_finds_the_weights_of_its_epoch(backend):
    seen, model = [], regression(backend=backend, epochs=3, scaling="standard")

    def look(epoch):
        seen.append((model.coef_.copy(), model.predict(X)))

    model.fit(X, Y, callback=look)
    for number, (coef, labels) in enumerate(seen):
        alone = regression(backend=backend, epochs=number + 1, scaling="standard").fit(X, Y)
        assert np.array_equal(coef, alone.coef_)
        assert np.array_equal(labels, alone.predict(X))


@pytest.fixture
def copies(monkeypatch):
    """A checkpoint after each step; the copies of the state, counted."""
    monkeypatch.setattr(keeper, "SLICE", 0.0)
    monkeypatch.setattr(keeper, "PER_BYTE", 0.0)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    state, counted = keeper.Keeper._state, []

    def counting(self):
        counted.append(1)
        return state(self)

    monkeypatch.setattr(keeper.Keeper, "_state", counting)
    return counted


def test_only_copies_of_the_state_take_the_bank_to_the_host(machine, copies, tmp_path):
    regression(epochs=2).fit(X, Y, checkpoint=tmp_path, checkpoint_every=0)
    assert len(copies) == 2 * 4  # one for each step
    assert crossed(machine, "host")[W] == 2 + 2 * len(copies)
    assert crossed(machine, "device")[W] == 2


class Broken(Exception):
    """The process is gone."""


def of_one(**checkpoint):
    return regression(patience=2, epochs=3).fit(X, Y, WEIGHTS, **HELD_OUT, **checkpoint)


def of_many(**checkpoint):
    return sweep(GRID, cv=2, patience=1, halving=True, epochs=4).fit(X, Y, **checkpoint)


@pytest.mark.parametrize("after", [1, 6, 11])
@pytest.mark.parametrize("fit", [of_one, of_many])
def test_broken_off_it_resumes_on_the_gpu_to_the_same_bits(
    fit, after, machine, copies, tmp_path, monkeypatch
):
    whole, write, written = found_by(fit()), store.Store.write, []

    def breaking(self, saved):
        write(self, saved)
        written.append(1)
        if len(written) == after:
            raise Broken

    with monkeypatch.context() as patch:
        patch.setattr(store.Store, "write", breaking)
        with pytest.raises(Broken):
            fit(checkpoint=tmp_path, checkpoint_every=0)
    same(found_by(fit(checkpoint=tmp_path, checkpoint_every=0, resume=True)), whole)


# what there is for it


@pytest.fixture(params=["host", "gpu", "another gpu"])
def place(request, machine):
    """Moves an array to where it is kept; GPU 0 is the current one."""

    def move(array):
        with sys.modules["cupy"].cuda.Device(1):
            return asarray(array)

    return {"host": np.copy, "gpu": asarray, "another gpu": move}[request.param]


def test_heads_are_taken_put_and_looked_at_where_they_are(place, machine):
    given = RNG.standard_normal((4, 5, 3)).astype(np.float32)
    some, bank = np.array([3, 1]), place(given)
    few, all_of_them = arrays.taken(bank, some), arrays.taken(bank, ...)
    arrays.put(bank, some, arrays.taken(bank, np.array([0, 2])))
    mixed = given.copy()
    mixed[some] = given[[0, 2]]
    for found, expected in ((few, given[some]), (all_of_them, given), (bank, mixed)):
        assert type(found) is type(bank)
        assert np.array_equal(arrays.host_copy(found), expected)
    arrays.put(bank, ..., given)
    assert views.are_finite(bank).tolist() == [True] * 4
    mixed[2, 4, 1] = np.inf
    arrays.put(bank, np.array([2]), mixed[2:3])
    assert views.are_finite(bank).tolist() == [True, True, False, True]
    none = np.empty(0, np.int64)
    arrays.put(bank, none, arrays.taken(bank, none))
    assert arrays.host_copy(bank)[2, 4, 1] == np.inf
    assert machine.device == 0


def test_a_host_copy_has_memory_of_its_own():
    array = np.ones(3)
    assert not np.shares_memory(arrays.host_copy(array), array)


def test_a_bank_without_room_is_the_error_of_too_little_memory(machine):
    model = regression().fit(X, Y)
    before = model.coef_
    room = asarray(X)
    gc.collect()
    machine.memory = machine.used + W - 1
    with pytest.raises(MemoryError, match=r"^out of GPU memory: 600 bytes asked for \(shape"):
        model.fit(room, Y)
    assert model.coef_ is before
    for index in (..., np.arange(N)):
        with pytest.raises(MemoryError, match=r"^out of GPU memory: "):
            arrays.taken(room, index)


def test_a_training_that_diverges_says_so_on_the_gpu_too(machine):
    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="diverged in epoch"):
        regression(learning_rate=1e30, loss="mse", l2=1.0).fit(X, Y)
    grid = {"learning_rate": [0.1, 1e30], "l2": 1.0}
    there, here = (
        sweep(grid, backend=b, cv=2, epochs=2).fit(X, Y).results_["diverged"]
        for b in ("cupy", "numpy")
    )
    assert there.tolist() == here.tolist() == [False, True]


def test_a_sweep_on_another_gpu_than_the_current_one_drops_heads_there(machine):
    def fit(x, **settings):
        return found_by(sweep(GRID, halving=True, patience=1, **settings).fit(x, Y, **HELD_OUT))

    with sys.modules["cupy"].cuda.Device(1):
        there = asarray(X)
    same(fit(there, backend=None), fit(X))
    assert machine.device == 0


def test_the_sizes_here_tell_all_arrays_apart():
    sizes = [X.nbytes, X[:VAL].nbytes, LABELS, 4 * N, 8 * VAL, W, HEADS * W, 4 * 4 * N, 4 * 3 * N]
    assert len(set(sizes)) == len(sizes)
    assert min(sizes) > FIGURES
    assert 4 * 8 * HEADS <= FIGURES  # the losses of an epoch

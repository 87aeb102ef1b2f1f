"""Promise: whoever trains the heads of a sweep, they have the bits of one process."""

import numpy as np
import pytest
from sweeps import assert_same_bits

from softstep import SoftmaxSweep
from softstep.model import few_shot
from softstep.model.sweep.executor import rounds

N, D, C = 400, 12, 3
RNG = np.random.default_rng(0)
Y = RNG.integers(C, size=N)
X = (RNG.standard_normal((C, D))[Y] + RNG.standard_normal((N, D))).astype(np.float32)
PIXELS = RNG.integers(256, size=(N, D)).astype(np.uint8)
SOFT = RNG.dirichlet(np.ones(C), N).astype(np.float32)
HELD_OUT = {"X_val": X[300:], "y_val": Y[300:]}
RATES = {"learning_rate": np.geomspace(0.01, 1, 7).tolist()}
VIEWS = {"features": [(0, 5), (5, 12), (2, 9)], "scaling": [None, "standard"]}
CE = {"loss": "cross_entropy"}

SWEEPS = {
    "folds and halving": ({**RATES, "momentum": [0.0, 0.9]}, {"cv": 3, "halving": True}),
    "patience": ({**RATES, **CE}, {"cv": 3, "patience": 1, "halving": True}),
    "certificates": ({**RATES, **CE, "l2": [0.0, 0.1]}, {"cv": 2}),
    "bootstraps": (RATES, {"n_bootstrap": 3, "bootstrap": "multinomial"}),
    "views": (VIEWS | RATES, {"cv": 2, "halving": True}),
    "weights": ({**RATES, **CE}, {"cv": 2, "class_weight": "balanced", "schedule": "cosine"}),
    "steps": (RATES, {"cv": 2, "max_steps": 50, "eval_every": 1}),
    "one that diverges": ({"learning_rate": [0.1, 1e30], "l2": 0.1, **CE}, {"cv": 2}),
    "splits of few rows": (RATES, {"cv": few_shot(Y, 5, 2) + few_shot(Y, 20, 1), "halving": True}),
    "scores": (
        {**RATES, **CE},
        {"cv": 3, "halving": True, "patience": 1, "scoring": ["roc_auc_ovr", "brier", "macro_f1"]},
    ),
    "plain NumPy": (RATES, {"cv": 2, "backend": "numpy"}),
    "the optimum": ({"C": [0.01, 1.0, 100.0], **CE}, {"cv": 2, "solver": "lbfgs"}),
    "the optimum of views": (VIEWS | CE | {"l2": [0.01, 0.1]}, {"cv": 2, "solver": "lbfgs"}),
    "an optimum without a bound": (
        {"l2": [0.01, 0.1], "loss": "mse"},
        {"cv": 2, "solver": "lbfgs"},
    ),
}


def sweep(param_grid=RATES, **settings):
    of_sgd = {} if settings.get("solver") == "lbfgs" else {"epochs": 5, "batch_size": 25}
    return SoftmaxSweep(param_grid, **{**of_sgd, "random_state": 0, **settings})


@pytest.mark.parametrize("n_tasks", [None, 3])
@pytest.mark.parametrize("name", SWEEPS)
def test_of_every_kind_of_sweep(name, n_tasks, pool):
    grid, settings = SWEEPS[name]
    expected = sweep(grid, **settings).fit(X, Y)
    found = sweep(grid, **settings).fit(X, Y, executor=pool, n_tasks=n_tasks)
    assert_same_bits(found, expected)


@pytest.mark.parametrize(
    "rows",
    [
        {"X": X, "y": np.stack([Y, Y[::-1]], axis=1)},
        {"X": X[:300], "y": SOFT[:300], "X_val": X[300:], "y_val": SOFT[300:]},
        {"X": X[:300], "y": Y[:300], "sample_weight": np.arange(1.0, 301.0), **HELD_OUT},
        {"X": PIXELS[:300], "y": Y[:300], "X_val": PIXELS[300:], "y_val": Y[300:]},
        {"X": X.astype(np.float16)[:, 1:-1], "y": Y},
        {"X": np.asfortranarray(X.astype(np.float64)), "y": np.array(list("abc"))[Y]},
    ],
    ids=["label sets", "soft targets", "held out", "pixels", "float16", "float64 by columns"],
)
def test_of_every_kind_of_rows(rows, pool):
    cv = None if "X_val" in rows else 2
    expected = sweep(cv=cv, halving=True).fit(**rows)
    assert_same_bits(sweep(cv=cv, halving=True).fit(**rows, executor=pool), expected)


@pytest.mark.parametrize("n_tasks", [None, 3])
@pytest.mark.parametrize("settings", [{}, {"cv": few_shot(Y, 20, 1)}], ids=["folds", "few rows"])
def test_of_an_optimum_of_label_sets_that_have_unlike_numbers_of_classes(settings, n_tasks, pool):
    grid, settings = {"C": [0.01, 1.0], **CE}, {"cv": 2, "solver": "lbfgs", **settings}
    sets = np.stack([Y, Y == 1, Y[::-1]], axis=1).astype(int)
    expected = sweep(grid, **settings).fit(X, sets)
    found = sweep(grid, **settings).fit(X, sets, executor=pool, n_tasks=n_tasks)
    assert_same_bits(found, expected)


def test_of_sparse_rows(pool):
    sparse = pytest.importorskip("scipy.sparse")
    rows = sparse.random(N, 60, density=0.1, format="csr", random_state=0, dtype=np.float32)
    expected = sweep(cv=2).fit(rows, Y)
    assert_same_bits(sweep(cv=2).fit(rows, Y, executor=pool), expected)


@pytest.mark.parametrize("memory", [None, "60MB"])
def test_of_files_that_each_worker_maps(memory, pool, tmp_path):
    wide = np.zeros((N, D + 8), np.float16)
    wide[:, 3 : 3 + D] = X
    np.save(tmp_path / "x.npy", wide)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    grid = RATES | {"features": [(3, 3 + D), (0, 9)]}
    expected = sweep(grid, cv=2, memory=memory).fit(mapped, Y)
    for given in (mapped, tmp_path / "x.npy", str(tmp_path / "x.npy")):
        assert_same_bits(sweep(grid, cv=2, memory=memory).fit(given, Y, executor=pool), expected)


def test_a_sweep_of_fewer_settings_than_workers(pool):
    expected = sweep({"learning_rate": 0.1}).fit(X, Y, **HELD_OUT)
    found = sweep({"learning_rate": 0.1}).fit(X, Y, **HELD_OUT, executor=pool)
    assert_same_bits(found, expected)


def test_folds_from_a_generator_and_more_tasks_than_any_machine_has_room_for(pool):
    def folds():
        for k in range(3):
            judged = np.arange(N) % 3 == k
            yield np.flatnonzero(~judged), np.flatnonzero(judged)

    expected = sweep(cv=folds()).fit(X, Y)
    found = sweep(cv=folds()).fit(X, Y, executor=pool, n_tasks=10**12)
    assert_same_bits(found, expected)


def test_a_callback_is_told_of_each_task(pool):
    told = []
    sweep(cv=2, halving=True).fit(X, Y, executor=pool, callback=told.append)
    rungs = [1, 2, 4, 5]  # three halvings of seven settings, and the end
    assert [epoch.number + 1 for epoch in told] == [rung for rung in rungs for _ in range(2)][:7]
    assert [epoch.tasks for epoch in told] == [(1, 2), (2, 2)] * 3 + [(1, 1)]
    assert told[0].epochs == 5
    assert all(epoch.best is not None for epoch in told)
    assert [epoch.alive for epoch in told] == [21, 21, 12, 12, 6, 6, 3]


def test_a_callback_that_returns_true_ends_it_when_all_heads_are_as_far(pool):
    def stop(epoch):
        return epoch.number + 1 == 2

    stopped = sweep(cv=2, halving=True).fit(X, Y, executor=pool, callback=stop)
    expected = sweep(cv=2, halving=True).fit(X, Y, callback=stop)
    assert_same_bits(stopped, expected)


def test_heads_are_dealt_evenly_and_each_once():
    load = np.array([5.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    hands = rounds.dealt(load, 2)
    assert [hand.tolist() for hand in hands] == [[0], [2, 3, 4, 5, 6]]
    assert [hand.tolist() for hand in rounds.dealt(np.ones(5), 3)] == [[0, 3], [1, 4], [2]]
    assert rounds.dealt(np.zeros(3), 2) == []
    assert len(rounds.dealt(np.ones(3), 8)) == 3

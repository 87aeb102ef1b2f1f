"""Promise: on CSR the ops give what they give on dense rows, from the values that are stored."""

import dataclasses
import importlib
import inspect
import itertools

import numpy as np
import pytest

from softstep import kernels
from softstep.kernels import CSR, BackendError
from softstep.kernels.csr import settle
from softstep.kernels.integers import ceil_div
from softstep.kernels.losses import LOSSES
from softstep.kernels.registry import BACKENDS
from softstep.kernels.verify import cases, parity, train_bounds
from softstep.kernels.verify.bounds import Arithmetic

N, D, C, H, BATCH = 37, 90, 7, 3, 10
STEPS = ceil_div(N, BATCH)
DTYPES = ("float32", "float64", "uint8")
MOST_ALIKE = 3  # values that a row stores at one feature
BY_HEAD = ("loss", "l2", "y_index", "weight_index")


@pytest.fixture(params=["numpy", "numba"])
def backend(request):
    return request.param


def rows_of(dtype, index=np.int32, n=N, d=D, seed=0):
    """The same rows in CSR and dense. Some rows and most columns are empty; features come in any
    order, one of them up to three times in a row, and some of the values are 0."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(3, 12, n)
    counts[[2, n - 1]] = 0
    indptr = np.r_[0, np.cumsum(counts)]
    chosen = [2 * rng.choice(np.arange(5, d // 2), count, replace=False) for count in counts]
    for r, features in enumerate(chosen):
        features[: MOST_ALIKE - r % 2] = 8
    indices = np.concatenate(chosen)
    data = cases.features(1, len(indices), dtype, seed)[0]
    if dtype == "uint8":
        data //= MOST_ALIKE  # so that their sums are uint8 too
    data[indices == 8] = abs(data[indices == 8])  # else little may be left of their sum
    data[rng.random(len(data)) < 0.1] = 0
    dense = np.zeros((n, d), dtype)
    np.add.at(dense, (np.repeat(np.arange(n), counts), indices), data)
    return CSR(data, indices.astype(index), indptr.astype(index), d), dense


def bank_of(dtype, h=H, c=C, d=D, n=N):
    """What `train` is given: heads that differ in everything. Row 5 comes twice in the order."""
    rng = np.random.default_rng((h, c))
    W, b = cases.weights(h, d, c, cases.weight_dtype(dtype), 0)
    order = rng.permutation(n)
    order[0] = 5
    return {
        "y": rng.integers(0, c, (2, n)),
        "order": order,
        "W": W,
        "b": b,
        "loss": [list(LOSSES)[k % len(LOSSES)] for k in range(h)],
        "learning_rate": rng.uniform(0.01, 0.3, (ceil_div(n, BATCH), h)),
        "l2": rng.uniform(0, 0.1, h),
        "sample_weight": rng.uniform(0, 2, (2, n)) * (rng.random((2, n)) > 0.1),
        "y_index": np.arange(h) % 2,
        "weight_index": np.arange(h) // 2 % 2,
        "feature_scale": cases.feature_scale(dtype),
    }


def trained(X, bank, backend, heads=slice(None), rows=slice(None), **options):
    """losses, correct, W, b and active, of some heads over some of the order."""
    options = {**bank, "active": np.ones(len(bank["W"]), bool)[heads], **options}
    y, order = options.pop("y"), options.pop("order")[rows]
    W, b = options.pop("W")[heads].copy(), options.pop("b")[heads].copy()
    first = (rows.start or 0) // BATCH
    rates = options["learning_rate"][first : first + ceil_div(len(order), BATCH), heads]
    options |= {name: None if options[name] is None else options[name][heads] for name in BY_HEAD}
    options |= {"learning_rate": rates, "backend": backend}
    return *kernels.train(X, y, order, BATCH, W, b, **options), W, b, options["active"]


def assert_same_bits(found, expected):
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_array_equal(f, e, strict=True)
        assert f.tobytes() == e.tobytes()  # signs of zeros and NaN included


def assert_is_dense(found, dense, bank):
    """Within the bounds of the dense rows, in an arithmetic whose roundings are as many times as
    large as there are more of them here: a step adds its products to a weight one by one, at most
    MOST_ALIKE of each row, and rounds its factors, which have the decay in them, four times."""
    options = dict(bank)
    positional = (dense, *(options.pop(name) for name in ("y", "order")), BATCH)
    positional = (*positional, options.pop("W"), options.pop("b"))
    exact = parity.wide((positional, options))
    truth = parity.run("train", exact, parity.ORACLE)
    a, wide = (Arithmetic.of(dtype) for dtype in (bank["W"].dtype, np.float64))
    coarser = Arithmetic((MOST_ALIKE * BATCH + 4) * a.u + wide.u, a.tiny + wide.tiny)
    bounds = train_bounds.train(coarser, *exact[0], **exact[1])
    for f, t, bound in zip(found, truth, bounds[:4], strict=True):
        assert parity.worst(f, t, bound) <= 1
        assert parity.worst(np.zeros_like(t), t, bound) > 1


SOFT = {"y_index": None, "loss": ["mse", "cross_entropy", "mse"]}
CHANGES = {
    "all": {},
    "l2 on the bias": {"l2_bias": True},
    "no bias": {"fit_bias": False},
    "plain": {"l2": np.zeros(H), "sample_weight": None, "weight_index": None},
    "soft targets": SOFT,
    # l2 takes off so much that the weights take the decay in on the way: all of it, most, too much
    "strong l2": {"l2": np.array([2.0, 1.9, 3.0]), "learning_rate": np.full((STEPS, H), 0.5)},
}


@pytest.mark.parametrize("changes", CHANGES)
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", DTYPES)
def test_train_is_that_of_the_dense_rows(dtype, index, changes, backend):
    X, dense = rows_of(dtype, index)
    bank = {**bank_of(dtype), **CHANGES[changes]}
    if changes == "soft targets":
        bank["y"] = cases.probabilities(N, C, cases.weight_dtype(dtype), 1)
    *found, active = trained(X, bank, backend)
    assert active.all()
    assert_is_dense(found, dense, bank)


@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("c", "n"), [(1, 5), (3, 113), (21, 300)])
def test_what_is_predicted_is_that_of_the_dense_rows(c, n, dtype, index, backend):
    (X, dense), W_b = rows_of(dtype, index, n=n), cases.weights(2, D, c, np.float64, 0)
    W, b = (a.astype(cases.weight_dtype(dtype)) for a in W_b)
    y, scale = cases.labels(n, c, 0), cases.feature_scale(dtype)
    figures = {"loss": "cross_entropy", "sample_weight": np.arange(n) % 3}
    for op, given, options in (
        ("linear_forward", (W[0], b[0]), {}),
        ("predict", (W, b), {}),
        ("evaluate", (y, W, b), figures),
    ):
        options = {**options, "feature_scale": scale}
        found = parity.run(op, ((X, *given), options), backend)
        truth, bounds = parity.truth_and_bounds(op, ((dense, *given), options))
        assert max(parity.ratios(found, truth, bounds)) <= 1


def test_a_row_without_values_has_the_bias_for_logits(backend):
    X, _ = rows_of("float32")
    W, b = cases.weights(1, D, C, "float32", 0)
    V = kernels.linear_forward(X, W[0], b[0], backend=backend)
    np.testing.assert_array_equal(V[2], b[0])
    nothing = CSR(np.empty(0, "f4"), np.empty(0, "i4"), np.zeros(4, "i4"), D)
    V = kernels.linear_forward(nothing, W[0], b[0], backend=backend)
    np.testing.assert_array_equal(V, np.tile(b, (3, 1)))


def test_a_step_changes_the_weights_of_its_features_alone(backend):
    X, dense = rows_of("float32")
    bank = bank_of("float32") | {"l2": np.zeros(H)}
    W = trained(X, bank, backend, rows=slice(0, BATCH))[2]
    occurs = (dense[bank["order"][:BATCH]] != 0).any(axis=0)
    assert (bank["W"] != W).any(axis=(0, 2)).tolist() == occurs.tolist()


@pytest.mark.parametrize("dtype", DTYPES)
def test_calls_on_slices_of_whole_batches_that_hand_on_the_decay_equal_one_call(dtype, backend):
    X, _ = rows_of(dtype)
    for l2 in (0.1, 2.0):
        bank = bank_of(dtype) | {"l2": np.array([0.0, l2, l2 / 2])}
        whole = trained(X, bank, backend)
        for cuts in ([20], [10, 30], [10, 20, 30]):
            decay, (W, b), parts = np.ones(H), (bank["W"], bank["b"]), []
            for first, end in itertools.pairwise([0, *cuts, N]):
                start = bank | {"W": W, "b": b}
                rows = slice(first, end)
                parts.append(trained(X, start, backend, rows=rows, decay=decay))
                W, b = parts[-1][2:4]
            assert decay[0] == 1
            assert (decay[1:] != 1).any()
            settle(W, decay)
            figures = [np.concatenate([part[i] for part in parts]) for i in (0, 1)]
            assert_same_bits([*figures, W, b, parts[-1][4]], whole)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("c", [1, 3, 10])
def test_a_head_in_a_bank_equals_the_head_alone(c, dtype, backend):
    X, _ = rows_of(dtype)
    bank = bank_of(dtype, h=7, c=c) | {"l2": np.linspace(0, 3, 7)}
    together = trained(X, bank, backend)
    labels = kernels.predict(X, *together[2:4], backend=backend)
    for k in range(7):
        one = slice(k, k + 1)
        alone = trained(X, bank, backend, heads=one)
        assert_same_bits(alone, [t[:, one] for t in together[:2]] + [t[one] for t in together[2:]])
        assert_same_bits([kernels.predict(X, *alone[2:4], backend=backend)], [labels[one]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_number_of_threads_changes_no_bit(dtype):
    n, d, h = 3000, 900, 9  # large enough that the threads are used
    X, _ = rows_of(dtype, n=n, d=d)
    X = CSR(np.tile(X.data, 30), np.tile(X.indices, 30), X.indptr * 30, d)
    bank = bank_of(dtype, h=h, d=d, n=n)
    options = {"loss": bank["loss"], "backend": "numba"}
    results = []
    for n_threads in (1, 2, 3, 7):
        found = trained(X, bank, "numba", n_threads=n_threads)
        W, b = found[2:4]
        V = kernels.linear_forward(X, W[0], b[0], backend="numba", n_threads=n_threads)
        labels = kernels.predict(X, W, b, backend="numba", n_threads=n_threads)
        means = kernels.evaluate(X, bank["y"][0], W, b, **options, n_threads=n_threads)
        results.append([*found, V, labels, *means])
    for result in results[1:]:
        assert_same_bits(result, results[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_diverging_head_harms_no_other_and_keeps_its_weights(dtype, backend):
    X, _ = rows_of(dtype)
    bank = bank_of(dtype)
    usual = trained(X, bank, backend)
    rates = bank["learning_rate"].copy()
    rates[1, 1] = 1e38 if dtype == "float32" else 1e308
    l2 = np.where(np.arange(H) == 1, 1e10, bank["l2"])
    found = trained(X, bank, backend, learning_rate=rates, l2=l2)
    others = [0, 2]
    assert found[-1].tolist() == [True, False, True]
    assert_same_bits([f[:, others] for f in found[:2]], [u[:, others] for u in usual[:2]])
    assert_same_bits([f[others] for f in found[2:4]], [u[others] for u in usual[2:4]])
    assert np.isfinite(found[0][:2, 1]).all()
    assert np.isnan(found[0][2:, 1]).all()
    two_steps = trained(X, bank, backend, rows=slice(0, 20), learning_rate=rates, l2=l2)
    assert_same_bits([f[1] for f in found[2:4]], [t[1] for t in two_steps[2:4]])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_value_freezes_every_head_before_the_step_that_would_use_it(bad, backend):
    X, _ = rows_of("float32")
    bank = bank_of("float32")
    before = trained(X, bank, backend, rows=slice(0, 20))
    third = bank["order"][20:30]
    row = third[np.diff(X.indptr)[third] > 0][4]
    X.data[X.indptr[row]] = bad
    *found, active = trained(X, bank, backend)
    assert not active.any()
    assert np.isnan(found[0][2:]).all()
    assert_same_bits([found[0][:2], found[1][:2], *found[2:]], before[:4])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_inactive_head_is_left_alone_whatever_it_holds(dtype, backend):
    X, _ = rows_of(dtype)
    bank = bank_of(dtype)
    usual = trained(X, bank, backend)
    bank["W"][1], bank["b"][1] = np.nan, -0.0
    bank["W"][1, 8] = -0.0
    found = trained(X, bank, backend, active=np.array([True, False, True]))
    assert_same_bits([found[2][1], found[3][1]], [bank["W"][1], bank["b"][1]])
    others = [0, 2]
    assert_same_bits([f[others] for f in found[2:4]], [u[others] for u in usual[2:4]])


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_a_backend_has_the_ops_on_csr_in_files_of_the_same_name(name):
    oracle = importlib.import_module(BACKENDS["numpy"].package).sparse
    package = importlib.import_module(BACKENDS[name].package).sparse
    assert set(package.__all__) == {"linear_forward", "predict", "evaluate", "train"}
    for op in oracle.__all__:
        mine, other = getattr(package, op), getattr(oracle, op)
        assert inspect.signature(mine) == inspect.signature(other)
        file = other.__module__.rpartition(".")[2]
        assert mine.__module__ == f"{BACKENDS[name].package}.sparse.{file}"


REFUSED = [
    ({"indices": np.full(3, D)}, ValueError, "X.indices has 3 entries, but X.data has"),
    ({"n_features": 9}, ValueError, r"X.indices\[\d+\] = \d+ is not in \[0, 9\)"),
    ({"n_features": 0}, ValueError, "X.n_features must be at least 1"),
    ({"data": np.ones(3, "f2")}, TypeError, "X.data must be float32 or float64 or uint8"),
    ({"indices": np.ones(3)}, TypeError, "X.indices must hold integers, not float64"),
    (
        {"indptr": np.array([0, 3, 1])},
        ValueError,
        "X.indptr must be n \\+ 1 numbers that never fall",
    ),
    ({"indptr": np.array([0, 10**6])}, ValueError, "X.indptr must be"),
    ({"indptr": np.array([-1, 2])}, ValueError, "X.indptr must be"),
    ({"indptr": np.array([], int)}, ValueError, "X.indptr must be"),
]


@pytest.mark.parametrize(("changes", "error", "message"), REFUSED)
def test_numbers_that_lead_nowhere_are_refused(changes, error, message, backend):
    X = dataclasses.replace(rows_of("float32")[0], **changes)
    with pytest.raises(error, match=message):
        kernels.predict(X, np.zeros((D, 2), "f4"), np.zeros(2, "f4"), backend=backend)


def test_what_csr_does_not_go_with_is_refused(backend):
    X, dense = rows_of("float32")
    bank = bank_of("float32")
    velocity = np.zeros_like(bank["W"]), np.zeros_like(bank["b"])
    for options in ({"momentum": 0.9}, {"velocity": velocity}):
        with pytest.raises(ValueError, match="CSR is trained without momentum and velocity"):
            trained(X, bank, backend, **options)
    with pytest.raises(ValueError, match="decay is for CSR"):
        trained(dense, bank, backend, decay=np.ones(H))
    with pytest.raises(ValueError, match=r"decay has shape \(1,\)"):
        trained(X, bank, backend, decay=np.ones(1))
    shared = CSR(bank["W"][0, 0], np.zeros(C, "i4"), np.array([0] * N + [C], "i4"), D)
    W, b, options = bank["W"], bank["b"], {"loss": "mse", "learning_rate": 0.1, "backend": backend}
    with pytest.raises(ValueError, match="overlaps"):
        kernels.train(shared, bank["y"][0], np.arange(N), BATCH, W, b, **options)
    with pytest.raises(TypeError, match="X is CSR, which this op does not read"):
        kernels.gradient(X, bank["y"][0], bank["W"], bank["b"], loss="mse", backend=backend)


def test_a_backend_without_kernels_for_csr_says_so(machine):
    X, _ = rows_of("float32")
    with pytest.raises(BackendError, match="the cupy backend does not read CSR"):
        kernels.predict(X, np.zeros((D, 2), "f4"), np.zeros(2, "f4"), backend="cupy")


def test_rows_that_do_not_follow_each_other_are_refused():
    X, _ = rows_of("float32")
    assert len(X[3:9]) == len(X[3:9:1]) == 6
    for step in (2, -1):
        with pytest.raises(ValueError, match=f"^CSR gives rows that follow .* step of {step}$"):
            X[::step]


@pytest.mark.parametrize("room", ["sparse.train", "train"])
def test_a_call_that_is_interrupted_leaves_the_bank_as_it_was(room, monkeypatch):
    """Also which heads are active, and how their weights have decayed: W is written at the end."""
    module = importlib.import_module(f"softstep.kernels._numba.{room}")
    run = module.run_steps

    def interrupted(*given):
        run(*given)
        raise KeyboardInterrupt

    h = 30  # a wide bank, in dense rows
    X, dense = rows_of("float32")
    bank = bank_of("float32", h=h)
    bank["learning_rate"][1, 1], bank["l2"][1] = 1e38, 1e10  # it diverges
    decay, active = np.full(h, 0.75), np.ones(h, bool)
    options = {"decay": decay} if room == "sparse.train" else {}
    given = X if options else dense
    found = trained(given, bank, "numba", active=active.copy(), **options)
    assert not found[4][1]
    monkeypatch.setattr(module, "run_steps", interrupted)
    decay[:] = 0.75
    W, b = bank["W"].copy(), bank["b"].copy()
    others = {name: bank[name] for name in bank if name not in ("y", "order", "W", "b")}
    with pytest.raises(KeyboardInterrupt):
        kernels.train(
            given,
            bank["y"],
            bank["order"],
            BATCH,
            W,
            b,
            active=active,
            backend="numba",
            **others,
            **options,
        )
    assert active.all()
    assert (decay == 0.75).all()
    assert_same_bits([W, b], [bank["W"], bank["b"]])

"""The same input gives the same bits, however the heads are banked and the epoch is sliced."""

import itertools

import numpy as np
import pytest

from softstep import kernels
from softstep.kernels.integers import ceil_div
from softstep.kernels.losses import LOSSES
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size

DTYPES = ("float32", "float64")
FEATURES = (1, 2, 3, 17, 785)
BATCH = 10


def assert_same_bits(found, expected):
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_array_equal(f, e, strict=True)
        assert f.tobytes() == e.tobytes()  # signs of zeros and NaN included


def train(bank, backend, heads=slice(None), rows=slice(None), start=None, active=None, **options):
    """Train some heads of a bank over some of its order: losses, correct, W, b, MW, Mb, active."""
    W, b, MW, Mb = (a[heads].copy() for a in (start or bank["start"]))
    active = np.ones(len(W), bool) if active is None else active
    steps = slice((rows.start or 0) // BATCH, None)
    losses, correct = kernels.train(
        *(bank["X"], bank["y"], bank["order"][rows], BATCH, W, b),
        loss=bank["loss"][heads],
        learning_rate=bank["learning_rate"][steps, heads][
            : ceil_div(len(bank["order"][rows]), BATCH)
        ],
        l2=bank["l2"][heads],
        momentum=bank["momentum"][heads],
        velocity=(MW, Mb),
        sample_weight=bank["sample_weight"],
        y_index=bank["y_index"][heads],
        weight_index=bank["weight_index"][heads],
        active=active,
        backend=backend,
        **options,
    )
    return losses, correct, W, b, MW, Mb, active


def bank_of(h, d, c, dtype, n=37):
    """Heads that differ in everything."""
    rng = np.random.default_rng((h, d, c))
    steps = ceil_div(n, BATCH)
    return {
        "X": cases.features(n, d, dtype, 0),
        "y": rng.integers(0, c, (2, n)),
        "order": rng.permutation(n),
        "loss": [list(LOSSES)[k % len(LOSSES)] for k in range(h)],
        "learning_rate": rng.uniform(0.01, 0.3, (steps, h)),
        "l2": rng.uniform(0, 0.1, h),
        "momentum": rng.uniform(0, 0.9, h),
        "sample_weight": rng.uniform(0, 2, (2, n)),
        "y_index": np.arange(h) % 2,
        "weight_index": np.arange(h) // 2 % 2,
        "start": (*cases.weights(h, d, c, dtype, 0), *cases.weights(h, d, c, dtype, 1)),
    }


@pytest.mark.parametrize("op", cases.OPS)
def test_reruns_are_bit_identical(op, backend):
    for dtype in DTYPES:
        arguments = cases.OPS[op].arguments(Size(230, 17, 3, h=2), dtype, 0)
        assert_same_bits(*(parity.run(op, arguments, backend) for _ in range(2)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", FEATURES)
def test_calls_on_slices_of_whole_batches_equal_one_call(d, dtype, backend):
    bank = bank_of(3, d, 3, dtype)
    whole = train(bank, backend)
    for cuts in ([20], [10, 30], [10, 20, 30]):
        edges = [0, *cuts, 37]
        start, parts = bank["start"], []
        for first, end in itertools.pairwise(edges):
            parts.append(train(bank, backend, rows=slice(first, end), start=start))
            start = parts[-1][2:6]
        sliced = (*(np.concatenate([part[i] for part in parts]) for i in (0, 1)), *parts[-1][2:])
        assert_same_bits(sliced, whole)


@pytest.mark.parametrize("columns", [1, 1000])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("d", FEATURES)
def test_a_head_in_a_bank_equals_the_head_alone(d, dtype, backend, columns):
    """In either kind of kernel; with 1, 3 and 10 classes heads begin anywhere in the tiles."""
    for c in (1, 3, 10):
        bank = bank_of(7, d, c, dtype)
        together = train(bank, backend, columns=columns)
        for k in range(7):
            alone = train(bank, backend, heads=slice(k, k + 1), columns=columns)
            one = [t[:, k : k + 1] for t in together[:2]] + [t[k : k + 1] for t in together[2:]]
            assert_same_bits(alone, one)


@pytest.mark.parametrize("columns", [1, 1000])
@pytest.mark.parametrize("features", ["float32", "float64", "float16", "uint8"])
def test_the_number_of_threads_changes_no_bit(features, columns):
    """Shapes large enough that the threads are used; a head for each loss."""
    n, d, c, h, batch = 1500, 301, 7, len(LOSSES), 250
    X, y = cases.features(n, d, features, 0), cases.labels(n, c, 0)
    dtype = cases.weight_dtype(features)
    start = cases.weights(h, d, c, dtype, 0)
    scale = cases.feature_scale(features)
    results = []
    for n_threads in (1, 2, 3, 7):
        W, b = (a.copy() for a in start)
        figures = kernels.train(
            *(X, y, np.arange(n)[::-1], batch, W, b),
            loss=list(LOSSES),
            learning_rate=0.1,
            feature_scale=scale,
            columns=columns,
            backend="numba",
            n_threads=n_threads,
        )
        V = kernels.linear_forward(
            X, W[0], b[0], feature_scale=scale, backend="numba", n_threads=n_threads
        )
        results.append(
            [
                *figures,
                *(W, b, V),
                *kernels.linear_backward(V, X, backend="numba", n_threads=n_threads),
                kernels.softmax_forward(V, backend="numba", n_threads=n_threads),
                kernels.predict(X, W, b, backend="numba", n_threads=n_threads),
                *kernels.evaluate(
                    *(X, y, W, b), loss=list(LOSSES), backend="numba", n_threads=n_threads
                ),
            ]
        )
    for result in results[1:]:
        assert_same_bits(result, results[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_predict_and_evaluate_give_a_head_the_same_bits_in_any_bank(dtype, backend):
    for d in FEATURES:
        X, y = cases.features(230, d, dtype, 0), cases.labels(230, 3, 0)
        W, b = cases.weights(7, d, 3, dtype, 0)
        labels = kernels.predict(X, W, b, backend=backend)
        names = [list(LOSSES)[k % len(LOSSES)] for k in range(7)]
        losses, accuracies = kernels.evaluate(X, y, W, b, loss=names, backend=backend)
        for k in range(7):
            one = (W[k : k + 1], b[k : k + 1])
            assert_same_bits((kernels.predict(X, *one, backend=backend),), (labels[k : k + 1],))
            alone = kernels.evaluate(X, y, *one, loss=names[k], backend=backend)
            assert_same_bits(alone, (losses[k : k + 1], accuracies[k : k + 1]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_gets_the_same_logits_among_any_rows_on_numba(dtype):
    X = cases.features(300, 17, dtype, 0)
    W, b = (a[0] for a in cases.weights(1, 17, 3, dtype, 0))
    V = kernels.linear_forward(X, W, b, backend="numba")
    for rows in (slice(0, 1), slice(5, 8), slice(100, 229), slice(299, 300)):
        assert_same_bits((kernels.linear_forward(X[rows], W, b, backend="numba"),), (V[rows],))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_diverging_head_harms_no_other_and_keeps_its_weights(loss, dtype, backend):
    bank = bank_of(5, 17, 3, dtype)
    bank["loss"] = [loss] * 5
    usual = train(bank, backend)
    bank["learning_rate"][1, 2] = 1e38 if dtype == "float32" else 1e308
    bank["l2"][2] = 1e10  # the step is too long to be held, whatever the gradient
    found = train(bank, backend)
    others = [0, 1, 3, 4]
    assert_same_bits([f[:, others] for f in found[:2]], [u[:, others] for u in usual[:2]])
    assert_same_bits([f[others] for f in found[2:]], [u[others] for u in usual[2:]])

    losses, correct, W, b, MW, Mb, active = found
    assert active.tolist() == [True, True, False, True, True]
    assert np.isfinite(losses[:2, 2]).all()
    assert np.isnan(losses[2:, 2]).all()
    assert not correct[2:, 2].any()
    two_steps = train(bank, backend, rows=slice(0, 20))
    assert two_steps[-1].all()
    assert_same_bits((W[2], b[2], MW[2], Mb[2]), [end[2] for end in two_steps[2:6]])


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_inactive_head_is_left_alone_whatever_it_holds(dtype, backend):
    bank = bank_of(5, 17, 3, dtype)
    usual = train(bank, backend)
    for start in bank["start"]:
        start[2] = np.nan
    active = np.array([True, True, False, True, True])
    found = train(bank, backend, active=active)
    others = [0, 1, 3, 4]
    assert_same_bits([f[:, others] for f in found[:2]], [u[:, others] for u in usual[:2]])
    assert_same_bits([f[others] for f in found[2:]], [u[others] for u in usual[2:]])
    losses, correct, *ends, active = found
    assert active.tolist() == [True, True, False, True, True]
    assert np.isnan(losses[:, 2]).all()
    assert not correct[:, 2].any()
    assert all(np.isnan(end[2]).all() for end in ends)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_row_freezes_every_head_before_the_step_that_would_use_it(bad, dtype, backend):
    bank = bank_of(3, 17, 3, cases.weight_dtype(dtype))
    bank["X"] = cases.features(37, 17, dtype, 0)
    before = train(bank, backend, rows=slice(0, 20))
    bank["X"][bank["order"][25], 4] = bad  # in the third of four steps
    losses, correct, *ends, active = train(bank, backend)
    assert not active.any()
    assert np.isnan(losses[2:]).all()
    assert not correct[2:].any()
    assert_same_bits((losses[:2], correct[:2], *ends), before[:6])

"""Promise: what is given on the GPU is checked there; only what is refused is read back."""

import functools

import ml_dtypes
import numpy as np
import pytest

from softstep import SoftmaxRegression, kernels
from softstep.kernels import checks
from softstep.kernels._cupy.arrays import asarray
from softstep.kernels.losses import find

N, D, C = 1000, 5, 3
FLAGS = 512  # the most bytes a check reads back: one for each warp of the grid
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, D)).astype(np.float32)
LABELS = RNG.integers(0, C, N)
SOFT = RNG.random((N, C)) + 0.1
SOFT /= SOFT.sum(axis=1, keepdims=True)
CROSS_ENTROPY = find("cross_entropy")


@pytest.fixture
def on_gpu(machine):
    """Moves an array to the emulated GPU."""
    return asarray


def read_back(machine):
    """Bytes of the arrays that came to the host, but for the flags of the checks."""
    sizes = [int(line.split()[-1]) for line in machine.log if line.startswith("to host")]
    return sum(size for size in sizes if size > FLAGS)


def spoilt(array, at, value):
    bad = array.copy()
    bad[at] = value
    return bad


def refusal(check, *args, **options):
    with pytest.raises((TypeError, ValueError)) as caught:
        check(*args, **options)
    return type(caught.value), str(caught.value)


@pytest.mark.parametrize("dtype", ["int64", "int32", "int8", "uint8", "uint64"])
def test_good_labels_orders_and_label_sets_stay(machine, on_gpu, dtype):
    y = on_gpu(LABELS.astype(dtype))
    sets = on_gpu(np.stack([LABELS, LABELS[::-1]]).astype(dtype))
    found = [
        checks.targets("y", y, N, C),
        checks.label_sets(y, N, C, CROSS_ENTROPY),
        checks.label_sets(sets, N, C, CROSS_ENTROPY),
        checks.row_order(y, N),
    ]
    assert read_back(machine) == 0
    expected = [LABELS, LABELS[None], np.stack([LABELS, LABELS[::-1]]), LABELS]
    for f, e in zip(found, expected, strict=True):
        assert type(f) is type(y)
        np.testing.assert_array_equal(f.get(), e.astype(np.int64), strict=True)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_good_soft_targets_and_row_weights_stay(machine, on_gpu, dtype):
    Y = on_gpu(SOFT.astype(dtype))
    targets = checks.targets("y", Y, N, C, CROSS_ENTROPY)
    weights = checks.row_weights(on_gpu(SOFT[:, 0].astype(dtype)), N, np.dtype("f4"))
    assert read_back(machine) == 0
    read_as = "float64" if dtype == "float64" else "float32"
    np.testing.assert_array_equal(targets.get(), SOFT.astype(dtype).astype(read_as), strict=True)
    np.testing.assert_array_equal(weights.get(), SOFT[None, :, 0].astype(dtype).astype("f4"))


@pytest.mark.parametrize("at", [0, 127, 128, N - 1])
@pytest.mark.parametrize("value", [-1, C, 2**40])
def test_a_bad_label_anywhere_is_refused_in_the_words_of_the_host(on_gpu, at, value):
    y = spoilt(LABELS, at, value)
    for check in (checks.targets, lambda name, y, n, c: checks.label_sets(y, n, c)):
        expected = refusal(check, "y", y, N, C)
        assert expected == (ValueError, f"y[{at}] = {value} is not in [0, {C})")
        assert refusal(check, "y", on_gpu(y), N, C) == expected


BAD = {
    "a label set": (np.stack([LABELS, spoilt(LABELS, 7, C)]), "y[1][7] = 3 is not in [0, 3)"),
    "no label set": (np.empty((0, N), int), "y holds no label set"),
    "too short": (LABELS[:-1], "y has 999 labels, but there are 1000 rows"),
    "sets that are too short": (LABELS[None, 1:], "y[0] has 999 labels, but there are 1000 rows"),
    "more than int64 holds": (
        spoilt(LABELS.astype("u8"), 5, 2**64 - 1),
        f"y[5] = {2**64 - 1} is not in [0, 3)",
    ),
    "no whole number": (spoilt(LABELS.astype("f4"), 5, 0.5), "y[5] = 0.5 is not a whole number"),
    "booleans": (LABELS == 1, "y must hold integers, not bool"),
    "a negative target": (
        spoilt(spoilt(SOFT, (99, 0), -0.5), (99, 1), 1.5 - SOFT[99, 2]),
        "y[99] is not a distribution: cross-entropy needs targets >= 0 that sum to 1",
    ),
    "a sum that is off": (
        spoilt(SOFT, (N - 1, 2), SOFT[N - 1, 2] + 0.01),
        "y[999] is not a distribution: cross-entropy needs targets >= 0 that sum to 1",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_targets_are_refused_in_the_words_of_the_host(case, on_gpu):
    y, message = BAD[case]
    for given in (y, on_gpu(y)):
        assert refusal(checks.label_sets, given, N, C, CROSS_ENTROPY)[1] == message


def test_bad_orders_and_weights_are_refused_in_the_words_of_the_host(on_gpu):
    for check, bad in (
        (checks.row_order, (spoilt(np.arange(N), 9, N), N)),
        (checks.row_order, (np.arange(N) * 1.0, N)),
        (checks.row_weights, (SOFT[1:, 0], N, np.dtype("f4"))),
        (checks.row_weights, (LABELS == 1, N, np.dtype("f4"))),
    ):
        array, *rest = bad
        assert refusal(check, on_gpu(array), *rest) == refusal(check, array, *rest)


def test_soft_targets_that_are_nan_pass_on(on_gpu):
    Y = spoilt(SOFT, (4, 1), np.nan)
    assert np.isnan(checks.targets("y", on_gpu(Y), N, C, CROSS_ENTROPY).get()).sum() == 1


def test_whole_labels_in_floats_are_read_on_the_host(machine, on_gpu):
    found = checks.targets("y", on_gpu(LABELS.astype("f4")), N, C)
    np.testing.assert_array_equal(found, LABELS)
    assert read_back(machine) == 4 * N


@pytest.mark.parametrize("soft", [False, True])
def test_training_on_the_gpu_reads_back_nothing_of_the_rows(machine, on_gpu, soft):
    y, order, w = SOFT.astype("f4") if soft else LABELS, RNG.permutation(N), np.abs(X[:, 0])
    results = []
    for move in (np.asarray, on_gpu):
        W, b = np.zeros((1, D, C), np.float32), np.zeros((1, C), np.float32)
        Wb = [move(W), move(b)]
        machine.log.clear()
        kernels.train(move(X), move(y), move(order), 500, *Wb, loss="cross_entropy",
                      learning_rate=0.5, sample_weight=move(w), backend="cupy")  # fmt: skip
        results.append(Wb)
    assert read_back(machine) == 0
    for on_host, there in zip(*results, strict=True):
        np.testing.assert_array_equal(on_host, there.get())
        assert on_host.any()


@pytest.mark.parametrize("steps", [2, 200])
def test_train_moves_its_settings_to_the_gpu_and_nothing_else(machine, on_gpu, steps):
    W, b = on_gpu(np.zeros((1, D, C), np.float32)), on_gpu(np.zeros((1, C), np.float32))
    order, active = on_gpu(np.arange(N)[: 5 * steps]), on_gpu(np.ones(1, np.bool_))
    rows, y = on_gpu(X), on_gpu(LABELS)
    machine.log.clear()
    kernels.train(rows, y, order, 5, W, b, loss="mse", learning_rate=0.5, active=active)
    moved = [int(line.split()[-1]) for line in machine.log if line.startswith("to device")]
    assert sorted(moved) == sorted([1, 4, 4, 4 * steps, 8, 8])  # loss, l2, momentum, rates, sets
    launched = machine.log.index("launch train_steps")
    checked = [line for line in machine.log[:launched] if line.startswith("to host")]
    assert len(checked) == 2 + 1  # flags of the labels and the order, and the probe's numbers


@pytest.mark.parametrize("soft", [False, True])
def test_the_targets_of_a_fit_move_to_the_gpu_once(machine, soft):
    y = SOFT if soft else LABELS
    SoftmaxRegression(backend="cupy", epochs=3, batch_size=500, random_state=0).fit(X, y)
    moved = machine.log.count(f"to device {y.nbytes}")
    assert moved == (1 if soft else 1 + 3)  # an epoch's order is as large as the labels


def test_rows_to_predict_are_not_read_back_to_be_checked(machine, on_gpu):
    make = functools.partial(SoftmaxRegression, backend="cupy", epochs=1, random_state=0)
    model, of_pixels = make().fit(X, LABELS), make().fit(X.astype(np.uint8), LABELS)
    for dtype in ("float32", "float64", "float16", "uint8", "int8", ml_dtypes.bfloat16):
        rows = on_gpu(np.abs(X).astype(dtype))
        machine.log.clear()
        (of_pixels if dtype == "uint8" else model).predict_proba(rows)
        assert read_back(machine) == 0
    for value in (np.nan, np.inf):
        for dtype in ("float32", ml_dtypes.bfloat16):
            bad = on_gpu(spoilt(X.astype(dtype), (N - 1, 4), value))
            with pytest.raises(ValueError, match=rf"X\[{N - 1}, 4\] is {value}"):
                model.predict(bad)


@pytest.mark.parametrize("schedule", ["in_order", "random"])
def test_the_checker_finds_no_fault(machine, on_gpu, schedule):
    machine.check, machine.schedule = True, schedule
    checks.label_sets(on_gpu(LABELS), N, C)
    checks.targets("y", on_gpu(SOFT), N, C, CROSS_ENTROPY)
    SoftmaxRegression(backend="cupy", epochs=1).fit(X[:20], LABELS[:20]).predict(on_gpu(X))


@pytest.mark.parametrize("backend", ["numpy", "numba", "cupy"])
@pytest.mark.parametrize("moved", [0, 1])
def test_a_velocity_on_the_gpu_beside_weights_in_host_memory_is_refused(on_gpu, backend, moved):
    W, b = np.zeros((1, D, C), np.float32), np.zeros((1, C), np.float32)
    velocity = [np.zeros_like(W), np.zeros_like(b)]
    velocity[moved] = on_gpu(velocity[moved])
    with pytest.raises(TypeError, match="velocity is on a GPU, but W is in host memory"):
        kernels.train(X, LABELS, np.arange(N), 10, W, b, loss="mse", learning_rate=0.1,
                      momentum=0.9, velocity=tuple(velocity), backend=backend)  # fmt: skip
    assert not W.any()

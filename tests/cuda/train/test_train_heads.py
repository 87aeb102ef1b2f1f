"""Heads that do not train, or no longer: left alone, cleared, and without effect on the others."""

import numpy as np
import pytest
from train_cases import PATHS, bank, mixed, small_bank

from softstep.kernels.verify import parity
from softstep.kernels.verify.cases import Size


def run(run_on, path, arguments, active):
    """All results, and what `active` became."""
    active = np.array(active)
    return run_on(path, (arguments[0], {**arguments[1], "active": active})), active


@pytest.fixture(params=PATHS)
def path(request):
    return request.param


def test_inactive_heads_are_left_alone(path, run_on):
    arguments = small_bank(3, "float32", loss=mixed(3), momentum=0.9)
    W, b = arguments[0][4:]
    moments = tuple(np.full_like(a, 0.25) for a in (W, b))
    arguments[1]["velocity"] = moments
    everyone = run_on(path, arguments)
    found, active = run(run_on, path, arguments, [True, False, True])
    losses, correct, W_end, b_end, MW, Mb = found
    assert active.tolist() == [True, False, True]
    assert np.isnan(losses[:, 1]).all()
    assert not correct[:, 1].any()
    for end, start in ((W_end, W), (b_end, b), (MW, moments[0]), (Mb, moments[1])):
        np.testing.assert_array_equal(end[1], start[1])
    for f, e in zip(found, everyone, strict=True):
        axis = 1 if f.shape[0] == len(losses) else 0
        np.testing.assert_array_equal(f.take([0, 2], axis), e.take([0, 2], axis))


def test_nothing_happens_where_no_head_is_active(path, run_on):
    arguments = small_bank(3, "float64", loss=mixed(3))
    (losses, correct, W, b), active = run(run_on, path, arguments, [False] * 3)
    np.testing.assert_array_equal(W, arguments[0][4])
    np.testing.assert_array_equal(b, arguments[0][5])
    assert np.isnan(losses).all()
    assert not correct.any()
    assert not active.any()


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_head_that_diverges_keeps_its_weights_from_before_that_step(dtype, bad, path, run_on):
    """The row that is bad comes in the third step; head 1 does not see it, with weight 0."""
    (X, y, order, batch, W, b), options = small_bank(3, dtype, loss=mixed(3), momentum=0.5)
    X = X.copy()
    X[order[2 * batch + 3], 5] = bad
    W[1, 5] = 0  # 0 · inf is NaN all the same
    arguments = (X, y, order, batch, W, b), options
    found, active = run(run_on, path, arguments, [True, True, False])
    assert active.tolist() == [False, False, False]
    losses, correct, W_end, b_end = found
    assert np.isfinite(losses[:2, :2]).all()
    assert np.isnan(losses[2:]).all()
    assert not correct[2:].any()
    before, _ = run(
        run_on, path, ((X, y, order[: 2 * batch], batch, W, b), options), [True, True, False]
    )
    np.testing.assert_array_equal(W_end, before[2])
    np.testing.assert_array_equal(b_end, before[3])
    assert (W_end[:2] != W[:2]).any()


def test_a_head_whose_rate_is_too_high_is_cleared_and_the_others_go_on(path, run_on):
    (X, y, order, batch, W, b), options = small_bank(3, "float32", loss="cross_entropy")
    alone = {**options, "learning_rate": 0.1}
    rates = {**options, "learning_rate": [0.1, 1e38, 0.1], "l2": [0, 0.5, 0]}
    found, active = run(run_on, path, ((X, y, order, batch, W, b), rates), [True] * 3)
    oracle = np.ones(3, bool)
    expected = _oracle(((X, y, order, batch, W, b), rates), oracle)
    assert active.tolist() == oracle.tolist() == [True, False, True]
    np.testing.assert_array_equal(np.isnan(found[0]), np.isnan(expected[0]))
    quiet = run_on(path, ((X, y, order, batch, W[::2].copy(), b[::2].copy()), alone))
    np.testing.assert_array_equal(found[2][::2], quiet[2])
    np.testing.assert_array_equal(found[3][::2], quiet[3])


def _oracle(arguments, active):
    return parity.run("train", (arguments[0], {**arguments[1], "active": active}), "numpy")


def test_rows_of_weight_0_count_neither_as_right_nor_in_the_loss(path, run_on):
    (X, y, *rest), options = small_bank(3, "float32", loss=mixed(3))
    weights = np.zeros(len(X))
    losses, correct, W, b = run_on(path, ((X, y, *rest), {**options, "sample_weight": weights}))
    assert not losses.any()
    assert not correct.any()
    np.testing.assert_array_equal(W, rest[2])
    np.testing.assert_array_equal(b, rest[3])


def test_the_largest_soft_target_is_what_is_right_and_the_first_of_equals(path, run_on):
    (X, _, order, batch, W, b), options = small_bank(2, "float32", loss="cross_entropy")
    V = X @ W[0] + b[0]
    Y = np.full((len(X), 3), 0.25, np.float32)
    Y[np.arange(len(X)), V.argmax(1)] = 0.5
    _, correct, *_ = run_on(path, ((X, Y, order, batch, W, b), {**options, "learning_rate": 0.0}))
    assert correct[:, 0].tolist() == [10, 10, 10, 7]
    ties = np.full((len(X), 3), np.float32(1 / 3))
    _, correct, *_ = run_on(path, ((X, ties, order, batch, W, b), {**options, "learning_rate": 0}))
    steps = [order[i : i + batch] for i in range(0, len(order), batch)]
    assert correct[:, 0].tolist() == [(V[rows].argmax(1) == 0).sum() for rows in steps]


def test_one_class_has_no_gradient(path, run_on):
    (X, _, *rest), options = bank(Size(37, 17, 1, 3), "float32", 10)
    y = np.zeros(37, int)
    losses, correct, W, b = run_on(path, ((X, y, *rest), {**options, "loss": mixed(3)}))
    np.testing.assert_array_equal(W, rest[2])
    np.testing.assert_array_equal(b, rest[3])
    assert not losses.any()
    assert correct[:, 0].tolist() == [10, 10, 10, 7]


def test_no_rows_give_no_steps(machine):
    (X, y, order, batch, W, b), options = small_bank(2, "float32", loss="mse")
    found = parity.run("train", ((X, y, order[:0], batch, W, b), options), "cupy")
    assert [f.shape for f in found[:2]] == [(0, 2), (0, 2)]
    assert [f.dtype for f in found[:2]] == [np.float64, np.int64]
    np.testing.assert_array_equal(found[2], W)
    assert not [line for line in machine.log if line.startswith("launch train")]

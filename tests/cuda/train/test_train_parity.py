"""The fused `train` computes what the oracle computes, on both paths and with every setting."""

import emulator
import numpy as np
import pytest
from train_cases import (
    FEATURES,
    FLOATS,
    LAUNCHES,
    PATHS,
    SOFT_LOSSES,
    STEPS,
    C,
    D,
    N,
    bank,
    mixed,
    sets,
    settings_of,
    small_bank,
)  # fmt: skip

from softstep.kernels._cupy.training import shapes as train_shapes
from softstep.kernels._cupy.training import steps as train_steps
from softstep.kernels.losses import LOSSES
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size

# Odd shapes. (n, d, c, h); classes up to 8 per lane, whole heads per tile, heads wider than a tile.
SHAPES = [
    (1, 1, 1, 1), (2, 1, 2, 3), (3, 2, 3, 7), (17, 3, 17, 2), (33, 17, 2, 33), (100, 33, 10, 7),
    (64, 64, 16, 4), (65, 65, 9, 3), (33, 785, 3, 2), (100, 100, 33, 3), (37, 17, 64, 1),
    (29, 20, 65, 2), (13, 9, 128, 2), (20, 33, 129, 2), (17, 3, 1000, 1), (5, 2, 1025, 2),
]  # fmt: skip


def fits_one_launch(size, machine):
    batch = size.n // 3 + 1
    return train_shapes.bytes_of_block(batch, size.d, size.h, size.c, 8) <= machine.shared_opt_in


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_banks_of_odd_shapes(shape, path, machine, assert_train_parity):
    dtype = FEATURES[SHAPES.index(shape) % 4]
    size = Size(*shape)
    if path == STEPS and not fits_one_launch(size, machine):
        pytest.skip("too large a bank for one launch")
    assert_train_parity(path, bank(size, dtype, loss=mixed(size.h)))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", FEATURES)
def test_features_as_they_are_stored(dtype, loss, path, assert_train_parity):
    scale = 1 / 255 if dtype == "uint8" else 0.5
    assert_train_parity(path, small_bank(2, dtype, loss=loss, feature_scale=scale))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("setting", settings_of(1, "float64"))
def test_every_setting(setting, dtype, path, assert_train_parity):
    for h in (1, 2, 3, 7):
        (X, y, *rest), options = small_bank(h, dtype, **settings_of(h, dtype)[setting])
        if setting == "sets":
            y = np.stack([y, (y + 1) % 3, (2 * y) % 3])
        assert_train_parity(path, ((X, y, *rest), options))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("loss", SOFT_LOSSES)
def test_soft_targets(loss, dtype, path, assert_train_parity):
    for size in (Size(N, D, C, 3), Size(20, 3, 100, 1), Size(9, 4, 130, 1), Size(5, 2, 1, 2)):
        (X, _, *rest), options = bank(size, dtype, loss=loss)
        for y_dtype in FLOATS:
            Y = cases.probabilities(size.n, size.c, y_dtype, seed=9)
            Y[0] = np.eye(size.c)[0]  # targets of 0 count nothing
            assert_train_parity(path, ((X, Y, *rest), options))


@pytest.mark.parametrize("path", PATHS)
def test_features_far_from_zero(path, assert_train_parity):
    (X, *rest), options = small_bank(2, "float32", loss="cross_entropy")
    assert_train_parity(path, ((X + np.float32(100), *rest), {**options, "learning_rate": 1e-5}))


# How threads take turns changes nothing, and the checker finds no race, no access out of bounds,
# nothing read before it was written, no divergent barrier.


@pytest.mark.parametrize("schedule", emulator.SCHEDULES)
@pytest.mark.parametrize("shape", [(37, 20, 10, 3), (13, 33, 130, 1)], ids=str)
@pytest.mark.parametrize("path", PATHS)
def test_every_schedule_gives_the_same_bits(path, shape, schedule, machine, run_on):
    options = {"loss": mixed(shape[3]), "momentum": 0.5, "l2": 0.1, "l2_bias": True}
    arguments = bank(Size(*shape), "float32", **options)
    expected = run_on(path, arguments)
    machine.schedule, machine.check = schedule, True
    for f, e in zip(run_on(path, arguments), expected, strict=True):
        np.testing.assert_array_equal(f, e)


@pytest.mark.parametrize("dtype", FEATURES)
@pytest.mark.parametrize("path", PATHS)
def test_the_checker_raises_no_alarm(path, dtype, machine, assert_train_parity):
    machine.check, machine.schedule = True, "random"
    assert_train_parity(path, small_bank(1, dtype, loss="mse"))
    (X, y, *rest), options = small_bank(7, dtype, **sets(7), loss=mixed(7), momentum=0.5, l2=0.1)
    assert_train_parity(path, ((X, np.stack([y, (y + 1) % 3, (2 * y) % 3]), *rest), options))
    (X, _, *rest), options = small_bank(2, dtype, loss="cross_entropy")
    Y = cases.probabilities(N, C, "float32", 9)
    assert_train_parity(path, ((X, Y, *rest), options))


@pytest.mark.parametrize("schedule", emulator.SCHEDULES)
def test_rows_shared_out_by_owner_give_the_same_bits(schedule, machine, run_on, monkeypatch):
    arguments = bank(Size(50, 64, 10, 3), "float32", 20, loss=mixed(3), momentum=0.5)
    expected = run_on(STEPS, arguments)
    monkeypatch.setattr(train_steps, "REDUNDANT_BYTES", 0)
    machine.schedule, machine.check = schedule, True
    for f, e in zip(run_on(STEPS, arguments), expected, strict=True):
        np.testing.assert_array_equal(f, e)


def test_the_bounds_refuse_what_was_not_trained(run_on):
    """What assert_train_parity does: weights as they were are out of bounds."""
    arguments = small_bank(2, "float32", loss="mse")
    truth, bound = parity.truth_and_bounds("train", arguments)
    found = list(run_on(LAUNCHES, arguments))
    found[2] = arguments[0][4]
    assert max(parity.ratios(found, truth, bound)) > 1

"""Wide heads are trained on the tensor cores, within the bounds of `train`, for steps of many rows;
which they are does not depend on the heads beside them, nor on how the steps are called.
"""

import importlib

import emulator
import numpy as np
import pytest
from train_cases import bank, mixed, mixed_soft

from softstep.kernels._cupy import linear
from softstep.kernels._cupy.training import shapes as train_shapes
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size

# The module: `train` of the package is the op.
launcher = importlib.import_module("softstep.kernels._cupy.train")


@pytest.fixture
def files(monkeypatch):
    """The sources of the kernels that run, in the order in which they are loaded."""
    seen, load_kernel = [], launcher.load_kernel

    def load(file, name, **options):
        seen.append(file)
        return load_kernel(file, name, **options)

    monkeypatch.setattr(launcher, "load_kernel", load)
    return seen


@pytest.fixture
def shallow(monkeypatch):
    """Banks of less depth take them too: for what needs no true bound."""
    monkeypatch.setattr(linear, "LEAST_TENSOR_DEPTH", 33)
    monkeypatch.setattr(linear, "LEAST_TENSOR_WIDTH", 33)


def small_bank(h, dtype="uint8", rows=100, **options):
    """Steps of 40 rows and a last one of 20."""
    (X, y, order, _, W, b), options = bank(Size(60, 48, 132, h), dtype, 40, **options)
    order = np.random.default_rng(3).integers(0, len(X), rows)
    return (X, y, order, 40, W, b), options


def assert_same_bits(found, expected):
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_array_equal(f, e, strict=True)


@pytest.mark.parametrize(("dtype", "d"), [("float16", 272), ("uint8", 272), ("float16", 259)])
def test_the_bounds_of_train_are_kept(dtype, d, machine, files, monkeypatch):
    arguments = bank(Size(260, d, 131 if d % 2 else 132), dtype, 256, loss="cross_entropy")
    found = parity.run("train", arguments, "cupy")
    assert {"train_tensor.cu", "train_update.cu"} <= set(files)  # the last rows are too few
    truth, bound = parity.truth_and_bounds("train", arguments)
    assert max(parity.ratios(found, truth, bound)) <= 1
    W = arguments[0][4]
    assert parity.worst(W, truth[2], bound[2]) > 1
    monkeypatch.setenv("SOFTSTEP_TF32", "0")
    files.clear()
    usual = parity.run("train", arguments, "cupy")
    assert "train_tensor.cu" not in files
    assert not np.array_equal(found[2], usual[2])


def test_every_setting(machine, shallow, files):
    rates = np.array([0.02, 0.05])
    velocity = cases.weights(2, 48, 132, np.float32, 7)
    for options in (
        {"loss": mixed(2), "learning_rate": rates, "l2": rates, "momentum": 0.5},
        {"loss": "mse", "l2": 0.1, "l2_bias": True, "momentum": 0.9, "velocity": velocity},
        {"loss": "cross_entropy", "fit_bias": False, "learning_rate": np.outer([1, 2], rates)},
    ):
        rows = 80
        arguments = small_bank(2, "float16", rows, **options)
        found = parity.run("train", arguments, "cupy")
        assert max(parity.ratios(found, *parity.truth_and_bounds("train", arguments))) <= 1
    (X, _, *rest), options = small_bank(2, rows=80, loss=mixed_soft(2))
    arguments = (X, cases.probabilities(60, 132, np.float32, 9), *rest), options
    found = parity.run("train", arguments, "cupy")
    assert max(parity.ratios(found, *parity.truth_and_bounds("train", arguments))) <= 1
    assert "train_update.cu" not in files


@pytest.mark.parametrize("change", [{"c": 128}, {"d": 255}, {"batch": 255}, {"dtype": "float32"}])
def test_narrow_heads_shallow_ones_few_rows_and_float32_do_not_take_them(change):
    usual = {"d": 256, "c": 129, "batch": 256, "dtype": "uint8"}
    for given, expected in ((usual, True), ({**usual, **change}, False)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(linear, "compute_capability", lambda: 80)
            found = train_shapes.steps_take_tensor_cores(
                np.dtype(given["dtype"]), given["batch"], given["d"], given["c"]
            )
        assert found == expected


def test_a_small_bank_of_wide_heads_is_trained_alike_whatever_the_gpu_keeps_alive(machine, shallow):
    arguments = small_bank(1, loss="mse")
    expected = parity.run("train", arguments, "cupy")
    machine.launches_cooperatively, machine.multiprocessors = False, 1
    assert_same_bits(parity.run("train", arguments, "cupy"), expected)


def test_calls_of_whole_batches_have_the_bits_of_one_call(machine, shallow):
    (X, y, order, batch, W, b), options = small_bank(2, loss=mixed(2))
    losses, correct, *expected = parity.run("train", ((X, y, order, batch, W, b), options), "cupy")
    found = []
    for first in (0, 40, 80):  # the last one has too few rows for them
        step = X, y, order[first : first + 40], batch, W, b
        *results, W, b = parity.run("train", (step, options), "cupy")
        found.append(results)
    assert_same_bits((W, b), expected)
    assert_same_bits(map(np.concatenate, zip(*found, strict=True)), (losses, correct))


def test_a_head_has_the_bits_of_the_lone_one_and_loses_none_to_one_that_diverges(machine, shallow):
    (X, y, *rest, W, b), options = small_bank(3, rows=80, loss="cross_entropy")
    W[1, 5, 7] = np.inf
    active = np.ones(3, bool)
    given = (X, y, *rest, W, b), {**options, "active": active}
    losses, _, trained, *_ = parity.run("train", given, "cupy")
    assert active.tolist() == [True, False, True]
    np.testing.assert_array_equal(trained[1], W[1])
    assert np.isnan(losses[:, 1]).all()
    for k in (0, 2):
        lone = (X, y, *rest, W[k : k + 1], b[k : k + 1]), options
        _, _, alone, *_ = parity.run("train", lone, "cupy")
        assert_same_bits(trained[k], alone[0])


@pytest.mark.parametrize("schedule", emulator.SCHEDULES)
def test_every_schedule_gives_the_same_bits_and_the_checker_no_alarm(schedule, machine, shallow):
    arguments = small_bank(1, rows=40, loss="mse", momentum=0.5)
    expected = parity.run("train", arguments, "cupy")
    machine.schedule, machine.check = schedule, True
    assert_same_bits(parity.run("train", arguments, "cupy"), expected)


def test_lines_that_are_not_aligned_give_the_bits_of_those_that_are(machine, shallow):
    (X, y, *rest), options = small_bank(1, rows=40, loss="mse")
    expected = parity.run("train", ((X, y, *rest), options), "cupy")
    wider = np.zeros((len(X), 53), X.dtype)
    wider[:, 3:51] = X
    assert_same_bits(parity.run("train", ((wider[:, 3:51], y, *rest), options), "cupy"), expected)


def test_steps_in_graphs_and_out_of_them_have_the_same_bits(machine, shallow, monkeypatch):
    arguments = small_bank(1, rows=180, loss="mse")  # four steps, and one of few rows
    expected = parity.run("train", arguments, "cupy")
    monkeypatch.setattr(launcher, "STEPS_PER_GRAPH", 2)
    machine.log.clear()
    assert_same_bits(parity.run("train", arguments, "cupy"), expected)
    assert machine.log.count("launch graph") == 1

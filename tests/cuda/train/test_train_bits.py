"""What the bits of `train` do not depend on: slices, neighbours, tiles, launches, schedules."""

import importlib

import numpy as np
import pytest
from train_cases import (
    FEATURES,
    FLOATS,
    LAUNCHES,
    PATHS,
    STEPS,
    bank,
    mixed,
    mixed_soft,
    small_bank,
    velocity,
)  # fmt: skip

from softstep.kernels._cupy.training import shapes as train_shapes
from softstep.kernels._cupy.training import steps as train_steps
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size

# The module: `train` of the package is the op.
launcher = importlib.import_module("softstep.kernels._cupy.train")


def assert_same_bits(found, expected):
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_array_equal(f, e, strict=True)


def differ(found, expected):
    return any((f != e).any() for f, e in zip(found, expected, strict=True))


def in_slices(run_on, path, arguments, batches):
    """`train` on slices of so many whole batches: losses and correct joined, the last weights."""
    (X, y, order, batch, W, b), options = arguments
    moments = options["velocity"]
    parts, start = [], 0
    for count in batches:
        rows = order[start : start + count * batch]
        start += len(rows)
        losses, correct, W, b, *moments = run_on(
            path, ((X, y, rows, batch, W, b), {**options, "velocity": tuple(moments)})
        )
        parts.append((losses, correct))
    assert start == len(order)
    return *(np.concatenate(part) for part in zip(*parts, strict=True)), W, b, *moments


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_slices_of_whole_batches_give_the_bits_of_one_call(dtype, path, run_on):
    options = {"loss": mixed(3), "momentum": 0.9, "l2": 0.1, "velocity": velocity(3, dtype)}
    arguments = small_bank(3, dtype, **options)
    expected = run_on(path, arguments)
    for batches in ([1, 1, 1, 1], [1, 3], [3, 1]):  # the last batch is a short one
        assert_same_bits(in_slices(run_on, path, arguments, batches), expected)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("c", [3, 10, 130])
def test_a_head_gets_the_same_bits_alone_and_in_a_bank(c, path, run_on):
    h = 2 if c == 130 else 7
    rates = np.linspace(0.05, 0.3, h)
    (*data, W, b), options = bank(
        Size(29, 17, c, h), "float32", loss=mixed(h), learning_rate=rates, momentum=rates
    )
    losses, correct, W_end, b_end = run_on(path, ((*data, W, b), options))
    for k in range(h):
        alone = run_on(path, (
            (*data, W[k : k + 1], b[k : k + 1]),
            {**options, "loss": mixed(h)[k], "learning_rate": rates[k], "momentum": rates[k]},
        ))  # fmt: skip
        together = losses[:, [k]], correct[:, [k]], W_end[[k]], b_end[[k]]
        assert_same_bits(alone, together)


@pytest.mark.parametrize("path", PATHS)
def test_a_head_without_momentum_gets_the_same_bits_beside_one_that_has_it(path, run_on):
    (*data, W, b), options = small_bank(2, "float32", loss="mse", momentum=[0.0, 0.9])
    together = run_on(path, ((*data, W, b), options))
    alone = run_on(path, ((*data, W[:1], b[:1]), {**options, "momentum": 0.0}))
    assert_same_bits(alone, [t[:, :1] for t in together[:2]] + [t[:1] for t in together[2:]])


BANKS = [(50, 37, 10, 5), (50, 64, 3, 15), (23, 100, 33, 2), (17, 300, 2, 3), (20, 5, 130, 1)]


@pytest.mark.parametrize("shape", BANKS, ids=str)
def test_both_paths_give_the_same_bits(shape, run_on):
    """So do GPUs of any size, and a bank that shrinks until it fits one launch."""
    h, batch, dtype = shape[3], 15, FEATURES[BANKS.index(shape) % 4]
    rates = np.linspace(0.1, 0.9, h)
    settings = {"loss": mixed(h), "momentum": rates, "l2": rates / 9, "l2_bias": True}
    arguments = bank(Size(*shape), dtype, batch, **settings)
    assert_same_bits(run_on(STEPS, arguments), run_on(LAUNCHES, arguments))
    (X, _, *rest), options = arguments
    Y = cases.probabilities(shape[0], shape[2], rest[-1].dtype, seed=9)
    arguments = (X, Y, *rest), {**options, "loss": mixed_soft(h)}
    assert_same_bits(run_on(STEPS, arguments), run_on(LAUNCHES, arguments))


def test_a_gpu_that_cannot_keep_all_blocks_alive_launches_every_step(machine, run_on):
    arguments = bank(Size(17, 300, 2, 3), "float32", loss=mixed(3))  # 10 slices of features
    expected = run_on(STEPS, arguments)
    machine.log.clear()
    machine.multiprocessors = 1  # of 8 blocks
    assert_same_bits(parity.run("train", arguments, "cupy"), expected)
    assert "launch train_update" in machine.log


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(90, 37, 10, 5), (90, 20, 3, 30), (70, 70, 130, 2)], ids=str)
def test_tiles_do_not_change_the_bits(shape, dtype, run_on, monkeypatch):
    _, _, c, h = shape
    arguments = bank(Size(*shape), dtype, 85, loss=mixed(h))
    expected = run_on(LAUNCHES, arguments)
    monkeypatch.setattr(train_shapes, "ENOUGH_BLOCKS", 0)  # high tiles
    for columns in (16, 64, 128):
        tiles = -(-h // (columns // c)) if c <= columns else -(-h * c // columns)
        if columns < c <= train_shapes.WIDEST_TILE:
            continue
        monkeypatch.setattr(train_shapes, "tile_columns", lambda *_: (columns, tiles))  # noqa: B023
        assert_same_bits(run_on(LAUNCHES, arguments), expected)


@pytest.mark.parametrize("path", PATHS)
def test_how_many_steps_a_launch_or_a_graph_has_makes_no_difference(
    path, machine, run_on, monkeypatch
):
    schedule = np.outer(np.linspace(0.3, 0.1, 10), [1, 0.5, 2])
    (X, y, _, _, W, b), options = small_bank(3, "float32", loss=mixed(3), momentum=0.5)
    order = np.random.default_rng(3).integers(0, len(X), 47)
    arguments = (X, y, order, 5, W, b), {**options, "learning_rate": schedule}
    expected = run_on(path, arguments)
    for count in (1, 3, 4, 10):
        monkeypatch.setattr(train_steps, "STEPS_PER_LAUNCH", count)
        monkeypatch.setattr(launcher, "STEPS_PER_GRAPH", count)
        assert_same_bits(run_on(path, arguments), expected)
        launches = machine.log.count("launch train_steps")
        assert launches == (-(-10 // count) if path == STEPS else 0)
        assert machine.log.count("launch graph") == (0 if path == STEPS else 10 // count - 1)


@pytest.mark.parametrize("path", PATHS)
def test_a_batch_of_more_rows_than_there_are_is_one_of_all_rows(path, run_on):
    (X, y, order, _, W, b), options = small_bank(3, "float32", loss=mixed(3))
    of_37 = run_on(path, ((X, y, order, 37, W, b), options))
    assert_same_bits(run_on(path, ((X, y, order, 50, W, b), options)), of_37)
    far_more = run_on(LAUNCHES, ((X, y, order, 10**12, W, b), options))
    assert_same_bits(far_more, run_on(LAUNCHES, ((X, y, order, 37, W, b), options)))


@pytest.mark.parametrize("path", PATHS)
def test_runs_repeat_their_bits_and_other_rows_change_them(path, run_on):
    arguments = small_bank(3, "float32", loss=mixed(3))
    expected = run_on(path, arguments)
    assert_same_bits(run_on(path, arguments), expected)
    (X, y, order, *rest), options = arguments
    assert differ(run_on(path, ((X, y, order[::-1], *rest), options)), expected)


def test_what_a_block_can_have_of_shared_memory_chooses_the_path_and_no_bits(machine):
    arguments = bank(Size(200, 1100, 10), "float32", batch=200)
    machine.multiprocessors = 1000
    results = []
    for size, launched in ((64, "train_update"), (163, "train_steps")):  # KB, of sm_75 and sm_80
        machine.shared_opt_in = size << 10
        machine.log.clear()
        results.append(parity.run("train", arguments, "cupy"))
        assert f"launch {launched}" in machine.log
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)

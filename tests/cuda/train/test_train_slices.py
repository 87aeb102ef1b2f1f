"""Promise: that blocks share out the slices of the features changes the time, never a bit."""

import numpy as np
import pytest
from train_cases import LAUNCHES, STEPS, bank, mixed, mixed_soft

from softstep.kernels._cupy.training import shapes as train_shapes
from softstep.kernels.verify import cases
from softstep.kernels.verify.cases import Size

# (n, d, c, h): a head is narrower than a tile or wider; the last slice is a short one
SHAPES = [(40, 261, 3, 1), (26, 256, 10, 4), (21, 270, 130, 1)]


@pytest.fixture
def results(machine, run_on):
    """results(path, arguments): all of them, and whether the slices were shared out."""

    def run(path, arguments):
        found = run_on(path, arguments)
        return found, "launch train_slices" in machine.log

    return run


def assert_same_bits(found, expected):
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_array_equal(f, e, strict=True)
        assert np.isfinite(f).all()


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_all_ways_to_the_logits_give_the_same_bits(shape, dtype, results, monkeypatch):
    h = shape[3]
    settings = {"loss": mixed(h), "momentum": 0.5, "l2": 0.1}
    arguments = bank(Size(*shape), dtype, 17, **settings)
    shared_out, is_shared = results(LAUNCHES, arguments)
    assert is_shared
    assert_same_bits(results(STEPS, arguments)[0], shared_out)
    for blocks in (1, 40):  # all slices in one block of a tile, or some
        monkeypatch.setattr(train_shapes, "SPLIT_BLOCKS", blocks)
        assert_same_bits(results(LAUNCHES, arguments)[0], shared_out)
    monkeypatch.setattr(train_shapes, "SPLIT_FEATURES", shape[1] + 1)
    in_turn, is_shared = results(LAUNCHES, arguments)
    assert not is_shared
    assert_same_bits(in_turn, shared_out)


def test_soft_targets_get_the_same_bits_too(results):
    (X, _, *rest), options = bank(Size(26, 256, 10, 4), "float32", 17, loss=mixed_soft(4))
    arguments = (X, cases.probabilities(26, 10, rest[-1].dtype, seed=9), *rest), options
    shared_out, is_shared = results(LAUNCHES, arguments)
    assert is_shared
    assert_same_bits(results(STEPS, arguments)[0], shared_out)


@pytest.mark.parametrize(
    ("batch", "d", "c", "blocks"),
    [
        (256, 4096, 10, 512),  # 16 tiles, each of 32 blocks that have two slices
        (100, 784, 10, 175),
        (100, 64, 10, 7),  # few features: they are soon gone through
        (4096, 4096, 10, 256),  # enough tiles
        (256, 1 << 20, 1000, 256),
        (32, 1 << 20, 1000, 32),  # 1024 parts of 32,000 logits would take too much memory
    ],
)
def test_the_shape_alone_says_how_many_blocks_share_the_work(batch, d, c, blocks):
    assert np.prod(train_shapes.tiling_of(batch, d, 1, c, item=4).grid) == blocks


def test_tiles_divide_the_slices_and_fit():
    for features in range(16, 400, 16):
        for columns in (16, 32, 64, 128):
            for item in (4, 8):
                depth = train_shapes.low_depth(features, columns, item)
                assert features % depth == depth % train_shapes.DEPTH == 0
                tiles = item * (16 * (depth + 4) + depth * columns)
                assert tiles <= train_shapes.TILE_BYTES or depth == train_shapes.DEPTH

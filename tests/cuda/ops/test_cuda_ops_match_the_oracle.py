"""Every CUDA op gives what the oracle gives, within the op's error bounds, on odd shapes."""

import numpy as np
import pytest

from softstep.kernels._cupy import surface
from softstep.kernels.losses import LOSSES
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size

FEATURES = ("float32", "float64", "float16", "uint8")
ROWS = (
    "softmax_forward",
    "softmax_backward",
    "mse_forward",
    "mse_backward",
    "cross_entropy_forward",
    "cross_entropy_backward",
    "softmax_mse_backward",
    "gce_forward",
    "gce_backward",
)
SOFT = ROWS[2:7]
# Rows and classes. A warp takes a row of up to 1024 columns, a block one of more.
ROW_SIZES = ((1, 1), (3, 2), (150, 3), (17, 17), (5, 33), (9, 100), (2, 785), (3, 1000), (2, 1025))
# n, d, c: each width of a tile, with depths that are split and others that are not.
LAYERS = (
    (1, 1, 1),
    (2, 3, 2),
    (17, 33, 3),
    (100, 785, 10),
    (130, 17, 17),
    (33, 1000, 33),
    (300, 4, 100),
    (700, 20, 2),
    (2, 3, 1025),
)
# n, d, c, h: losses are summed in chunks of 256 rows
BANKS = ((1, 1, 1, 1), (3, 2, 2, 2), (600, 17, 3, 5), (100, 33, 33, 2), (5, 4, 100, 3))


@pytest.mark.parametrize("size", ROW_SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", ROWS)
def test_rows(op, dtype, size, assert_op_parity):
    n, c = size
    assert_op_parity(op, cases.OPS[op].arguments(Size(n, 1, c), dtype, 1))


@pytest.mark.parametrize("size", ROW_SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", SOFT)
def test_soft_targets(op, dtype, size, assert_op_parity):
    n, c = size
    (first, _), options = cases.OPS[op].arguments(Size(n, 1, c), dtype, 2)
    assert_op_parity(op, ((first, cases.probabilities(n, c, dtype, 3)), options))


def test_soft_targets_of_another_dtype_are_converted(assert_op_parity):
    V = cases.logits(5, 3, np.float32, 1)
    Y = np.eye(3)[[0, 1, 2, 0, 1]]  # float64, and float32 too
    assert_op_parity("cross_entropy_forward", ((V, Y), {}))


@pytest.mark.parametrize("size", LAYERS)
@pytest.mark.parametrize("dtype", FEATURES)
@pytest.mark.parametrize("op", ["linear_forward", "linear_backward"])
def test_layers(op, dtype, size, assert_op_parity):
    assert_op_parity(op, cases.OPS[op].arguments(Size(*size), dtype, 4))


@pytest.mark.parametrize("size", BANKS)
@pytest.mark.parametrize("dtype", FEATURES)
@pytest.mark.parametrize("op", ["predict", "evaluate", "gradient"])
def test_banks(op, dtype, size, assert_op_parity):
    assert_op_parity(op, cases.OPS[op].arguments(Size(*size), dtype, 5))


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", ["evaluate", "gradient"])
def test_each_head_has_its_loss_its_labels_and_its_weights(op, dtype, soft, assert_op_parity):
    n, d, c, h = 300, 7, 5, 4
    (X, _, W, b), _ = cases.OPS["evaluate"].arguments(Size(n, d, c, h), dtype, 6)
    rng = np.random.default_rng(7)
    sets = {"sample_weight": rng.random((2, n)), "weight_index": np.array([1, 0, 1, 1])}
    if not soft:
        sets["y_index"] = np.array([2, 0, 0, 1])
    y = cases.probabilities(n, c, dtype, 8) if soft else rng.integers(0, c, (3, n))
    losses = ("mse", "cross_entropy", "mse" if soft else "gce", "cross_entropy")
    assert_op_parity(op, ((X, y, W, b), {"loss": losses, **sets}))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("size", [(1, 1), (3, 2), (600, 10), (17, 33), (3, 1025)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_surfaces(dtype, size, loss, assert_op_parity):
    n, c = size
    arguments, _ = cases.OPS["surface_forward"].arguments(Size(n, 1, c), dtype, 10)
    weights = np.random.default_rng(11).random(n).astype(dtype)
    assert_op_parity("surface_forward", (arguments, {"loss": loss}))
    assert_op_parity("surface_forward", (arguments, {"loss": loss, "sample_weight": weights}))


def test_surfaces_have_the_same_bits_however_many_rows_there_is_room_for(machine, monkeypatch):
    arguments = cases.OPS["surface_forward"].arguments(Size(700, 1, 3), np.float32, 12)
    whole = parity.run("surface_forward", arguments, "cupy")
    monkeypatch.setattr(surface, "MOST_BYTES", 1)
    machine.log.clear()
    for found, expected in zip(
        parity.run("surface_forward", arguments, "cupy"), whole, strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    assert machine.log.count("launch surface_chunks") == 3


OTHERS = ("linear_forward", "linear_backward", "predict", "evaluate", "gradient", "surface_forward")


@pytest.mark.parametrize("op", [*ROWS, *OTHERS])
def test_no_rows_give_the_same_as_the_oracle(op, assert_op_parity):
    assert_op_parity(op, cases.OPS[op].arguments(Size(0, 3, 4, 2), np.float32, 9))

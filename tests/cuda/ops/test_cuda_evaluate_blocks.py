"""`predict`, `evaluate`, `gradient` on the GPU: the same bits, however much memory is free."""

import importlib

import numpy as np
import pytest

from softstep import kernels
from softstep.kernels._cupy.arrays import asarray
from softstep.kernels._cupy.device import OutOfDeviceMemory
from softstep.kernels.verify import cases
from softstep.kernels.verify.cases import Size

# The module: `evaluate` of the package is the op.
launcher = importlib.import_module("softstep.kernels._cupy.evaluate")

SIZE = Size(n=1100, d=9, c=7, h=3)  # of 1100 rows the last block takes 76


def results(dtype):
    (X, y, W, b), options = cases.OPS["evaluate"].arguments(SIZE, dtype, 1)
    weights = np.random.default_rng(2).random((1, SIZE.n))
    loss = ("mse", "cross_entropy", "gce")
    options = {**options, "loss": loss, "sample_weight": weights, "backend": "cupy"}
    labels = kernels.predict(X, W, b, feature_scale=options["feature_scale"], backend="cupy")
    sums = kernels.gradient(X, y, W, b, **options)
    return [*kernels.evaluate(X, y, W, b, **options), *sums, labels]


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_the_free_memory_does_not_change_the_bits(dtype, machine, monkeypatch):
    at_once = results(dtype)
    monkeypatch.setattr(launcher, "free_memory", lambda: 1)
    machine.log.clear()
    a_chunk_at_a_time = results(dtype)
    assert machine.log.count("launch evaluate_rows") == 5
    assert machine.log.count("launch gradient_rows") == 5
    for a, c in zip(at_once, a_chunk_at_a_time, strict=True):
        np.testing.assert_array_equal(a, c)
        assert np.isfinite(a).all()


def test_no_block_takes_more_than_half_of_the_free_memory(machine):
    (X, W, b), _ = cases.OPS["predict"].arguments(Size(20_000, 2, 100), np.float32, 1)
    machine.memory = 2 << 20  # all logits at once are 8 MB
    labels = kernels.predict(X, W, b, backend="cupy")
    np.testing.assert_array_equal(labels, kernels.predict(X, W, b, backend="numpy"))
    assert machine.log.count("launch predict_rows") > 5


def test_a_bank_too_large_for_one_chunk_says_how_much_was_asked(machine):
    (X, W, b), _ = cases.OPS["predict"].arguments(Size(300, 1, 900, 5), np.float32, 1)
    machine.memory = 1 << 20
    with pytest.raises(OutOfDeviceMemory, match=r"4\.\d+ MB asked for .*fewer heads in a bank"):
        kernels.predict(X, W, b, backend="cupy")


def test_no_weight_gives_nan(machine):
    (X, y, W, b), options = cases.OPS["evaluate"].arguments(SIZE, np.float32, 1)
    loss, accuracy = kernels.evaluate(
        X, y, W, b, **options, sample_weight=np.zeros(SIZE.n), backend="cupy"
    )
    assert np.isnan([loss, accuracy]).all()


@pytest.mark.parametrize("op", ["predict", "evaluate", "gradient"])
def test_one_block_of_logits_is_alive_at_a_time(op, machine, monkeypatch):
    size = Size(n=1500, d=2, c=50, h=4)
    block = launcher.CHUNK * size.h * size.c * 4  # bytes, of a chunk: all logits are six of them
    monkeypatch.setattr(launcher, "MOST_BYTES", block)
    (X, *rest), options = cases.OPS[op].arguments(size, np.float32, 1)
    X = asarray(X)
    machine.most_used = before = machine.used
    getattr(kernels, op)(X, *rest, **options)
    assert block < machine.most_used - before < 1.5 * block

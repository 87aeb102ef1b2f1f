"""The CUDA row ops keep the accuracy contract where it is hardest: far margins, near ties, long
rows that rise, rows that are not finite.
"""

import functools
import importlib.util
import sys

import numpy as np
import pytest
from repository import ROOT

from softstep import kernels
from softstep.kernels._cupy import launch
from softstep.kernels.verify import cases, parity

DTYPES = ("float32", "float64")
LONG = {"float32": 17_001, "float64": 9_001}  # three tiles of 256 threads
SOFT_OPS = ("cross_entropy_forward", "cross_entropy_backward", "softmax_mse_backward")
OPS = ("softmax_forward", *SOFT_OPS, "gce_forward", "gce_backward")


def _contract():
    """The test of the contract on the CPU: its rows, its exact results, its bounds."""
    path = ROOT / "tests/kernels/test_numerics_contract.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # its dataclass looks there
    spec.loader.exec_module(module)
    return module


contract = _contract()


def in_contract(op, rows, dtype):
    """The bound of the contract; float32: softmax and its gradient within 4 ULP, and what is below
    the smallest normal numbers vanishes.
    """
    bound = rows.contract(op, dtype)
    if dtype == "float64":
        return bound
    if op in ("softmax_forward", "cross_entropy_backward"):
        bound = 4 * bound
    return np.maximum(bound, 4 * np.finfo(np.float32).tiny)


@functools.cache
def drawn(dtype, c):
    """Rows of every family of the contract's own test, with the exact results."""
    rng = np.random.default_rng((1, c))
    with np.errstate(under="ignore", over="ignore"):
        V = np.concatenate([make(rng, 60, c, dtype).astype(dtype) for make in contract.FAMILIES])
    return contract.Rows.of(V.astype(np.float64), rng.integers(0, c, len(V)))


@pytest.mark.parametrize("c", [2, 3, 6, 40])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
def test_the_contract_holds(op, dtype, c, machine):
    rows = drawn(dtype, c)
    found = contract.result(op, rows.V, rows.y, dtype, "cupy")
    bound = in_contract(op, rows, dtype)
    zeros = np.zeros(found.shape)
    assert found.dtype == dtype
    assert parity.worst(rows.error(op, found), zeros, bound) <= 1
    for wrong in (zeros.astype(dtype), found * found.dtype.type(1.01)):
        assert parity.worst(rows.error(op, wrong), zeros, bound) > 1


def long_logits(c, dtype):
    """The largest comes last, first, late; -inf fills the first half."""
    rng = np.random.default_rng(2)
    ramp = np.arange(c) * 1e-2
    V = np.stack([ramp, ramp[::-1], rng.normal(size=c), rng.normal(size=c)])
    V[2, -1] = 20
    V[3, : c // 2] = -np.inf
    return V.astype(dtype)


@functools.cache
def long_rows(c, dtype):
    V = long_logits(c, dtype).astype(np.float64)
    return contract.Rows.of(V, np.array([c - 1, 0, 3, c - 2]))


@pytest.mark.parametrize("c", [700, 1100])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
def test_the_contract_holds_over_many_tiles_of_a_row(op, dtype, c, machine, monkeypatch):
    # Tiles of 32 columns for a warp, of 256 for a block.
    monkeypatch.setattr(launch, "REGISTER_VALUES", dict.fromkeys(launch.REGISTER_VALUES, 1))
    rows = long_rows(c, dtype)
    found = contract.result(op, rows.V, rows.y, dtype, "cupy")
    zeros = np.zeros(found.shape)
    bound = in_contract(op, rows, dtype)
    assert parity.worst(rows.error(op, found), zeros, bound) <= 1
    assert parity.worst(rows.error(op, zeros), zeros, bound) > 1


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", ["softmax_forward", "cross_entropy_backward"])
def test_rows_longer_than_the_registers(op, dtype, assert_op_parity):
    V = long_logits(LONG[dtype], dtype)
    arguments = (V,) if op == OPS[0] else (V, np.array([8999, 0, 3, 8800]))
    assert_op_parity(op, (arguments, {}))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", [*SOFT_OPS, "mse_forward", "mse_backward"])
def test_soft_targets_of_rows_longer_than_the_registers(op, dtype, assert_op_parity):
    V = np.maximum(long_logits(LONG[dtype], dtype), -50)  # the bounds for soft targets take no -inf
    Y = kernels.softmax_forward(V[::-1].copy(), backend="numpy")
    first = kernels.softmax_forward(V, backend="numpy") if op.startswith("mse") else V
    assert_op_parity(op, ((first, Y), {}))


@pytest.mark.parametrize("c", [3, 40, 1025, 5000])
def test_pairs_of_rows_longer_than_a_tile(c, assert_op_parity):
    V = np.sort(np.random.default_rng(3).normal(size=(1, c)), axis=1)
    assert_op_parity("softmax_mse_backward", ((V, np.array([1])), {}))


@pytest.mark.parametrize("c", [1, 2, 40, 1025, 4200])
@pytest.mark.parametrize(
    ("op", "soft"),
    [*((op, False) for op in OPS), *((op, True) for op in ("softmax_forward", *SOFT_OPS))],
)
def test_a_bad_row_is_nan_and_leaves_the_others_alone(op, soft, c, machine):
    if op == "softmax_mse_backward" and not soft:
        c = min(c, 1100)  # its cost grows with c²
    rng = np.random.default_rng(4)
    V = rng.normal(size=(9, c)).astype(np.float32)
    V[1, c // 2] = np.nan
    V[3, c - 1] = np.inf
    V[5] = -np.inf
    V[7, 0] = V[7, c - 1] = np.inf
    bad = np.arange(9) % 2 == 1
    y = rng.integers(0, c, 9)
    y = np.eye(c, dtype=np.float32)[y] if soft else y

    def run(V, y):
        return getattr(kernels, op)(*((V,) if op == OPS[0] else (V, y)), backend="cupy")

    found = run(V, y)
    assert np.isnan(found[bad]).all()
    np.testing.assert_array_equal(found[~bad], run(V[~bad], y[~bad]))
    assert np.isfinite(found[~bad]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_class_is_exact(dtype, machine):
    V = np.random.default_rng(5).normal(size=(50, 1)).astype(dtype) * 1e3
    y = np.zeros(50, int)
    for op, exact in zip(OPS, (1, 0, 0, 0, 0, 0), strict=True):
        arguments = (V,) if op == OPS[0] else (V, y)
        assert np.all(getattr(kernels, op)(*arguments, backend="cupy") == exact)


def test_minus_infinity_gives_exactly_0_and_ties_give_equal_shares(machine):
    V = np.array([[-np.inf, 3.0, 3.0, -np.inf], [0.0, -np.inf, -np.inf, -np.inf]], np.float32)
    P = kernels.softmax_forward(V, backend="cupy")
    np.testing.assert_array_equal(P, [[0, 0.5, 0.5, 0], [1, 0, 0, 0]])


def test_the_first_of_equal_logits_is_predicted_and_the_first_nan_before_all(machine):
    b = np.full((4, 1500), -3.0, np.float32)
    b[0, [7, 40, 1400]] = 5
    b[1, [1400, 1300]] = np.nan
    b[1, 3] = np.inf
    b[3, [0, 1499]] = np.inf
    found = kernels.predict(
        np.zeros((2, 1), np.float32), np.zeros((4, 1, 1500), np.float32), b, backend="cupy"
    )
    np.testing.assert_array_equal(found, [[7, 7], [1300, 1300], [0, 0], [0, 0]])


@pytest.mark.parametrize("c", [5, 40, 300])
@pytest.mark.parametrize("op", OPS[:3])
def test_logits_next_to_and_beyond_those_whose_scale_is_a_power_of_two(
    op, c, assert_op_parity, monkeypatch
):
    monkeypatch.setattr(launch, "REGISTER_VALUES", dict.fromkeys(launch.REGISTER_VALUES, 4))
    shifts = [0, 2**20 - 8, 2**20 + 8, 8 - 2**20, -8 - 2**20, 2**22, -(2**22), 1e30]
    V = cases.logits(40, c, np.float64, 1) + np.repeat(shifts, 5)[:, None]
    V[::2] += np.linspace(-16, 16, c)  # the largest is in the last tile, its scale another
    V[1::4] -= np.linspace(-16, 16, c)
    rest = () if op == "softmax_forward" else (cases.labels(40, c, 1),)
    assert_op_parity(op, ((V.astype(np.float32), *rest), {}))

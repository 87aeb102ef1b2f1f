"""The linear layer on tensor cores, on request: emulated but for one instruction, never run."""

import numpy as np
import nvrtc
import pytest
import standin
from tensor_core_cases import DTYPES, OPS, SIZES, arguments, truth_and_bounds

from softstep import kernels
from softstep.kernels._cupy import linear
from softstep.kernels._cupy.kernel import options, source
from softstep.kernels._cupy.linear import DEPTH
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size


@pytest.fixture
def asked_for(monkeypatch):
    monkeypatch.setenv("SOFTSTEP_TF32", "1")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("op", OPS)
def test_the_products_keep_their_bounds(op, dtype, size, machine, monkeypatch):
    given = arguments(op, size, dtype)
    usual = parity.run(op, given, "cupy")
    monkeypatch.setenv("SOFTSTEP_TF32", "1")
    found = parity.run(op, given, "cupy")
    truth, bounds = truth_and_bounds(op, given)
    assert max(parity.ratios(found, truth, bounds)) <= 1
    for t, bound in zip(truth, bounds, strict=True):
        assert parity.worst(0 * t, t, bound) > 1
    assert not np.array_equal(found[0], usual[0])
    np.testing.assert_array_equal(found[1:], usual[1:])  # the bias's gradient is no product


@pytest.mark.parametrize("op", OPS)
def test_float32_features_lose_accuracy_and_the_others_do_not(op, asked_for, machine):
    for dtype in DTYPES:
        given = arguments(op, Size(40, 36, 40), dtype)
        found = parity.run(op, given, "cupy")
        as_float32 = max(parity.ratios(found, *parity.truth_and_bounds(op, given)))
        assert (as_float32 > 1) == (dtype == "float32")


@pytest.mark.parametrize("schedule", ["in_order", "random", "greedy_warp"])
@pytest.mark.parametrize("op", OPS)
def test_the_checker_finds_no_fault(op, schedule, asked_for, machine):
    machine.check, machine.schedule = True, schedule
    for dtype in ("uint8", "float32"):
        found = parity.run(op, arguments(op, Size(66, 36, 40), dtype), "cupy")
        assert all(f.any() for f in found)


@pytest.mark.parametrize(
    ("asked", "used"), [(None, ()), ("", ()), ("0", ()), ("1", ("float32", "float16", "uint8"))]
)
def test_they_are_off_unless_asked_for_and_never_for_float64(asked, used, machine, monkeypatch):
    monkeypatch.delenv("SOFTSTEP_TF32", raising=False)
    if asked is not None:
        monkeypatch.setenv("SOFTSTEP_TF32", asked)
    seen = []
    load_kernel = linear.load_kernel
    monkeypatch.setattr(
        linear,
        "load_kernel",
        lambda file, name, **defines: (
            seen.append("TENSOR_CORES" in defines) or load_kernel(file, name, **defines)
        ),
    )
    dtypes = ("float32", "float64", "float16", "uint8")
    for dtype in dtypes:
        (X, W, b), _ = cases.OPS["linear_forward"].arguments(Size(3, 40, 40), dtype, 3)
        kernels.linear_forward(X, W, b, backend="cupy")
    assert seen == [dtype in used for dtype in dtypes]


def test_few_columns_are_not_worth_them(asked_for, machine, assert_op_parity):
    assert_op_parity("linear_forward", arguments("linear_forward", Size(40, 36, 32), "float32"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("op", "size"),
    [("linear_backward", Size(1, 70, 70)), ("linear_forward", Size(70, 31, 70))],
)
def test_a_shallow_sum_is_not_worth_them_either(op, size, dtype, machine, monkeypatch):
    given = arguments(op, size, dtype)
    usual = parity.run(op, given, "cupy")
    monkeypatch.setenv("SOFTSTEP_TF32", "1")
    found = parity.run(op, given, "cupy")
    assert max(parity.ratios(found, *parity.truth_and_bounds(op, given))) <= 1
    for f, u in zip(found, usual, strict=True):
        np.testing.assert_array_equal(f, u)


def test_the_gradient_of_all_rows_does_not_take_them(machine, monkeypatch):
    given = cases.OPS["gradient"].arguments(Size(300, 40, 20, h=3), "float32", 1)
    usual = parity.run("gradient", given, "cupy")
    monkeypatch.setenv("SOFTSTEP_TF32", "1")
    for found, expected in zip(parity.run("gradient", given, "cupy"), usual, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
@pytest.mark.parametrize("op", OPS)
def test_what_is_infinite_or_nan_is_so_without_them_too(op, dtype, machine, monkeypatch):
    given = arguments(op, Size(40, 40, 40), dtype)
    X, other = given[0][:2][:: 1 if op == "linear_forward" else -1]
    other[3, 2], other[4, 9], other[5, 1] = np.inf, np.nan, -np.inf
    if dtype == "float16":
        X[7, 6], X[9, 8] = np.inf, np.nan
    usual = parity.run(op, given, "cupy")[0]
    monkeypatch.setenv("SOFTSTEP_TF32", "1")
    found = parity.run(op, given, "cupy")[0]
    np.testing.assert_array_equal(np.isnan(found), np.isnan(usual))
    np.testing.assert_array_equal(found[np.isinf(usual)], usual[np.isinf(usual)])
    finite = np.isfinite(usual)
    assert np.isinf(usual).any()
    assert finite.any()
    np.testing.assert_allclose(found[finite], usual[finite], rtol=1e-4, atol=1e-5)


def test_what_is_neither_yes_nor_no_and_a_gpu_without_them_are_refused(machine, monkeypatch):
    given = arguments("linear_forward", Size(3, 40, 40), "float32")
    monkeypatch.setenv("SOFTSTEP_TF32", "yes")
    with pytest.raises(ValueError, match="SOFTSTEP_TF32 must be 1 or 0, not 'yes'"):
        parity.run("linear_forward", given, "cupy")
    monkeypatch.setenv("SOFTSTEP_TF32", "1")
    machine.compute_capability = "75"
    with pytest.raises(
        kernels.BackendError, match=r"does not have: its compute capability is 7\.5"
    ):
        parity.run("linear_forward", given, "cupy")
    monkeypatch.setenv("SOFTSTEP_TF32", "0")
    assert parity.run("linear_forward", given, "cupy")[0].any()


FAULTS = {
    "the low part left out": ("multiply_16x8x8(a_k, low, sums[j]);", ";"),
    "the mask of another number of bits": ("b_k[i]) & 0xffffe000u", "b_k[i]) & 0xff800000u"),
    "a wrong row of the fragment": ("+ j / 2 * 8;", "+ j / 2;"),
    "a wrong column of the result": ("threadIdx.x % 4 * 2 + j % 2", "threadIdx.x % 4 + j % 2"),
    "the features scaled, and the sums again": ("SCALES_SUMS ? 1 : s", "s"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("op", OPS)
def test_a_planted_fault_is_found(op, fault, asked_for, monkeypatch):
    old, new = FAULTS[fault]
    assert old in source("linear.cu")
    monkeypatch.setattr(
        "softstep.kernels._cupy.kernel.source", lambda file: source(file).replace(old, new)
    )
    given = arguments(op, Size(70, 36, 70), "uint8")
    with standin.install():
        found = parity.run(op, given, "cupy")
    assert not max(parity.ratios(found, *truth_and_bounds(op, given))) <= 1


@pytest.mark.skipif(nvrtc.missing() is not None, reason=str(nvrtc.missing()))
@pytest.mark.parametrize("kind", [0, 3])
def test_the_compiled_code_has_the_instruction_from_sm_80_on(kind):
    defines = {"REAL": "float", "X_KIND": kind, "TILE_ROWS": 64, "TILE_COLUMNS": 64}
    opts = options({**defines, "DEPTH": DEPTH, "TENSOR_CORES": 1})
    for architecture in nvrtc.architectures():
        _, ptx = nvrtc.compile_source(source("linear.cu"), "linear.cu", opts, architecture)
        instruction = "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"
        parts = ptx.split(".entry ")
        used = {part.split("(")[0] for part in parts[1:] if instruction in part}
        assert used == ({"linear_forward", "linear_backward"} if architecture >= 80 else set())

"""The linear layer on tensor cores keeps its bounds, however they round, and is taken where it is
wide and deep: emulated but for the instructions, never run.
"""

import numpy as np
import nvrtc
import pytest
from tensor_core_cases import EXACT, OPS, SIZES, arguments, truth_and_bounds

from softstep import kernels
from softstep.kernels._cupy import kernel, linear
from softstep.kernels._cupy.kernel import options, source
from softstep.kernels._cupy.linear import LEAST_TENSOR_DEPTH, MOST_PARTS, TENSOR_SLAB
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size

LEAST = Size(256, 256, 128)  # the least that takes them


@pytest.fixture
def files(monkeypatch):
    """The sources of the products that run."""
    seen, load_kernel = [], linear.load_kernel

    def load(file, name, **defines):
        seen.append(file)
        return load_kernel(file, name, **defines)

    monkeypatch.setattr(linear, "load_kernel", load)
    return seen


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [*EXACT, "float32"])
@pytest.mark.parametrize("op", OPS)
def test_the_products_keep_their_bounds(op, dtype, size, machine, files, monkeypatch):
    monkeypatch.setenv("SOFTSTEP_TF32", "1" if dtype == "float32" else "")
    given = arguments(op, size, dtype)
    found = parity.run(op, given, "cupy")
    assert "linear_tensor.cu" in files
    truth, bounds = truth_and_bounds(op, given)
    assert max(parity.ratios(found, truth, bounds)) <= 1
    for t, bound in zip(truth, bounds, strict=True):
        assert parity.worst(0 * t, t, bound) > 1
    monkeypatch.setenv("SOFTSTEP_TF32", "0")
    usual = parity.run(op, given, "cupy")
    assert not np.array_equal(found[0], usual[0])
    np.testing.assert_array_equal(found[1:], usual[1:])  # the bias's gradient is no product


def one_and_a_remainder(size):
    """Sums of a 1 and then products of almost 2^-23, which a sum that is cut off at 1 loses."""
    X = np.ones((size.n, size.d), np.float16)
    W = np.full((size.d, size.c), 1.9 * 2**-24, np.float32)
    W[0] = 1
    return (X, W, np.zeros(size.c, np.float32)), {"feature_scale": 1.0}


def test_sums_that_are_cut_off_keep_their_bounds_too(machine, monkeypatch):
    monkeypatch.setattr(linear, "LEAST_PART", 10_000)  # all in one block
    given = one_and_a_remainder(LEAST)
    found = parity.run("linear_forward", given, "cupy")
    truth, bounds = parity.truth_and_bounds("linear_forward", given)
    assert 0.1 < max(parity.ratios(found, truth, bounds)) <= 1


def test_without_slabs_they_would_not(machine, monkeypatch):
    old, new = "&slab[i][j], &slab[i + 1][j]", "&sums[i][j], &sums[i + 1][j]"
    assert old in source("linear_tensor.cu")
    monkeypatch.setattr(kernel, "source", lambda file: source(file).replace(old, new))
    monkeypatch.setattr(linear, "LEAST_PART", 10_000)
    given = one_and_a_remainder(LEAST)
    found = parity.run("linear_forward", given, "cupy")
    assert max(parity.ratios(found, *parity.truth_and_bounds("linear_forward", given))) > 1


def test_the_worst_of_all_roundings_is_within_the_bound_of_a_plain_sum():
    """In units of u: (k + 2) of 2u for each instruction of k = 8 products, two for each factor."""
    slab = TENSOR_SLAB // 8 * 2 * (8 + 2) * 2
    factor = 8  # 2^-21, which splitting loses
    for depth in range(LEAST_TENSOR_DEPTH, 100_000):
        parts = min(depth // linear.LEAST_PART, MOST_PARTS)
        slabs = -(-depth // TENSOR_SLAB) + 2 * parts  # a part ends in a slab of its own
        assert slab + factor + slabs + 2 <= depth + 2  # scale and bias; n + 2 backward


@pytest.mark.parametrize("schedule", ["in_order", "random", "greedy_warp"])
def test_the_checker_finds_no_fault(schedule, machine, monkeypatch):
    monkeypatch.setattr(linear, "LEAST_TENSOR_DEPTH", 33)
    monkeypatch.setattr(linear, "LEAST_TENSOR_WIDTH", 40)
    machine.check, machine.schedule = True, schedule
    for op in OPS:
        for size in (Size(66, 48, 44), Size(41, 45, 43)):
            found = parity.run(op, arguments(op, size, "uint8"), "cupy")
            assert all(f.any() for f in found)


@pytest.mark.parametrize(
    ("asked", "taken"),
    [("", EXACT), ("0", ()), ("1", (*EXACT, "float32"))],
)
def test_who_takes_them(asked, taken, machine, files, monkeypatch):
    monkeypatch.setenv("SOFTSTEP_TF32", asked)
    for dtype in (*EXACT, "float32", "float64"):
        shape = LEAST.n, LEAST.c, LEAST.d
        given = arguments("linear_forward", Size(1, 1, 1), dtype)[0]
        tiling = linear.tiling_for(*given[:2], *shape)
        assert tiling.on_tensor_cores == (dtype in taken)
        for smaller in ((127, 128, 256), (256, 127, 256), (256, 128, 255)):
            assert not linear.tiling_for(*given[:2], *smaller).on_tensor_cores


def test_predict_and_evaluate_take_them_and_the_gradient_of_all_rows_does_not(machine, files):
    size = Size(256, 256, 70, h=2)
    for op in ("predict", "evaluate", "gradient"):
        files.clear()
        given = cases.OPS[op].arguments(size, "float16", 1)
        found = parity.run(op, given, "cupy")
        assert ("linear_tensor.cu" in files) == (op != "gradient")
        assert max(parity.ratios(found, *parity.truth_and_bounds(op, given))) <= 1


@pytest.mark.parametrize("n", [256, 257])  # the last slab of rows is full, or has one
@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 1e-4), ("float32", 0.1)])
@pytest.mark.parametrize("op", OPS)
def test_what_is_infinite_or_nan_is_so_without_them_too(
    op, dtype, tolerance, n, machine, files, monkeypatch
):
    monkeypatch.setenv("SOFTSTEP_TF32", "1" if dtype == "float32" else "")
    given = arguments(op, Size(n, LEAST.d, LEAST.c), dtype)
    X, other = given[0][:2][:: 1 if op == "linear_forward" else -1]
    other[3, 2], other[4, 9], other[5, 1] = np.inf, np.nan, -np.inf
    X[7, 6], X[9, 8], X[n - 1, 10] = np.inf, np.nan, np.inf
    found = parity.run(op, given, "cupy")[0]
    assert "linear_tensor.cu" in files
    monkeypatch.setenv("SOFTSTEP_TF32", "0")
    usual = parity.run(op, given, "cupy")[0]
    np.testing.assert_array_equal(np.isnan(found), np.isnan(usual))
    np.testing.assert_array_equal(found[np.isinf(usual)], usual[np.isinf(usual)])
    finite = np.isfinite(usual)
    assert np.isinf(usual).any()
    assert finite.any()
    np.testing.assert_allclose(found[finite], usual[finite], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("op", OPS)
def test_results_are_read_again_only_where_a_sum_is_nan(op, machine, monkeypatch):
    given = arguments(op, LEAST, "float16")
    expected = parity.run(op, given, "cupy")[0]
    old, new = "if (found == found) continue;", "found = 7; continue;"
    assert source("linear_tensor.cu").count(old) == 1
    monkeypatch.setattr(kernel, "source", lambda file: source(file).replace(old, new))
    np.testing.assert_array_equal(parity.run(op, given, "cupy")[0], expected)
    given[0][0][7, 6] = np.nan
    assert not np.isnan(parity.run(op, given, "cupy")[0]).any()


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
    for asked in ("0", ""):
        monkeypatch.setenv("SOFTSTEP_TF32", asked)
        (X, W, _), _ = arguments("linear_forward", Size(1, 1, 1), "float16")
        assert not linear.tiling_for(X, W, 256, 128, 256).on_tensor_cores
        assert parity.run("linear_forward", given, "cupy")[0].any()


@pytest.mark.skipif(nvrtc.missing() is not None, reason=str(nvrtc.missing()))
def test_the_compiled_code_has_the_instructions():
    text, opts = source("linear_tensor.cu"), options({"REAL": "float", "X_KIND": 2})
    _, ptx = nvrtc.compile_source(text, "linear_tensor.cu", opts, 80)
    for part in ptx.split(".entry ")[1:]:
        products = part.count("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32")
        assert products == 4 * 4 * 2 * TENSOR_SLAB // 8  # 16 x 8 each, two for each factor
        assert part.count("cp.async.cg.shared.global") > 1
        assert part.count("cp.async.wait_group 0") == 1

"""Every tolerance can fail: all zeros and NaN are refused, and errors far smaller than those.

`conftest.assert_parity` shows this for each bound that the parity tests use; the tests of the
numerics contract, of gradients and of convergence show it for theirs. Here: the comparison is
right, and each op's bound finds a single wrong entry.
"""

import numpy as np
import pytest

from softstep.cli.check import check_command
from softstep.kernels.losses import LOSSES
from softstep.kernels.verify import bounds, cases, gradients, parity, train_bounds
from softstep.kernels.verify.cases import Size

SIZES = (Size(1, 1, 2), Size(37, 17, 3, h=3), Size(230, 785, 10, h=2))
DTYPES = ("float64", "float32")
CASES = [(op, dtype) for op in cases.OPS for dtype in DTYPES]


def truths(op, dtype):
    for size in SIZES:
        yield parity.truth_and_bounds(op, cases.OPS[op].arguments(size, dtype, 0))


def test_the_ratio_is_the_largest_error_in_units_of_its_bound():
    truth, bound = np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.5, 0.1])
    assert parity.worst(truth, truth, bound) == 0
    assert parity.worst(np.array([1.05, 1.0, 3.0]), truth, bound) == 2
    assert parity.worst(np.float32([0.5]), np.array([0.25]), np.array([0.5])) == 0.5


@pytest.mark.parametrize(
    ("found", "truth"),
    [
        ([1.0, np.nan], [1.0, 2.0]),
        ([1.0, 2.0], [1.0, np.nan]),
        ([1.0, np.inf], [1.0, 2.0]),
        ([1.0, 2.0], [1.0, np.inf]),
        ([1.0, -np.inf], [1.0, np.inf]),
        ([1.0, np.nan], [1.0, np.inf]),
        ([1.0], [1.0, 2.0]),
        ([[1.0, 2.0]], [1.0, 2.0]),
    ],
)
def test_nan_infinity_and_other_shapes_are_refused_whatever_the_bound(found, truth):
    for bound in (0.0, 1e300, np.inf):
        assert parity.worst(np.array(found), np.array(truth), bound) == np.inf


def test_the_same_nan_and_infinity_are_no_error():
    same = np.array([np.nan, np.inf, -np.inf, 0.0])
    assert parity.worst(same, same, np.zeros(4)) == 0
    assert parity.worst(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3))) == 0


def test_a_bound_of_zero_asks_for_the_exact_result():
    assert parity.worst(np.zeros(2), np.zeros(2), np.zeros(2)) == 0
    assert parity.worst(np.array([0.0, 5e-324]), np.zeros(2), np.zeros(2)) == np.inf


@pytest.mark.parametrize(("op", "dtype"), CASES)
def test_zeros_and_nans_are_refused(op, dtype):
    for truth, bound in truths(op, dtype):
        for t, e in zip(truth, bound, strict=True):
            assert parity.worst(t, t, e) == 0
            if t.any():
                assert parity.worst(np.zeros_like(t), t, e) > 1
            else:  # no row of a tiny case is right: exactly 0
                assert not e.any()
            if t.dtype.kind == "f":
                assert parity.worst(np.full_like(t, np.nan), t, e) == np.inf


@pytest.mark.parametrize(("op", "dtype"), CASES)
def test_one_part_in_a_thousand_of_one_entry_is_refused(op, dtype):
    """Of the largest entry of each result, for float32 sums of 785 products too.

    One in a hundred of `gradient`: its sums cancel over the rows, and its bound does not.
    """
    part = 0.01 if op == "gradient" else 0.001
    for truth, bound in truths(op, dtype):
        for t, e in zip(truth, bound, strict=True):
            if t.dtype.kind == "f" and t.any():
                wrong = t.copy()
                wrong[np.unravel_index(np.abs(t).argmax(), t.shape)] *= 1 + part
                assert parity.worst(wrong, t, e) > 1


@pytest.mark.parametrize(("op", "dtype"), CASES)
def test_results_without_a_bound_do_not_slip_through(op, dtype):
    for truth, bound in truths(op, dtype):
        assert len(truth) == len(bound)
        for t, e in zip(truth, bound, strict=True):
            assert np.shape(t) == np.shape(e)
            assert not np.isnan(e).any()
            assert np.isinf(e).mean() < 0.05  # labels between which rounding decides


@pytest.mark.parametrize(
    "table",
    [
        bounds.ROW_LOSSES,
        train_bounds.LOSS_ERRORS,
        train_bounds.LOGIT_GRADIENTS,
        gradients.FORMULAS,
        cases.LOSS_FLOP,
    ],
)
def test_every_loss_has_a_row_and_another_one_is_no_row(table):
    assert table.keys() == LOSSES.keys()
    with pytest.raises(KeyError):
        table["hinge"]


@pytest.mark.parametrize("op", cases.OPS)
def test_a_wrong_kernel_fails_the_check_command(op, monkeypatch, capsys):
    right = parity.run

    def wrong(name, arguments, backend):
        results = right(name, arguments, backend)
        if name == op and backend == "numba":
            return tuple(np.zeros_like(r) for r in results)
        return results

    monkeypatch.setattr(parity, "run", wrong)
    monkeypatch.setattr(parity, "FEATURE_DTYPES", ("float64", "float32"))
    monkeypatch.setattr(parity, "AS_FLOAT32", ())
    assert check_command(["numba"]) == 1
    failed = [line.split() for line in capsys.readouterr().out.splitlines() if "WRONG" in line]
    names = [[op, loss] for loss in LOSSES] if op in parity.TAKES_A_LOSS else [[op]]
    assert [words[:-2] for words in failed] == [[*n, dtype] for dtype in DTYPES for n in names]


def test_the_check_command_passes_here_and_names_every_op(capsys):
    assert check_command(["numpy", "numba"]) == 0
    out = capsys.readouterr().out
    for op in cases.OPS:
        assert out.count(f"\n  {op} ") >= 4  # two dtypes on each backend
    assert out.count("complex step: ") == 2 * len(gradients.all_cases(SIZES[0]))
    assert "all checks passed" in out

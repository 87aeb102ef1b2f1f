"""Promise: whatever is drawn, Numba is within its bounds of the oracle in float64."""

import numpy as np
import pytest

from softstep import kernels
from softstep.kernels.verify import cases, parity, random

SEED, COUNT = 1, 600


@pytest.fixture(scope="module")
def drawn():
    return [random.draw(SEED, number) for number in range(COUNT)]


def test_what_is_drawn_is_right(drawn):
    wrong = [str(case) for case in drawn if not random.error(case, "numba") <= 1]
    assert wrong == []


def test_everything_is_drawn(drawn):
    assert {case.op for case in drawn} == set(cases.OPS)
    trained = [case for case in drawn if case.op == "train"]
    assert {case.dtype for case in trained} == set(parity.FEATURE_DTYPES)
    notes = {note for case in trained for note in case.features}
    expected = {
        "label sets",
        "weight sets",
        "weights",
        "soft targets",
        "losses by head",
        "momentum",
    }
    expected |= {"repeats in the order", "l2", "l2 on the bias", "rates by step", "no bias"}
    expected |= {"columns=1", "columns=1000", "part of wider rows", "Fortran order", "by head"}
    assert expected <= notes
    for axis, most in random.MOST.items():
        lengths = {getattr(case.size, axis) for case in drawn}
        assert 1 in lengths
        assert max(lengths) > most / 4
    repeats = [len(np.unique(c.arguments[0][2])) < len(c.arguments[0][2]) for c in trained]
    assert any(repeats)


def test_a_seed_and_a_number_make_a_case_again(drawn):
    for case, again in zip(drawn[:20], (random.draw(SEED, k) for k in range(20)), strict=True):
        assert str(case) == str(again)
        for a, b in zip(case.arguments[0], again.arguments[0], strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("op", cases.OPS)
def test_a_result_that_is_a_little_off_is_found(op, drawn, monkeypatch, capsys):
    """A thousandth of it, or of 160 labels and counts a few."""
    right = getattr(kernels, op)

    def off(*arguments, backend=None, **options):
        found = right(*arguments, backend="numpy", **options)
        if backend == parity.ORACLE:
            return found
        first, *rest = found if isinstance(found, tuple) else (found,)
        changed = first + 1 if op == "predict" else first * 1.001 + 1e-3 * (op == "evaluate")
        return (changed, *rest) if rest else changed

    monkeypatch.setattr(kernels, op, off)
    numbers = [case.number for case in drawn if case.op == op and case.size.c > 1][:8]
    found = [random.main(["--seed", str(SEED), "--case", str(k), "--backend", "numba"])
             for k in numbers]  # fmt: skip
    assert sum(found) >= len(found) / 2
    assert f"--seed {SEED} --case " in capsys.readouterr().out

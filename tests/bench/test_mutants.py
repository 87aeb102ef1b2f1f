"""Promise: `make mutants` tells faults that tests notice from those that they let pass."""

import ast
import importlib.util
import os

import pytest
from repository import ROOT

from softstep.bench.studies import mutants
from softstep.bench.studies.mutants.faults import faults_of

SOURCE = '''"""A text."""
MOST = 3 * 4


class Counter:
    """A text."""

    def count(self, values: list[int], limit: int = 5) -> int:
        """A text."""
        self.calls = 1
        total = 0
        for value in values:
            if value is None or value < 0:
                raise ValueError(f"{value - 1} is negative")
            if not value:
                continue
            total += value if value <= limit else -limit
        return total
'''


def test_the_faults_of_a_source():
    found = {(f.line, f.was, f.text, f.function) for f in faults_of("area", "file.py", SOURCE)}
    count = "Counter.count"
    assert {
        (2, "3 * 4", "(3 / 4)", ""),
        (2, "3", "(6)", ""),
        (8, "5", "(10)", ""),  # a default is computed when the function is made
        (10, "self.calls = 1", "pass", count),
        (11, "0", "(1)", count),
        (13, "value is None or value < 0", "(value is None and value < 0)", count),
        (13, "value < 0", "(value <= 0)", count),
        (14, 'raise ValueError(f"{value - 1} is negative")', "pass", count),
        (15, "not value", "(value)", count),
        (16, "continue", "break", count),
        (17, "-limit", "(limit)", count),
        (17, "value <= limit", "(value < limit)", count),
    } <= found
    assert not [f for f in found if "A text" in f[1] or f[1] in ("int", "value - 1")]


def test_each_fault_is_python_and_in_one_place():
    for fault in faults_of("area", "file.py", SOURCE):
        changed = fault.source(SOURCE)
        ast.parse(changed)
        assert changed != SOURCE
        assert changed.count("\n") <= SOURCE.count("\n")


def test_few_cases_of_each_test_come_before_many_and_an_areas_own_first():
    seconds = {"own.py::a[1]": 2.0, "own.py::a[2]": 1.0, "b.py::b[1]": 0.1, "b.py::b[2]": 0.2}
    order = ["own.py::a[2]", "own.py::a[1]", "b.py::b[1]", "b.py::b[2]"]
    assert mutants.in_order(seconds, ("own.py",)) == order
    assert mutants.in_order(seconds, ()) == ["b.py::b[1]", "own.py::a[2]", "b.py::b[2]", order[1]]


NEEDED = pytest.mark.skipif(
    not hasattr(os, "fork")
    or not (mutants.ROOT / "tests").is_dir()
    or importlib.util.find_spec("coverage") is None,
    reason="needs POSIX, a checkout and coverage",
)


def line_of(file, text):
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    return f"{file}:{next(k for k, line in enumerate(lines, 1) if text in line)}"


@NEEDED
@pytest.mark.parametrize(
    ("file", "text", "survive"),
    [
        ("model/schedules.py", "if schedule == ", False),
        ("model/schedules.py", "SCHEDULES = ", None),  # texts: there is no fault
        ("model/trainer.py", "return self.waited >= self.patience", True),  # by no test of these
    ],
)
def test_tests_kill_or_let_pass(file, text, survive, capfd):
    given = ("--only", line_of(file, text), "--tests", "tests/model/test_schedules.py")
    code = mutants.main(list(given))
    told = capfd.readouterr().out
    if survive is None:
        assert "| all | 0 |" in told
        return
    assert code == survive
    assert ("\nsurvived" in told, "\nkilled" in told) == (survive, not survive)

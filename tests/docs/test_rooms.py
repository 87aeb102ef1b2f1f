"""Promise: the code stays in small rooms: few files to a folder, short and narrow functions."""

import ast

import pytest
from repository import ROOT

MOST_FILES = 16  # .py files in a folder
MOST_LINES = 60  # of a function, its docstring not counted
MOST_PARAMETERS = 12
ROOMS = ("kernels", "model", "bench", "src/softstep")

# Public signatures are as wide as what they offer.
PUBLIC = {
    ("kernels/ops.py", "train"),
    ("model/regression.py", "__init__"),
    ("model/regression.py", "fit"),
    ("model/sweep/estimator.py", "__init__"),
    ("model/sweep/estimator.py", "fit"),
}


def files():
    """Every Python file of the package, each by its real path."""
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            if not any(folder.is_symlink() for folder in file.parents):
                yield file


def functions():
    for file in files():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield file.relative_to(ROOT).as_posix(), node


def lines(function):
    """Lines of its body without its docstring."""
    documented = ast.get_docstring(function) is not None and len(function.body) > 1
    first = function.body[1] if documented else function.body[0]
    return function.end_lineno - first.lineno + 1


def parameters(function):
    given = function.args
    return len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs)


def test_no_folder_has_more_files_than_a_reader_can_take_in():
    counts = {}
    for file in (*files(), *(ROOT / "tests").rglob("*.py")):
        folder = file.parent.relative_to(ROOT).as_posix()
        counts[folder] = counts.get(folder, 0) + 1
    assert counts["kernels/_numpy"] > 5  # it was looked
    assert {folder: n for folder, n in counts.items() if n > MOST_FILES} == {}


def test_functions_are_short():
    found = [(place, f.name, lines(f)) for place, f in functions()]
    assert len(found) > 500
    assert [entry for entry in found if entry[2] > MOST_LINES] == []


def test_functions_take_few_parameters_but_for_public_ones():
    wide = {(place, f.name) for place, f in functions() if parameters(f) > MOST_PARAMETERS}
    assert wide == PUBLIC


@pytest.mark.parametrize(("code", "count"), [("def f(a, *, b=1): pass", 2), ("def f(): pass", 0)])
def test_parameters_are_counted_however_they_are_passed(code, count):
    assert parameters(ast.parse(code).body[0]) == count

"""Promise: docs/interop.md shows what its programs print, and names methods that exist."""

import functools
import re
import tracemalloc
from collections import Counter

import pages
import pytest
from repository import DOCS

from softstep import SoftmaxRegression
from softstep.bench.studies import interop

PAGE = DOCS / "interop.md"
TEXT = PAGE.read_text(encoding="utf-8")


def test_the_exchange_prints_what_is_shown(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    section = TEXT[TEXT.index("## Exchange") :].split("\n## ")[0]
    _, printed = pages.execute(section, PAGE)
    shown = [output for _, output in pages.blocks(section)]
    assert printed == shown
    assert any(shown)


def test_every_way_out_and_in_is_in_the_table():
    there = {name for name in dir(SoftmaxRegression) if re.match("(to|from)_", name)}
    assert len(there) == 8
    assert there <= set(re.findall(r"\b(?:to|from)_\w+", TEXT))


OF_FEATURES, OF_TARGETS = TEXT.split("| y | classes |")
CHECKS = TEXT.split("\n## scikit-learn's checks\n")[1].split("\n## ")[0]


def cells(title, text):
    """The row of a table with this title, without it."""
    (row,) = (line for line in text.splitlines() if line.startswith(f"| {title} |"))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[2:-1]]


@pytest.mark.parametrize(("title", "library", "make"), interop.FEATURES)
@pytest.mark.filterwarnings("ignore")  # of names that come or go, of columns that are not scaled
def test_features_are_read_as_the_table_says(title, library, make):
    """With as many copies, in each of the operations."""
    shown, *copies = cells(title, OF_FEATURES)
    read, found = interop.of_features(make, pytest.importorskip(library))
    assert [shown, *copies] == [read, *map(str, found)]
    assert set(copies) <= {"", "0", "1"}


def test_memory_is_traced_until_all_operations_are_done(monkeypatch):
    """A thread of JAX's may still allocate for one when the next has begun."""
    calls = []

    def called(name):
        calls.append((name, tracemalloc.is_tracing()))

    todo = {name: functools.partial(called, name) for name in ("fit", "score")}
    monkeypatch.setattr(interop, "operations", lambda X: todo)
    assert interop.of_features(lambda _: interop.FLOATS, None) == ("float32", [0, 0])
    assert calls == [("fit", False), ("score", False), ("fit", True), ("score", True)]
    assert not tracemalloc.is_tracing()


@pytest.mark.parametrize(("title", "library", "make"), interop.TARGETS)
def test_labels_are_read_as_the_table_says(title, library, make):
    assert cells(title, OF_TARGETS) == [interop.of_targets(make, pytest.importorskip(library))]


@pytest.mark.filterwarnings("ignore")  # of estimators that need no scikit-learn
def test_every_check_of_scikit_learn_is_in_the_list_and_none_has_failed():
    """That they pass still is tests/model/test_sklearn_contract.py's to say."""
    sklearn = pytest.importorskip("sklearn")
    checks = pytest.importorskip("sklearn.utils.estimator_checks")
    version = re.search(r"\| check of scikit-learn (\S+) \|", CHECKS)[1]
    if sklearn.__version__ != version:
        pytest.skip(f"the list is that of scikit-learn {version}")
    shown = {title: cells(title, CHECKS) for title in re.findall(r"^\| (`\w+`) \|", CHECKS, re.M)}
    for column, estimator in enumerate(interop.CHECKED):
        checked = (check for _, check in checks.estimator_checks_generator(estimator))
        names = Counter(f"`{interop.check_name(check)}`" for check in checked)
        counts = Counter({title: interop.total(row[column]) for title, row in shown.items()})
        assert names == counts
    assert "failed" not in CHECKS
    assert CHECKS.count("passed") > 100

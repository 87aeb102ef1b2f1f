"""Promise: docs/interop.md shows what its programs print, and names methods that exist."""

import re

import numpy as np
import pages
import pytest
from repository import DOCS

from softstep import SoftmaxRegression
from softstep.bench.studies import interop
from softstep.model import inputs

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


def cells(title, text):
    """The row of a table with this title, without it."""
    (row,) = (line for line in text.splitlines() if line.startswith(f"| {title} |"))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[2:-1]]


@pytest.mark.parametrize(("title", "library", "make"), interop.FEATURES)
def test_features_are_read_as_the_table_says(title, library, make):
    """At the door, which every operation goes through, with as many copies."""
    X = make(pytest.importorskip(library))
    shown, *copies = cells(title, OF_FEATURES)
    try:
        read = inputs.features(X).X
    except (TypeError, ValueError) as error:
        found, at_door = interop.refused(error), ""
    else:
        found = read.dtype.name
        at_door = interop.copies(lambda: np.ascontiguousarray(inputs.features(X).X), read.nbytes)
        assert at_door <= 1
    assert shown == found
    assert copies == [str(at_door)] * len(interop.OPERATIONS)


@pytest.mark.parametrize(("title", "library", "make"), interop.TARGETS)
def test_labels_are_read_as_the_table_says(title, library, make):
    assert cells(title, OF_TARGETS) == [interop.of_targets(make, pytest.importorskip(library))]

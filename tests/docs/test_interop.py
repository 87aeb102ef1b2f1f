"""Promise: docs/interop.md shows what its programs print, and names methods that exist."""

import re

import pages
import pytest
from repository import DOCS

from softstep import SoftmaxRegression

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

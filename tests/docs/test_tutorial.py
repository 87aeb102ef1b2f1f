"""Promise: docs/tutorial.md says what is so: its blocks print what it shows, its links lead on."""

import re

import pytest
from pages import blocks, execute
from repository import DOCS

PAGE = DOCS / "tutorial.md"
TEXT = PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def printed():
    return execute(TEXT, PAGE)[1]


def test_every_block_prints_what_the_page_shows(printed):
    shown = [output for _, output in blocks(TEXT)]
    assert sum(map(bool, shown)) >= 12
    assert printed == shown


def test_the_comparison_notices_one_changed_digit(printed):
    changed = TEXT.replace("trained 0.005145", "trained 0.005146")
    assert changed != TEXT
    assert printed != [output for _, output in blocks(changed)]


def test_no_block_of_the_page_is_left_out():
    assert TEXT.count("```python") == len(blocks(TEXT))
    assert TEXT.count("```text") == sum(bool(output) for _, output in blocks(TEXT))
    assert TEXT.count("```") == 2 * (TEXT.count("```python") + TEXT.count("```text"))


def test_every_link_leads_to_a_file_and_to_a_heading_in_it():
    links = re.findall(r"\]\(([\w.-]+)(?:#([^)]+))?\)", TEXT)
    assert len(links) >= 10
    for file, anchor in links:
        text = (PAGE.parent / file).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.+)$", text, re.M)
        known = {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}
        assert not anchor or anchor in known

"""Promise: docs/gpu.md names the faults, the kernels and the files that there are, and its
calculations are those of its commands.
"""

import re

import pytest
import tables
import variants
from repository import DOCS, ROOT

PAGE = (DOCS / "gpu.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", tables.CALCULATED, ids=lambda table: table.__module__)
def test_what_is_calculated_is_what_its_command_prints(table):
    assert table() in PAGE


def test_a_table_takes_the_place_of_the_one_with_its_heading():
    page = "a\n\n| x | y |\n|---|---|\n| 1 | 2 |\n\nb\n| x | z |\n"
    table = "| x | y |\n|---|---|\n| 3 | 4 |\n| 5 | 6 |"
    renewed = tables.renewed(page, table)
    assert renewed == f"a\n\n{table}\n\nb\n| x | z |\n"
    with pytest.raises(ValueError, match="0 tables begin so"):
        tables.renewed(page, "| z |\n|---|")


def test_every_kernel_and_only_these_are_in_the_table_of_registers():
    measured = re.findall(r"^\| `(\w+)` \| (\d+) \|", PAGE, re.MULTILINE)
    kernels = [name for _, name, _ in variants.everything()]
    assert {name for name, _ in measured} == set(kernels)


@pytest.mark.parametrize("path", re.findall(r"\b(?:tests|kernels|docs)/[\w/]+\.\w+", PAGE))
def test_every_file_that_is_named_exists(path):
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("pattern", sorted(set(re.findall(r"`((?:\w+/)*test_[\w*/]+\.py)`", PAGE))))
def test_every_test_file_that_is_named_exists(pattern):
    assert list((ROOT / "tests").rglob(pattern))

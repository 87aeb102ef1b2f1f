"""Promise: docs/gpu.md names the faults, the kernels and the files that there are."""

import re

import faults_table
import pytest
import variants
from repository import DOCS, ROOT

PAGE = (DOCS / "gpu.md").read_text(encoding="utf-8")


def test_every_planted_fault_is_in_the_table():
    assert faults_table.table() in PAGE


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

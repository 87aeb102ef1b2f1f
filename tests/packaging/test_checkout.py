"""Promise: a checkout runs as it is, with symbolic links or without, from the paths git knows."""

import importlib.util
import os
import runpy
import sys
import tomllib
from types import SimpleNamespace

import pytest
from processes import run
from repository import FOLDERS, ROOT, copy_checkout

FILES = """
from softstep.bench import run
from softstep.kernels import ops
from softstep.model import trainer
for module in (ops, trainer, run):
    print(module.__file__)
"""


@pytest.mark.parametrize("links", ["symbolic", "files", "none"])
def test_modules_are_found_where_git_has_them(links, tmp_path):
    checkout = copy_checkout(tmp_path / "checkout", links)
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    found = run(sys.executable, "-c", FILES, env=environment, cwd=tmp_path).splitlines()
    expected = ("kernels/ops.py", "model/trainer.py", "bench/run.py")
    assert found == [str(checkout / file) for file in expected]


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_folders_are_linked_into_the_package_for_type_checkers(folder):
    link = ROOT / "src" / "softstep" / folder
    if not link.exists() and not (ROOT / ".git").exists():
        pytest.skip("an sdist has no links")
    target = str(link.readlink()) if link.is_symlink() else link.read_text()
    assert target == f"../../{folder}"


def test_mypy_is_strict_on_modules_that_exist():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    (strict,) = (s["module"] for s in settings["overrides"] if "strict_equality" in s)
    assert "softstep.kernels.ops" in strict
    for name in strict:
        assert importlib.util.find_spec(name.removesuffix(".*")), name


def test_files_of_tests_that_take_long_are_there_and_come_first():
    conftest = runpy.run_path(str(ROOT / "conftest.py"))
    long = [ROOT / "tests" / name for name in conftest["LONG"]]
    assert [path for path in long if not path.is_file()] == []
    others = [ROOT / "tests/cli/test_cli.py", ROOT / "bench/benchmarks/test_ops.py"]
    items = [SimpleNamespace(path=path) for path in [*others, *reversed(long)]]
    conftest["pytest_collection_modifyitems"](items)
    assert [item.path for item in items] == [*long, *others]

"""Promise: what is built installs anywhere, complete, and claims no name but its own."""

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from processes import run
from repository import FOLDERS, ROOT, copy_checkout

BIN = "Scripts" if sys.platform == "win32" else "bin"
KINDS = (".py", ".npz", ".cu", ".cuh", ".typed")
ROOMS = {"src/softstep": "softstep", **{folder: f"softstep/{folder}" for folder in FOLDERS}}


def build(source, out, *only):
    """The folder with the sdist, and the wheel built from that sdist."""
    run(sys.executable, "-m", "build", *only, "--outdir", out, source)
    return out


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    return build(ROOT, tmp_path_factory.mktemp("dist"))


def wheel_of(dist):
    (wheel,) = dist.glob("*.whl")
    return wheel


def sources():
    """Every file of the package: where it is in the repository -> where it is in the wheel."""
    found = {}
    for room, package in ROOMS.items():
        for path in (ROOT / room).rglob("*"):
            inside = path.relative_to(ROOT / room)
            linked = room == "src/softstep" and inside.parts[0] in FOLDERS
            left_out = {"__pycache__", "benchmarks"} & {*inside.parts}
            if path.suffix in KINDS and not left_out and not linked:
                found[f"{room}/{inside.as_posix()}"] = f"{package}/{inside.as_posix()}"
    return found


def in_wheel(dist):
    """The names of what is in the wheel."""
    with zipfile.ZipFile(wheel_of(dist)) as wheel:
        return set(wheel.namelist())


def in_sdist(dist):
    """Name -> content of what is in the sdist."""
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as sdist:
        files = [file for file in sdist if file.isfile()]
        return {file.name.partition("/")[2]: sdist.extractfile(file).read() for file in files}


def test_the_wheel_holds_every_source_and_nothing_else(dist):
    names = in_wheel(dist)
    assert "softstep/kernels/_cupy/softmax.cu" in names
    assert {name for name in names if ".dist-info/" not in name} == set(sources().values())
    licences = {Path(name).name for name in names if "/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"}


def test_the_sdist_holds_every_source_once(dist):
    names = set(in_sdist(dist))
    beside = {name for name in names if "/" not in name}
    rooms = {name for name in names if name.startswith((*(f"{room}/" for room in ROOMS),))}
    assert rooms - {"bench/benchmarks/test_ops.py"} == set(sources())
    assert {"pyproject.toml", "README.md", "CHANGELOG.md", "CITATION.cff"} <= beside
    assert {"LICENSE", "NOTICE"} <= beside


def test_the_sdist_holds_every_test_and_what_the_tests_read(dist):
    every = set(in_sdist(dist))
    names = {name for name in every if "/" in name}
    for folder in ("tests", "docs", ".ci", ".github"):
        found = (path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file())
        expected = {path.as_posix() for path in found if "__pycache__" not in path.parts}
        assert expected
        assert {name for name in names if name.startswith(f"{folder}/")} == expected
    assert {"conftest.py", "Makefile", "mkdocs.yml", "SECURITY.md"} <= every


def test_a_package_index_shows_the_page_whole(dist):
    run(sys.executable, "-m", "twine", "check", "--strict", *dist.iterdir())
    with zipfile.ZipFile(wheel_of(dist)) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith("METADATA"))
        page = wheel.read(name).decode()
    links = re.findall(r'\]\(([^)]+)\)|(?:src|srcset)="([^"]+)"', page)
    assert len(links) > 15
    assert [link for link in map("".join, links) if not link.startswith("https://")] == []


def test_a_clone_without_symbolic_links_builds_the_same(dist, tmp_path):
    clone = copy_checkout(tmp_path / "clone", links="files")
    assert (clone / "src/softstep/kernels").read_text() == "../../kernels"
    # and so the same wheel, for that is built from the sdist
    assert in_sdist(build(clone, tmp_path / "dist", "--sdist")) == in_sdist(dist)


def test_the_wheel_trains_in_a_new_environment_in_another_directory(dist, tmp_path):
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    python = (tmp_path / "venv" / BIN / "python", "-I")  # whatever PYTHONPATH says
    install = ("--python", python[0], "install", "-q", "--no-compile")
    run(sys.executable, "-m", "pip", "--disable-pip-version-check", *install, wheel_of(dist))
    run(*python, "-m", "softstep", "train", "digits", "--epochs", "2", cwd=tmp_path)
    assert (tmp_path / "runs" / "digits.npz").exists()
    where = run(*python, "-c", "import softstep.kernels as k; print(k.__file__)", cwd=tmp_path)
    assert str(tmp_path) in where
    for folder in FOLDERS:
        code = f"import {folder}"
        failed = subprocess.run(
            [*python, "-c", code], cwd=tmp_path, capture_output=True, check=False
        )
        assert b"ModuleNotFoundError" in failed.stderr

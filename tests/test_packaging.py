"""Promise: what is built installs anywhere, complete, and claims no name but its own."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("kernels", "model", "bench")


def run(*command, **keywords):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **keywords
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """The folder with the sdist, and the wheel built from that sdist."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", out, ROOT)
    return out


def sources():
    """Every file of the three folders that has to be in the package."""
    files = (p for folder in FOLDERS for p in (ROOT / folder).rglob("*"))
    return {
        p.relative_to(ROOT).as_posix()
        for p in files
        if p.suffix in (".py", ".npz", ".cu", ".cuh") and "__pycache__" not in p.parts
    }


def test_the_wheel_holds_every_source_and_nothing_top_level_but_softstep(dist):
    (wheel,) = dist.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {f"softstep/{name}" for name in sources()} <= set(names)
    assert "softstep/py.typed" in names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"softstep"}
    licences = [name for name in names if "/licenses/" in name]
    assert {Path(name).name for name in licences} == {"LICENSE", "NOTICE"}


def test_the_sdist_holds_every_source(dist):
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {f"src/softstep/{name}" for name in sources()} <= names
    assert {"pyproject.toml", "README.md", "LICENSE", "NOTICE"} <= names


def test_the_wheel_trains_in_a_new_environment_in_another_directory(dist, tmp_path):
    (wheel,) = dist.glob("*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    run(python, "-m", "softstep", "train", "digits", "--epochs", "2", cwd=tmp_path)
    assert (tmp_path / "runs" / "digits.npz").exists()
    where = run(python, "-c", "import softstep.kernels as k; print(k.__file__)", cwd=tmp_path)
    assert str(tmp_path) in where
    for folder in FOLDERS:
        code = f"import {folder}"
        failed = subprocess.run(
            [python, "-c", code], cwd=tmp_path, capture_output=True, check=False
        )
        assert b"ModuleNotFoundError" in failed.stderr


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_folders_are_linked_into_the_package(folder):
    link = ROOT / "src" / "softstep" / folder
    assert link.is_symlink()
    assert not link.readlink().is_absolute()
    assert link.resolve() == ROOT / folder

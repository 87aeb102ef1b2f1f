"""Where the repository is, whatever the package under test came from, and copies of both."""

import importlib
import shutil
from pathlib import Path

import softstep

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
FOLDERS = ("kernels", "model", "bench")  # packages of softstep, linked into src/softstep
BUILT_FROM = (
    *("pyproject.toml", ".gitignore", "README.md", "CHANGELOG.md", "CITATION.cff"),
    *("CONTRIBUTING.md", "Makefile", "SECURITY.md", "conftest.py", "mkdocs.yml"),
)


def copy_checkout(target, links):
    """Copies what a build takes to `target`.

    `links`: "symbolic"; "files", as in a clone with core.symlinks=false; "none", as in an sdist.
    """
    leave_out = shutil.ignore_patterns("__pycache__")
    for folder in ("src", "tests", "docs", ".ci", ".github", *FOLDERS):
        shutil.copytree(ROOT / folder, target / folder, symlinks=True, ignore=leave_out)
    for name in (*BUILT_FROM, "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, target)
    for folder in FOLDERS:
        link = target / "src" / "softstep" / folder
        link.unlink()
        if links == "symbolic":
            link.symlink_to(f"../../{folder}")
        elif links == "files":
            link.write_text(f"../../{folder}")
    return target


def copy_package(target):
    """Copies the package under test to the folder `target`, whole, as a wheel installs it."""

    def leave_out(folder, names):
        linked = FOLDERS if Path(folder) == facade else ()
        return {name for name in names if name == "__pycache__" or name in linked}

    facade = Path(softstep.__file__).parent
    shutil.copytree(facade, target / "softstep", ignore=leave_out)
    for name in FOLDERS:
        folder = Path(importlib.import_module(f"softstep.{name}").__file__).parent
        shutil.copytree(folder, target / "softstep" / name, ignore=leave_out)
    return target

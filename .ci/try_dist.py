"""Installs what was built into a fresh environment of each Python found, and tries it there.

Lists what is in dist/ first. Usage: python .ci/try_dist.py dist
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13", "3.14")
SHOWN = 12  # folders of an archive
PROGRAM = """
from softstep import SoftmaxRegression
from softstep.model.datasets import load_digits
digits = load_digits()
model = SoftmaxRegression(learning_rate=2, epochs=20, random_state=0)
model.fit(digits.X_train, digits.y_train)
assert model.score(digits.X_test, digits.y_test) > 0.9
print(model.origin_["versions"] if hasattr(model, "origin_") else "trained")
"""


def contents(archive):
    """The files of a wheel or an sdist: (name, size)."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            return [(file.filename, file.file_size) for file in wheel.infolist()]
    with tarfile.open(archive) as sdist:
        return [(file.name, file.size) for file in sdist.getmembers()]


def listed(archive):
    """Files and bytes by folder."""
    folders = {}
    for name, size in contents(archive):
        folder = "/".join(name.split("/")[:2])
        count, total = folders.get(folder, (0, 0))
        folders[folder] = (count + 1, total + size)
    print(f"\n{archive.name}: {archive.stat().st_size:,} bytes")
    for folder, (count, total) in sorted(folders.items(), key=lambda row: -row[1][1])[:SHOWN]:
        print(f"  {total:>10,}  {count:>4} files  {folder}")


def pythons():
    """One interpreter of each version: those on PATH, then pyenv's."""
    found = {}
    places = [shutil.which(f"python{version}") for version in VERSIONS]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places += [*map(str, sorted(pyenv.glob("versions/*/bin/python"))), sys.executable]
    for place in filter(None, places):
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        run = subprocess.run([place, "-c", code], capture_output=True, text=True, check=False)
        if run.stdout.strip() in VERSIONS:
            found.setdefault(run.stdout.strip(), place)
    return dict(sorted(found.items()))


def tried(python, archive, folder):
    """Whether the archive installs and works in a new environment, and what was said last."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    new = folder / "bin" / "python" if os.name != "nt" else folder / "Scripts" / "python.exe"
    for command in (
        [python, "-m", "venv", folder],
        [new, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", archive],
        [new, "-m", "softstep", "--version"],
        [new, "-c", PROGRAM],
    ):
        run = subprocess.run(
            command, cwd=folder.parent, env=environment, capture_output=True, text=True, check=False
        )
        if run.returncode:
            return False, run.stderr.strip()[-300:]
    return True, run.stdout.strip()


def main(folder):
    archives = [*folder.glob("*.whl"), *folder.glob("*.tar.gz")]
    for archive in archives:
        listed(archive)
    print()
    outcomes = []
    for version, python in pythons().items():
        for archive in archives:
            with tempfile.TemporaryDirectory() as outside:
                works, said = tried(python, archive.resolve(), Path(outside) / "venv")
            outcomes.append(works)
            kind = "wheel" if archive.suffix == ".whl" else "sdist"
            print(f"Python {version}  {kind}  {'works' if works else 'FAILS: ' + said}", flush=True)
    missing = sorted(set(VERSIONS) - set(pythons()), key=lambda v: int(re.sub(r"\D", "", v)))
    print(f"not here, not tried: {', '.join(missing) or 'none'}")
    return 0 if outcomes and all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

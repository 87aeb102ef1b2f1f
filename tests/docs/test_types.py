"""Promise: the types say what is meant: a program passes mypy --strict, a wrong one does not."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from repository import ROOT

from softstep.kernels import names
from softstep.kernels.losses import LOSSES
from softstep.kernels.registry import CHOICES

SAMPLE = Path(__file__).with_name("sample_program.py")
WRONG = {
    'loss="cross_entropy"': 'loss="crossentropy"',
    'schedule="cosine"': 'schedule="linear"',
    'solver="sgd"': 'solver="adam"',
    "score: float": "score: str",
    "path.steps": "path.step",
}


def test_the_choices_are_those_of_the_tables():
    assert get_args(names.Loss) == tuple(LOSSES)
    assert get_args(names.Backend) == tuple(CHOICES)


def mypy(tmp_path, *programs):
    """What mypy finds in the programs, each a text: the lines of its errors."""
    files = []
    for i, text in enumerate(programs):
        files.append(tmp_path / f"program_{i}.py")
        files[-1].write_text(text, encoding="utf-8")
    settings = tmp_path / "mypy.ini"
    settings.write_text(
        f"[mypy]\nmypy_path = {ROOT / 'src'}\nstrict = True\nfollow_imports = silent\n"
        "[mypy-numba.*,llvmlite.*,sklearn.*,torch.*,onnx.*]\nignore_missing_imports = True\n"
        "follow_imports = skip\n"
    )
    command = (sys.executable, "-m", "mypy", "--config-file", settings, "--cache-dir", ROOT)
    command = (*command[:-1], ROOT / ".mypy_cache" / "sample")
    done = subprocess.run(
        [*command, *files], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    return [line for line in done.stdout.splitlines() if ": error:" in line], done.stdout


@pytest.mark.skipif(importlib.util.find_spec("mypy") is None, reason="mypy is not installed")
@pytest.mark.skipif(
    not (ROOT / "src/softstep/model").is_dir(), reason="mypy needs the links in src/softstep"
)
def test_a_program_passes_and_each_wrong_one_fails(tmp_path):
    text = SAMPLE.read_text(encoding="utf-8")
    programs = [text]
    for right, wrong in WRONG.items():
        assert right in text
        programs.append(text.replace(right, wrong))
    errors, said = mypy(tmp_path, *programs)
    found = {line.split(":")[0].removesuffix(".py") for line in errors}
    assert found == {f"program_{i}" for i in range(1, len(programs))}, said

"""Promise: who asks for the tests that need a GPU gets them run, or an error that says why not."""

import os
import subprocess
import sys

import pytest
from repository import ROOT

FILE = "tests/cuda/host/test_on_a_gpu.py"
# As if CuPy, and what other tests need, were not installed.
WITHOUT = """
import sys

class Missing:
    def find_spec(name, path=None, target=None):
        if name in ("cupy", "hypothesis", "mpmath", "sklearn", "pandas"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing)
import pytest
sys.exit(pytest.main(["-p", "no:hypothesispytest", "-p", "no:cacheprovider", *sys.argv[1:]]))
"""


def run(*arguments, **variables):
    """The exit code, and what is printed."""
    environment = {**os.environ, "SOFTSTEP_BACKEND": "", "PYTEST_ADDOPTS": "", **variables}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, "-m", "gpu", *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_they_are_collected_without_what_other_tests_need():
    code, text = run("--collect-only", "-q")
    assert code == 0, text
    assert f"{FILE}::test_every_op_keeps_its_bounds_on_the_gpu" in text


def test_without_a_gpu_they_are_skipped_with_the_reason():
    code, text = run("-q", "-k", "reruns", FILE)
    assert code == 0, text
    assert "no GPU to test on: CuPy is not installed" in text


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [(["--require-gpu"], {}), ([], {"SOFTSTEP_BACKEND": "cupy"})],
    ids=["option", "variable"],
)
def test_who_requires_a_gpu_gets_an_error_with_the_reason(arguments, variables):
    code, text = run("-q", "-k", "reruns", *arguments, FILE, **variables)
    assert code == 1, text
    assert "no GPU to test on: CuPy is not installed" in text

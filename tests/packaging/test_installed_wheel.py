"""Promise: the tests run against an installed wheel too, in place of the checkout."""

import os
import sys

import pytest
from processes import run
from repository import ROOT

SAMPLE = (  # of every room, and of files that are not Python: what compiles nothing
    "tests/cuda/host/test_host.py",
    "tests/cuda/tools/test_offsets_are_64_bit.py",
    "tests/docs/test_gallery.py",
    "tests/kernels/test_backend_choice.py",
    "tests/model/test_datasets.py",
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder outside the repository into which the wheel was installed."""
    out = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "build", "--wheel", "--outdir", out / "dist", ROOT)
    (wheel,) = (out / "dist").glob("*.whl")
    install = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps")
    run(*install, "--disable-pip-version-check", "--target", out / "packages", wheel)
    return out / "packages"


def pytest_on(installed, *arguments):
    """The repository's tests pass, or are collected, on the softstep that was installed."""
    pytest = (sys.executable, "-m", "pytest", "-p", "no:cacheprovider")
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    out = run(*pytest, *arguments, env=environment, cwd=ROOT)
    assert f"from {installed / 'softstep'}\n" in out


def test_every_test_is_collected(installed):
    pytest_on(installed, "--collect-only")


def test_a_sample_of_the_tests_passes(installed):
    pytest_on(installed, *SAMPLE)

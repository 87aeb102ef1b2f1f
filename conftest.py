"""What `pytest bench` needs, and in which order the files of tests are given out."""

import importlib
import sys
from pathlib import Path

BENCH = Path(__file__).parent / "bench"
# Files that take long while nothing is compiled yet. Neighbours, which begin together, do not
# compile the same kernels.
LONG = (
    "docs/test_interop.py",
    "kernels/numba/test_kernel_cache.py",
    "kernels/test_backend_parity.py",
    "kernels/numba/test_vector_widths.py",
    "cli/test_cli_report.py",
    "cuda/tools/test_nvrtc.py",
    "docs/test_tutorial.py",
    "cli/test_cli_warmup.py",
    "model/shards/test_over_dask_chunks.py",
    "packaging/test_installed_wheel.py",
    "packaging/test_built.py",
    "bench/test_company.py",
)


def pytest_configure(config):
    """pytest-xdist would give out the files with most tests first."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    """Long files first: a worker that begins one last ends long after the others."""
    tests = Path(__file__).parent / "tests"
    place = {tests / file: k for k, file in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path, len(LONG)))


def pytest_collect_directory(path):
    """pytest would import bench/ by its path, as `bench`; it is the package softstep.bench."""
    if path == BENCH:
        sys.modules["bench"] = importlib.import_module("softstep.bench")

"""What `pytest bench` needs."""

import importlib
import sys
from pathlib import Path

BENCH = Path(__file__).parent / "bench"


def pytest_collect_directory(path):
    """pytest would import bench/ by its path, as `bench`; it is the package softstep.bench."""
    if path == BENCH:
        sys.modules["bench"] = importlib.import_module("softstep.bench")

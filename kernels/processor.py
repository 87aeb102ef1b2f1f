"""The processor this process runs on, as its records name it."""

import contextlib
import functools
import platform
from pathlib import Path

import numpy as np


@functools.cache
def name() -> str:
    """Its maker's name for it, or where the system does not say, its architecture."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@functools.cache
def features() -> tuple[str, ...]:
    """The vector instructions that it has, of those that NumPy looks for."""
    found = np.show_config(mode="dicts")["SIMD Extensions"]
    return (*found.get("baseline", ()), *found.get("found", ()))

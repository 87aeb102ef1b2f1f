"""Marks of tests that need what not every system has."""

import os
import sys
from pathlib import Path

import pytest

POSIX = pytest.mark.skipif(os.name != "posix", reason="needs signals, a shell or modes as POSIX's")
# Windows can only end a process: what is sent to another one arrives as no signal.
BETWEEN_PROCESSES = pytest.mark.skipif(sys.platform == "win32", reason="no signals to others")
DEV_FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no /dev/full")

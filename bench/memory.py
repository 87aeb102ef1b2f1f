"""The resident memory of this process, in bytes. Linux only: it reads /proc."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from softstep.bench.measure import clocked

PROCESS = Path("/proc/self")


def now() -> int:
    return _field("VmRSS")


def peak() -> int:
    """The most there was since the process began, or since `forget_peak`."""
    return _field("VmHWM")


def forget_peak() -> None:
    (PROCESS / "clear_refs").write_text("5")


def peak_above(call: Callable[[], Any]) -> tuple[Any, int, float]:
    """What the call gives, by how much memory grew at its peak, and the seconds it took."""
    forget_peak()
    before = now()
    result, seconds = clocked(call)
    return result, peak() - before, seconds


def _field(name: str) -> int:
    lines = (PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

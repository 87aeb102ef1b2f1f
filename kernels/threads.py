"""How many threads a CPU backend uses: argument, then SOFTSTEP_NUM_THREADS, then all cores."""

import functools
import math
import os
from contextvars import ContextVar
from pathlib import Path

from softstep.kernels.checks import positive_integer

_asked: ContextVar[int | None] = ContextVar("softstep_n_threads", default=None)

VARIABLE = "SOFTSTEP_NUM_THREADS"
CGROUPS, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")

# Below so many floating-point operations for each thread, waiting for it costs more than it does.
FLOP_BETWEEN_BARRIERS = 500_000
FLOP_OF_A_CALL = 10_000_000
MOST_FOR_A_CORE = 4  # threads that are asked for beyond this only wait


def ask(n_threads: int | None) -> None:
    """What the op that is called now was given as `n_threads`."""
    _asked.set(None if n_threads is None else positive_integer("n_threads", n_threads))


def thread_count() -> int:
    """The number asked for, or else of the cores that this process may use.

    Raises:
        ValueError: SOFTSTEP_NUM_THREADS is not a whole number of at least 1.
    """
    return _number_asked_for() or available_cores()


def _number_asked_for() -> int | None:
    asked = _asked.get()
    if asked is not None:
        return asked
    value = os.environ.get(VARIABLE)
    if not value:
        return None
    if not value.strip().isdecimal() or int(value) < 1:
        raise ValueError(f"{VARIABLE} must be a whole number of at least 1, not {value!r}")
    return int(value)


def threads_for(flop: float, flop_between_barriers: float = math.inf) -> int:
    """How many of the threads pay for a call of so many operations."""
    pay = int(min(flop / FLOP_OF_A_CALL, flop_between_barriers / FLOP_BETWEEN_BARRIERS))
    asked = _number_asked_for()
    if pay < 2:  # small work is not to wait for the cores to be counted
        return 1
    cores = available_cores()
    return min(asked or cores, pay, MOST_FOR_A_CORE * cores)


def available_cores() -> int:
    """Cores this process may use at once: its affinity, and the quota of its cgroup."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, cgroup_quota(CGROUPS, MEMBERSHIP))))


@functools.cache
def cgroup_quota(root: Path, membership: Path) -> float:
    """CPUs' worth of time the process's cgroups allow, the least of them; inf without a limit."""
    quotas = [math.inf]
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return math.inf
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # version 2
            folder = root / path.lstrip("/")
            while folder != root.parent:
                quotas.append(_quota(folder / "cpu.max"))
                folder = folder.parent
        elif "cpu" in controllers.split(","):  # version 1
            folder = root / "cpu" / path.lstrip("/")
            quotas.append(_quota(folder / "cpu.cfs_quota_us", folder / "cpu.cfs_period_us"))
            quotas.append(_quota(root / "cpu/cpu.cfs_quota_us", root / "cpu/cpu.cfs_period_us"))
    return min(quotas)


def _quota(*files: Path) -> float:
    """Quota over period, from one file or two; inf where there is no limit, or no file."""
    try:
        quota, period = " ".join(file.read_text() for file in files).split()
    except (OSError, ValueError):
        return math.inf
    return math.inf if quota in ("max", "-1") else int(quota) / int(period)

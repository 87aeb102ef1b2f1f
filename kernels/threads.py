"""How many threads a CPU backend uses: argument, then SOFTSTEP_NUM_THREADS, then all cores.

NUMBA_NUM_THREADS and OMP_NUM_THREADS lower the last: joblib and Dask set them in their workers, so
that those of one machine share its cores.
"""

import functools
import math
import os
import re
from contextvars import ContextVar
from pathlib import Path

from softstep.kernels.checks import positive_integer

_asked: ContextVar[int | None] = ContextVar("softstep_n_threads", default=None)

VARIABLE = "SOFTSTEP_NUM_THREADS"
OF_OTHERS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS")
CGROUPS, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")

# A thread with fewer floating-point operations of its own costs more than it contributes.
FLOP_PER_CALL = 10_000_000
FLOP_PER_STEP = 500_000  # where threads wait for each other after every step
MAX_PER_CORE = 4  # more threads than this would only wait


def ask(n_threads: int | None) -> None:
    """Note how many threads the op about to run may use: `n_threads`, or the environment's number.

    Raises:
        TypeError, ValueError: that is not a whole number of at least 1.
    """
    if n_threads is not None:
        _asked.set(positive_integer("n_threads", n_threads))
    else:
        _asked.set(_from_environment())


def _from_environment() -> int | None:
    value = os.environ.get(VARIABLE)
    if not value:
        return None
    if not re.fullmatch(r"\s*0*[1-9][0-9]{0,8}\s*", value):
        shown = value if len(value) < 40 else value[:40] + " …"
        raise ValueError(f"{VARIABLE} must be a whole number of at least 1, not {shown!r}")
    return int(value)


def threads_for(flop: float, flop_per_step: float = math.inf) -> int:
    """How many threads are worth their cost for a call of so many operations."""
    count = worthwhile(flop, flop_per_step)
    if count < 2:  # small work does not wait for the cores to be counted
        return 1
    return min(_most(), count)


def worthwhile(flop: float, flop_per_step: float = math.inf) -> int:
    """The same, if there were any number of cores; 0 where even one has little to do."""
    return int(min(flop / FLOP_PER_CALL, flop_per_step / FLOP_PER_STEP))


def at_most(n_threads: int | None) -> int:
    """How many threads an op with this argument may use at most. Raises as `ask`."""
    ask(n_threads)
    return _most()


def _most() -> int:
    cores = available_cores()
    return min(_asked.get() or _share(cores), MAX_PER_CORE * cores)


def _share(cores: int) -> int:
    """How many of the cores the variables of other libraries leave; what is no number is theirs."""
    for variable in OF_OTHERS:
        value = re.match(r"\s*([1-9][0-9]{0,8})\s*(,|$)", os.environ.get(variable, ""))
        if value:
            cores = min(cores, int(value[1]))
    return cores


def available_cores() -> int:
    """Cores this process may use at once: its affinity, and the quota of its cgroup."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, cgroup_quota(CGROUPS, MEMBERSHIP))))


@functools.cache
def cgroup_quota(root: Path, membership: Path) -> float:
    """How many cores' worth of time the process's cgroups allow at most; inf without a limit."""
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
    """Quota over period, read from one file or two; inf without a limit or a file."""
    try:
        quota, period = " ".join(file.read_text() for file in files).split()
    except (OSError, ValueError):
        return math.inf
    return math.inf if quota in ("max", "-1") else int(quota) / int(period)

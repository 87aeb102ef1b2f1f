"""Measuring a case: all results are checked first, then the competitors are timed in turn."""

import contextlib
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from softstep.bench.child import InChild
from softstep.bench.gate import Judge
from softstep.bench.peers import Peer, installed
from softstep.kernels.backend import probe
from softstep.kernels.threads import VARIABLE, available_cores

OURS = "softstep"

Results = tuple[Any, ...]
Call = Callable[[], Results]


@dataclass(frozen=True)
class Case:
    """A piece of work and the competitors that do it.

    check: judges their results. not_run: who cannot run, and why. curve: what a scaling curve
    varies, and its value here. least_bytes: what has to come from memory.
    """

    suite: str
    name: str
    flop: int
    threads: int
    calls: dict[str, Call]
    check: Judge
    not_run: dict[str, str] = field(default_factory=dict)
    ulp: Callable[[Results], float] | None = None
    curve: tuple[str, int] | None = None
    least_bytes: int = 0

    def __str__(self) -> str:
        return f"({self.suite}) {self.name}, {self.threads} thread{'s'[: self.threads > 1]}"


def against(
    peers: tuple[Peer, ...],
    ours: Call,
    problem: Any,
    *,
    suite: str,
    name: str,
    flop: int,
    check: Judge,
    threads: int | None = None,
    **more: Any,
) -> Case:
    """The case of softstep and those of the peers that can run here, on all cores or `threads`."""
    cores = available_cores()
    count = threads or cores
    fewer = count if count < cores else None
    calls = {OURS: ours}
    not_run: dict[str, str] = {}
    for peer in peers:
        why_not = peer.why_not(count, cores)
        if why_not is None:
            try:
                calls[peer.name] = peer.prepare(problem, fewer)
            except Exception as error:
                why_not = _in_a_line(error)
        if why_not is not None:
            not_run[peer.name] = why_not
    return Case(suite, name, flop, count, calls, check, not_run, **more)


def _in_a_line(error: Exception) -> str:
    text = (str(error).strip() or "no reason given").splitlines()[0]
    return f"{type(error).__name__}: {text}"


@dataclass(frozen=True)
class Row:
    """One competitor on one case. Times are medians in seconds; what is wrong has none.

    error: from the case's check; NaN if it did not run. first_call: seconds with all compiling and
    loading; compiled: whether Numba compiled in it. ratio: its wall time over softstep's, the
    median of the ratios round by round. wall: a whole call, until its results are there. kernel:
    only what a GPU's launches take. gflop_per_s: by the kernel time if there is one, else by the
    wall time. share: of the peak measured on this number of threads. floor: the seconds that the
    machine's limits allow, where a scaling curve shows them.
    """

    suite: str
    case: str
    threads: int
    competitor: str
    error: float = math.nan
    agrees: bool = True
    not_run: str | None = None
    ulp: float | None = None
    first_call: float | None = None
    compiled: bool = False
    ratio: float | None = None
    wall: float | None = None
    kernel: float | None = None
    gflop_per_s: float | None = None
    share: float | None = None
    floor: float | None = None
    curve: tuple[str, int] | None = None


@dataclass(frozen=True)
class Pace:
    """How long to measure, in seconds.

    pause: before each timing. The thread pools of OpenBLAS, OpenMP and XLA go on spinning for a
    while after a call, and would take cores from the next competitor. burst: shorter calls are
    repeated for that long, and the time divided. wake: after the pause, shorter calls are repeated
    for that long untimed, since a core that slept is slow at first.
    """

    rounds: int
    pause: float
    burst: float
    wake: float = 0.0


QUICK, FULL = Pace(2, 0.05, 0.005, 0.01), Pace(5, 0.25, 0.02, 0.05)


def measure(case: Case, pace: Pace, peak_gflop_per_s: float | None = None) -> list[Row]:
    """A row for each competitor of the case, softstep first."""
    with limited(case.threads), _ended(case.calls):
        rows = {name: _first_call(case, name) for name in case.calls}
        right = {name: case.calls[name] for name, row in rows.items() if row.agrees}
        times = interleaved(right, pace)
    for name, walls in times.items():
        rows[name] = _timed(rows[name], case.flop, walls, times.get(OURS), peak_gflop_per_s)
    for name, why in case.not_run.items():
        rows[name] = replace(_blank(case, name), not_run=why)
    return list(rows.values())


def _blank(case: Case, name: str) -> Row:
    return Row(case.suite, case.name, case.threads, name, curve=case.curve)


def _first_call(case: Case, name: str) -> Row:
    """Call it once, and check its results."""
    row = _blank(case, name)
    with _compilations() as compiled:
        try:
            results, taken = clocked(case.calls[name])
        except Exception as reason:
            if name == OURS:
                raise
            return replace(row, agrees=False, not_run=_in_a_line(reason))
    error, agrees = case.check(results)
    ulp = case.ulp(results) if case.ulp else None
    row = replace(row, error=error, agrees=agrees, ulp=ulp)
    return replace(row, first_call=taken, compiled=bool(compiled))


def _timed(
    row: Row, flop: int, walls: list[float], ours: list[float] | None, peak: float | None
) -> Row:
    wall = statistics.median(walls)
    rate = flop / wall / 1e9
    return replace(
        row,
        wall=wall,
        ratio=statistics.median(w / o for w, o in zip(walls, ours, strict=True)) if ours else None,
        gflop_per_s=rate if flop else None,
        share=rate / peak if flop and peak else None,
    )


def interleaved(calls: Mapping[str, Callable[[], Any]], pace: Pace) -> dict[str, list[float]]:
    """Seconds of each call, round by round; each round starts with the next call."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    once = {name: seconds(call) for name, call in calls.items()}
    names = list(calls)
    for _ in range(pace.rounds):
        for name in names:
            time.sleep(pace.pause)
            if once[name] < pace.wake:
                seconds(calls[name], int(pace.wake / once[name]))
            times[name].append(seconds(calls[name], max(1, math.ceil(pace.burst / once[name]))))
        names = names[1:] + names[:1]
    return times


def clocked(call: Callable[[], Any]) -> tuple[Any, float]:
    """What the call gives, and the seconds it takes."""
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def seconds(call: Callable[[], Any], repeats: int = 1) -> float:
    """Seconds of a call: the mean of so many in a row."""
    if isinstance(call, InChild):
        return call.seconds(repeats)
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


@contextlib.contextmanager
def _ended(calls: dict[str, Call]) -> Iterator[None]:
    """Ends the processes of the calls after this block."""
    try:
        yield
    finally:
        for call in calls.values():
            if isinstance(call, InChild):
                call.close()


@contextlib.contextmanager
def limited(threads: int) -> Iterator[None]:
    """Limits all libraries in this process to so many threads, except JAX, which takes no limit."""
    with contextlib.ExitStack() as stack:
        before = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = str(threads)
        if before is None:
            stack.callback(os.environ.pop, VARIABLE)
        else:
            stack.callback(os.environ.__setitem__, VARIABLE, before)
        if installed("threadpoolctl"):
            from threadpoolctl import threadpool_limits

            stack.enter_context(threadpool_limits(threads))
        if "torch" in sys.modules:
            torch = sys.modules["torch"]
            stack.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(threads)
        yield


@contextlib.contextmanager
def _compilations() -> Iterator[list[Any]]:
    """Records what Numba compiles within this block; kernels from its cache do not count."""
    if not probe("numba").usable:
        yield []
        return
    from numba.core import event

    with event.install_recorder("numba:compile") as recorder:
        yield recorder.buffer

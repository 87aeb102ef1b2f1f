"""Measuring a case: everyone's result is checked first, then everyone is timed turn by turn."""

import contextlib
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from softstep.bench.child import InChild
from softstep.bench.gate import Check
from softstep.bench.peers import installed
from softstep.kernels import threads as thread_count
from softstep.kernels.backend import probe

OURS = "softstep"

Results = tuple[Any, ...]
Call = Callable[[], Results]


@dataclass(frozen=True)
class Case:
    """One piece of work and who does it.

    check: results -> error, whether that is right. not_run: who cannot run, and why.
    curve: what a scaling curve varies, and its value here.
    """

    suite: str
    name: str
    flop: int
    threads: int
    calls: dict[str, Call]
    check: Check
    not_run: dict[str, str] = field(default_factory=dict)
    ulp: Callable[[Results], float] | None = None
    curve: tuple[str, int] | None = None

    def __str__(self) -> str:
        return f"({self.suite}) {self.name}, {self.threads} thread{'s'[: self.threads > 1]}"


@dataclass(frozen=True)
class Row:
    """What one competitor did on one case; seconds. One that is wrong or cannot run has no time.

    error: as the case's check gives it, NaN for one that did not run. ratio: its time over that of
    softstep, the median of the ratios round by round. share: of the measured peak of so many cores.
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
    median: float | None = None
    gflop_per_s: float | None = None
    share: float | None = None
    curve: tuple[str, int] | None = None


@dataclass(frozen=True)
class Pace:
    """How long to measure.

    pause: before each timing. The thread pools of OpenBLAS, OpenMP and XLA spin on for a while
    after a call, and would take the next competitor's cores. burst: short calls are repeated for so
    long, and the time divided.
    """

    rounds: int
    pause: float
    burst: float


QUICK, FULL = Pace(2, 0.05, 0.005), Pace(7, 0.25, 0.02)


def measure(case: Case, pace: Pace, peak_gflop_per_s: float | None = None) -> list[Row]:
    """A row for each competitor of the case, softstep first."""
    with limited(case.threads), _ended(case.calls):
        rows = {name: _first_call(case, name) for name in case.calls}
        right = {name: case.calls[name] for name, row in rows.items() if row.agrees}
        times = _interleaved(right, pace)
    for name, seconds in times.items():
        rows[name] = _timed(rows[name], case.flop, seconds, times.get(OURS), peak_gflop_per_s)
    for name, why in case.not_run.items():
        rows[name] = replace(_blank(case, name), not_run=why)
    return list(rows.values())


def _blank(case: Case, name: str) -> Row:
    return Row(case.suite, case.name, case.threads, name, curve=case.curve)


def _first_call(case: Case, name: str) -> Row:
    """Call it once, and check what it gives."""
    row = _blank(case, name)
    with _compilations() as compiled:
        start = time.perf_counter()
        try:
            results = case.calls[name]()
        except Exception as reason:
            if name == OURS:
                raise
            text = (str(reason).strip() or "no reason given").splitlines()[0]
            return replace(row, agrees=False, not_run=f"{type(reason).__name__}: {text}")
        seconds = time.perf_counter() - start
    error, agrees = case.check(results)
    ulp = case.ulp(results) if case.ulp else None
    row = replace(row, error=error, agrees=agrees, ulp=ulp)
    return replace(row, first_call=seconds, compiled=bool(compiled))


def _timed(
    row: Row, flop: int, seconds: list[float], ours: list[float] | None, peak: float | None
) -> Row:
    median = statistics.median(seconds)
    rate = flop / median / 1e9
    return replace(
        row,
        median=median,
        ratio=statistics.median(s / o for s, o in zip(seconds, ours, strict=True))
        if ours
        else None,
        gflop_per_s=rate if flop else None,
        share=rate / peak if flop and peak else None,
    )


def _interleaved(calls: dict[str, Call], pace: Pace) -> dict[str, list[float]]:
    """Times of rounds in which everyone takes a turn, the order turned by one each round."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    repeats = {name: _repeats(call, pace) for name, call in calls.items()}
    names = list(calls)
    for _ in range(pace.rounds):
        for name in names:
            time.sleep(pace.pause)
            times[name].append(_seconds(calls[name], repeats[name]))
        names = names[1:] + names[:1]
    return times


def _repeats(call: Call, pace: Pace) -> int:
    return max(1, math.ceil(pace.burst / _seconds(call, 1)))


def _seconds(call: Call, repeats: int) -> float:
    if isinstance(call, InChild):
        return call.seconds(repeats)
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


@contextlib.contextmanager
def _ended(calls: dict[str, Call]) -> Iterator[None]:
    """After this block the processes of the calls are gone."""
    try:
        yield
    finally:
        for call in calls.values():
            if isinstance(call, InChild):
                call.close()


@contextlib.contextmanager
def limited(threads: int) -> Iterator[None]:
    """Within this block everyone in this process uses so many threads; JAX cannot be told."""
    with contextlib.ExitStack() as stack:
        before = os.environ.get(thread_count.VARIABLE, "")
        os.environ[thread_count.VARIABLE] = str(threads)
        stack.callback(os.environ.__setitem__, thread_count.VARIABLE, before)
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
    """What Numba compiles within this block; kernels that come from its cache do not count."""
    if not probe("numba").usable:
        yield []
        return
    from numba.core import event

    with event.install_recorder("numba:compile") as recorder:
        yield recorder.buffer

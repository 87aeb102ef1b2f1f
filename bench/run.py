"""`softstep bench`: every workload on every usable backend, parity first, then the times."""

import contextlib
import datetime
import importlib.metadata
import json
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from softstep import __version__
from softstep.bench.peers import PEERS, Peer
from softstep.bench.workloads import (
    FULL,
    QUICK,
    Arguments,
    Workload,
    op_workloads,
    seed_workloads,
)
from softstep.kernels.backend import BACKENDS, probe

SEED = 0
ORACLE = "numpy"
MIN_ROUNDS, MAX_ROUNDS = 5, 100
QUICK_SECONDS, FULL_SECONDS = 0.3, 3.0  # of repeats for each workload

# Which results are decisions (labels, counts of right rows): rounding may flip a near tie.
DECISIONS = {"predict": (0,), "evaluate": (1,), "train": (1,)}
FLIPS = 1e-3

Results = tuple[np.ndarray, ...]
Run = Callable[[Workload, Arguments], Results]


@dataclass(frozen=True)
class Row:
    """What one backend or peer did on one workload. Times are in seconds; a wrong one has none.

    error is the worst one, relative to the oracle's largest entry. speed_up is over the NumPy loop
    where there is one, over the numpy backend elsewhere: the median of the ratios round by round.
    """

    workload: str
    competitor: str
    error: float
    agrees: bool
    first_call: float
    compiled: bool
    median: float | None = None
    speed_up: float | None = None
    gflop_per_s: float | None = None


def run(quick: bool) -> list[Row]:
    """Measure the whole table, or its small form; on a terminal, say what is being measured."""
    rows: list[Row] = []
    for workload in table_of_workloads(quick):
        _progress(str(workload))
        rows += measure(workload, QUICK_SECONDS if quick else FULL_SECONDS)
    _progress("")
    return rows


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def table_of_workloads(quick: bool) -> list[Workload]:
    """The seed workload and every op."""
    return seed_workloads() + op_workloads(QUICK if quick else FULL)


def measure(workload: Workload, seconds: float) -> list[Row]:
    """A row for each competitor; repeats take `seconds`, or MIN_ROUNDS or MAX_ROUNDS rounds."""
    arguments = workload.arguments(SEED)
    runs = competitors(workload)
    first_calls = {name: _first_call(runs[name], workload, arguments) for name in runs}
    expected = first_calls[ORACLE].results
    rows = {name: _checked(workload, name, first_calls[name], expected) for name in runs}
    right = {name: runs[name] for name, row in rows.items() if row.agrees}
    times = _interleaved(right, workload, arguments, seconds)
    baseline = times.get(PEERS[0].name if workload.has_peers else ORACLE)
    return [
        _timed(row, workload, times[name], baseline) if row.agrees else row
        for name, row in rows.items()
    ]


def usable_backends() -> list[str]:
    return [name for name in BACKENDS if probe(name).usable]


def competitors(workload: Workload) -> dict[str, Run]:
    """Who runs this workload: the usable backends, and the installed peers where it has some."""
    found = {name: _backend_run(name) for name in usable_backends()}
    if workload.has_peers:
        found |= {peer.name: _peer_run(peer) for peer in PEERS if peer.installed}
    return found


def parity(workload: Workload, found: Results, expected: Results) -> tuple[float, bool]:
    """The worst error relative to the largest entry expected, and whether all is within bounds."""
    # A peer returns the last results, the weights, only.
    skipped = len(expected) - len(found)
    decisions = DECISIONS.get(workload.op, ())
    worst, agrees = 0.0, True
    for i, (f, e) in enumerate(zip(found, expected[skipped:], strict=True), start=skipped):
        if f.shape != e.shape or f.dtype != e.dtype:
            return float("inf"), False
        difference, largest = np.abs(f - e), np.abs(e).max()
        if i in decisions:
            agrees &= bool(difference.mean() <= FLIPS * largest)
        else:
            error = difference.max() / largest
            agrees &= bool(error <= workload.tolerance)  # NaN is not
            worst = float(np.maximum(worst, error))
    return worst, agrees


def benchmark_checked(benchmark: Any, workload: Workload, competitor: str) -> None:
    """One case for pytest-benchmark, given its fixture: parity first, GFLOP/s in `extra_info`."""
    arguments = workload.arguments(SEED)
    call = competitors(workload)[competitor]
    expected = workload.run(arguments, ORACLE)
    error, agrees = parity(workload, call(workload, arguments), expected)
    assert agrees, f"{workload} on {competitor} is off by {error} of the largest entry"
    benchmark.group = str(workload)
    benchmark(call, workload, arguments)
    if benchmark.stats:  # none under --benchmark-disable
        benchmark.extra_info["GFLOP/s"] = workload.flop / benchmark.stats.stats.median / 1e9


def _backend_run(name: str) -> Run:
    return lambda workload, arguments: workload.run(arguments, name)


def _peer_run(peer: Peer) -> Run:
    def epoch(workload: Workload, arguments: Arguments) -> Results:
        (X, y, order, batch_size, W, b), options = arguments
        rest = {key: options[key] for key in ("learning_rate", "feature_scale")}
        W, b = peer.epoch(X, y, order, batch_size, W[0], b[0], **rest)
        return W[None], b[None]

    return epoch


@dataclass(frozen=True)
class FirstCall:
    """What it returned, how long it took, and whether Numba compiled in it."""

    results: Results
    seconds: float
    compiled: bool


def _first_call(call: Run, workload: Workload, arguments: Arguments) -> FirstCall:
    with _compilations() as compiled:
        start = time.perf_counter()
        results = call(workload, arguments)
        seconds = time.perf_counter() - start
    return FirstCall(results, seconds, bool(compiled))


def _checked(workload: Workload, name: str, first: FirstCall, expected: Results) -> Row:
    error, agrees = parity(workload, first.results, expected)
    return Row(str(workload), name, error, agrees, first.seconds, first.compiled)


def _timed(row: Row, workload: Workload, times: list[float], baseline: list[float] | None) -> Row:
    median = statistics.median(times)
    ratios = [b / t for b, t in zip(baseline or [], times, strict=bool(baseline))]
    return replace(
        row,
        median=median,
        speed_up=statistics.median(ratios) if ratios else None,
        gflop_per_s=workload.flop / median / 1e9,
    )


def _interleaved(
    runs: dict[str, Run], workload: Workload, arguments: Arguments, seconds: float
) -> dict[str, list[float]]:
    """Times of rounds in which everyone runs once, the order turned by one each round."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    end = time.perf_counter() + seconds
    for done in range(MAX_ROUNDS):
        if done >= MIN_ROUNDS and time.perf_counter() > end:
            break
        for name in names:
            start = time.perf_counter()
            runs[name](workload, arguments)
            times[name].append(time.perf_counter() - start)
        names.append(names.pop(0))
    return times


@contextlib.contextmanager
def _compilations() -> Iterator[list[Any]]:
    """What Numba compiles within this block; kernels that come from its cache do not count."""
    if not probe("numba").usable:
        yield []
        return
    from numba.core import event

    with event.install_recorder("numba:compile") as recorder:
        yield recorder.buffer


def machine() -> dict[str, str]:
    """What the figures depend on: processor, versions, limits on threads, date."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limits = [f"{key}={value}" for key, value in os.environ.items() if key.endswith("_NUM_THREADS")]
    return {
        "date": datetime.date.today().isoformat(),
        "processor": _processor(),
        "cores": str(cores),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "softstep": __version__,
        "numpy": np.__version__,
        "numba": importlib.metadata.version("numba"),
        "blas": f"{blas['name']} {blas['version']}",
        "thread limits": " ".join(limits) or "none set",
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


HEADINGS = ("workload", "backend", "speed-up", "median", "GFLOP/s", "first call", "worst error")
LEGEND = """\
speed-up: over the NumPy loop where there is one, else over the numpy backend, which is written to
be read and to be accurate, not to be fast; the median of the ratios of interleaved rounds.
first call: * Numba compiled in it; without *, the kernels came from its cache or were loaded.
worst error: against the numpy backend, relative to the largest entry."""


def table(rows: list[Row]) -> str:
    """The rows as text: the speed-up first, then the times it comes from."""
    cells = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for line in cells:
        left = [cell.ljust(width) for cell, width in zip(line[:2], widths[:2], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True)]
        lines.append("  ".join(left + right).rstrip())
    return "\n".join(lines)


def _cells(row: Row) -> tuple[str, ...]:
    error = "exact" if row.error == 0 else f"{row.error:.0e}"
    first_call = f"{1e3 * row.first_call:.0f} ms {'*' if row.compiled else ' '}"
    if row.median is None or row.gflop_per_s is None:
        return row.workload, row.competitor, "", "", "", first_call, f"WRONG {error}"
    return (
        row.workload,
        row.competitor,
        f"{row.speed_up:.2f}x" if row.speed_up else "",
        f"{1e3 * row.median:.2f} ms",
        f"{row.gflop_per_s:.2f}",
        first_call,
        error,
    )


def _as_json(row: Row) -> dict[str, Any]:
    # JSON has no NaN and no infinity
    return {**asdict(row), "error": row.error if math.isfinite(row.error) else None}


def bench_command(quick: bool, json_path: str | None) -> int:
    """Print the table, and write it to a JSON file if asked.

    Returns:
        The exit code: 1 if a result disagrees with the oracle, else 0.

    Raises:
        OSError: before anything runs, when the JSON file cannot be written.
    """
    with Path(json_path).open("w") if json_path else contextlib.nullcontext() as file:
        about = machine()
        print("\n".join(f"{key}: {value}" for key, value in about.items()), end="\n\n", flush=True)
        rows = run(quick)
        print(table(rows), LEGEND, sep="\n\n")
        if file:
            json.dump({"machine": about, "rows": [_as_json(row) for row in rows]}, file, indent=1)
    wrong = [f"{row.workload} on {row.competitor}" for row in rows if not row.agrees]
    if wrong:
        print(f"error: not the oracle's result: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0

"""`softstep bench`: every suite, against every peer that is installed."""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator
from typing import Any

from softstep.bench import chart, isa, measure, peak, report
from softstep.bench.machine import machine
from softstep.bench.measure import Row
from softstep.bench.problems import SEED
from softstep.bench.suites import SUITES, cores, usable_backends
from softstep.kernels.verify.cases import FULL, QUICK, Workload, op_workloads, seed_workloads
from softstep.kernels.verify.parity import ORACLE
from softstep.model.writing import atomic_write

__all__ = ["ORACLE", "SEED", "bench_command", "machine", "usable_backends"]


def table_of_workloads(quick: bool) -> list[Workload]:
    """The seed workload and every op, for the benchmark of the GPU."""
    return seed_workloads() + op_workloads(QUICK if quick else FULL)


def run(suites: list[str], quick: bool, limits: peak.Peak) -> Iterator[list[Row]]:
    """The rows of each case, as it is done."""
    pace = measure.QUICK if quick else measure.FULL
    for suite in suites:
        for case in SUITES[suite](quick):
            rows = measure.measure(case, pace, limits.gflop_per_s.get(case.threads))
            if case.curve:
                floor = limits.floor(case.flop, case.least_bytes, case.threads)
                rows = [dataclasses.replace(row, floor=floor) for row in rows]
            yield rows


def chosen(only: str | None) -> list[str]:
    """The suites in a list such as "a,b"; all of them without a list.

    Raises:
        ValueError: one of them does not exist.
    """
    names = list(SUITES) if only is None else only.split(",")
    for name in names:
        if name not in SUITES:
            raise ValueError(f"--only: there is no suite {name!r}; there are {', '.join(SUITES)}")
    return names


def bench_command(
    quick: bool,
    json_path: str | None,
    *,
    only: str | None = None,
    markdown_path: str | None = None,
    chart_path: str | None = None,
    instructions: str = isa.NATIVE,
) -> int:
    """Print the header, and each case as soon as it is done; write the files asked for.

    instructions: a key of `isa.ISAS`, to whose environment this process is limited, or NATIVE.

    Returns:
        The exit code: 1 if a result disagrees with the oracle, else 0.

    Raises:
        OSError, ValueError: before anything runs, if a file cannot be written, the chart cannot be
            drawn, a suite does not exist, or a library does not keep to the instruction set.
    """
    suites = chosen(only)
    if chart_path:
        chart.require()
    with contextlib.ExitStack() as stack:
        files = [_opened(stack, path) for path in (json_path, markdown_path, chart_path)]
        about = machine(instructions)
        print("\n".join(f"{key}: {value}" for key, value in about.items()), flush=True)
        limits = peak.of_machine(set(range(1, cores() + 1)))
        print(*report.peak_lines(limits), "", report.header(), sep="\n", flush=True)
        rows: list[Row] = []
        for case in run(suites, quick, limits):
            print(report.block(case), flush=True)
            rows += case
        print("", report.summary(rows), report.LEGEND, sep="\n")
        _write(files, about, limits, rows, quick, _command(quick, only, instructions))
    wrong = [f"{r.case} on {r.competitor}" for r in rows if not r.agrees and not r.not_run]
    if wrong:
        print(f"error: not the oracle's result: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


def _opened(stack: contextlib.ExitStack, path: str | None) -> Any:
    """A file for bytes, which replaces the one of that name when the run is over."""
    return stack.enter_context(atomic_write(path)) if path else None


def _write(
    files: list[Any],
    about: dict[str, str],
    limits: peak.Peak,
    rows: list[Row],
    quick: bool,
    command: str,
) -> None:
    figures, page, picture = files
    if figures:
        found = report.as_json(about, limits, rows, quick=quick)
        figures.write(json.dumps(found, indent=1).encode())
    if page:
        page.write(report.markdown(about, limits, rows, command, quick=quick).encode())
    if picture:
        chart.draw(rows, picture)


def _command(quick: bool, only: str | None, instructions: str) -> str:
    options = [] if only is None else ["--only", only]
    options += [] if instructions == isa.NATIVE else ["--isa", instructions]
    return " ".join(["softstep bench", *["--quick"] * quick, *options])

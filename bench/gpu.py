"""`softstep bench --backend cupy`: kernel time and wall time apart, beside CuPy's `@` and torch.

All arrays are on the GPU before a clock starts. Wall time is a call of the public op, its checks
included, until the GPU has done it. Kernel time is what its launches run on the GPU, by CUDA events
around each; copies, the gaps between launches and the host's part are in the wall time only.
"""

import contextlib
import functools
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from softstep.bench import gate, measure, peers, problems, report, run
from softstep.bench.measure import OURS, Call, Case, Pace, Results, Row
from softstep.bench.peers import Peer
from softstep.kernels import arrays
from softstep.kernels.backend import probe
from softstep.kernels.registry import GPU, GPUClock
from softstep.kernels.verify.cases import Arguments, Workload
from softstep.model.writing import atomic_write

QUICK_ROUNDS, FULL_ROUNDS = 5, 30


def rows_of(workload: Workload, rounds: int) -> list[Row]:
    """A row for each competitor: parity with the oracle first, then the times."""
    case = case_of(workload)
    calls: dict[str, Call] = {
        name: functools.partial(_until_done, call) for name, call in case.calls.items()
    }
    rows = measure.measure(replace(case, calls=calls), Pace(rounds, pause=0, burst=0))
    return [
        _with_kernel_time(row, case, rounds) if _has_kernel_time(row, workload.op) else row
        for row in rows
    ]


def case_of(workload: Workload) -> Case:
    """The op on arrays on the GPU, and its peers. The calls return while the GPU still works."""
    positional, options = arguments = workload.arguments(run.SEED)
    check = gate.of_op(workload.op, arguments)
    here = tuple(
        arrays.gpu().asarray(value) if isinstance(value, np.ndarray) else value
        for value in positional
    )
    others, problem = _peers_of(workload, arguments)
    return measure.against(
        others,
        lambda: workload.run((here, options), GPU.name),
        problem,
        suite="gpu",
        name=str(workload),
        flop=workload.flop,
        check=lambda found: check(_on_host(found)),
    )


def _peers_of(workload: Workload, arguments: Arguments) -> tuple[tuple[Peer, ...], Any]:
    """Who else computes it, and the problem that they are given."""
    if workload.op != "train":
        return peers.ON_GPU.get(workload.op, ()), arguments[0]
    if workload.has_peers:
        return peers.ON_GPU["train"], problems.epoch(arguments)
    return (), None


def _on_host(results: Results) -> Results:
    return tuple(arrays.on_host(result, "a result") for result in results)


def _clock() -> GPUClock:
    clock: GPUClock = GPU.load().clock
    return clock


def _until_done(call: Call) -> Results:
    results = call()
    _clock().synchronise()
    return results


def _has_kernel_time(row: Row, op: str) -> bool:
    """Not a peer's training loop, since hundreds of launches outrun no queue."""
    return row.wall is not None and (row.competitor == OURS or op != "train")


def _with_kernel_time(row: Row, case: Case, rounds: int) -> Row:
    call = case.calls[row.competitor]
    kernel = statistics.median(_kernel_time(row.competitor, call) for _ in range(rounds))
    return replace(row, kernel=kernel, gflop_per_s=case.flop / kernel / 1e9)


def _kernel_time(name: str, call: Callable[[], Any]) -> float:
    clock = _clock()
    if name == OURS:
        return sum(seconds for _, seconds in clock.launch_times(call))

    def as_one_launch() -> None:
        with clock.around(name):
            call()

    return sum(seconds for _, seconds in clock.launch_times(as_one_launch))


# ---- the command

HEADINGS = ("workload", "competitor", "kernel", "wall", "GFLOP/s", "worst error")
LEGEND = """\
kernel: what the launches run on the GPU, by CUDA events around each, median.
wall: a call until the GPU has done it, arrays on the GPU before, median.
GFLOP/s: by the kernel time, or the wall time of a loop that has none.
worst error: against the numpy backend, relative to the largest entry.
Each round repeats the last one's work: what fits into the GPU's cache is read from there."""


def table(rows: list[Row]) -> str:
    """The rows as text."""
    cells = [HEADINGS, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(_line(parts, widths) for parts in cells)


def _line(parts: tuple[str, ...], widths: list[int]) -> str:
    *columns, error = parts
    padded = [
        column.ljust(width) if i < 2 else column.rjust(width)
        for i, (column, width) in enumerate(zip(columns, widths[:-1], strict=True))
    ]
    return "  ".join([*padded, error]).rstrip()


def _cells(row: Row) -> tuple[str, ...]:
    error = f"{row.error:.0e}" if row.agrees else f"WRONG {row.error:.0e}"
    return (
        row.case,
        row.competitor,
        f"{1e6 * row.kernel:.1f} us" if row.kernel else "",
        f"{1e6 * row.wall:.1f} us" if row.wall else "",
        f"{row.gflop_per_s:.0f}" if row.gflop_per_s else "",
        f"not run: {row.not_run}" if row.not_run else error,
    )


def bench_command(quick: bool, json_path: str | None) -> int:
    """Print the table, and write it to a JSON file if asked.

    Returns:
        The exit code: 1 if a result disagrees with the oracle, else 0.

    Raises:
        OSError: before anything runs, when the JSON file cannot be written.
    """
    with atomic_write(json_path) if json_path else contextlib.nullcontext() as file:
        about = {**run.machine(), "gpu": probe(GPU.name).reason}
        print("\n".join(f"{key}: {value}" for key, value in about.items()), end="\n\n", flush=True)
        rounds = QUICK_ROUNDS if quick else FULL_ROUNDS
        workloads = run.table_of_workloads(quick)
        rows = [row for workload in workloads for row in rows_of(workload, rounds)]
        print(table(rows), LEGEND, sep="\n\n")
        if file:
            found = {"machine": about, "rows": report.rows_as_json(rows)}
            file.write(json.dumps(found, indent=1).encode())
    wrong = [f"{row.case} on {row.competitor}" for row in rows if not (row.agrees or row.not_run)]
    if wrong:
        print(f"error: not the oracle's result: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0

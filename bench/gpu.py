"""`softstep bench --backend cupy`: kernel time and wall time apart, beside CuPy's `@` and torch.

All arrays are on the GPU before a clock starts. Wall time is a call of the public op, its checks
included, until the GPU has done it. Kernel time is what its launches run on the GPU, by CUDA events
around each; copies, the gaps between launches and the host's part are in the wall time only.
"""

import contextlib
import importlib
import importlib.metadata
import importlib.util
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from softstep.bench import gate, run
from softstep.kernels import arrays
from softstep.kernels.backend import probe
from softstep.kernels.registry import GPU, GPUClock
from softstep.kernels.verify.cases import Workload

OURS = "softstep"
QUICK_ROUNDS, FULL_ROUNDS = 5, 30


@dataclass(frozen=True)
class Row:
    """One competitor on one workload: medians in seconds; what is wrong is not timed.

    kernel: None for a peer's training loop, since hundreds of launches outrun no queue.
    """

    workload: str
    competitor: str
    error: float
    agrees: bool
    kernel: float | None = None
    wall: float | None = None
    gflop_per_s: float | None = None  # by the kernel time


# ---- the peers: what a user of another library writes, `xp` being that library


def product(xp, X, W, b, *, feature_scale):
    # X (n, d), W (d, c), b (c,) -> V (n, c)
    return (X @ W + b,)


def torch_product(torch, X, W, b, *, feature_scale):
    return (torch.addmm(b, X, W),)


def outer_products(xp, dV, X, *, feature_scale):
    # dV (n, c), X (n, d) -> dW (d, c), db (c,)
    return X.T @ dV, dV.sum(0)


def torch_softmax(torch, V):
    return (torch.softmax(V, 1),)


def torch_cross_entropy(torch, V, y):
    return (torch.nn.functional.cross_entropy(V, y, reduction="none"),)


def loop(xp, X, y, order, batch_size, W, b, *, loss, learning_rate, feature_scale):
    # X (n, d), y (n,), order (m,), W (1, d, c), b (1, c) -> W, b after an epoch of the recipe
    W, b = W[0].copy(), b[0].copy()
    Y = xp.eye(len(b), dtype=W.dtype)[y]
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        x = X[rows]
        if x.dtype != W.dtype:
            x = x * W.dtype.type(feature_scale)
        V = x @ W + b
        P = xp.exp(V - V.max(axis=1, keepdims=True))
        P /= P.sum(axis=1, keepdims=True)
        dP = 2 / (len(b) * len(rows)) * (P - Y[rows])
        dV = P * (dP - (dP * P).sum(axis=1, keepdims=True))
        W -= learning_rate * (x.T @ dV)
        b -= learning_rate * dV.sum(axis=0)
    return W[None], b[None]


def torch_loop(torch, X, y, order, batch_size, W, b, *, loss, learning_rate, feature_scale):
    W, b = W[0].clone(), b[0].clone()
    Y = torch.nn.functional.one_hot(y, len(b)).to(W.dtype)
    for rows in order.split(batch_size):
        x = X[rows]
        if x.dtype != W.dtype:
            x = x.to(W.dtype) * feature_scale
        P = torch.softmax(torch.addmm(b, x, W), 1)
        dP = 2 / (len(b) * len(rows)) * (P - Y[rows])
        dV = P * (dP - (dP * P).sum(1, keepdim=True))
        W.addmm_(x.T, dV, alpha=-learning_rate)
        b.sub_(dV.sum(0), alpha=learning_rate)
    return W[None], b[None]


@dataclass(frozen=True)
class Peer:
    """Who computes the same as an op: its name in the table, its library, the op, the function."""

    name: str
    module: str
    op: str
    call: Callable[..., tuple[Any, ...]]


PEERS = (
    Peer("CuPy @", "cupy", "linear_forward", product),
    Peer("torch", "torch", "linear_forward", torch_product),
    Peer("CuPy @", "cupy", "linear_backward", outer_products),
    Peer("torch", "torch", "linear_backward", outer_products),
    Peer("torch", "torch", "softmax_forward", torch_softmax),
    Peer("torch", "torch", "cross_entropy_forward", torch_cross_entropy),
    Peer("CuPy loop", "cupy", "train", loop),
    Peer("torch loop", "torch", "train", torch_loop),
)


def peers_of(workload: Workload) -> list[Peer]:
    """Those whose library is here, and for torch, sees the GPU."""
    if workload.op == "train" and not workload.has_peers:
        return []
    usable = {"cupy": True, "torch": _torch_sees_the_gpu()}
    return [peer for peer in PEERS if peer.op == workload.op and usable[peer.module]]


def _torch_sees_the_gpu() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    return bool(importlib.import_module("torch").cuda.is_available())


# ---- measuring


def measure(workload: Workload, rounds: int) -> list[Row]:
    """A row for each competitor: parity with the oracle first, then the times."""
    positional, options = workload.arguments(run.SEED)
    check = gate.of_op(workload.op, (positional, options))
    here = [_on_gpu(a) if isinstance(a, np.ndarray) else a for a in positional]
    calls = {OURS: lambda: workload.run((tuple(here), options), GPU.name)}
    for peer in peers_of(workload):
        calls[peer.name] = _call_of(peer, here, options)
    rows = []
    for name, call in calls.items():
        found = tuple(map(_on_host, call()))
        error, agrees = check(found)
        rows.append(Row(str(workload), name, error, agrees))
    right = {row.competitor: calls[row.competitor] for row in rows if row.agrees}
    walls = _wall_times(right, rounds)
    return [
        _timed(row, workload, right[row.competitor], walls[row.competitor], rounds)
        if row.agrees
        else row
        for row in rows
    ]


def _call_of(peer: Peer, arrays: list[Any], options: dict[str, Any]) -> Callable[[], Any]:
    """The peer's function on the same memory, in its own arrays."""
    library = importlib.import_module(peer.module)
    if peer.module != "cupy":
        arrays = [library.from_dlpack(a) if hasattr(a, "__dlpack__") else a for a in arrays]
    return lambda: peer.call(library, *arrays, **options)


def _on_gpu(array: Any) -> Any:
    return arrays.gpu().asarray(array)


def _on_host(array: Any) -> np.ndarray:
    return arrays.to_host(_on_gpu(array))


def _clock() -> GPUClock:
    clock: GPUClock = GPU.load().clock
    return clock


def _wall_times(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Times of rounds in which everyone runs once."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    synchronise = _clock().synchronise
    for _ in range(rounds):
        for name, call in calls.items():
            synchronise()
            start = time.perf_counter()
            call()
            synchronise()
            times[name].append(time.perf_counter() - start)
    return times


def _timed(
    row: Row, workload: Workload, call: Callable[[], Any], walls: list[float], rounds: int
) -> Row:
    row = replace(row, wall=statistics.median(walls))
    if row.competitor != OURS and workload.op == "train":
        return row
    kernel = statistics.median(_kernel_time(row.competitor, call) for _ in range(rounds))
    return replace(row, kernel=kernel, gflop_per_s=workload.flop / kernel / 1e9)


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
GFLOP/s: by the kernel time. worst error: against the numpy backend, relative to the largest entry.
Each round repeats the last one's work: what fits into the GPU's cache is read from there."""


def machine() -> dict[str, str]:
    """What the figures depend on."""
    about = {**run.machine(), "gpu": probe(GPU.name).reason}
    if _torch_sees_the_gpu():
        about["torch"] = importlib.metadata.version("torch")
    return about


def table(rows: list[Row]) -> str:
    """The rows as text."""
    cells = [HEADINGS, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def _cells(row: Row) -> tuple[str, ...]:
    error = f"{row.error:.0e}" if row.agrees else f"WRONG {row.error:.0e}"
    return (
        row.workload,
        row.competitor,
        f"{1e6 * row.kernel:.1f} us" if row.kernel else "",
        f"{1e6 * row.wall:.1f} us" if row.wall else "",
        f"{row.gflop_per_s:.0f}" if row.gflop_per_s else "",
        error,
    )


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
        rounds = QUICK_ROUNDS if quick else FULL_ROUNDS
        workloads = run.table_of_workloads(quick)
        rows = [row for workload in workloads for row in measure(workload, rounds)]
        print(table(rows), LEGEND, sep="\n\n")
        if file:
            figures = [
                {**asdict(r), "error": r.error if math.isfinite(r.error) else None} for r in rows
            ]
            json.dump({"machine": about, "rows": figures}, file, indent=1)
    wrong = [f"{row.workload} on {row.competitor}" for row in rows if not row.agrees]
    if wrong:
        print(f"error: not the oracle's result: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0

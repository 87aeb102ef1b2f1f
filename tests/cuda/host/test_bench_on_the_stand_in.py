"""Promise: `softstep bench --backend cupy` checks, then times launches and calls apart.

The path is run here; times of an emulator say nothing.
"""

import json
import sys

import numpy as np
import pytest
import standin

from softstep import cli
from softstep.bench import gate, gpu, run
from softstep.kernels import _cupy
from softstep.kernels._cupy import clock
from softstep.kernels._cupy.arrays import asarray, to_host
from softstep.kernels._cupy.device import synchronise
from softstep.kernels._cupy.kernel import capture
from softstep.kernels.verify import cases as workloads
from softstep.kernels.verify.cases import Size

TINY = Size(n=230, d=7, c=3, h=2)
WORKLOADS = [*workloads.op_workloads((TINY,)), *workloads.seed_workloads(TINY)]


def on_the_host(call):
    """A peer's function that goes through NumPy: the stand-in has no arithmetic."""

    def peer(library, *arrays, **options):
        arrays = [to_host(a) if hasattr(a, "get") else a for a in arrays]
        return tuple(map(asarray, call(np, *arrays, **options)))

    return peer


@pytest.fixture(autouse=True)
def peers_through_numpy(monkeypatch):
    found = [
        gpu.Peer(p.name, p.module, p.op, on_the_host(p.call))
        for p in gpu.PEERS
        if p.module == "cupy"
    ]
    monkeypatch.setattr(gpu, "PEERS", tuple(found))
    monkeypatch.setattr(run, "table_of_workloads", lambda quick: WORKLOADS)


def test_every_op_is_timed_and_the_products_and_the_recipe_have_peers(machine):
    rows = [row for workload in WORKLOADS for row in gpu.measure(workload, rounds=2)]
    assert all(row.agrees and row.wall > 0 for row in rows)
    assert {row.workload for row in rows} == set(map(str, WORKLOADS))
    timed = [row for row in rows if row.competitor != "CuPy loop"]
    assert all(row.kernel > 0 and row.gflop_per_s > 0 for row in timed)
    others = [row for row in rows if row.competitor != gpu.OURS]
    beside = [(row.workload.split()[0], row.competitor) for row in others]
    assert beside == [
        ("linear_forward", "CuPy @"),
        ("linear_backward", "CuPy @"),
        ("train", "CuPy loop"),
        ("train", "CuPy loop"),
    ]


@pytest.mark.parametrize("workload", WORKLOADS, ids=str)
def test_nothing_but_flags_and_results_crosses_while_it_is_timed(workload, machine, monkeypatch):
    monkeypatch.setattr(gpu, "PEERS", ())
    moved = []

    def watched(calls, rounds):
        machine.log.clear()
        times = wall_times(calls, rounds)
        moved.extend(machine.log)
        return times

    wall_times = gpu._wall_times
    monkeypatch.setattr(gpu, "_wall_times", watched)
    gpu.measure(workload, rounds=1)
    assert any(line.startswith("launch ") for line in moved)
    sizes = [int(line.split()[-1]) for line in moved if line.startswith(("to device", "to host"))]
    assert sum(sizes) < 1000


def test_a_wrong_kernel_is_reported_and_never_timed(machine, monkeypatch, capsys):
    right = _cupy.softmax_forward

    def wrong(V, *, out=None):
        return asarray(to_host(right(V)) * np.float32(1.0001))

    monkeypatch.setattr(_cupy, "softmax_forward", wrong)
    monkeypatch.setattr(run, "table_of_workloads", lambda quick: [WORKLOADS[2]])
    assert gpu.bench_command(quick=True, json_path=None) == 1
    printed = capsys.readouterr()
    assert "WRONG 1e-04" in printed.out
    assert "softmax_forward 230x3 float32 on softstep" in printed.err


def test_the_command_prints_a_row_for_each_and_writes_them(machine, monkeypatch, capsys, tmp_path):
    path = tmp_path / "figures.json"
    monkeypatch.setattr(run, "table_of_workloads", lambda quick: WORKLOADS[:2])
    assert cli.main(["bench", "--backend", "cupy", "--quick", "--json", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "gpu: CuPy 14.0 (stand-in) on Emulated GPU (sm_80)" in lines
    header = next(i for i, line in enumerate(lines) if line.startswith("workload"))
    assert lines[header].split()[:5] == ["workload", "competitor", "kernel", "wall", "GFLOP/s"]
    saved = json.loads(path.read_text())["rows"]
    assert [row["competitor"] for row in saved] == ["softstep", "CuPy @"] * 2
    for row, line in zip(saved, lines[header + 1 :], strict=False):
        assert line.startswith(row["workload"])
        assert f"{1e6 * row['kernel']:.1f} us" in line


def test_without_a_gpu_the_command_says_why(capsys):
    with standin.install() as machine:
        machine.device_count = 0
        assert cli.main(["bench", "--backend", "cupy"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "there is no NVIDIA GPU" in printed.err
    assert "softstep[cuda12]" not in printed.err


# ---- the clock


def test_each_launch_and_each_graph_is_clocked_behind_a_held_queue(machine):
    V = asarray(np.ones((3, 4), np.float32))

    def step():
        _cupy.softmax_forward(V, out=V)

    assert clock.launch_times(lambda: capture(step, 3)) != []
    machine.log.clear()
    times = clock.launch_times(lambda: capture(step, 3))
    assert [label for label, _ in times] == ["softmax.cu: softmax_forward", "graph", "graph"]
    assert all(seconds > 0 for _, seconds in times)
    launched = [line for line in machine.log if line.startswith("launch ")]
    held = "launch hold"
    assert launched.count(held) == 3
    assert launched[0] == held
    assert launched.index("launch graph") == launched.index(held, 1) + 1


def test_nothing_is_clocked_outside_and_after_an_error(machine):
    V = asarray(np.ones((3, 4), np.float32))

    def fails():
        _cupy.softmax_forward(V)
        raise KeyError

    with pytest.raises(KeyError):
        clock.launch_times(fails)
    machine.log.clear()
    _cupy.softmax_forward(V)
    assert "launch hold" not in machine.log


def test_the_time_between_events_needs_both_to_be_done(machine):
    cupy = sys.modules["cupy"]
    start, stop = cupy.cuda.Event(), cupy.cuda.Event()
    with pytest.raises(standin.CUDARuntimeError, match="InvalidResourceHandle"):
        cupy.cuda.get_elapsed_time(start, stop)
    start.record(cupy.cuda.get_current_stream())
    stop.record(cupy.cuda.get_current_stream())
    with pytest.raises(standin.CUDARuntimeError, match="NotReady"):
        cupy.cuda.get_elapsed_time(start, stop)
    synchronise()
    assert cupy.cuda.get_elapsed_time(start, stop) > 0


# ---- the peers compute what the op does: with NumPy in CuPy's place, with torch on the CPU


def agrees(workload, peer, library, convert):
    positional, options = workload.arguments(0)
    arrays = [convert(a) if isinstance(a, np.ndarray) else a for a in positional]
    found = tuple(np.asarray(a) for a in peer.call(library, *arrays, **options))
    return gate.of_op(workload.op, (positional, options))(found)[1]


ALL_PEERS = gpu.PEERS


@pytest.mark.parametrize("peer", ALL_PEERS, ids=lambda p: f"{p.name} {p.op}")
def test_a_peer_computes_what_the_op_does(peer):
    library = np if peer.module == "cupy" else pytest.importorskip("torch")
    convert = np.asarray if peer.module == "cupy" else library.from_numpy
    its = [w for w in WORKLOADS if w.op == peer.op and (w.op != "train" or w.has_peers)]
    assert its
    for workload in its:
        assert agrees(workload, peer, library, convert)

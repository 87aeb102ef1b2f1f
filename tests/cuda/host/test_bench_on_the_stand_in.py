"""Promise: `softstep bench --backend cupy` checks, then times launches and calls apart.

The path is run here; times of an emulator say nothing.
"""

import dataclasses
import importlib.util
import json
import sys

import numpy as np
import pytest
import standin

from softstep import cli
from softstep.bench import gate, gpu, measure, peers, problems, run
from softstep.bench.measure import OURS
from softstep.kernels import _cupy
from softstep.kernels._cupy import clock
from softstep.kernels._cupy.arrays import asarray, to_host
from softstep.kernels._cupy.device import synchronise
from softstep.kernels._cupy.kernel import capture
from softstep.kernels.losses import LOSSES
from softstep.kernels.verify import cases
from softstep.kernels.verify.cases import Size

TINY = Size(n=230, d=7, c=3, h=2)
WORKLOADS = [*cases.op_workloads((TINY,)), *cases.seed_workloads(TINY)]


ALL_PEERS = [(op, peer) for op, others in peers.ON_GPU.items() for peer in others]


@pytest.fixture(autouse=True)
def cupy_peers_through_numpy(monkeypatch):
    """The stand-in has no arithmetic."""
    name = "softstep.bench.peers.cupy_"
    spec = importlib.util.find_spec(name)
    module = importlib.util.module_from_spec(spec)
    with monkeypatch.context() as meanwhile:
        meanwhile.setitem(sys.modules, "cupy", np)
        spec.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, name, module)


@pytest.fixture(autouse=True)
def a_few_small_workloads(monkeypatch):
    monkeypatch.setattr(run, "table_of_workloads", lambda quick: WORKLOADS)


@pytest.fixture
def only_cupy(monkeypatch):
    """Without the peers in torch."""
    own = {op: tuple(p for p in its if p.library == "cupy") for op, its in peers.ON_GPU.items()}
    monkeypatch.setattr(peers, "ON_GPU", own)


def test_every_op_is_timed_and_the_products_and_the_recipe_have_peers(machine, only_cupy):
    rows = [row for workload in WORKLOADS for row in gpu.rows_of(workload, rounds=2)]
    assert all(row.agrees and row.wall > 0 and row.gflop_per_s > 0 for row in rows)
    assert {row.case for row in rows} == set(map(str, WORKLOADS))
    assert all((row.kernel is None) == (row.competitor == "CuPy loop") for row in rows)
    assert all(row.kernel is None or row.kernel > 0 for row in rows)
    others = [row for row in rows if row.competitor != OURS]
    beside = [(row.case.split()[0], row.competitor) for row in others]
    assert beside == [
        ("linear_forward", "CuPy @"),
        ("linear_backward", "CuPy @"),
        ("train", "CuPy loop"),
        ("train", "CuPy loop"),
    ]


def test_a_torch_without_a_gpu_is_listed_with_the_reason(machine, monkeypatch, capsys):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this torch sees a GPU")
    softmax = next(w for w in WORKLOADS if w.op == "softmax_forward")
    monkeypatch.setattr(run, "table_of_workloads", lambda quick: [softmax])
    assert gpu.bench_command(quick=True, json_path=None) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "not run" in line)
    assert line.startswith(f"{softmax}  torch  ")
    assert "cuda" in line.lower() or "nvidia" in line.lower()


@pytest.mark.parametrize("workload", WORKLOADS, ids=str)
def test_nothing_but_flags_and_results_crosses_while_it_is_timed(workload, machine, monkeypatch):
    monkeypatch.setattr(peers, "ON_GPU", {"train": ()})
    moved = []

    def watched(calls, pace):
        machine.log.clear()
        times = interleaved(calls, pace)
        moved.extend(machine.log)
        return times

    interleaved = measure.interleaved
    monkeypatch.setattr(measure, "interleaved", watched)
    gpu.rows_of(workload, rounds=1)
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


def test_the_command_prints_a_row_for_each_and_writes_them(
    machine, only_cupy, monkeypatch, capsys, tmp_path
):
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
        assert line.startswith(row["case"])
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


def results(peer, problem, monkeypatch):
    if peer.library == "torch":
        pytest.importorskip("torch")
        monkeypatch.setattr("softstep.bench.peers.torch_cuda.DEVICE", "cpu")
    return tuple(map(np.asarray, peer.prepare(problem)()))


@pytest.mark.parametrize(("op", "peer"), ALL_PEERS, ids=lambda v: getattr(v, "name", v))
def test_a_peer_computes_what_the_op_does(op, peer, monkeypatch):
    its = [w for w in WORKLOADS if w.op == op and (w.op != "train" or w.has_peers)]
    assert its
    for workload in its:
        arguments = workload.arguments(0)
        problem = problems.epoch(arguments) if op == "train" else arguments[0]
        check = gate.of_op(op, arguments)
        assert check(results(peer, problem, monkeypatch))[1]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("peer", peers.ON_GPU["train"], ids=lambda p: p.name)
def test_a_training_peer_follows_the_loss_it_is_given(peer, loss, monkeypatch):
    epoch = dataclasses.replace(problems.bank(Size(300, 20, 4), 100), loss=loss)
    found = results(peer, epoch, monkeypatch)
    agreeing = [
        other
        for other in LOSSES
        if gate.of_op("train", dataclasses.replace(epoch, loss=other).arguments)(found)[1]
    ]
    assert agreeing == [loss]


@pytest.mark.parametrize("peer", peers.ON_GPU["train"], ids=lambda p: p.name)
def test_a_loss_that_a_training_peer_does_not_have_is_an_error(peer, monkeypatch):
    epoch = dataclasses.replace(problems.bank(Size(300, 20, 4), 100), loss="hinge")
    with pytest.raises(KeyError, match="hinge"):
        results(peer, epoch, monkeypatch)

"""The benchmarks time every op on every usable backend, and only what agrees with the oracle."""

import json
import math
import subprocess
import sys

import numba
import numpy as np
import pytest

from softstep import kernels
from softstep.bench import run, workloads
from softstep.bench.peers import Peer
from softstep.bench.workloads import Size
from softstep.kernels import _numba

TINY = Size(n=230, d=7, c=3, h=2)  # three batches, the last one short
TINY_WORKLOADS = [
    *workloads.op_workloads((TINY,)),
    *workloads.seed_workloads(TINY),
]
NOT_OPS = {"BackendError", "use_backend"}


def test_the_table_covers_every_op():
    assert set(workloads.OPS) == set(kernels.__all__) - NOT_OPS


@pytest.mark.parametrize("workload", TINY_WORKLOADS, ids=str)
def test_arguments_come_from_the_seed_alone(workload):
    (first, _), (again, _), (other, _) = (workload.arguments(seed) for seed in (3, 3, 4))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8"])
@pytest.mark.parametrize("name", workloads.OPS)
def test_arguments_suit_the_op_in_every_dtype_of_features(name, dtype):
    workload = workloads.op_workload(name, TINY, dtype)
    results = workload.run(workload.arguments(0), run.ORACLE)
    assert all(np.isfinite(result).all() for result in results)


@pytest.mark.parametrize("workload", TINY_WORKLOADS, ids=str)
def test_a_run_gives_finite_figures_of_everyone_and_all_agree(workload):
    rows = run.measure(workload, seconds=0)
    assert [row.competitor for row in rows] == list(run.competitors(workload))
    for row in rows:
        assert row.agrees
        for figure in (row.median, row.speed_up, row.gflop_per_s, row.first_call):
            assert 0 < figure < math.inf
        assert row.error <= workload.tolerance


def test_the_seed_workload_has_the_numpy_loop_as_its_baseline():
    for workload in workloads.seed_workloads(TINY):
        rows = {row.competitor: row for row in run.measure(workload, seconds=0)}
        assert rows["NumPy loop"].speed_up == 1
        assert rows["numpy"].speed_up != 1


def test_the_seed_workload_counts_1_9_gflop():
    # 1.88 in the two matrix products, 2·2·60000·784·10; the rest in the softmax and the updates
    for workload in workloads.seed_workloads():
        assert workload.flop == pytest.approx(1.90e9, rel=1e-3)


@pytest.mark.parametrize("workload", TINY_WORKLOADS, ids=str)
def test_parity_refuses_zeros_nans_and_other_forms(workload):
    right = workload.run(workload.arguments(0), run.ORACLE)
    assert run.parity(workload, right, right) == (0, True)
    for i, result in enumerate(right):
        for bad in (
            np.zeros_like(result),
            np.full(result.shape, np.nan, result.dtype) if result.dtype.kind == "f" else -result,
            result[:-1],
            result.astype(np.float16),
        ):
            found = (*right[:i], bad, *right[i + 1 :])
            assert not run.parity(workload, found, right)[1]


def test_parity_refuses_one_wrong_entry_of_a_gradient():
    workload = workloads.op_workload("linear_backward", workloads.QUICK[0])
    dW, db = workload.run(workload.arguments(0), run.ORACLE)
    wrong = dW.copy()
    wrong[748:] = 0  # the sum over features that stops too soon
    assert not run.parity(workload, (wrong, db), (dW, db))[1]


@pytest.fixture
def wrong_softmax(monkeypatch):
    """Makes Numba's softmax wrong by one part in 10^4; the list of its calls."""
    calls = []
    right = _numba.softmax_forward

    def wrong(V, *, out=None):
        calls.append(V.shape)
        return right(V) * V.dtype.type(1.0001)

    monkeypatch.setattr(_numba, "softmax_forward", wrong)
    return calls


def test_a_wrong_kernel_is_never_timed(wrong_softmax):
    workload = workloads.op_workload("softmax_forward", TINY)
    rows = {row.competitor: row for row in run.measure(workload, seconds=0)}
    assert len(wrong_softmax) == 1
    assert not rows["numba"].agrees
    assert rows["numba"].median is None
    assert rows["numpy"].agrees
    assert rows["numpy"].median > 0


def test_the_command_reports_a_wrong_kernel_and_fails(wrong_softmax, monkeypatch, capsys):
    tiny = [workloads.op_workload("softmax_forward", TINY)]
    monkeypatch.setattr(run, "table_of_workloads", lambda quick: tiny)
    assert run.bench_command(quick=True, json_path=None) == 1
    printed = capsys.readouterr()
    assert "WRONG 1e-04" in printed.out
    assert "softmax_forward 230x3 float32 on numba" in printed.err


def test_a_wrong_baseline_leaves_the_others_timed_without_a_speed_up(monkeypatch):
    wrong = Peer("NumPy loop", "numpy", lambda X, y, order, batch_size, W, b, **rest: (W, b))
    monkeypatch.setattr(run, "PEERS", (wrong,))
    rows = run.measure(workloads.seed_workload(np.float32, TINY), seconds=0)
    assert [row.agrees for row in rows] == [row.competitor != "NumPy loop" for row in rows]
    assert all(row.speed_up is None and row.median for row in rows if row.agrees)
    assert len(run.table(rows).splitlines()) == 1 + len(rows)


def test_the_command_prints_the_machine_a_header_and_a_row_for_each(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(run, "table_of_workloads", lambda quick: TINY_WORKLOADS)
    monkeypatch.setattr(run, "QUICK_SECONDS", 0)
    assert run.bench_command(quick=True, json_path=str(tmp_path / "figures.json")) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"numpy: {np.__version__}" in lines
    assert f"numba: {numba.__version__}" in lines
    header = next(i for i, line in enumerate(lines) if line.split()[:2] == ["workload", "backend"])
    expected = [(str(w), name) for w in TINY_WORKLOADS for name in run.competitors(w)]
    for (workload, name), line in zip(expected, lines[header + 1 :], strict=False):
        assert line.startswith(workload)
        assert f" {name} " in line
    saved = json.loads((tmp_path / "figures.json").read_text())
    assert [(row["workload"], row["competitor"]) for row in saved["rows"]] == expected
    assert saved["machine"]["numpy"] == np.__version__


def test_a_json_file_that_cannot_be_written_is_refused_before_anything_runs(monkeypatch, tmp_path):
    monkeypatch.setattr(run, "run", lambda quick: pytest.fail("ran"))
    with pytest.raises(OSError, match="missing"):
        run.bench_command(quick=True, json_path=str(tmp_path / "missing" / "figures.json"))


def test_a_first_call_says_whether_numba_compiled_in_it():
    fresh = numba.njit(lambda x: x + 1)
    workload = workloads.op_workload("softmax_forward", TINY)
    first, second = (
        run._first_call(lambda workload, arguments: fresh(1), workload, None) for _ in range(2)
    )
    assert first.compiled
    assert not second.compiled


def test_pytest_benchmark_finds_every_op_on_every_backend_and_the_epoch():
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "--pyargs", "softstep.bench"]
    done = subprocess.run(
        [*command, "-o", "python_files=bench_*.py"], capture_output=True, text=True, check=True
    )
    for backend in run.usable_backends():
        for name in workloads.OPS:
            assert f"test_op[{name} " in done.stdout
        assert f"float32-{backend}]" in done.stdout
    assert "test_epoch[train seed 60000x784->10 uint8-NumPy loop]" in done.stdout

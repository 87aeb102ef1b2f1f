"""Promise: `softstep bench` times only what agrees with the oracle, and reports all competitors.

No test expects a certain time: the figures only have to be there.
"""

import dataclasses
import json
import math
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import numba
import numpy as np
import pytest

from softstep import kernels
from softstep.bench import chart, gate, goals, measure, peak, peers, problems, report, run, suites
from softstep.bench import machine as about
from softstep.bench.child import InChild
from softstep.bench.measure import OURS, Case, Pace, Row
from softstep.bench.peers import Peer
from softstep.bench.studies import budgets, busy, evaluate_memory
from softstep.cli.main import main
from softstep.kernels import _numba, threads
from softstep.kernels.losses import LOSSES
from softstep.kernels.verify import cases
from softstep.kernels.verify.cases import Size
from softstep.model import datasets

TINY = Size(n=230, d=7, c=3, h=2)  # three batches, the last one short
TINY_WORKLOADS = [
    *cases.op_workloads((TINY,)),
    *cases.seed_workloads(TINY),
]
NOT_OPS = {"BackendError", "CSR", "Scaled", "use_backend"}
ONE_ROUND = Pace(rounds=1, pause=0, burst=0)
LIMITS = peak.Peak({1: 100.0, 2: 200.0}, 30.0)


# ---- the table of ops


def test_the_table_covers_every_op():
    assert set(cases.OPS) == set(kernels.__all__) - NOT_OPS


@pytest.mark.parametrize("workload", TINY_WORKLOADS, ids=str)
def test_arguments_come_from_the_seed_alone(workload):
    (first, _), (again, _), (other, _) = (workload.arguments(seed) for seed in (3, 3, 4))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8"])
@pytest.mark.parametrize("name", cases.OPS)
def test_arguments_suit_the_op_in_every_dtype_of_features(name, dtype):
    workload = cases.op_workload(name, TINY, dtype)
    results = workload.run(workload.arguments(0), run.ORACLE)
    assert all(np.isfinite(result).all() for result in results)


@pytest.mark.parametrize("workload", TINY_WORKLOADS[: len(cases.OPS)], ids=str)
def test_every_usable_backend_is_timed_on_every_op(workload):
    rows = measure.measure(suites.backends_case(workload), ONE_ROUND, 100.0)
    others = [name for name in suites.usable_backends() if name != suites.BACKEND]
    assert [row.competitor for row in rows] == [OURS, *others]
    for row in rows:
        assert row.agrees
        assert row.error < 1e-4
        for figure in (row.wall, row.ratio, row.gflop_per_s, row.share, row.first_call):
            assert 0 < figure < math.inf
    assert rows[0].ratio == 1


def test_the_seed_workload_counts_1_9_gflop():
    # 1.88 in the two matrix products, 2·2·60000·784·10; the rest in the softmax and the updates
    for workload in cases.seed_workloads():
        assert workload.flop == pytest.approx(1.90e9, rel=1e-3)


# ---- the gate


@pytest.mark.parametrize("workload", TINY_WORKLOADS, ids=str)
def test_the_gate_refuses_zeros_nans_and_other_forms(workload):
    arguments = workload.arguments(0)
    right = workload.run(arguments, run.ORACLE)
    check = gate.of_op(workload.op, arguments)
    assert check(right)[1]
    for i, result in enumerate(right):
        for bad in (
            np.zeros_like(result),
            np.full(result.shape, np.nan, result.dtype) if result.dtype.kind == "f" else -result,
            result[:-1],
            result.astype(np.float16),
        ):
            assert not check((*right[:i], bad, *right[i + 1 :]))[1]


def test_the_gate_refuses_one_wrong_entry_of_a_gradient():
    workload = cases.op_workload("linear_backward", cases.QUICK[0])
    arguments = workload.arguments(0)
    dW, db = workload.run(arguments, run.ORACLE)
    check = gate.of_op("linear_backward", arguments)
    assert check((dW, db))[1]
    wrong = dW.copy()
    wrong[748:] = 0  # a sum over features that stops too soon
    assert not check((wrong, db))[1]


@pytest.mark.parametrize("problem", LOSSES)
def test_an_epoch_that_skips_a_batch_or_repeats_one_is_refused(problem):
    e = epoch(problem, 1 if problem == "mse" else 3)
    check = gate.of_op("train", e.arguments)
    order = e.order
    assert check(suites.train(e, run.ORACLE))[1]
    for changed in (order[:-100], np.append(order[:-100], order[:100]), order[::-1].copy()):
        assert not check(suites.train(dataclasses.replace(e, order=changed), run.ORACLE))[1]


def test_the_loss_after_the_epoch_is_compared_with_the_oracles():
    e = epoch("cross_entropy", 3)
    W, b = suites.train(e, run.ORACLE)
    *_, loss, weight_bound, loss_bound, _ = gate.after_an_epoch(e.arguments)
    assert (np.abs(gate.loss_of(e.arguments, W, b) - loss) <= loss_bound).all()
    assert (loss_bound < 1e-4 * loss).all()
    other = gate.loss_of(e.arguments, W * np.float32(1.01), b)
    assert (np.abs(other - loss) > loss_bound).all()
    shift = np.float32(2 * weight_bound.max())  # of every bias: the same losses, other weights
    error, right = gate.of_op("train", e.arguments)((W, b + shift))
    assert error < 1e-6
    assert not right


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
    case = suites.backends_case(cases.op_workload("softmax_forward", TINY))
    rows = {row.competitor: row for row in measure.measure(case, ONE_ROUND)}
    assert len(wrong_softmax) == 1
    assert not rows[OURS].agrees
    assert rows[OURS].wall is None
    assert rows["numpy"].agrees
    assert rows["numpy"].wall > 0
    assert rows["numpy"].ratio is None


# ---- the peers, on small data


def epoch(loss, h, dtype="float32"):
    """For MSE the recipe, which has one head."""
    if loss == "mse":
        return problems.recipe(300, dtype)
    return dataclasses.replace(problems.bank(Size(300, 20, 4, h), 100), loss=loss)


TRAINERS = (*peers.RECIPE, peers.TORCH_HEADS)


def prepared(peer, problem):
    pytest.importorskip(peer.library)
    return peer.load()(problem)


@pytest.mark.parametrize("peer", [*TRAINERS, *peers.SWEEP], ids=lambda p: p.name)
def test_a_loss_that_a_peer_does_not_have_is_an_error_and_never_another_loss(peer):
    e = epoch("cross_entropy", 3)
    unknown = ("hinge",) * 3 if peer in peers.SWEEP else "hinge"
    with pytest.raises(KeyError, match="hinge"):
        prepared(peer, dataclasses.replace(e, loss=unknown))


@pytest.mark.parametrize("c", [2, 3, 10])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_gate_bounds_the_length_and_the_slope_of_every_gradient(loss, c):
    """The bounds are not far too large either: the largest of many rows comes near them."""
    rng = np.random.default_rng(0)
    V, y = rng.normal(size=(2000, c)) * rng.uniform(0, 6, (2000, 1)), rng.integers(0, 2, 2000)
    V[:1000, 2:] -= 20  # two classes alone: there the slope is largest

    def gradient(V):
        return getattr(kernels, LOSSES[loss].backward)(V, y, backend="numpy")

    steps = 1e-5 * np.eye(c)
    slopes = [(gradient(V + step) - gradient(V - step)) / 2e-5 for step in steps]
    steepest = np.linalg.norm(gradient(V), axis=1).max()
    curvature = np.linalg.norm(np.stack(slopes, axis=2), ord=2, axis=(1, 2)).max()
    assert 0.5 < steepest / gate.STEEPEST[loss](c) <= 1 + 1e-12
    assert 0.2 < curvature / gate.CURVATURES[loss](c) <= 1 + 1e-6


@pytest.mark.parametrize("peer", TRAINERS, ids=lambda p: p.name)
@pytest.mark.parametrize(
    "problem",
    [
        epoch("mse", 1),
        epoch("mse", 1, "uint8"),
        epoch("cross_entropy", 1),
        epoch("cross_entropy", 3),
    ],
    ids=["mse float32", "mse uint8", "cross-entropy", "3 heads"],
)
def test_a_peer_ends_the_epoch_with_the_oracles_weights(peer, problem):
    check = gate.of_op("train", problem.arguments)
    W, b = prepared(peer, problem)()
    assert check((W, b))[1]
    assert not check((np.zeros_like(W), b))[1]
    if problem.size.h > 1:  # each head has its own rate
        assert not check((W[::-1], b[::-1]))[1]


SIZE = Size(64, 30, 5)
OPS = [
    *((p, "linear_forward") for p in peers.FORWARD),
    *((p, "linear_backward") for p in peers.BACKWARD),
    *((p, "predict") for p in peers.PREDICT),
    *((p, "evaluate") for p in peers.EVALUATE),
    *((p, "softmax_forward") for p in peers.SOFTMAX),
    *((p, "gradient") for p in peers.GRADIENT),
]
PROBLEMS = {"predict": problems.model, "evaluate": problems.model, "gradient": problems.heads}


@pytest.mark.parametrize(("peer", "op"), OPS, ids=lambda v: getattr(v, "name", None))
def test_a_peer_computes_what_the_op_does(peer, op):
    size = dataclasses.replace(SIZE, h=3) if op == "gradient" else SIZE
    problem = PROBLEMS.get(op, problems.layer)(size)
    if op == "softmax_forward":
        arguments = (problem.dV,), {}
    else:
        arguments = problem.arguments if op == "gradient" else problem.arguments(op)
    check = gate.of_op(op, arguments)
    found = prepared(peer, arguments[0][0] if op == "softmax_forward" else problem)()
    assert check(found)[1]
    assert not check(tuple(np.zeros_like(f) for f in found))[1]


def test_every_function_of_the_peers_is_named_in_a_suite():
    others = (peers.TORCH_COMPILED, *peers.FIT, *peers.SWEEP, *peers.SURFACE)
    for peer in (*TRAINERS, *others, *(p for p, _ in OPS)):
        if peers.installed(peer.library):
            pytest.importorskip(peer.library)
            assert callable(peer.load())


# ---- a case


def tiny_case(**more):
    """softstep, a peer that is right, one that is wrong, one that raises, one not installed."""

    def broken():
        raise RuntimeError("no compiler\nand more")

    one = np.ones(3, np.float32)
    calls = {
        OURS: lambda: (one,),
        "same": lambda: (one,),
        "wrong": lambda: (one * np.float32(1.1),),
        "broken": broken,
    }
    check = lambda found: gate.agreement(found, (one,), (1e-6 * one,))  # noqa: E731
    return Case("d", "forward 1x1->3", 6, 1, calls, check, {"absent": "absent is missing"}, **more)


def test_a_peer_that_is_wrong_or_cannot_run_is_listed_with_the_reason_and_never_timed():
    rows = {row.competitor: row for row in measure.measure(tiny_case(), ONE_ROUND)}
    assert list(rows) == [OURS, "same", "wrong", "broken", "absent"]
    assert rows["same"].ratio > 0
    assert [rows[name].wall for name in ("wrong", "broken", "absent")] == [None] * 3
    assert not rows["wrong"].agrees
    assert rows["broken"].not_run == "RuntimeError: no compiler"
    assert rows["absent"].not_run == "absent is missing"


def test_a_peer_that_cannot_be_prepared_is_listed_with_the_reason():
    others = (Peer("broken", "numpy", "epoch"), Peer("NumPy", "numpy", "softmax"))
    case = measure.against(
        others, lambda: (), np.ones((2, 3)), suite="e", name="2x3", flop=1, check=gate.agreement
    )
    assert list(case.calls) == [OURS, "NumPy"]
    assert case.not_run["broken"].startswith("AttributeError: 'numpy.ndarray' object has no")


def test_an_error_of_softstep_itself_is_not_swallowed():
    case = tiny_case()
    case.calls[OURS] = case.calls["broken"]
    with pytest.raises(RuntimeError, match="no compiler"):
        measure.measure(case, ONE_ROUND)


def test_a_library_that_is_not_installed_and_a_system_without_affinity_are_reasons_not_to_run(
    monkeypatch,
):
    assert "not installed" in Peer("x", "no_such_library", "f").why_not(2, 2)
    monkeypatch.setattr(peers, "installed", lambda module: True)
    assert peers.JAX_SCAN.why_not(1, 2) is None
    monkeypatch.delattr(os, "sched_setaffinity")
    assert peers.JAX_SCAN.why_not(2, 2) is None
    assert "Linux" in peers.JAX_SCAN.why_not(1, 2)


# ---- a peer in its own process


@pytest.fixture
def child(monkeypatch):
    """NumPy on one core, as if the number of its threads could not be set."""
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("needs Linux")
    monkeypatch.setattr(peers, "ALL_CORES", ("numpy",))
    call = peers.NUMPY_EPOCH.prepare(epoch("cross_entropy", 3), 1)
    yield call
    call.close()


def test_a_child_has_one_core_and_gives_the_same_results_and_its_own_times(child):
    e = epoch("cross_entropy", 3)
    assert gate.of_op("train", e.arguments)(child())[1]
    assert os.sched_getaffinity(child._child.pid) == {min(os.sched_getaffinity(0))}
    assert 0 < child.seconds(3) < 10


def test_a_peer_with_variables_of_its_own_has_a_process_of_its_own():
    e = epoch("cross_entropy", 3)
    call = dataclasses.replace(peers.NUMPY_EPOCH, environment=(("ITS_OWN", "1"),)).prepare(e)
    try:
        assert gate.of_op("train", e.arguments)(call())[1]
        environment = Path(f"/proc/{call._child.pid}/environ")
        assert not environment.exists() or b"ITS_OWN=1" in environment.read_bytes()
    finally:
        call.close()


def test_a_child_is_gone_after_its_case_and_what_it_raises_is_the_reason(child):
    case = tiny_case()
    case.calls["same"] = child  # results of other shapes: wrong
    bad = InChild(peers.NUMPY_EPOCH, "no problem at all", 1)
    case.calls["broken"] = bad
    rows = {row.competitor: row for row in measure.measure(case, ONE_ROUND)}
    assert not rows["same"].agrees
    assert "AttributeError: 'str'" in rows["broken"].not_run
    assert child._child is None
    assert bad._child is None


def test_the_number_of_threads_holds_within_the_case_only(monkeypatch):
    monkeypatch.setenv(threads.VARIABLE, "3")
    with measure.limited(1):
        threads.ask(None)
        assert threads.threads_for(1e12) == 1
    assert os.environ[threads.VARIABLE] == "3"
    monkeypatch.delenv(threads.VARIABLE)
    with measure.limited(1):
        pass
    assert threads.VARIABLE not in os.environ


def test_a_first_call_says_whether_numba_compiled_in_it():
    fresh = numba.njit(lambda x: x + 1)
    case = tiny_case()
    case.calls[OURS] = lambda: (np.full(3, fresh(0), np.float32),)
    first, second = (measure.measure(case, ONE_ROUND)[0] for _ in range(2))
    assert first.compiled
    assert not second.compiled


# ---- the command


@pytest.fixture
def one_case(monkeypatch):
    monkeypatch.setattr(run, "SUITES", {"d": lambda quick: iter([tiny_case()])})
    monkeypatch.setattr(measure, "QUICK", ONE_ROUND)
    monkeypatch.setattr(peak, "of_machine", lambda counts: LIMITS)


def test_the_command_prints_and_writes_all_competitors_and_fails_if_one_is_wrong(
    one_case, capsys, tmp_path
):
    page, figures = tmp_path / "page.md", tmp_path / "figures.json"
    command = ["bench", "--quick", "--json", str(figures), "--markdown", str(page)]
    assert main(command) == 1
    printed = capsys.readouterr()
    assert "forward 1x1->3 on wrong" in printed.err
    lines = [line.split() for line in printed.out.splitlines()]
    assert f"numpy: {np.__version__}" in printed.out
    competitors = [OURS, "same", "wrong", "broken", "absent"]
    start = next(i for i, line in enumerate(lines) if line[:1] == ["(d)"])
    assert [line[0] for line in lines[start + 1 : start + 6]] == competitors
    assert "WRONG 1e-01" in printed.out
    assert "(d) same: geometric mean" in printed.out
    saved = json.loads(figures.read_text())
    assert [row["competitor"] for row in saved["rows"]] == competitors
    assert saved["peak"]["gflop_per_s"] == {"1": 100.0, "2": 200.0}
    assert saved["goals"] == []  # small sizes
    table = [line for line in page.read_text().splitlines() if line.startswith("| forward")]
    assert [line.split(" | ")[1] for line in table] == competitors
    assert "not run: absent is missing" in table[-1]


def test_a_full_run_compares_what_it_measured_with_every_goal():
    rows = [
        Row("d", f"{way} 1x1->1", 2, who, 0.0, ratio=ratio, wall=1.0, gflop_per_s=1.0, share=0.5)
        for way, ratio in (("forward", 4.0), ("backward", 1.0))
        for who in (OURS, "NumPy")
    ]
    page = report.markdown({}, LIMITS, rows, "softstep bench", quick=False)
    lines = [line for line in page.splitlines() if line.startswith("| (")]
    assert len(lines) == len(goals.GOALS)
    mean, least = (line for line in lines if line.startswith("| (d)"))
    assert mean.endswith("| NumPy | 1 | 1.1 | 2.00 | aim |")
    assert least.endswith("| NumPy | 0.8 | 1 | 1.00 | aim |")
    assert sum("not measured" in line for line in lines) == len(lines) - 2
    saved = report.as_json({}, LIMITS, rows, quick=False)
    assert len(saved["goals"]) == len(goals.GOALS)
    json.dumps(saved, allow_nan=False)


def test_a_goal_that_is_missed_says_so():
    goal = goals.Goal("a", "", "NumPy", 5, 7)
    assert [goal.verdict(figure) for figure in (1.0, 5.0, 7.0, None)] == [
        "NO",
        "yes",
        "aim",
        "not measured",
    ]


def test_every_goal_names_a_suite_and_a_competitor_of_it():
    names = {peer.name for peer in (*TRAINERS, *peers.FIT, *(p for p, _ in OPS))}
    names |= {OURS, suites.EPOCHS_ALONE, peers.PREDICT_ONE.name}
    for goal in goals.GOALS:
        assert goal.suite in suites.SUITES
        assert goal.competitor in names


@pytest.mark.parametrize("option", ["--json", "--markdown"])
def test_a_file_that_cannot_be_written_is_refused_before_anything_runs(
    option, monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(run, "run", lambda *arguments: pytest.fail("ran"))
    assert main(["bench", option, str(tmp_path / "missing" / "file")]) == 2
    assert "missing" in capsys.readouterr().err


def test_a_suite_that_does_not_exist_is_refused(capsys):
    assert main(["bench", "--only", "a,z"]) == 2
    assert "no suite 'z'; there are a, b" in capsys.readouterr().err


def test_the_header_warns_of_a_forced_blas_kernel(monkeypatch):
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    assert "WARNING" not in about.machine()
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert "Haswell" in about.machine()["WARNING"]


@pytest.mark.parametrize("more", [{}, {"curve": ("rows", 10)}, {"calls": {}}])
def test_the_chart_is_a_png(more, tmp_path):
    pytest.importorskip("matplotlib")
    rows = measure.measure(dataclasses.replace(tiny_case(), **more), ONE_ROUND)
    with (tmp_path / "chart.png").open("wb") as file:
        chart.draw(rows, file)
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("suite", suites.SUITES)
def test_every_quick_suite_has_cases_with_softstep_first(suite):
    cases = list(suites.SUITES[suite](True))
    assert bool(cases) == (suite != "h")
    for case in cases:
        assert next(iter(case.calls)) == OURS
        assert case.suite == suite
        assert case.flop > 0


def test_every_suite_has_a_title():
    assert set(report.TITLES) == set(suites.SUITES)


def test_fit_is_timed_against_the_same_epochs():
    for case in suites.fit(True):
        W, b = case.calls[OURS]()
        for found, expected in zip((W, b), case.calls[suites.EPOCHS_ALONE](), strict=True):
            np.testing.assert_array_equal(found, expected)
        assert case.check((W, b))[1]
        assert not case.check((W * np.float32(0.999), b))[1]


def test_every_rate_and_seed_of_the_budgets_is_a_descent_of_its_own(monkeypatch):
    monkeypatch.setattr(budgets, "EPOCHS", 2)
    monkeypatch.setattr(budgets, "EVERY", 5)
    monkeypatch.setattr(budgets, "PIXEL_SCALE", 1 / 16)
    data = datasets.load_digits()
    X = np.ascontiguousarray(data.X_train[:1000])
    data = dataclasses.replace(data, X_train=X, y_train=data.y_train[:1000])
    curve = list(budgets.accuracies(data, 0.5, seed=0))
    assert len(curve) == 4
    assert curve[0] < curve[-1] <= 1
    assert curve != list(budgets.accuracies(data, 0.5, seed=1))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_evaluating_1000_classes_takes_far_less_memory_than_the_logits(capsys):
    command = [sys.executable, "-m", "softstep.bench.studies.evaluate_memory", "--rows", "60000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    above = [float(mb) for mb in re.findall(r"([\d.]+) MB above X", done.stdout)]
    assert "all logits: 240 MB" in done.stdout
    assert len(above) == 2
    assert max(above) < 100


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_above_the_limit_is_an_error(monkeypatch, capsys):
    monkeypatch.setattr(evaluate_memory, "MOST", -1e9)
    monkeypatch.setattr(evaluate_memory, "FIRST_ROWS", 10)
    assert evaluate_memory.main(["--rows", "20", "--backend", "numpy"]) == 1


# ---- with a busy process


def test_the_busy_benchmark_times_both_states_and_ends_its_process(monkeypatch):
    started = []

    def popen(command):
        started.append(subprocess.Popen(command))
        return started[-1]

    monkeypatch.setattr(busy, "subprocess", types.SimpleNamespace(Popen=popen))
    times = busy.times_of_epochs(rows=300, rounds=1)
    counts = dict.fromkeys((1, suites.cores()))
    assert list(times) == [(state, k) for state in ("quiet", "busy") for k in counts]
    assert min(times.values()) > 0
    (hog,) = started
    assert hog.returncode is not None

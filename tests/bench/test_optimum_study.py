"""Promise: the study of optima compares heads that are as good, and keeps what it has measured."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from softstep.bench.studies import optimum
from softstep.bench.studies.optimum import accuracies, evaluations, ours, theirs
from softstep.bench.studies.optimum.results import Results
from softstep.bench.studies.optimum.works import WORKS

LogisticRegression = pytest.importorskip("sklearn.linear_model").LogisticRegression
WORK = replace(WORKS["digits"](True), C=np.array([1e-3, 0.1]))


@pytest.fixture(scope="module")
def solved():
    return ours.solve(WORK)


@pytest.fixture(scope="module")
def least(solved):
    return WORK.objectives(solved.whole.W, solved.whole.b, WORK.C)


def test_ours_are_proven_objectives_of_the_work(solved, least):
    model = ours.one_head(replace(WORK, C=WORK.C[1:]))
    assert solved.said == []
    assert solved.rounds > 3
    assert solved.seconds > 0
    assert model.objective_ == pytest.approx(least[1], rel=2e-6)
    assert WORK.accuracies(solved.whole.W, solved.whole.b)[1] == pytest.approx(
        model.score(WORK.X_test, WORK.y_test)
    )


def test_scikit_learn_ends_at_its_first_iterate_that_is_as_good(least):
    told = []
    heads, _ = theirs.loop(WORK, theirs.goals_of(least), told.append)
    found = WORK.objectives(heads.W, heads.b, WORK.C)
    assert (found <= least * (1 + 2e-6)).all()  # its own are in float32
    assert (found > least).any()
    assert len(told) == len(WORK.C)
    longer, _ = theirs.loop(WORK, least * (1 - 1e-9), told.append)
    further = WORK.objectives(longer.W, longer.b, WORK.C)
    assert (further < found).any()  # it would have gone on


def test_torch_ends_each_head_where_it_is_as_good(least):
    pytest.importorskip("torch")
    heads, _, there = optimum.torch_heads(WORK, least)
    assert len(there) == len(WORK.C)
    found = WORK.objectives(heads.W, heads.b, WORK.C)
    assert (found <= least * (1 + 2e-6)).all()
    assert (found > least).any()


def test_who_takes_too_long_is_broken_off(least):
    pytest.importorskip("torch")
    goals = theirs.goals_of(least)
    assert len(theirs.loop(WORK, goals, print, most_seconds=0)[0].W) == 1
    assert len(optimum.torch_heads(WORK, least, 0)[2]) == 0
    with theirs.ending_at(goals, 0) as above:
        LogisticRegression().fit(WORK.X, WORK.y)
    assert above == []


def test_what_is_measured_is_kept_and_told(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(optimum, "REPEATS", 1)
    file = tmp_path / "optimum.json"
    results = Results(file)
    results.put("mnist", "softstep", work="MNIST", seconds=2.0)
    results.put("mnist", "torch", work="MNIST", seconds=5.0, above=1e-6, apart=2e-3, at=1e-5)
    assert optimum.main(["--only", "digits", "--out", str(file)]) == 0
    assert list(json.loads(file.read_text())["parts"]) == ["mnist", "digits"]
    table = capsys.readouterr().out
    assert "| MNIST | softstep | 2 |" in table
    assert "| 2.5 |  | 1.0e-06 | 2.0e-03 at C = 1e-05 |" in table
    assert "scikit-learn" in table


@pytest.mark.parametrize(("apart", "gaps"), [(1, [1e-6]), (-1, [1e-6, 1e-9])])
def test_accuracies_are_compared_at_each_C_and_closer_where_they_are_apart(
    capsys, monkeypatch, apart, gaps
):
    told = []
    monkeypatch.setattr(accuracies, "APART", apart)
    accuracies.print_accuracies(WORK, told.append)
    lines = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [(float(C), float(gap)) for C, gap, *_ in lines] == list(product(WORK.C, gaps))
    assert all(float(above) < 3 * float(gap) for _, gap, above, *_ in lines)
    assert all(0.5 < float(own) <= 1 and float(off) < 1e-3 for *_, own, _, off in lines)
    assert not [line for line in told if not line.startswith(("C = ", "softstep: ", "scikit-"))]


def test_evaluations_are_counted_by_where_the_descent_begins():
    counts = [evaluations.evaluations(WORK, 1e-3, kind) for kind in evaluations.KINDS]
    in_float32 = [int(count.split(" + ")[0]) for count in counts]
    assert in_float32[-1] < in_float32[0]

"""Promise: the study of workers sees bits, memory and costs as they are, and fits what it says."""

import dataclasses
import os
import sys
import time

import numpy as np
import pytest
from repository import DOCS

from softstep.bench.studies import workers
from softstep.bench.studies.workers import curves, memory, model
from softstep.bench.studies.workers.model import Costs, Job
from softstep.model import datasets

COSTS = Costs(fixed=0.2, task=0.05, read=2e-10, compute=2e-11)
CORES = 2


def made(costs=COSTS, noise=0.0):
    """Curves as these costs make them."""
    rng, points = np.random.default_rng(0), []
    for count in curves.COUNTS:
        for settings in curves.SETTINGS:
            one = curves.Point(60_000, 784, 60 * settings, 1, count, 1.0)
            took = costs.of(one, CORES) * (1 + noise * rng.standard_normal())
            points.append(dataclasses.replace(one, seconds=took))
    about = {"date": "2026-11-30", "processor": "one of these", "cores": str(CORES)}
    empty = {"processes": 1e-4, "dask": 1e-3, "mpi": 1e-4}
    return curves.Curves({"heads": points}, empty, 0.03, CORES, about)


def test_costs_are_found_again():
    found = model.fitted(made().points["heads"], CORES)
    np.testing.assert_allclose(dataclasses.astuple(found), dataclasses.astuple(COSTS), rtol=1e-8)
    assert model.furthest(found, made().points["heads"], CORES) < 1e-8


def test_costs_are_never_below_zero():
    free = dataclasses.replace(COSTS, task=0.0, read=0.0)
    points = made(free, noise=0.1).points["heads"]
    found = model.fitted(points, CORES)
    assert min(dataclasses.astuple(found)) >= 0
    assert found.compute == pytest.approx(COSTS.compute, rel=0.3)


def test_the_slowest_of_many_is_as_slow_as_drawn_ones():
    drawn = np.random.default_rng(0).standard_normal((4000, 100)).max(axis=1)
    error = 4 * drawn.std() / len(drawn) ** 0.5  # of their mean
    assert model.largest_of(100) == pytest.approx(drawn.mean(), abs=error + 0.01)
    assert model.largest_of(1) == 0


def test_rows_that_are_split_cost_what_the_formulas_say():
    found, job, p = made(), Job(), 100
    terms = model.by_rows(job, COSTS, found, p, "mpi")
    work = 1e9 * 1024 / p / CORES * (2e-10 + 2e-11 * 2700)
    assert terms["work"] == pytest.approx(work)
    message = 50e-6 + 8 * 1024 * 2700 / 1.25e9
    assert terms["network"] == pytest.approx(2 * 7 * message)
    assert terms["scheduler"] == 0
    by_dask = model.by_rows(job, COSTS, found, p, "dask")
    assert by_dask["network"] == pytest.approx((7 + 8 * 3) * message)
    assert by_dask["scheduler"] == pytest.approx(1e-3 * (100 + 99 / 7))
    where = model.crossing(model.by_rows, job, COSTS, found, "mpi", "network")
    assert 2 * np.ceil(np.log2(where)) * message == pytest.approx(work * p / where, rel=0.05)


def test_heads_that_are_split_pay_for_their_rows_and_for_uneven_hands():
    job = Job()
    terms = [model.by_heads(job, COSTS, made(), p, "processes") for p in (1, 30, 45, 1000)]
    slowest = [found["slowest worker"] for found in terms]
    assert slowest[0] == pytest.approx(0)
    assert slowest[1] > slowest[2]  # two settings, where one and a half are due
    assert terms[2] == terms[3]  # there are no more than 45 settings
    assert terms[0]["network"] == 1e9 * 1024 * 2 / 1.25e9


def test_what_was_measured_is_kept_and_told(tmp_path, capsys):
    made().save(tmp_path / "curves.json")
    assert curves.Curves.load(tmp_path / "curves.json") == made()
    assert workers.main(["--model", str(tmp_path / "curves.json")]) == 0
    told = capsys.readouterr().out
    assert "2026-11-30, one of these, 2 cores" in told
    assert "| rows | columns | 1 process | 2 processes | 4 processes |" in told
    assert "read 0.200 ns; compute 20.00 ps; at most 0% off a point" in told
    assert told.count("| workers | work | slowest worker | network | scheduler |") == 5
    assert "**" in told


def test_the_chart_shows_all_points(tmp_path):
    pytest.importorskip("matplotlib")
    from softstep.bench.studies.workers import chart

    figure = chart.figure(made())
    left, right = figure.axes
    drawn = [line.get_ydata() for line in left.lines if line.get_marker() == "o"]
    points = [point.seconds for point in made().points["heads"]]
    assert sorted(np.concatenate(drawn)) == sorted(points)
    assert [line.get_ydata()[0] for line in right.lines] == pytest.approx([100] * 3)


def test_what_docs_say_is_calculated(capsys):
    assert workers.main(["--model", str(DOCS / "charts" / "workers.json")]) == 0
    told = capsys.readouterr().out.split("\n\n")
    page = (DOCS / "scaling.md").read_text(encoding="utf-8")
    tables = [part for part in told if part.startswith(("| workers", "| rows"))]
    assert len(tables) == 6
    assert all(table in page for table in tables)


def test_costs_that_are_assumed_are_said_to_be(capsys):
    assert workers.main(["--model"]) == 0
    assert "assumed" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_that_a_process_takes_is_seen():
    size = 64_000_000
    with memory.growth([os.getpid()]) as grew:
        taken = np.ones(size, np.uint8)
        time.sleep(0.3)
        del taken
    for name in memory.FIGURES:  # pages of others may have gone meanwhile
        assert 0.95 * size <= grew[name] < 1.5 * size, name


def test_a_small_study_finds_the_same_bits(capsys, monkeypatch):
    digits = datasets.load_digits()
    monkeypatch.setattr(workers.bits, "rows", lambda n: (digits.X_train[:n], digits.y_train[:n]))
    monkeypatch.setattr(workers.bits, "SETTINGS", 4)
    monkeypatch.setattr(memory, "lines", lambda *_: ["| processes | an array | 1 |"])
    arguments = "--rows 300 --epochs 1 --rounds 1 --engine processes"
    assert workers.main(arguments.split()) == 0
    told = capsys.readouterr().out
    assert "| the same |" in told
    assert "| processes | an array | 1 |" in told

"""Promise: the programs in docs/protocols.md run as they stand."""

import re

import numpy as np
import pytest
from repository import DOCS

from softstep.bench.studies.protocols import attributes
from softstep.bench.studies.protocols.features import Images

PAGE = (DOCS / "protocols.md").read_text(encoding="utf-8")
LINEAR, LOGREG, CLIP, ATTRIBUTES = re.findall(r"```python\n(.*?)```", PAGE, re.S)
HELD_OUT = 60


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.setenv("SOFTSTEP_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    images = Images.found(360)
    X, y = images.blocks(8, np.random.default_rng(0)), images.digits
    np.save("features.npy", X[:-HELD_OUT])
    np.save("labels.npy", y[:-HELD_OUT])
    np.save("features-val.npy", X[-HELD_OUT:])
    np.save("labels-val.npy", y[-HELD_OUT:])


def run(program):
    names = {}
    exec(program, names)
    return names


def test_dinov2_linear(capsys):
    sweep = run(LINEAR)["sweep"]
    assert len(sweep.results_["rank"]) == 52
    assert sweep.results_["mean_val_accuracy"].max() > 0.5
    name, rate = capsys.readouterr().out.rsplit(" ", 1)
    assert name in sweep.results_["features_name"]
    assert 4e-5 <= float(rate) <= 0.4


def test_dinov2_logreg():
    program = LOGREG.replace("linspace(-6, 5, 45)", "linspace(-3, 1, 3)")
    assert program != LOGREG
    names = run(program)
    assert names["sweep"].results_["converged"].all()
    assert names["model"].score(names["X"], names["y"]) > 0.9


def test_clip_benchmark():
    program = CLIP.replace("geomspace(1e-6, 1e2, 97)", "geomspace(1e-4, 1, 3)")
    assert program != CLIP
    names = run(program)
    assert names["sweep"].results_["mean_val_accuracy"].max() > 0.8
    assert names["model"].scaling == "l2"


def test_attributes(capsys):
    rows = attributes.problem(600, 8)
    np.save("features.npy", rows.X)
    np.save("attributes.npy", rows.Y)
    sweep = run(ATTRIBUTES)["sweep"]
    assert sweep.results_["mean_val_average_precision"].shape == (40,)
    assert float(capsys.readouterr().out) > 0.6

"""Promise: a study is a command, `python -m softstep.bench.studies.<name>`, with a help text."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

from softstep.bench import studies
from softstep.bench.studies import roofline

PARTS = (
    "trust",
    *(f"mutants.{name}" for name in ("__main__", "faults", "judging")),
    *(f"optimum.{n}" for n in ("__main__", "accuracies", "evaluations", "ours")),
    *(f"optimum.{n}" for n in ("results", "theirs", "works")),
    *(f"over_rows.{name}" for name in ("__main__", "problem", "ranks")),
    *(f"protocols.{n}" for n in ("__main__", "attributes", "choosing", "clip_benchmark")),
    *(f"protocols.{n}" for n in ("dinov2_linear", "dinov2_logreg", "features", "results")),
    "protocols.torch_",
    *(f"sparse.{name}" for name in ("__main__", "corpus")),
    *(f"workers.{n}" for n in ("__main__", "bits", "calculated", "chart", "curves", "engines")),
    *(f"workers.{n}" for n in ("kills", "memory", "model", "ranks", "works")),
)
NAMES = [
    name
    for module in pkgutil.walk_packages(studies.__path__, f"{studies.__name__}.")
    if (name := module.name.removeprefix(f"{studies.__name__}.")) not in PARTS
]


def test_there_are_studies():
    assert {"sweep", "landscape", "wrong_labels", "roofline", "trust.kill", "mutants"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_study_tells_what_it_measures_and_how_it_is_called(name, capsys):
    study = importlib.import_module(f"softstep.bench.studies.{name}")
    with pytest.raises(SystemExit) as stop:
        study.main(["--help"])
    assert stop.value.code == 0
    told = capsys.readouterr().out
    assert told.startswith(f"usage: python -m softstep.bench.studies.{name} ")
    assert study.__doc__.strip() in told


def test_a_study_runs_as_a_module():
    command = [sys.executable, "-m", "softstep.bench.studies.roofline"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{roofline.table()}\n"

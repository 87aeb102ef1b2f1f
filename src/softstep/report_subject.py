"""What a report is about: a model, rows to show it on, and what is known of it already."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from softstep import SoftmaxRegression, run_record
from softstep.kernels.checks import LOSSES
from softstep.landscape_figures import KINDS, Landscape, around, rows_of
from softstep.model import WeightPath, datasets
from softstep.model.datasets import Dataset
from softstep.model.inputs import choice
from softstep.model.landscape import Line, Surface
from softstep.recipe import load_rows, model_for, train

# The columns of results.csv that a report is lost without, and those that do not hold floats.
NEEDED = ("rank", "mean_val_accuracy", "mean_val_loss")
NUMBERS, LOSS_NAMES, FLAGS = ("epochs", "rank"), ("param_loss",), ("diverged",)


@dataclass(frozen=True)
class Subject:
    """Of a sweep, `results` and `loss_curves` are as `SoftmaxSweep` has them;
    `landscape` is the loss around the model where it is known already."""

    title: str
    model: SoftmaxRegression
    data: Dataset
    settings: dict[str, Any]
    versions: dict[str, str]
    results: dict[str, Any] | None = None
    loss_curves: Any = None
    landscape: Landscape | None = None

    @property
    def test_rows(self) -> tuple[Any, Any]:
        """Features and labels; `read` sees to it that there are some."""
        return self.data.X_test, self.data.y_test


def read(given: str, data: str | None, labels: str | None, seed: int | None) -> Subject:
    """The subject: the name of a data set, on which the recipe is trained; or else the path of a
    folder with a run.json, or of a model, which is shown on the data set `data`.

    Raises:
        FileNotFoundError, CheckpointError, DatasetError; ValueError: the folder has no run.json, or
        the data do not go with the model.
    """
    path, is_name = Path(given), given in datasets.NAMED
    if (is_name or path.is_dir()) and not (data is None and labels is None):
        raise ValueError(f"{given} says itself what its data are: give none")
    if is_name:
        return _recipe(given, seed or 0)
    if path.is_dir():
        if seed is not None:
            raise ValueError(f"{given} says itself what its seed is: give none")
        return _run(path)
    model = SoftmaxRegression.load(path)
    rows = load_rows(data or "digits", labels, seed or 0)
    _refuse_other_features(model, rows, "name its data set with --data")
    return Subject(
        f"{path.name} on {rows.name}",
        model,
        rows,
        model.get_params(),
        run_record.versions(),
    )


def _recipe(name: str, seed: int) -> Subject:
    """The recipe on a data set, and the plane in which its weights moved most."""
    data = load_rows(name, None, seed)
    model, path = model_for(name, random_state=seed), WeightPath()
    train(model, data, path)
    return Subject(
        f"The recipe on {name}",
        model,
        data,
        model.get_params(),
        run_record.versions(),
        landscape=around(model, data, directions="pca", path=path),
    )


def _run(folder: Path) -> Subject:
    record = run_record.read(folder)
    model = SoftmaxRegression.load(folder / record["model"])
    data = load_rows(record["source"], record["labels"], record["seed"])
    _refuse_other_features(model, data, "they have changed since")
    found: dict[str, Any] = {}
    if record["command"] == "sweep":
        found = {
            "results": (results := _results(folder / "results.csv")),
            "loss_curves": _loss_curves(folder / "loss_curves.csv", len(results["rank"])),
        }
    elif record["command"] == "landscape":
        found = {"landscape": _landscape(folder, record, model, data)}
    return Subject(
        f"{record['command'].capitalize()} of {record['data']}",
        model,
        data,
        record["settings"],
        record["versions"],
        **found,
    )


def _landscape(
    folder: Path, record: dict[str, Any], model: SoftmaxRegression, data: Dataset
) -> Landscape:
    kind = record["rows"]
    if kind not in KINDS:
        raise ValueError(f"{folder / run_record.NAME} is damaged: there are no {kind!r} rows")
    surface, line = Surface.load(folder / record["surface"]), Line.load(folder / record["line"])
    for found, name in ((surface.D1, "surface"), (line.D, "line")):
        if found[0].shape != model.coef_.T.shape:
            raise ValueError(f"{folder / record[name]} is of another model than the folder's")
    return Landscape(model, *rows_of(model, data, kind), KINDS[kind], surface, line)


def _refuse_other_features(model: SoftmaxRegression, rows: Dataset, advice: str) -> None:
    d = rows.X_train.shape[1]
    if d != model.n_features_in_:
        raise ValueError(
            f"the model takes {model.n_features_in_} features, but {rows.name} has {d}: {advice}"
        )


def _results(path: Path) -> dict[str, Any]:
    """The columns of a results.csv; an empty cell is NaN."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
        if len(lines) < 2:
            raise ValueError("there is no setting in it")
        names, *rows = lines
        if missing := [name for name in NEEDED if name not in names]:
            raise ValueError(f"it has no column {missing[0]}")
        columns = zip(*rows, strict=True)
        return {name: _column(name, cells) for name, cells in zip(names, columns, strict=True)}
    except (ValueError, OverflowError, csv.Error) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _loss_curves(path: Path, settings: int) -> Any:
    """The mean training losses of a loss_curves.csv, (epochs, settings)."""
    try:
        _, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
        curves = np.array([line.split(",") for line in lines], dtype=float)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if curves.ndim != 2 or curves.shape[1] != settings:
        raise ValueError(f"{path} is damaged: it is no table of {settings} columns")
    return curves


def _column(name: str, cells: tuple[str, ...]) -> Any:
    if name in LOSS_NAMES:
        for loss in set(cells):
            choice(name, loss, LOSSES)
        return np.array(cells)
    if name in FLAGS:
        return np.array([cell == "True" for cell in cells])
    if name in NUMBERS:
        return np.array(cells, dtype=np.int64)
    return np.array([float(cell) if cell else np.nan for cell in cells])

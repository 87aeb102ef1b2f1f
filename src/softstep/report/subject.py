"""What a report is about: a model, rows to show it on, and what is already known about it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softstep.model import SoftmaxRegression, WeightPath, datasets
from softstep.model.datasets import Dataset
from softstep.model.landscape import Line, Surface
from softstep.model.resume import origin
from softstep.runs import record, results
from softstep.runs.landscape import KINDS, LINE, SURFACE, Landscape, View, around, rows_of
from softstep.runs.recipe import load_rows, model_for, train


@dataclass(frozen=True)
class Subject:
    """results, loss_curves: of a sweep, as `SoftmaxSweep` has them. landscape: the loss around the
    model, if it was computed before. notes: sentences on the run."""

    title: str
    model: SoftmaxRegression
    data: Dataset
    settings: dict[str, Any]
    versions: dict[str, str]
    results: dict[str, Any] | None = None
    loss_curves: Any = None
    landscape: Landscape | None = None
    notes: tuple[str, ...] = ()

    @property
    def test_rows(self) -> tuple[Any, Any]:
        """Features and labels; `load_rows` makes sure that there are some."""
        return self.data.X_test, self.data.y_test


def read(
    given: str, data: str | None, labels: str | None, label: str | None, seed: int | None
) -> Subject:
    """The subject that `softstep report` was given.

    given: the name of a data set, on which the recipe is trained; the path of a folder with a
        run.json; or that of a model, which is shown on the data set `data`.

    Raises:
        FileNotFoundError, CheckpointError, DatasetError. ValueError: the folder has no run.json, or
        the data do not match the model.
    """
    path, is_name = Path(given), given in datasets.NAMED
    if (is_name or path.is_dir()) and not (data is None and labels is None and label is None):
        raise ValueError(f"{given} determines the data: leave out --data, --labels and --label")
    if is_name:
        return _recipe(given, seed or 0)
    if path.is_dir():
        if seed is not None:
            raise ValueError(f"{given} determines the seed: leave out --seed")
        return _folder(path)
    model = SoftmaxRegression.load(path)
    rows = load_rows(data or "digits", labels, label, seed or 0)
    cure = "name its own with --data" if data is None else "they are not what it learned from"
    _refuse_other_features(model, rows, cure)
    title = f"{path.name} on {rows.name}"
    return Subject(title, model, rows, model.get_params(), origin.versions(record.DRAWING))


def of_run(about: dict[str, Any], model: SoftmaxRegression, data: Dataset, **found: Any) -> Subject:
    """A run with the record `about`; found: its `results` and `loss_curves`, or its `landscape`."""
    title = f"{about['command'].capitalize()} of {about['data']}"
    notes = tuple(about["notes"])
    return Subject(title, model, data, about["settings"], about["versions"], notes=notes, **found)


def _recipe(name: str, seed: int) -> Subject:
    """The recipe on a data set, and the plane in which its weights moved most."""
    data = load_rows(name, None, None, seed)
    model, path = model_for(name, random_state=seed), WeightPath()
    train(model, data, path)
    return Subject(
        f"The recipe on {name}",
        model,
        data,
        model.get_params(),
        origin.versions(record.DRAWING),
        landscape=around(model, data, View(directions="pca"), path=path),
    )


def _folder(folder: Path) -> Subject:
    about = record.read(folder)
    model = SoftmaxRegression.load(folder / record.PARTS[about["command"]][0])
    data = load_rows(about["source"], about["labels"], about.get("label"), about["seed"])
    _refuse_other_features(model, data, "they have changed since")
    if about["command"] == "sweep":
        found, curves = results.read(folder)
        return of_run(about, model, data, results=found, loss_curves=curves)
    return of_run(about, model, data, landscape=_landscape(folder, about, model, data))


def _landscape(
    folder: Path, about: dict[str, Any], model: SoftmaxRegression, data: Dataset
) -> Landscape:
    kind = about["rows"]
    if kind not in KINDS:
        raise ValueError(f"{folder / record.NAME} is damaged: there are no {kind!r} rows")
    surface, line = Surface.load(folder / SURFACE), Line.load(folder / LINE)
    for found, name in ((surface.D1, SURFACE), (line.D, LINE)):
        if found[0].shape != model.coef_.T.shape:
            raise ValueError(f"{folder / name} belongs to another model than the folder's")
    return Landscape(model, *rows_of(model, data, kind), KINDS[kind], surface, line)


def _refuse_other_features(model: SoftmaxRegression, rows: Dataset, advice: str) -> None:
    d = rows.X_train.shape[1]
    if d != model.n_features_in_:
        raise ValueError(
            f"the model takes {model.n_features_in_} features, but {rows.name} has {d}: {advice}"
        )

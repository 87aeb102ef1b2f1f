"""A run of `softstep landscape`: the training, the loss around its path, the files."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softstep.kernels.integers import ceil_div
from softstep.model import SoftmaxRegression, WeightPath, inputs
from softstep.model.datasets import Dataset
from softstep.model.landscape import Line, Surface, loss_line, loss_surface
from softstep.runs import record
from softstep.runs.folder import save_at
from softstep.runs.progress import Progress
from softstep.runs.recipe import known_rows, train

KINDS = {"train": "training rows", "test": "test rows"}
MODEL, SURFACE, LINE = record.PARTS["landscape"]
FILES = (*record.PARTS["landscape"], record.NAME)


@dataclass(frozen=True)
class View:
    """What of the loss is computed: of the "train" or "test" rows, in "pca" or "random" directions,
    at `steps` offsets from -span to span along each; random_state: seed of random directions."""

    rows: str = "train"
    directions: str = "random"
    span: float = 1.0
    steps: int = 51
    random_state: int = 0


@dataclass(frozen=True)
class Landscape:
    """The loss of the rows X, y on a plane through the model, and along its first direction.

    of: which rows they are, "training rows" or "test rows".
    """

    model: SoftmaxRegression
    X: Any
    y: Any
    of: str
    surface: Surface
    line: Line


def refuse_bad_view(view: View) -> None:
    """Raise TypeError or ValueError if a number in it is out of range, before any rows are read."""
    inputs.number("--span", view.span, above=0)
    inputs.integer("--steps", view.steps, least=2)


def rows_of(model: SoftmaxRegression, data: Dataset, kind: str) -> tuple[Any, Any]:
    """The "train" or "test" rows whose labels the model knows.

    Raises ValueError if it knows none.
    """
    X: Any = data.X_train if kind == "train" else data.X_test
    y: Any = data.y_train if kind == "train" else data.y_test
    known = known_rows(model, y)
    if known.all():
        return X, y
    if not known.any():
        raise ValueError(f"no {KINDS[kind][:-1]} of {data.name} has a label that the model knows")
    return X[known], y[known]


def around(
    model: SoftmaxRegression,
    data: Dataset,
    view: View,
    *,
    path: WeightPath | None = None,
    callback: Callable[[int, int], Any] | None = None,
) -> Landscape:
    """The loss around `model`; `path` and `callback` as for `loss_surface`."""
    X, y = rows_of(model, data, view.rows)
    given: Any = data.y_train if view.rows == "train" else data.y_test
    unknown = len(given) - len(y)
    if unknown:
        print(f"{unknown} {KINDS[view.rows]} have a label that the model does not know: left out")
    surface = loss_surface(
        model,
        X,
        y,
        view.directions,
        view.span,
        view.steps,
        path=path,
        random_state=view.random_state,
        callback=callback,
    )
    line = loss_line(model, X, y, surface.D1, view.span, view.steps)
    return Landscape(model, X, y, KINDS[view.rows], surface, line)


def run(
    folder: Path,
    model: SoftmaxRegression,
    data: Dataset,
    view: View,
    about: dict[str, Any],
    stale: Iterable[str],
    **keeping: Any,
) -> Landscape:
    """Train the model, compute the loss around it and write both.

    about: the command's record, to which settings and results are added.
    stale: files of an earlier run and its report that not every run writes anew; removed.
    keeping: the arguments of `fit` on checkpoints.

    Raises:
        ValueError: a setting is out of range, or the path would be too short for a plane.
    """
    if view.directions == "pca":
        _refuse_too_few_steps(model, len(data.X_train))
    path = WeightPath()
    accuracy = train(model, data, path, **keeping)
    for file in (record.NAME, SURFACE, LINE, *stale):
        (folder / file).unlink(missing_ok=True)
    save_at(folder / MODEL, model.save)  # now, so that no failure below loses the training
    with Progress() as progress:
        landscape = around(
            model,
            data,
            view,
            path=path,
            callback=lambda done, of: progress.tell(f"surface: {done}/{of} rows", done, of),
        )
    landscape.surface.save(folder / SURFACE)
    landscape.line.save(folder / LINE)
    found = _found(model, view, accuracy, landscape.surface)
    record.write(folder, about | found)
    return landscape


def _refuse_too_few_steps(model: SoftmaxRegression, rows: int) -> None:
    """Raise ValueError if the path would have fewer than the three points of a plane."""
    batch = inputs.integer("--batch-size", model.batch_size, least=1)
    if inputs.integer("--epochs", model.epochs, least=1) * ceil_div(rows, batch) < 2:
        raise ValueError(
            "--directions pca needs at least two training steps: take more epochs, smaller "
            "batches, or --directions random"
        )


def _found(
    model: SoftmaxRegression, view: View, accuracy: float, surface: Surface
) -> dict[str, Any]:
    """What run.json holds besides the command's record: settings, results, which rows."""
    looked_at = {name: getattr(view, name) for name in ("directions", "rows", "span", "steps")}
    return {
        "settings": model.get_params() | looked_at,
        "origin": model.origin_,
        "results": {
            "test_accuracy": accuracy,
            "loss": float(surface.path_loss[-1]),
            "explained_variance": surface.explained_variance,
        },
        "rows": view.rows,
    }

"""results.csv and loss_curves.csv, which a sweep leaves in its folder: written and read back."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from softstep.kernels.losses import LOSSES
from softstep.model.inputs import choice
from softstep.runs.folder import write_text

RESULTS, CURVES = "results.csv", "loss_curves.csv"
# The columns that a report needs at least, and those that do not hold floats.
NEEDED = ("rank", "mean_val_accuracy", "mean_val_loss")
NUMBERS, LOSS_NAMES = ("epochs", "n_iter", "rank"), ("param_loss",)
FLAGS = ("converged", "diverged")


def write(folder: Path, results: dict[str, Any], curves: Any) -> None:
    """Write `results_` and `loss_curves_` of a SoftmaxSweep.

    results.csv has a line for each setting, with an empty cell for NaN; loss_curves.csv a line for
    each epoch, and a column for each line of results.csv.
    """
    names = [name for name in results if name != "params"]
    rows = zip(*(results[name].tolist() for name in names), strict=True)
    cells = (["" if value != value else value for value in row] for row in rows)
    write_text(folder / RESULTS, _csv(names, cells))
    head = [f"setting_{i}" for i in range(curves.shape[1])]
    write_text(folder / CURVES, _csv(head, curves.tolist()))


def read(folder: Path) -> tuple[dict[str, Any], Any]:
    """What `write` wrote, without `params`: the columns of results.csv, and the curves.

    Raises:
        OSError: a file cannot be read. ValueError: it is damaged.
    """
    results = _results(folder / RESULTS)
    return results, _loss_curves(folder / CURVES, len(results["rank"]))


def _csv(head: list[str], rows: Iterable[Any]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()


def _results(path: Path) -> dict[str, Any]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.reader(file))
        if len(lines) < 2:
            raise ValueError("it holds no setting")
        names, *rows = lines
        if missing := [name for name in NEEDED if name not in names]:
            raise ValueError(f"it has no column {missing[0]}")
        columns = zip(*rows, strict=True)
        return {name: _column(name, cells) for name, cells in zip(names, columns, strict=True)}
    except (ValueError, OverflowError, csv.Error) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


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


def _loss_curves(path: Path, settings: int) -> Any:
    """The mean training losses, (epochs, settings)."""
    try:
        _, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
        curves = np.array([line.split(",") for line in lines], dtype=float)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if curves.ndim != 2 or curves.shape[1] != settings:
        raise ValueError(f"{path} is damaged: it is not a table of {settings} columns")
    return curves

"""results.csv and loss_curves.csv, which a sweep leaves in its folder: written and read back."""

import contextlib
import csv
import io
import os
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from softstep.kernels.losses import LOSSES
from softstep.model import archive
from softstep.model.archive import DataError
from softstep.model.inputs import choice
from softstep.model.views import SCALINGS
from softstep.runs import record
from softstep.runs.folder import write_text

_, RESULTS, CURVES = record.PARTS["sweep"]
LONGEST = 1 << 26  # bytes of a file; of 100 000 settings and 20 epochs they have half of that
MOST_COLUMNS = 1_000  # of results.csv
# The columns that a report needs at least, and those that do not hold floats.
NEEDED = ("rank", "mean_val_accuracy", "mean_val_loss")
NUMBERS, FLAGS = ("epochs", "n_iter", "rank"), ("converged", "diverged")
LOSS, SCALING, RANGE = "param_loss", "param_scaling", "param_features"
TEXTS = (LOSS, SCALING, RANGE, "features_name")


def write(folder: Path, results: dict[str, Any], curves: Any) -> None:
    """Write `results_` and `loss_curves_` of a SoftmaxSweep.

    results.csv has a line for each setting, with an empty cell for NaN; loss_curves.csv a line for
    each epoch, and a column for each line of results.csv.
    """
    names = [name for name in results if name != "params"]
    rows = zip(*(results[name].tolist() for name in names), strict=True)
    cells = (map(_cell, row) for row in rows)
    write_text(folder / RESULTS, _csv(names, cells))
    head = [f"setting_{i}" for i in range(curves.shape[1])]
    write_text(folder / CURVES, _csv(head, curves.tolist()))


def read(folder: Path) -> tuple[dict[str, Any], Any]:
    """What `write` wrote, without `params`: the columns of results.csv, and the curves.

    Raises:
        OSError: a file cannot be read. DataError: it is damaged, or too long.
    """
    results = _results(folder / RESULTS)
    return results, _loss_curves(folder / CURVES, len(results["rank"]))


def in_words(value: Any) -> str:
    """A setting that is no number, as the options of the commands have it."""
    if isinstance(value, tuple):
        return ":".join(map(str, value))
    return "none" if value is None else str(value)


SCALED = {in_words(scaling): scaling for scaling in SCALINGS}


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, tuple):
        return in_words(value)
    return "" if value != value else value


def _csv(head: list[str], rows: Iterable[Any]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue()


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """The text of a file of this module's, which may come from anyone.

    Raises:
        OSError: it cannot be read. DataError: it is too long, or the block finds it to be damaged.
    """
    with archive.opened(path) as file:
        if os.fstat(file.fileno()).st_size > LONGEST:
            raise DataError(f"{path} is damaged: it has more than {LONGEST:,} bytes")
        try:
            with io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
                yield text
        except (ValueError, OverflowError, csv.Error) as error:
            raise DataError(f"{path} is damaged: {error}") from error


def _results(path: Path) -> dict[str, Any]:
    with _opened(path) as file:
        head = file.readline()
        if head.count(",") >= MOST_COLUMNS:
            raise ValueError(f"it has more than {MOST_COLUMNS:,} columns")
        names = next(csv.reader([head]), [])
        if missing := [name for name in NEEDED if name not in names]:
            raise ValueError(f"it has no column {missing[0]}" if names else "it holds no setting")
        columns = {name: _column(name) for name in names}
        for row in csv.reader(file):
            for (name, column), cell in zip(columns.items(), row, strict=True):
                column.append(_value(name, cell))
    if not len(columns["rank"]):
        raise DataError(f"{path} is damaged: it holds no setting")
    return {name: _array(name, column) for name, column in columns.items()}


def _column(name: str) -> Any:
    """Where the values of a column are collected: in no more memory than their type takes."""
    if name in TEXTS:
        return []
    return array("q" if name in NUMBERS else "b" if name in FLAGS else "d")


def _array(name: str, column: Any) -> Any:
    if name == RANGE:  # pairs stay pairs
        return np.fromiter(column, object, len(column))
    return np.array(column, bool if name in FLAGS else None)


def _value(name: str, cell: str) -> Any:
    if name in TEXTS:
        return _text(name, cell)
    if name in FLAGS:
        return cell == "True"
    if name in NUMBERS:
        return int(cell)
    return float(cell) if cell else np.nan


def _text(name: str, cell: str) -> Any:
    if name == LOSS:
        return choice(name, cell, LOSSES)
    if name == SCALING:
        return SCALED[choice(name, cell, SCALED)]
    if name == RANGE:
        start, stop = map(int, cell.split(":"))
        return start, stop
    return cell


def _loss_curves(path: Path, settings: int) -> Any:
    """The mean training losses, (epochs, settings)."""
    found = array("d")
    with _opened(path) as file:
        for number, line in enumerate(file):
            if line.count(",") != settings - 1:
                raise ValueError(f"it is not a table of {settings} columns")
            if number:
                found.extend(map(float, line.split(",")))
    if not found:
        raise DataError(f"{path} is damaged: it is not a table of {settings} columns")
    return np.frombuffer(found).reshape(-1, settings)

"""Predictions as a table: the label of each row and, if asked for, its probabilities."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from softstep.model import SoftmaxRegression, extras, writing
from softstep.model.datasets.text import is_number

FORMATS = ("csv", "json", "parquet")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet computes


def format_of(path: Path) -> str:
    """The format that a name's ending says; CSV of a text file, or where there is no ending.

    Raises:
        ValueError: it says another one.
    """
    ending = path.suffix.lower().removeprefix(".")
    if ending in ("", "txt"):
        return "csv"
    if ending not in FORMATS:
        raise ValueError(
            f"{path} ends in .{ending}, but what is written is .csv, .json or .parquet: name it "
            "so, or say --format"
        )
    return ending


def table(model: SoftmaxRegression, X: Any, *, proba: bool) -> dict[str, list[Any]]:
    """The columns by name: "label", and with `proba` "p_CLASS" for each class."""
    if not proba:
        return {"label": model.predict(X).tolist()}
    P = model.predict_proba(X)
    columns: dict[str, list[Any]] = {"label": model.classes_[P.argmax(axis=1)].tolist()}
    for name, p in zip(model.classes_.tolist(), P.T, strict=True):
        columns[f"p_{name}"] = [float(str(value)) for value in p]  # as short as its dtype allows
    return columns


def text(columns: dict[str, list[Any]], kind: str) -> str:
    """The table as "csv", a line for each row below a header, or "json", a list of objects.

    Of a label that a spreadsheet would take for a formula the cell begins with an apostrophe, which
    is how spreadsheets mark text.
    """
    rows = zip(*columns.values(), strict=True)
    if kind == "json":
        lines = (json.dumps(dict(zip(columns, row, strict=True))) for row in rows)
        return "[\n" + ",\n".join(lines) + "\n]\n"
    written = _Lines()
    writer = csv.writer(written)
    writer.writerow(columns)
    writer.writerows(map(_cell, row) for row in rows)
    return "".join(written.lines)


class _Lines:
    """What csv writes, with a line feed at the end of each line. That csv ends them by both
    characters makes it quote cells that hold either."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, line: str) -> None:
        self.lines.append(line.removesuffix("\r\n") + "\n")


def write(columns: dict[str, list[Any]], kind: str, path: Path) -> None:
    """Write the table to `path`, whole or not at all.

    Raises:
        MissingExtraError: pyarrow, which writes Parquet, is not installed.
        OSError: the file cannot be written.
    """
    with writing.atomic_write(path) as file:
        if kind != "parquet":
            file.write(text(columns, kind).encode())
            return
        arrow = extras.load("pyarrow", extra="tables")
        arrays = {name: np.array(values) for name, values in columns.items()}
        extras.load("pyarrow.parquet", extra="tables").write_table(arrow.table(arrays), file)


def _cell(value: Any) -> Any:
    is_formula = isinstance(value, str) and value.startswith(FORMULA) and not is_number(value)
    return f"'{value}" if is_formula else value

"""Tables of text: one set of rules for header, columns and labels, and what they decided.

Each decision is checked against the rows that follow, and said in one line; what stays in doubt is
an error that names the line.
"""

import re
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from softstep.model.archive import DataError
from softstep.model.datasets import text
from softstep.model.datasets.text import DECIMAL_COMMA, MOST_COLUMNS, is_number, stands_for_none
from softstep.model.inputs import NamedColumns

Array = np.ndarray[Any, Any]
Tell = Callable[[str], Any]

EXACT = 2**53  # past it a float no longer says which whole number was meant
LABEL_WORDS = {"label", "labels", "class", "target"}
SHOWN_CLASSES = 10
LEAST_COUNTED = 10  # rows that a column without a name must count to be taken for an index
LEAST_NAMED = 5  # cells that count up from 1 before they may be names
UNNAMED = re.compile(r"\s*(Unnamed: \d+)?\s*")  # as pandas names a column that has no name
ZERO_IN_FRONT = re.compile(r"[+-]?0\d+")
LONG = 40  # digits, beyond any integer of NumPy


@dataclass(frozen=True)
class Columns:
    """Which columns are what.

    features: their positions, in the order of X. label: its position, or None. by_name: whether the
    first line was taken for a header to find them.
    """

    features: list[int]
    label: int | None
    by_name: bool = False


@dataclass(frozen=True)
class Table:
    """X (n, d) float64, with names where the file has a header; y (n,) or None."""

    X: Array
    y: Array | None


def read_training(path: Path, label: str | None, tell: Tell) -> Table:
    """Features and labels.

    label: the name or the number of the column of labels, from 0, or negative from the end; None:
        the column with a name such as "label" if there is one, else the last.
    tell: called with a sentence on what was taken for what.
    """

    return _read(path, partial(of_training, label=label), tell, label)


def of_training(where: str, cells: list[str], label: str | None) -> Columns:
    """Which columns are what in a table to learn from. cells: of the first line.

    where: what to call that line in an error. label: as for `read_training`.
    """
    if len(cells) < 2:
        raise DataError(
            f"{where} has one column; a table has features and the label, split by commas, "
            "semicolons, tabs, bars or blanks"
        )
    position = _label_position(where, cells, label)
    return Columns([j for j in range(len(cells)) if j != position], position)


def read_features(
    path: Path, n_features: int, names: list[str] | None, label: str | None, tell: Tell
) -> Table:
    """Features for a model, and labels where there is a column more.

    names: of the model's columns; a file with a header gives them in any order. Others as for
    `read_training`.
    """

    def choose(where: str, cells: list[str]) -> Columns:
        stripped = [cell.strip() for cell in cells]
        if names is not None and _are_names(stripped, names):
            return by_name(where, stripped, names, label)
        return by_place(where, cells, n_features, label)

    return _read(path, choose, tell, label, named=names is not None)


def _are_names(cells: list[str], names: list[str]) -> bool:
    """Whether a first line names columns, for a model whose columns have these names."""
    known = set(names) & set(cells)
    return len(known) == len(names) or any(map(_is_text, known)) or _text_count(cells) > 1


def by_name(where: str, cells: list[str], names: list[str], label: str | None) -> Columns:
    """The columns that have the names."""
    places = {name: j for j, name in enumerate(cells)}  # of two alike, which is refused later
    missing = [name for name in names if name not in places]
    if missing:
        raise DataError(f"{where} has no column {missing[0]!r}, which the model learned from")
    features = [places[name] for name in names]
    others = sorted(set(range(len(cells))) - set(features))
    position = None
    if label is not None:
        position = _label_position(where, cells, label)
        if position in features:
            raise DataError(f"{where}: the label, {cells[position]!r}, is a feature of the model")
    elif len(others) == 1:
        position = others[0]
    others = [j for j in others if j != position]
    if others:
        raise DataError(
            f"{where}, column {others[0] + 1}, {cells[others[0]]!r}, is no feature of the model: "
            "take it out, or, if it is the label, say --label"
        )
    return Columns(features, position, by_name=True)


def by_place(where: str, cells: list[str], n_features: int, label: str | None) -> Columns:
    """As many columns as the model has, and perhaps one more."""
    width = len(cells)
    if width not in (n_features, n_features + 1):
        raise DataError(
            f"{where} has {width} columns; expected {n_features} features, "
            f"or {n_features + 1} columns with the label"
        )
    if width == n_features:
        return Columns(list(range(width)), None)
    position = _label_position(where, cells, label)
    return Columns([j for j in range(width) if j != position], position)


def _label_position(where: str, cells: list[str], label: str | None) -> int:
    """Where the labels are. A number is a place, unless there is none such, then a name."""
    names, width = [cell.strip() for cell in cells], len(cells)
    if label is None:
        told = [j for j, name in enumerate(names) if name.lower() in LABEL_WORDS]
        if len(told) > 1:
            raise DataError(
                f"{where}: columns {told[0] + 1} and {told[1] + 1} may both be the label: "
                "say which with --label"
            )
        return told[0] if told else width - 1
    is_place = re.fullmatch(r"[+-]?\d+", label) is not None
    if is_place and -width <= int(label) < width:
        return int(label) % width
    if label in names:
        if names.count(label) > 1:
            raise DataError(f"{where}: two columns are named {label!r}")
        return names.index(label)
    if not is_place:
        raise DataError(f"{where} has no column {label!r} for the labels")
    raise DataError(f"{where} has {width} columns, so there is no column {label} of labels")


def refuse_two_meanings(where: str, names: list[str], label: str | None, found: int | None) -> None:
    """Raise DataError if the label that was asked for is the place of one column and the name of
    another."""
    if found is None or label not in names or names[found] == label:
        return
    other = names.index(label)
    raise DataError(
        f"{where}: --label {label} may be column {found + 1}, {names[found]!r}, or column "
        f"{other + 1}, {label!r}: count from the end, {found - len(names)} or {other - len(names)}"
    )


class _Below:
    """What the lines below the first hold: numbers, labels and the lines these are in."""

    def __init__(self, path: Path, first: list[str], columns: Columns) -> None:
        self.path, self.first, self.columns = path, first, columns
        self.values, self.labels, self.lines = array("d"), list[str](), array("q")
        self.repeated: int | None = None  # the line that is like the first again
        self.others: set[str] = set()  # labels of lines that are not

    def add(self, line: int, row: list[str]) -> None:
        if len(row) != len(self.first):
            raise DataError(
                f"{self.path}: line {line} has {len(row)} columns, but the first line has "
                f"{len(self.first)}"
            )
        is_first_again = row == self.first
        if is_first_again and self.repeated is None:
            self.repeated = line
        self.values.extend(_numbers(self.path, line, row, self.columns))
        column = self.columns.label
        if column is not None:
            self.labels.append(_label(self.path, line, row[column], column))
            self.lines.append(line)
            if not is_first_again:
                self.others.add(self.labels[-1])


def _read(
    path: Path,
    choose: Callable[[str, list[str]], Columns],
    tell: Tell,
    label: str | None,
    *,
    named: bool = True,
) -> Table:
    rows = text.rows(path)
    start, first = next(rows, (0, []))
    where = f"{path}: line {start}"
    if not first:
        raise DataError(f"{path}: holds no rows")
    if len(first) > MOST_COLUMNS:
        raise DataError(f"{where} has {len(first):,} columns, too many for a table")
    columns = choose(where, first)
    if columns.label is not None and not first[columns.label].strip():  # of a row or a header
        raise _no_label(path, start, columns.label)
    below = _Below(path, first, columns)
    first_is_row = all(is_number(first[j]) for j in columns.features)
    if first_is_row:
        below.values.extend(_numbers(path, start, first, columns))
    for line, row in rows:
        below.add(line, row)
    X = np.frombuffer(below.values).reshape(-1, len(columns.features))
    has_header = _is_header(where, first, columns, below.labels, below.others)
    if has_header:
        if first[0].lstrip().startswith("#"):
            raise DataError(
                f"{where} begins with '#': take the mark out if the line names the columns, or the "
                "line if it is a comment"
            )
        X = X[1:] if first_is_row else X
        names = names_of(where, first)
        refuse_two_meanings(where, names, label, columns.label)
        if below.repeated is not None:
            raise DataError(f"{path}: line {below.repeated} is the header again: take it out")
        if named:
            X = NamedColumns.of(X, tuple(names[j] for j in columns.features))
    else:
        _take_first(below, start)
        _refuse_index(where, columns, X)
    if not len(X):
        raise DataError(f"{path}: holds no rows below its header")
    _refuse_fractions(below)
    _refuse_strangers(below)
    y = None if columns.label is None else label_values(below.labels)
    header = f"header in line {start}" if has_header else "no header"
    sentence = told(path, header, first if has_header else None, columns, len(first), X, y)
    tell(sentence + _met_once(below))
    return Table(X, y)


def _take_first(below: _Below, line: int) -> None:
    """Take the first line as a row, or say why it is none."""
    path, first, columns = below.path, below.first, below.columns
    if columns.by_name:
        raise DataError(f"{path}: line {line} may be a header or a row: its names are numbers")
    _numbers(path, line, first, columns)
    if columns.label is not None:
        below.labels.insert(0, _label(path, line, first[columns.label], columns.label))
        below.lines.insert(0, line)


def _is_header(
    where: str, cells: list[str], columns: Columns, labels: list[str], others: set[str]
) -> bool:
    """Whether the first line names the columns, by what the lines below it hold.

    pandas writes columns without names as 0, 1, 2 and so on, which are numbers too.
    labels: those below; others: of lines that are not the first again.

    Raises:
        DataError: it may be either.
    """
    features = [cells[j] for j in columns.features]
    numbers = [cell.strip() for cell in features if is_number(cell)]
    words = _text_count(features)
    label = None if columns.label is None else cells[columns.label].strip()
    label_is_name = label is not None and label[:1].isalpha()
    if label is not None:
        is_told = label.lower() in LABEL_WORDS or (label_is_name and _count_up(numbers))
        if is_told and label not in others:
            return True
        if label in labels and (numbers or words <= 1):
            return False
    if words and not numbers:
        return True
    named = [cell.strip() for cell in cells if not UNNAMED.fullmatch(cell)]
    if _count_up(named):
        return True
    if len(cells) >= LEAST_NAMED and named == [str(i + 1) for i in range(len(cells))]:
        raise DataError(
            f"{where} may be a header or a row: it holds 1, 2, 3 and so on. Give the columns names "
            "that are no numbers, or take the line out"
        )
    if label_is_name and len(numbers) == len(features):
        counts = Counter(labels)
        are_numbers = labels and all(map(is_number, labels))
        if are_numbers or (len(labels) >= LEAST_COUNTED and min(counts.values()) > 1):
            below = "there are numbers" if are_numbers else "each label is there more than once"
            raise DataError(
                f"{where} may be a header or a row: its label is {label!r}, below {below}, and "
                "its other columns are numbers too. Give the columns names that are no numbers, "
                "or take the line out"
            )
    return False


def _count_up(names: list[str]) -> bool:
    """Whether these, at least three, are 0, 1, 2 and so on."""
    return len(names) >= 3 and names == [str(i) for i in range(len(names))]


def _text_count(cells: list[str]) -> int:
    return sum(map(_is_text, cells))


def _is_text(cell: str) -> bool:
    """Whether a cell holds something that is neither a number nor a sign that there is none."""
    return not (is_number(cell) or stands_for_none(cell) or cell.strip() in text.DASHES)


def names_of(where: str, cells: list[str]) -> list[str]:
    """The names in a header: each column has one of its own."""
    names = [cell.strip() for cell in cells]
    seen: set[str] = set()
    for j, name in enumerate(names):
        if UNNAMED.fullmatch(name):
            raise DataError(
                f"{where}, column {j + 1} has no name: it may be an index, which pandas' to_csv "
                "writes. Write the file with index=False, take the column out, or name it"
            )
        if name in seen:
            raise DataError(f"{where}: two columns are named {name!r}")
        seen.add(name)
    return names


def _refuse_index(where: str, columns: Columns, X: Array) -> None:
    """Raise DataError if the first feature, in a file without a header, counts the rows."""
    first = X[:, 0]
    if len(first) >= LEAST_COUNTED and first[0] in (0, 1) and (np.diff(first) == 1).all():
        raise DataError(
            f"{where}, column {columns.features[0] + 1} and below count the rows: this may be an "
            "index. Take the column out, or name it in a header if it is a feature"
        )


def _numbers(path: Path, line: int, row: list[str], columns: Columns) -> list[float]:
    cells = [row[j] for j in columns.features]
    try:
        if text.is_plain("".join(cells)):
            return [float(cell) for cell in cells]
    except ValueError:
        pass
    j = next(j for j in columns.features if not is_number(row[j]))
    cure = f"take the column out, or, if it holds the labels, say --label {j}"
    if DECIMAL_COMMA.fullmatch(row[j]):
        cure = "write decimals with a point"
    elif stands_for_none(row[j]):
        cure = "fill it in, or take out its row or column"
    raise DataError(f"{path}: line {line}, column {j + 1}: {row[j]!r} is not a number: {cure}")


def _no_label(path: Path, line: int, column: int) -> DataError:
    return DataError(f"{path}: line {line}: the label, in column {column + 1}, is empty")


def _label(path: Path, line: int, cell: str, column: int) -> str:
    cell = cell.strip()
    if not cell:
        raise _no_label(path, line, column)
    is_infinite = is_number(cell) and not np.isfinite(float(cell)) and not _is_whole(cell)
    if stands_for_none(cell) or is_infinite:
        raise no_class(f"{path}: line {line}", column, cell)
    return cell


def no_class(where: str, column: int, cell: str) -> DataError:
    """That what was taken for a label says that there is none."""
    return DataError(
        f"{where}: the label, in column {column + 1}, is {cell!r}, which stands for none: take the "
        "line out, or name the class otherwise"
    )


def _is_whole(cell: str) -> bool:
    return re.fullmatch(r"[+-]?\d+", cell, re.ASCII) is not None


def _refuse_fractions(below: _Below) -> None:
    """Raise DataError if all labels are numbers, and one is not whole."""
    cells = below.labels
    if below.columns.label is not None and all(map(is_number, cells)):
        for line, cell in zip(below.lines, cells, strict=True):
            if not _is_whole(cell) and float(cell) % 1:
                raise not_whole(f"{below.path}: line {line}", below.columns.label, cell)


def _refuse_strangers(below: _Below) -> None:
    """Raise DataError if all labels are numbers, but for signs that there is none, or for the label
    of a single line, such as one of totals."""
    where, column = f"{below.path}: line ", below.columns.label
    found = zip(below.lines, below.labels, strict=True)
    others = [(line, cell) for line, cell in found if not is_number(cell)]
    if column is None or not 0 < len(others) < len(below.labels):
        return
    line, cell = others[0]
    if all(cell in text.DASHES for _, cell in others):
        raise no_class(f"{where}{line}", column, cell)
    if len(others) == 1 and len(below.labels) > LEAST_COUNTED:
        raise DataError(
            f"{where}{line}: the label, in column {column + 1}, is {cell!r}, but all others are "
            "numbers: take the line out, or name all classes by words"
        )


def _met_once(below: _Below) -> str:
    """Which label one line alone has, where all others come again: the line may be a header of
    numbers, or one of totals."""
    if len(below.labels) <= LEAST_COUNTED:
        return ""
    once = [label for label, count in Counter(below.labels).items() if count == 1]
    if len(once) != 1:
        return ""
    return f"; {once[0]} is the label of line {below.lines[below.labels.index(once[0])]} alone"


def label_values(cells: list[str]) -> Array:
    """Labels: int64 (or uint64) where all are whole numbers, else text; text too where numbers of
    those types would not tell all labels apart, or would lose zeros in front."""
    if not all(map(is_number, cells)) or any(map(ZERO_IN_FRONT.fullmatch, cells)):
        return np.array(cells)
    numbers = [int(c) if _is_whole(c) and len(c) < LONG else float(c) for c in cells]
    if all(isinstance(v, int) or (v.is_integer() and abs(v) < EXACT) for v in numbers):
        whole = [int(v) for v in numbers]
        for dtype in (np.int64, np.uint64):
            limits = np.iinfo(dtype)
            if limits.min <= min(whole) and max(whole) <= limits.max:
                return np.array(whole, dtype)
    return np.array(cells)


def not_whole(where: str, column: int, value: object) -> DataError:
    """That what was taken for a label cannot be one."""
    return DataError(
        f"{where}: the label, in column {column + 1}, is {value}, which is not a whole number: say "
        "with --label which column holds the labels; numbers to be predicted call for regression"
    )


def told(
    path: Path,
    header: str,
    names: list[str] | None,
    columns: Columns,
    width: int,
    X: Array,
    y: Array | None,
) -> str:
    """A sentence on what was taken for what."""
    sentence = f"{path.name}: {len(X)} rows of {X.shape[1]} features; {header}"
    if columns.label is None or y is None:
        sentence += "; no label"
    else:
        place = _place(columns.label, names)
        if columns.label == width - 1:
            place += ", the last"
        sentence += f"; label in {place}; {classes_told(y)}"
    rising = _rising(X)
    if rising is not None:
        place = _place(columns.features[rising], names)
        sentence += f"; {place}, rises from row to row: take it out if it numbers the rows"
    return sentence


def _place(column: int, names: list[str] | None) -> str:
    return f"column {column + 1}" + ("" if names is None else f", {names[column].strip()!r}")


def _rising(X: Array) -> int | None:
    """The first column of whole numbers of which each is larger than the one above."""
    if len(X) < LEAST_COUNTED:
        return None
    start = np.asarray(X[:LEAST_COUNTED])
    for j in np.flatnonzero((start[1:] > start[:-1]).all(axis=0)):
        column = np.asarray(X[:, j])
        if (column[1:] > column[:-1]).all() and (column == np.trunc(column)).all():
            return int(j)
    return None


def classes_told(y: Array) -> str:
    """How many classes there are, and the first of them."""
    classes = np.unique(y)
    shown = ", ".join(map(str, classes[:SHOWN_CLASSES]))
    more = ", …" if len(classes) > SHOWN_CLASSES else ""
    return f"{len(classes)} classes: {shown}{more}"

"""Lines and cells of a table of text, packed by gzip or not, split by what its lines agree on."""

import gzip
import io
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, TextIO

from softstep.model import archive
from softstep.model.archive import DataError, Limits
from softstep.model.datasets.idx import GZIP

LONGEST_LINE = 1 << 24  # characters: half a million numbers
MOST_COLUMNS = 1 << 20
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
NO_DELIMITERS = set("\"'+-._()[]{}#%\\/")  # punctuation of numbers and words
ASKED_LINES, ASKED_CHARACTERS = 20, 1 << 20  # from the top, to find the delimiter
# Cells that stand for none, in any case: what pandas takes for such, and "?".
MISSING = {
    *("", "?", "na", "n/a", "nan", "-nan", "null", "<na>", "#na", "#n/a", "#n/a n/a"),
    *("1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"),
    *("#div/0!", "#name?", "#null!", "#num!", "#ref!", "#value!"),  # errors of spreadsheets
}
DASHES = {"-", "--", "."}  # stand for no number, but may be names of classes
DECIMAL_COMMA = re.compile(r"\s*[+-]?(\d+|\d{1,3}(\.\d{3})+),\d+([eE][+-]?\d+)?\s*", re.ASCII)


def rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The number and the cells of each line that is not empty. No cell reaches over two lines.

    Raises:
        FileNotFoundError, OSError: as `archive.opened`.
        DataError: no text, a line that cannot be, or one that may be split in two ways.
    """
    import csv

    number = 0
    try:
        suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
        delimiter = "\t" if ".tsv" in suffixes else _delimiter(path)
        with _opened(path) as file:
            for number, line in _lines(path, file):
                if line.strip(" \r\n"):
                    yield number, _cells(line, delimiter)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not a text file of comma-separated values in UTF-8: {error}; save it as UTF-8"
        ) from error
    except csv.Error as error:
        is_open = "unexpected end" in str(error)
        what = "a quotation mark is not closed in its line" if is_open else str(error)
        raise DataError(f"{path}: line {number}: {what}") from error


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    with archive.opened(path) as stored:
        is_packed = stored.read(2) == GZIP
        stored.seek(0)
        binary: IO[bytes] = _Unpacked(path, stored) if is_packed else stored
        with io.TextIOWrapper(binary, encoding="utf-8-sig", newline="") as file:
            yield file


class _Unpacked(io.BufferedReader):
    """What a gzip file holds, as far as the limits allow."""

    def __init__(self, path: Path, stored: IO[bytes]) -> None:
        super().__init__(_Counted(path, stored), 1 << 16)


class _Counted(io.RawIOBase):
    def __init__(self, path: Path, stored: IO[bytes]) -> None:
        self.path, self.count, self.limits = path, 0, Limits.of_environment()
        self.size = os.fstat(stored.fileno()).st_size
        self.file = gzip.GzipFile(fileobj=stored)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            found = self.file.read(len(buffer))
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{self.path}: its gzip data are damaged or cut off") from error
        self.count += len(found)
        self.limits.check(self.path, self.count, self.size)
        buffer[: len(found)] = found
        return len(found)


def _lines(path: Path, file: TextIO) -> Iterator[tuple[int, str]]:
    """The lines and their numbers; none is longer than a line of numbers can be."""
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        if len(line) == LONGEST_LINE and not line.endswith("\n"):
            raise DataError(f"{path}: line {number} is longer than {LONGEST_LINE:,} characters")
        if "\0" in line:
            raise DataError(f"{path}: line {number} holds NUL: this is no text file")
        if len(line) > MOST_COLUMNS and any(line.count(d) >= MOST_COLUMNS for d in DELIMITERS):
            raise DataError(f"{path}: line {number} has over {MOST_COLUMNS:,} columns, too many")
        yield number, line


def _cells(line: str, delimiter: str) -> list[str]:
    """The cells of a line; however many blanks there are between two, they split it once."""
    import csv

    if delimiter != " ":
        split = csv.reader([line], delimiter=delimiter, skipinitialspace=True, strict=True)
        return next(split)
    if '"' not in line:
        return line.split()
    return [cell for cell in next(csv.reader([line.strip()], delimiter=" ", strict=True)) if cell]


def _delimiter(path: Path) -> str:
    """What splits the first lines into as many cells each: a comma if nothing does.

    Raises:
        DataError: more than one delimiter does, and none leaves numbers.
    """
    asked = _asked_lines(path)
    split = {delimiter: _widths(asked, delimiter) for delimiter in DELIMITERS}
    agreed = [d for d, widths in split.items() if len(set(widths)) == 1 and widths[0] > 1]
    if len(agreed) > 1:
        agreed = _refuse_doubt(path, asked, agreed, _leave_numbers(asked, agreed))
    if agreed == [","] and (other := _of_decimal_commas(asked)):
        _refuse_doubt(path, asked, [",", other], [])
    if not agreed:
        agreed = [d for d, widths in split.items() if widths[:1] > [1]]  # lines differ: say which
    if not agreed and asked:
        others = _leave_numbers(asked, [" ", *_other_marks(asked[0][1])])
        agreed = _refuse_doubt(path, asked, others, others) if others else []
    if not agreed and asked and all(" " in line.strip() for _, line in asked):
        return " "
    return (agreed or [","])[0]


def _refuse_doubt(
    path: Path, asked: list[tuple[int, str]], agreed: list[str], found: list[str]
) -> list[str]:
    """The one delimiter that was found; DataError for more or none of those agreed."""
    if len(found) == 1:
        return found
    ways = " or ".join(DELIMITERS.get(d, "blanks" if d == " " else repr(d)) for d in agreed)
    raise DataError(
        f"{path}: line {asked[0][0]} and below may be split by {ways}: quote the cells that hold "
        "them, and write decimals with a point"
    )


def _asked_lines(path: Path) -> list[tuple[int, str]]:
    """The first lines that are not empty, and their numbers."""
    asked: list[tuple[int, str]] = []
    characters = 0
    with _opened(path) as file:
        for number, line in islice(_lines(path, file), ASKED_LINES):
            characters += len(line)
            if asked and characters > ASKED_CHARACTERS:
                break
            if line.strip():
                asked.append((number, line))
    return asked


def _other_marks(line: str) -> Iterable[str]:
    """Marks of a line that might split it."""
    marks = dict.fromkeys(line.strip())
    return [m for m in marks if not (m.isalnum() or m.isspace() or m in NO_DELIMITERS)]


def _leave_numbers(asked: list[tuple[int, str]], delimiters: Iterable[str]) -> list[str]:
    """Those that split all lines into as many cells, all of the last line numbers but perhaps one,
    the label."""
    found = []
    for delimiter in delimiters:
        widths = _widths(asked, delimiter)
        if len(set(widths)) == 1 and widths[0] > 1 and _is_row(_cells(asked[-1][1], delimiter)):
            found.append(delimiter)
    return found


def _of_decimal_commas(asked: list[tuple[int, str]]) -> str | None:
    """What splits all lines into as many cells, numbers with a decimal comma among them; a comma
    splits them too, and leaves a label such as "5;a" of the line "1,5;a"."""
    for delimiter in (*DELIMITERS, " ", *_other_marks(asked[0][1])):
        widths = _widths(asked, delimiter)
        if delimiter == "," or len(set(widths)) > 1 or widths[0] == 1:
            continue
        cells = _cells(asked[-1][1], delimiter)
        others = [cell for cell in cells if not DECIMAL_COMMA.fullmatch(cell)]
        if len(others) < len(cells) and _is_row(others):
            return delimiter
    return None


def _widths(asked: list[tuple[int, str]], delimiter: str) -> list[int]:
    """How many cells each line has; one where it cannot be split."""
    import csv

    found = []
    for _, line in asked:
        try:
            found.append(len(_cells(line, delimiter)))
        except csv.Error:
            found.append(1)
    return found


def _is_row(cells: list[str]) -> bool:
    """Whether all cells but perhaps one, the label, are numbers or stand for none."""
    return sum(not (is_number(cell) or stands_for_none(cell)) for cell in cells) <= 1


def is_number(cell: str) -> bool:
    """Whether a cell is a number, as float() reads it, but for 1_000 and digits beyond ASCII."""
    try:
        float(cell)
    except ValueError:
        return False
    return is_plain(cell)


def is_plain(cell: str) -> bool:
    """Whether what float() reads as a number is written as other readers of tables take one too."""
    return "_" not in cell and cell.isascii()


def stands_for_none(cell: str) -> bool:
    """Whether a cell says that there is no value."""
    cell = cell.strip()
    return cell == "None" or cell.lower() in MISSING

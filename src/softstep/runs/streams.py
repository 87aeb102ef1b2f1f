"""What is printed cannot act on a terminal: control characters come out as \\x1b and the like.

Names of classes, columns and files may hold them, and come from whoever made the file.
"""

import contextlib
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

# C0 but for tab and line feed, delete, and C1 (ECMA-48, sections 5.2 and 5.3)
CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
OF_A_TEXT = {code: shown for code, shown in CONTROLS.items() if chr(code) not in "\t\n"}


class Printable:
    """A stream that control characters do not pass, but for a return at the start of a progress."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        start = "\r" if text.startswith("\r") else ""
        return self.stream.write(start + text[len(start) :].translate(OF_A_TEXT))

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def printable() -> Iterator[None]:
    """Within this block standard output and standard error are such streams."""
    with (
        contextlib.redirect_stdout(Printable(sys.stdout)),
        contextlib.redirect_stderr(Printable(sys.stderr)),
    ):
        yield


def write_data(text: str) -> None:
    """Write a table to standard output, the same bytes as into a file; a terminal alone is spared
    control characters."""
    stream: Any = sys.stdout
    if isinstance(stream, Printable) and not stream.isatty():
        stream = stream.stream
    stream.write(text)


def say_at_last(text: str) -> None:
    """Print a line on standard error, if it still leads somewhere."""
    with contextlib.suppress(OSError, ValueError):
        print(text.translate(OF_A_TEXT), file=sys.stderr, flush=True)
    close_broken()


def close_broken() -> None:
    """Close the standard streams that lead nowhere any more: Python would complain of what they
    hold as it ends, with an exit code of its own."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                stream.close()


def in_one_line(label: object) -> str:
    """A label as text without control characters, line feeds among them."""
    return str(label).translate(CONTROLS)

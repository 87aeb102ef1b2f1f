"""The parser of all commands, and how their errors are told."""

import argparse
import contextlib
import io
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

from softstep import __version__
from softstep.cli import (
    backends,
    bench,
    check,
    describe,
    explain,
    landscape,
    predict,
    report,
    sweep,
    train,
    warmup,
)
from softstep.kernels.backend import override, probe
from softstep.kernels.errors import BackendError
from softstep.kernels.registry import BACKENDS
from softstep.model.datasets.download import DatasetError
from softstep.model.extras import MissingExtraError
from softstep.model.resume import origin
from softstep.model.sweep.executor import WorkerError
from softstep.runs import streams

COMMANDS = (
    *(train, sweep, landscape, describe, explain, report, predict),
    *(warmup, backends, check, bench),
)
USER_ERRORS = (
    ValueError,
    TypeError,
    OSError,
    MemoryError,
    BackendError,
    DatasetError,
    FloatingPointError,
    MissingExtraError,
    WorkerError,
)

# A variable: with any value, where an error comes from is shown too. A fault of ours may be one of
# these kinds of errors, and look like bad input.
TRACEBACK = "SOFTSTEP_TRACEBACK"


def run(argv: list[str] | None) -> int:
    """Run a command; the exit code, as `main` has it, unless it is interrupted."""
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):  # what it cannot encode is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        with streams.printable(), _warnings_in_one_line():
            arguments = parser().parse_args(argv)
            backend = arguments.backend
            with (
                origin.commanded(sys.argv[1:] if argv is None else argv),
                override(backend, f"--backend {backend}") if backend else contextlib.nullcontext(),
            ):
                return int(arguments.run(arguments))
    except BrokenPipeError:
        streams.close_broken()
        return 141
    except USER_ERRORS as error:
        if os.environ.get(TRACEBACK):
            with streams.printable():
                traceback.print_exception(error)
        streams.say_at_last(f"softstep: {_told(error)}")
        return 2


def _told(error: BaseException) -> str:
    """The error's text and what was noted on it; the system's errors without their numbers, the
    file first."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    text = str(error) or ("out of memory" if isinstance(error, MemoryError) else repr(error))
    return ": ".join([text, *getattr(error, "__notes__", ())])


def _open_closed_streams() -> None:
    """Give a process that was started without standard streams some that lead nowhere.

    Else its next file would take their numbers, and what is said would be written into that.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            nowhere = os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8")
            setattr(sys, name, nowhere)


@contextlib.contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Warnings look as errors do, without the line of code that they come from."""
    usual = warnings.formatwarning
    warnings.formatwarning = lambda message, *_args, **_named: f"softstep: {message}\n"
    try:
        yield
    finally:
        warnings.formatwarning = usual


class Version(argparse.Action):
    """Prints the version, and which backends can be used here."""

    def __call__(self, parser: argparse.ArgumentParser, *_given: Any) -> None:
        print(f"softstep {__version__}")
        for name in BACKENDS:
            status = probe(name)
            print(f"  {name}: {status.reason if status.usable else 'no, ' + status.reason}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="softstep",
        description="Softmax regressions on hand-written kernels.",
    )
    parser.add_argument(
        "--version", action=Version, nargs=0, help="print the version and the backends, and end"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add_parser(commands)
    return parser

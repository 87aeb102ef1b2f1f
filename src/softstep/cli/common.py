"""Arguments that several commands take, and the line with which they start."""

import argparse
import contextlib
import functools
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TextIO

from softstep.kernels.backend import choose
from softstep.kernels.registry import CHOICES
from softstep.model import inputs, resume
from softstep.model.datasets import NAMED, stdin

FILES = ".npz, .npy, .csv, .parquet, .safetensors, .pt, IDX … (- is standard input)"


def add_command(commands: Any, name: str, text: str) -> argparse.ArgumentParser:
    """The parser of a command; `text` says what the command does."""
    whole = f"{text[0].upper()}{text[1:]}."
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=whole)
    return parser


def add_rows(parser: argparse.ArgumentParser) -> None:
    """The rows that a command works on."""
    names = ", ".join(NAMED)
    parser.add_argument(
        "data", nargs="?", default="digits", help=f"{names}, or a file: {FILES} (default digits)"
    )
    add_labels(parser)


def name_of(data: str) -> str:
    """What a data set is called, also in the names of results: that of its file."""
    return stdin.NAME if data == stdin.DASH else Path(data).name


def add_labels(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--labels", help="the file of labels, for files that hold features alone")
    add_label(parser)


def add_label(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--label",
        metavar="NAME|INDEX",
        help="the column of labels of a table: its name in the header, or its number, 0 for the "
        "first and -1 for the last (default: one named label, class or target, or the last)",
    )


def add_batch_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch-size", type=int, default=100, help="rows per step (100)")


def add_feature_scale(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--feature-scale",
        type=factor,
        default="auto",
        metavar="FACTOR",
        help="what the features are multiplied by, such as 1/255 for pixels in a table (default: "
        "1/255 for uint8, 1 for all others)",
    )


def factor(text: str) -> float | Literal["auto"]:
    """A number, a fraction of two, or "auto", as `feature_scale` takes it."""
    if text == "auto":
        return "auto"
    over, _, under = text.partition("/")
    try:
        return float(over) / float(under or 1)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(
            f"{text!r}: give a number, or a fraction such as 1/255"
        ) from None


def columns(text: str) -> tuple[int, int]:
    """START:STOP, columns counted from 0, as `features` takes them."""
    start, _, stop = text.partition(":")
    try:
        return int(start), int(stop)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r}: give columns as START:STOP, such as 0:768 for the first 768"
        ) from None


def add_seed(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--seed", type=int, default=0, help=f"seed of {what} (0)")


def add_figures(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--figures", type=Path, metavar="DIR", help=text)


def add_backend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", choices=CHOICES, help="default: SOFTSTEP_BACKEND, or auto")


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="DIR",
        help="save the state of the training there, also at Ctrl-C, to resume it",
    )
    parser.add_argument(
        "--checkpoint-every",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="how often (default 60)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the state in --checkpoint, to the same results, or begin if it has none",
    )
    parser.add_argument(
        "--fingerprint",
        choices=resume.KINDS,
        default="sample",
        help="tell whether the rows are the same by a sample of their features, or by the whole "
        "(default %(default)s)",
    )


def checkpoint_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """What `add_checkpoint` asks for, as `fit` takes it.

    Raises:
        OSError, ValueError: it cannot be, which is said before any rows are read.
    """
    inputs.number("--checkpoint-every", arguments.checkpoint_every, least=0)
    if arguments.resume and arguments.checkpoint is None:
        raise ValueError("resume needs checkpoint, the folder to resume from: --checkpoint DIR")
    if arguments.checkpoint is not None:
        resume.refuse_file(arguments.checkpoint)
    if arguments.checkpoint is not None and not arguments.resume:
        resume.refuse_used(arguments.checkpoint)
    names = ("checkpoint", "checkpoint_every", "resume", "fingerprint")
    return {name: getattr(arguments, name) for name in names}


def say_backend() -> str:
    """Print the backend that is used, and why; returns its name.

    Raises:
        BackendError: the one asked for cannot run.
    """
    backend, why = choose()
    print(f"backend {backend.name} ({why})", flush=True)
    return backend.name


class Patient(io.TextIOBase):
    """A stream that says nothing more once it cannot be written to; `failure` is why."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.failure: OSError | None = None

    def write(self, text: str) -> int:
        self._try(lambda: self.stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self.stream.flush)

    def isatty(self) -> bool:
        return self.failure is None and self.stream.isatty()

    def _try(self, act: Callable[[], Any]) -> None:
        if self.failure is not None:
            return
        try:
            act()
        except OSError as error:
            self.failure = error
            with contextlib.suppress(OSError):  # what could not be written is not tried again
                self.stream.close()


def to_the_end(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """A command whose files are written even if nobody listens any more; it fails afterwards."""

    @functools.wraps(run)
    def patient(arguments: argparse.Namespace) -> int:
        out, err = Patient(sys.stdout), Patient(sys.stderr)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(arguments)
            out.flush()
        if out.failure is not None:
            raise out.failure
        return code

    return patient

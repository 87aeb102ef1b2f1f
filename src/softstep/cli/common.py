"""Arguments that several commands take, and the line with which they start."""

import argparse
from pathlib import Path
from typing import Any

from softstep.kernels.backend import choose
from softstep.kernels.registry import CHOICES
from softstep.model.datasets import NAMED

FILES = ".npz, .npy, .csv, IDX"


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


def add_labels(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--labels", help="the file of labels, for .npy and IDX features")
    add_label(parser)


def add_label(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--label",
        metavar="NAME|INDEX",
        help="the column of labels of a .csv: its name in the header, or its number, 0 for the "
        "first and -1 for the last (default: one named label, class or target, or the last)",
    )


def add_batch_size(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batch-size", type=int, default=100, help="rows per step (100)")


def add_seed(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--seed", type=int, default=0, help=f"seed of {what} (0)")


def add_figures(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--figures", type=Path, metavar="DIR", help=text)


def add_backend(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", choices=CHOICES, help="default: SOFTSTEP_BACKEND, or auto")


def say_backend() -> str:
    """Print the backend that is used, and why; returns its name.

    Raises:
        BackendError: the one asked for cannot run.
    """
    backend, why = choose()
    print(f"backend {backend.name} ({why})", flush=True)
    return backend.name

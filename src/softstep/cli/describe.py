"""`softstep describe`: what a file or folder that softstep saved is, and how it came to be."""

import argparse
from pathlib import Path
from typing import Any

from softstep.cli import common
from softstep.runs import describe
from softstep.runs.streams import in_one_line


def add_parser(commands: Any) -> None:
    parser = common.add_command(
        commands, "describe", "print what a saved file or run folder is, and how it came to be"
    )
    parser.add_argument(
        "path",
        metavar="FILE|DIR",
        type=Path,
        help="a model, a surface, a line, a checkpoint, a folder of checkpoints, or one written by "
        "softstep sweep or landscape",
    )
    parser.set_defaults(run=run, backend=None)


def run(arguments: argparse.Namespace) -> int:
    for about in describe.described(arguments.path):
        print(in_one_line(about.title))
        width = max(len(name) for name, _ in about.fields)
        for name, value in about.fields:
            print(f"  {in_one_line(name):{width}}  {in_one_line(value)}")
    return 0

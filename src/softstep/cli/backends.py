"""`softstep backends`: which backends can be used here, and if not, why."""

import argparse
from typing import Any

from softstep.cli import common
from softstep.kernels.backend import choose, probe
from softstep.kernels.registry import BACKENDS


def add_parser(commands: Any) -> None:
    parser = common.add_command(
        commands, "backends", "list the backends, and whether each can be used here"
    )
    parser.set_defaults(run=run, backend=None)


def run(arguments: argparse.Namespace) -> int:
    statuses = [probe(name) for name in BACKENDS]
    rows = [("backend", "usable", "reason", "install")]
    rows += [
        (s.backend.name, "yes" if s.usable else "no", s.reason, s.backend.install) for s in statuses
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    backend, why = choose()
    print(f"\nruns now: {backend.name} ({why})")
    return 0

"""`softstep check`: every op and every gradient of a backend against the oracle."""

import argparse
from typing import Any

from softstep.cli import common
from softstep.kernels.backend import asked_for, choose, probe
from softstep.kernels.registry import BACKENDS

HEADING = """\
Each op against the oracle in float64; each gradient of the op against complex-step differentiation.
Worst error, in units of its bound (docs/numerics.md): up to 1 is right."""


def add_parser(commands: Any) -> None:
    parser = common.add_command(
        commands,
        "check",
        "compare every usable backend, or the one asked for, with the oracle in float64",
    )
    common.add_backend(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    chosen, _ = choose()  # which refuses what cannot run
    usable = [name for name in BACKENDS if probe(name).usable]
    return check_command(usable if asked_for() == "auto" else [chosen.name])


def check_command(backends: list[str]) -> int:
    """Check these backends and print a line for each op and dtype.

    Returns:
        The exit code: 1 if anything is out of bounds, else 0.
    """
    from softstep.kernels.verify import parity

    print(HEADING)
    wrong = 0
    for backend in backends:
        print(f"\n{backend}")
        for check in parity.check(backend):
            wrong += not check.passed
            verdict = "" if check.passed else "  WRONG"
            print(f"  {check.name:50} {check.dtype:8} {check.error:8.2g}{verdict}", flush=True)
    print(f"\n{wrong} checks failed" if wrong else "\nall checks passed")
    return 1 if wrong else 0

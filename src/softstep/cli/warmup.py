"""`softstep warmup`: kernels are compiled now, for a container image, and not in the first run."""

import argparse
from typing import Any

from softstep.cli import common
from softstep.kernels.backend import load
from softstep.kernels.checks import FEATURE_DTYPES
from softstep.runs import warmup

USUAL = ("float32", "float64", "float16", "uint8")


def add_parser(commands: Any) -> None:
    parser = common.add_command(
        commands, "warmup", "compile what train, predict and sweep need, and keep it for later runs"
    )
    parser.add_argument(
        "--features",
        choices=FEATURE_DTYPES,
        nargs="+",
        default=USUAL,
        help=f"for features of these dtypes (default: {' '.join(USUAL)})",
    )
    common.add_backend(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    name = common.say_backend()
    backend = load()
    if not hasattr(backend, "compiled_kernels"):
        print(f"nothing to compile: the {name} backend has no kernels of its own")
        return 0
    for features in arguments.features:
        for done in warmup.warm(features):
            kernels = f"{done.kernels} kernel{'s'[: done.kernels > 1]}"
            what = f"{kernels} compiled" if done.kernels else "nothing to compile"
            print(f"{features:8} {done.work:15} {what} ({done.seconds:.1f} s)", flush=True)
    print(f"kept in {backend.kernel_folder()}")
    return 0

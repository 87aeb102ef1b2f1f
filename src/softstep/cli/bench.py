"""`softstep bench`: the kernels timed against every peer that is installed."""

import argparse
from typing import Any

from softstep.cli import common
from softstep.kernels.registry import GPU


def add_parser(commands: Any) -> None:
    parser = common.add_command(
        commands, "bench", "time the kernels against every peer that is installed"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, about a minute once compiled"
    )
    parser.add_argument("--only", metavar="SUITES", help="such as a,b: see docs/benchmarks.md")
    parser.add_argument("--json", metavar="FILE", help="also write the figures to FILE")
    parser.add_argument("--markdown", metavar="FILE", help="also write the tables to FILE")
    parser.add_argument("--chart", metavar="FILE", help="also draw them as a PNG FILE")
    parser.add_argument(
        "--backend",
        choices=[GPU.name],
        help="the GPU alone, with the time in kernels apart from the wall time",
    )
    parser.add_argument(
        "--isa",
        choices=("avx2", "sse2", "native"),
        default="native",
        help="limit softstep and every peer to this instruction set of x86-64 (native: no limit)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    if arguments.backend == GPU.name:
        from softstep.bench import gpu

        if arguments.only or arguments.markdown or arguments.chart or arguments.isa != "native":
            raise ValueError(
                f"--only, --markdown, --chart and --isa cannot be used with --backend {GPU.name}"
            )
        return gpu.bench_command(quick=arguments.quick, json_path=arguments.json)
    from softstep.bench import isa

    if not isa.is_limited_to(arguments.isa):
        return isa.start_limited(arguments.isa, _options(arguments))
    from softstep.bench.run import bench_command

    return bench_command(
        arguments.quick,
        arguments.json,
        only=arguments.only,
        markdown_path=arguments.markdown,
        chart_path=arguments.chart,
        instructions=arguments.isa,
    )


def _options(arguments: argparse.Namespace) -> list[str]:
    """The options as they were given, without --isa."""
    names = ("only", "json", "markdown", "chart")
    given = {name: getattr(arguments, name) for name in names}
    options = [f"--{name}={value}" for name, value in given.items() if value is not None]
    return [*options, *["--quick"] * arguments.quick]

"""A sweep by the workers of an executor: the same bits, at which efficiency, and what it costs.

300 heads on MNIST (50 settings, each with a head on all rows and on five folds) are trained in one
process, by two processes, by two workers of Dask and by two ranks of MPI where these are installed;
the weights of all heads are compared by their hash. The efficiency is against the same two
processes side by side, each with half of the settings as a sweep of its own on the mapped file:
what two processes reach on this machine, sharing its caches and memory. The overhead is that of a
sweep of two small heads. Then how much memory a worker takes beside what it had loaded: X once.

With --kills N a worker is killed with SIGKILL N times, each at a random moment of a sweep in eight
tasks with a checkpoint; where that ends it, the sweep is resumed by new workers.

--curves FILE measures nothing of that, but heads × workers with 1, 2 and 4 processes, and keeps
what it found; --model FILE says what a model that is fitted to it expects of a thousand workers,
and --chart draws both. --model alone assumes the costs.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from softstep.bench.machine import machine
from softstep.bench.studies import parser
from softstep.bench.studies.workers import bits, calculated, chart, curves, kills, memory
from softstep.bench.studies.workers.engines import ENGINES, missing, of_job
from softstep.bench.studies.workers.works import SETTINGS, SPLITS

ASSUMED = Path()  # in the place of a file


def main(argv: list[str] | None = None) -> int:
    given = _arguments().parse_args(argv)
    if given.curves is not None:
        found = curves.measured(given.rows, given.rounds, _there(given.engine), print)
        found.save(given.curves)
    if given.curves is not None or given.model is not None:
        file = given.curves or given.model
        found = calculated.UNMEASURED if file == ASSUMED else curves.Curves.load(file)
        _say_model(found)
        if given.chart is not None:
            chart.draw(found, given.chart)
        return 0
    about = machine()
    print(f"{about['date']}, {about['processor']}, {about['cores']} cores")
    print(f"{SETTINGS * SPLITS} heads, {given.rows} rows of MNIST, {given.epochs} epochs\n")
    expected, took = bits.alone(given.rows, given.epochs, given.rounds)
    print(f"1 process: {took:.2f} s; bits {expected}\n")
    names = _there(given.engine)
    same = _tell(bits.HEADINGS, _bits(names, given, expected), "the same |")
    _tell(memory.HEADINGS, _memory(names, given.rows), "")
    if given.kills:
        moments = kills.moments(given.kills, took)
        of = f"{given.kills} of {given.kills} |"
        lines = (kills.line(n, given.rows, given.epochs, moments, expected) for n in names)
        same &= _tell(kills.HEADINGS, lines, of)
    return 0 if same else 1


def _arguments() -> argparse.ArgumentParser:
    found = parser("workers", __doc__)
    found.add_argument("--rows", type=int, default=60_000, help="of MNIST (%(default)s)")
    found.add_argument("--epochs", type=int, default=2, help="of each head (%(default)s)")
    found.add_argument("--rounds", type=int, default=3, help="median of so many (%(default)s)")
    found.add_argument("--kills", type=int, default=0, help="of a worker (%(default)s)")
    found.add_argument(
        "--engine", choices=ENGINES, action="append", help="this one alone; again for another"
    )
    found.add_argument("--curves", type=Path, metavar="FILE", help="measure cost curves, into it")
    found.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        nargs="?",
        const=ASSUMED,
        help="print the model that is fitted to it, or one with costs that are assumed",
    )
    found.add_argument("--chart", type=Path, metavar="FILE", help="draw these, a PNG")
    return found


def _there(asked: list[str] | None) -> list[str]:
    """The engines that were asked for and are installed."""
    names = []
    for name in asked or ENGINES:
        lacks = missing(name)
        if lacks is None:
            names.append(name)
        else:
            print(f"{name}: {lacks} is not installed")
    return names


def _tell(headings: tuple[str, ...], lines: Iterator[str], end: str) -> bool:
    """Print a table as its lines come; whether each has this end."""
    print(f"| {' | '.join(headings)} |\n|{'---|' * len(headings)}", flush=True)
    good = True
    for line in lines:
        print(line, flush=True)
        good &= line.endswith(end)
    print()
    return good


def _bits(names: list[str], given: argparse.Namespace, expected: str) -> Iterator[str]:
    for name in names:
        if name == "mpi":
            words = map(str, (given.rows, given.epochs, given.rounds))
            yield of_job("bits", *words, expected)
        else:
            with ENGINES[name]() as executor:
                how = given.rows, given.epochs, given.rounds
                yield bits.line(name, executor, *how, expected)


def _memory(names: list[str], rows: int) -> Iterator[str]:
    for name in names:
        if name == "mpi":
            yield of_job("memory", str(rows))
        else:
            with ENGINES[name]() as executor:
                yield from memory.lines(name, executor, rows)


def _say_model(found: curves.Curves) -> None:
    if found.about:
        print("{date}, {processor}, {cores} cores\n".format(**found.about))
    for kind, points in found.points.items():
        if points:
            print(f"{kind} × workers:\n", *curves.table(points), "", sep="\n")
    print(*calculated.lines(found), sep="\n")

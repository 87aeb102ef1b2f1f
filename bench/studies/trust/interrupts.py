"""How soon do Ctrl-C and SIGTERM end a command, and how, at whatever moment they come?

`softstep train` and a `softstep sweep` of 100 heads, on 20000 rows of 784 pixels, without
checkpoints and with, get a signal at a random moment of their first seconds. They are to end with
the signal's exit code, without a traceback, and soon; times do not hold where anything else runs on
the machine. POSIX only.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from softstep.bench.studies import parser

MOST = 0.5  # seconds from the signal to the end of the process
WITHIN = 3.0  # seconds from the beginning of a command, in which signals come
HUNG = 60.0  # seconds after which one is given up
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
ENDLESS = 10_000  # epochs
COMMANDS = {
    "train": ("train", "rows.npz", "--out", "m.npz"),
    "sweep of 100 heads": ("sweep", "rows.npz", "--lr", "1e-3:1:log100", "--out", "run"),
}
# A job in the background ignores SIGINT. It prints a line before it begins.
START = (
    "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from softstep.cli import main; print(flush=True); sys.exit(main())"
)


@dataclass
class Tally:
    """What became of the commands of one kind: how often each came about, and the seconds."""

    codes: int = 0
    tracebacks: int = 0
    seconds: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        times = f"{statistics.median(self.seconds):.2f} s | {max(self.seconds):.2f} s"
        return f"{len(self.seconds)} | {self.codes} | {self.tracebacks} | {times}"

    @property
    def is_right(self) -> bool:
        ended = len(self.seconds)
        return self.codes == ended and not self.tracebacks and max(self.seconds) <= MOST


def write_rows(folder: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 255, (rows, 784), np.uint8), rng.integers(10, size=rows)
    np.savez(folder / "rows.npz", X_train=X, y_train=y, X_test=X[:1000], y_test=y[:1000])


def started(command: tuple[str, ...], epochs: int, folder: Path) -> subprocess.Popen[str]:
    """A command on rows in this folder."""
    return subprocess.Popen(
        [sys.executable, "-c", START, *command, "--epochs", str(epochs)],
        cwd=folder,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(command: tuple[str, ...], folder: Path, number: int, delay: float, tally: Tally) -> None:
    """Start a command, send it a signal after `delay` seconds, and see how it ends."""
    with started(command, ENDLESS, folder) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        start = time.perf_counter()
        process.send_signal(number)
        try:
            _, err = process.communicate(timeout=HUNG)
        except subprocess.TimeoutExpired:
            process.kill()
            _, err = process.communicate()
    tally.seconds.append(time.perf_counter() - start)
    tally.codes += process.returncode == CODES[signal.Signals(number)]
    tally.tracebacks += "Traceback" in err


def main(argv: list[str] | None = None) -> int:
    """Print a table; 1 if a command ended in another way, or later."""
    options = parser("trust.interrupts", __doc__)
    options.add_argument("--rounds", type=int, default=20, help="of each command and signal")
    options.add_argument("--rows", type=int, default=20_000)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args(argv)
    rng, right = np.random.default_rng(given.seed), True
    head = "| command | checkpoints | signal | sent | exit codes | tracebacks | median | longest |"
    print(f"{head}\n{'|---' * 8}|", flush=True)
    for name, command in COMMANDS.items():
        with tempfile.TemporaryDirectory() as folder:  # compiles
            write_rows(Path(folder), given.rows)
            started(command, 1, Path(folder)).communicate()
        for keeping in ((), ("--checkpoint", "kept")):
            for number in CODES:
                tally = Tally()
                for _ in range(given.rounds):
                    with tempfile.TemporaryDirectory() as folder:
                        write_rows(Path(folder), given.rows)
                        delay = rng.uniform(0, WITHIN)
                        end((*command, *keeping), Path(folder), number, delay, tally)
                right &= tally.is_right
                kept = "yes" if keeping else "no"
                print(f"| {name} | {kept} | {number.name} | {tally} |", flush=True)
    return int(not right)


if __name__ == "__main__":
    raise SystemExit(main())

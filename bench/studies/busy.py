"""Training while another process keeps a core busy.

An epoch of the original recipe, uint8, on one thread and on all; quiet, and with another process
running an endless loop. Quiet and busy rounds alternate; times are medians. POSIX only: the process
is stopped and continued by signals.
"""

import functools
import os
import signal
import statistics
import subprocess
import sys
import time

from softstep.bench import problems
from softstep.bench.measure import FULL, limited, seconds
from softstep.bench.studies import parser
from softstep.bench.suites import BACKEND, cores, train

EPOCHS = 10  # in each timing: the system shares out the cores over some tens of milliseconds


def times_of_epochs(rows: int, rounds: int) -> dict[tuple[str, int], float]:
    """Seconds of an epoch, by "quiet" or "busy", and the number of threads."""
    call = functools.partial(train, problems.recipe(rows, "uint8"), BACKEND)
    times: dict[tuple[str, int], list[float]] = {}
    hog = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        for _ in range(rounds):
            for state, tell in (("quiet", signal.SIGSTOP), ("busy", signal.SIGCONT)):
                os.kill(hog.pid, tell)
                for threads in dict.fromkeys((1, cores())):
                    time.sleep(FULL.pause)
                    with limited(threads):
                        call()
                        taken = seconds(call, EPOCHS)
                    times.setdefault((state, threads), []).append(taken)
    finally:
        hog.kill()
        hog.wait()
    return {key: statistics.median(taken) for key, taken in times.items()}


def main(argv: list[str] | None = None) -> int:
    """Print the four times, and how all threads compare with one when a core is busy."""
    options = parser("busy", __doc__)
    options.add_argument("--rows", type=int, default=60_000)
    options.add_argument("--rounds", type=int, default=15)
    given = options.parse_args(argv)
    times = times_of_epochs(given.rows, given.rounds)
    for (state, threads), taken in times.items():
        print(f"{state}, {threads} thread{'s'[: threads > 1]}: {1e3 * taken:.1f} ms an epoch")
    together = times["busy", cores()]
    print(
        f"all threads on a busy machine take {together / times['busy', 1]:.2f} times as long as "
        f"one thread on a busy machine, {together / times['quiet', 1]:.2f} times as long as one on "
        "a quiet machine"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

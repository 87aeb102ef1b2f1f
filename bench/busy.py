"""Training while another process keeps a core busy.

    python -m softstep.bench.busy

The original recipe, uint8: an epoch on one thread and on all, on the machine as it is and with a
process beside that does nothing but run. Quiet and busy rounds take turns; medians. POSIX only: the
process is stopped and continued by signals.
"""

import functools
import os
import signal
import statistics
import subprocess
import sys
import time

from softstep.bench import problems
from softstep.bench.measure import FULL, limited
from softstep.bench.suites import BACKEND, cores, train

ROUNDS = 15
EPOCHS = 10  # of each timing: the system shares out the cores over some tens of milliseconds
ROWS = 60_000


def measure(rows: int, rounds: int) -> dict[tuple[str, int], float]:
    """Seconds of an epoch, by "quiet" or "busy", and the number of threads."""
    epoch = problems.recipe(rows, "uint8")
    times: dict[tuple[str, int], list[float]] = {}
    hog = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        for _ in range(rounds):
            for state, tell in (("quiet", signal.SIGSTOP), ("busy", signal.SIGCONT)):
                os.kill(hog.pid, tell)
                for threads in dict.fromkeys((1, cores())):
                    time.sleep(FULL.pause)
                    seconds = _seconds(functools.partial(train, epoch, BACKEND), threads)
                    times.setdefault((state, threads), []).append(seconds)
    finally:
        hog.kill()
        hog.wait()
    return {key: statistics.median(seconds) for key, seconds in times.items()}


def _seconds(call, threads: int) -> float:
    with limited(threads):
        call()
        start = time.perf_counter()
        for _ in range(EPOCHS):
            call()
        return (time.perf_counter() - start) / EPOCHS


def main() -> None:
    """Print the four times, and how busy all threads compare with one."""
    times = measure(ROWS, ROUNDS)
    for (state, threads), seconds in times.items():
        print(f"{state}, {threads} thread{'s'[: threads > 1]}: {1e3 * seconds:.1f} ms an epoch")
    together = times["busy", cores()]
    print(
        f"busy, all threads over one thread: {together / times['busy', 1]:.2f} when that is busy "
        f"too, {together / times['quiet', 1]:.2f} when it is quiet"
    )


if __name__ == "__main__":
    main()

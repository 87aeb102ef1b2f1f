"""Do processes with more threads than there are cores stand in each other's way?

Four processes of two threads each train and predict at once; then the same four, one after another.
If no thread spins while another needs its core, both take the same time. Rounds alternate; times
are medians, and do not hold where anything else runs on the machine.
"""

import statistics
import subprocess
import sys
import time

from softstep.bench.studies import parser

PROCESSES, THREADS = 4, 2
MOST = 1.15  # times the time of one after another
WORK = (
    "import sys, numpy as np; from softstep import SoftmaxRegression as S; "
    "rng = np.random.default_rng(0); "
    "X = rng.standard_normal((20_000, 784), np.float32); y = rng.integers(10, size=20_000); "
    "fit = lambda epochs: S(epochs=epochs, n_threads=int(sys.argv[1]), random_state=0).fit(X, y); "
    "fit(1); print(flush=True); sys.stdin.readline(); fit(int(sys.argv[2])).predict(X)"
)


def started(epochs: int) -> subprocess.Popen[str]:
    """A process that has its rows and kernels, and waits to be told to begin."""
    command = [sys.executable, "-c", WORK, str(THREADS), str(epochs)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def run(processes: list[subprocess.Popen[str]]) -> float:
    """The seconds that these take together, from the word to begin to the end of the last."""
    start = time.perf_counter()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
        if process.returncode:
            raise SystemExit(f"a process ended with {process.returncode}")
    return time.perf_counter() - start


def main(argv: list[str] | None = None) -> int:
    """Print both times and their ratio; 1 if it is above the limit."""
    options = parser("trust.crowd", __doc__)
    options.add_argument("--epochs", type=int, default=100)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args(argv)
    together, apart = [], []
    for _ in range(given.rounds):
        together.append(run([started(given.epochs) for _ in range(PROCESSES)]))
        apart.append(sum(run([started(given.epochs)]) for _ in range(PROCESSES)))
    a, b = statistics.median(together), statistics.median(apart)
    print(
        f"{PROCESSES} processes of {THREADS} threads: {a:.2f} s at once, {b:.2f} s one after "
        f"another, {a / b:.2f} times (at most {MOST} are wanted)"
    )
    return int(a > MOST * b)


if __name__ == "__main__":
    raise SystemExit(main())

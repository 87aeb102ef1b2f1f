"""Does a training get the same bits in company, whatever starts the threads and processes?

Round after round, models are fitted and predict in several Python threads, in processes that are
forked, spawned or come from a fork server, by loky, in threads of such processes, from asyncio, in
a thread that still trains as the interpreter ends, and in two processes that compile their kernels
into one empty cache at once. Each result is compared with that of a process that did nothing else;
a round is a process of its own, and one that takes over three minutes counts as hung.
"""

import argparse
import asyncio
import contextlib
import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from multiprocessing.pool import ThreadPool

import numpy as np

from softstep import SoftmaxRegression
from softstep.bench.studies import parser

SEEDS = range(4)
N, D, C = 2000, 300, 10
LONGEST = 180.0  # seconds of a round
METHODS = multiprocessing.get_all_start_methods()
WORK = "from softstep.bench.studies.trust.company import SEEDS, work; print(*map(work, SEEDS))"
AT_EXIT = (
    "import threading, numpy as np; from softstep import SoftmaxRegression as S; "
    "begun = threading.Event(); X, y = np.ones((5000, 300), 'f4'), np.arange(5000) % 10; "
    "fit = lambda: S(epochs=10**9, n_threads=2).fit(X, y, callback=lambda e: begun.set()); "
    "threading.Thread(target=fit, daemon=True).start(); begun.wait(50)"
)


def work(seed: int) -> str:
    """A digest of what a model learns and predicts in two threads."""
    rng = np.random.default_rng(seed)
    y = rng.integers(C, size=N)
    X = (rng.standard_normal((C, D))[y] + rng.standard_normal((N, D))).astype(np.float32)
    model = SoftmaxRegression(epochs=3, random_state=seed, batch_size=500, n_threads=2).fit(X, y)
    return hashlib.sha256(model.coef_.tobytes() + model.predict(X).tobytes()).hexdigest()


@cache
def alone() -> list[str]:
    """What `work` gives where nothing else runs."""
    done = subprocess.run([sys.executable, "-c", WORK], capture_output=True, check=True)
    return done.stdout.decode().split()


def _in_threads() -> list[str]:
    with ThreadPoolExecutor(len(SEEDS)) as pool:
        return list(pool.map(work, SEEDS))


def _in_processes(method: str, function: Callable[[int], str] = work) -> list[str]:
    work(0)  # so that there are threads which a fork does not take along
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(function, SEEDS)


def in_a_thread(seed: int) -> str:
    """`work` in two threads of this process at once."""
    with ThreadPool(2) as pool:
        first, second = pool.map(work, [seed, seed])
    return first if first == second else "differs"


def _by_loky() -> list[str]:
    from joblib import Parallel, delayed

    return list(Parallel(n_jobs=2, backend="loky")(delayed(work)(seed) for seed in SEEDS))


def _by_asyncio() -> list[str]:
    async def together() -> list[str]:
        return list(await asyncio.gather(*(asyncio.to_thread(work, seed) for seed in SEEDS)))

    return asyncio.run(together())


def _as_the_interpreter_ends() -> list[str]:
    done = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, check=False)
    said = done.stderr.decode()
    return alone() if (done.returncode, said) == (0, "") else [f"{done.returncode} {said}"]


def _into_one_cache() -> list[str]:
    """Two at once, and then a third; each says one line at most, that it compiles."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder}
        ends = []
        for count in (2, 1):
            started = [
                subprocess.Popen(
                    [sys.executable, "-c", WORK],
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
                for _ in range(count)
            ]
            ends += [(*process.communicate(), process.returncode) for process in started]
    found = [out.split() if code == 0 else [f"{code} {err}"] for out, err, code in ends]
    told = [err for _, err, _ in ends]
    if any(len(err.splitlines()) > 1 for err in told):
        return [f"told: {told}"]
    return next((result for result in found if result != alone()), alone())


KINDS: dict[str, Callable[[], list[str]]] = {
    "threads": _in_threads,
    **{method: partial(_in_processes, method) for method in METHODS},
    "loky": _by_loky,
    "threads of processes": partial(_in_processes, "spawn", in_a_thread),
    "asyncio": _by_asyncio,
    "exit": _as_the_interpreter_ends,
    "one cache": _into_one_cache,
}


def a_round(kind: str) -> list[str]:
    """What a round gives, in a process with a session of its own, all of which ends with it."""
    command = [sys.executable, "-m", "softstep.bench.studies.trust.company", "--child", kind]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=os.name == "posix",
    ) as process:
        try:
            out, err = process.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            return [f"hung for {LONGEST:.0f} s"]
        finally:
            process.kill()
            if os.name == "posix":
                with contextlib.suppress(ProcessLookupError):  # with all that it has started
                    os.killpg(process.pid, signal.SIGKILL)
    return out.split() if process.returncode == 0 else [f"{process.returncode} {err[-1000:]}"]


def main(argv: list[str] | None = None) -> int:
    """Print a table; 1 if a round gave other bits, hung, or ended in an error."""
    options = parser("trust.company", __doc__)
    options.add_argument("--rounds", type=int, default=100)
    options.add_argument("--only", choices=KINDS, action="append", help="these kinds alone")
    options.add_argument("--child", choices=KINDS, help=argparse.SUPPRESS)
    given = options.parse_args(argv)
    if given.child:
        print(*KINDS[given.child]())
        return 0
    print("| company | rounds | same bits | longest round |\n|---|---|---|---|", flush=True)
    wrong = 0
    for kind in given.only or KINDS:
        same, longest = 0, 0.0
        for _ in range(given.rounds):
            start = time.monotonic()
            found = a_round(kind)
            longest = max(longest, time.monotonic() - start)
            if found == alone():
                same += 1
            else:
                print(f"{kind}: {found}", file=sys.stderr)
        wrong += given.rounds - same
        print(f"| {kind} | {given.rounds} | {same} | {longest:.1f} s |", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())

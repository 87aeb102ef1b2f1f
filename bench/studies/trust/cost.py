"""What does it cost to train with checkpoints?

The recipe on 60000 rows of 784 pixels, and a sweep of 100 heads on 20000, each without checkpoints,
with the default of one a minute, and with one a second. What a checkpoint costs by the minute is
what is left of the time beyond that of the same training without; runs alternate, times are minima,
and do not hold where anything else runs on the machine.
"""

import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.bench.studies import parser

MOST = 0.01  # of the time, at the default
WAYS: dict[str, float | None] = {"none": None, "60 s (the default)": 60.0, "1 s": 1.0}


def recipe(seconds: float) -> Callable[..., Any]:
    """A train of about so many seconds on a fast core; the arguments of its fit on checkpoints."""
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 255, (60_000, 784), np.uint8), rng.integers(10, size=60_000)
    return _of(lambda epochs: SoftmaxRegression(epochs=epochs, random_state=0), X, y, seconds)


def bank(seconds: float) -> Callable[..., Any]:
    """A sweep of 100 heads."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20_000, 300)).astype(np.float32)
    y = rng.integers(10, size=20_000)
    grid = {"learning_rate": np.geomspace(1e-3, 1e-1, 25).tolist()}
    return _of(
        lambda epochs: SoftmaxSweep(grid, cv=3, epochs=epochs, random_state=0), X, y, seconds
    )


def _of(make: Callable[[int], Any], X: Any, y: Any, seconds: float) -> Callable[..., Any]:
    make(1).fit(X, y)  # compiles
    start = time.perf_counter()
    make(4).fit(X, y)
    epochs = max(2, round(4 * seconds / (time.perf_counter() - start)))
    return lambda **keeping: make(epochs).fit(X, y, **keeping)


def seconds_of(fit: Callable[..., Any], every: float | None) -> float:
    """The processor's time and the waiting of one training."""
    with tempfile.TemporaryDirectory() as folder:
        keeping = {} if every is None else {"checkpoint": folder, "checkpoint_every": every}
        start = time.perf_counter()
        fit(**keeping)
        return time.perf_counter() - start


def main(argv: list[str] | None = None) -> int:
    """Print a table; 1 if the default costs more than it may."""
    options = parser("trust.cost", __doc__)
    options.add_argument("--seconds", type=float, default=10.0, help="of each training, about")
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args(argv)
    print("| training | checkpoints every | time | cost |\n|---|---|---|---|", flush=True)
    worst = 0.0
    for name, make in {"train": recipe, "sweep of 100 heads": bank}.items():
        fit = make(given.seconds)
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(given.rounds):
            for way, every in WAYS.items():
                times[way].append(seconds_of(fit, every))
        least = {way: min(taken) for way, taken in times.items()}
        for way, taken in least.items():
            cost = taken / least["none"] - 1
            print(f"| {name} | {way} | {taken:.2f} s | {cost:+.1%} |", flush=True)
            if WAYS[way] == 60.0:
                worst = max(worst, cost)
    return int(worst > MOST)


if __name__ == "__main__":
    raise SystemExit(main())

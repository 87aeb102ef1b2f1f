"""What does `scaling=` cost? Epochs of rows that are scaled as they are read, and of unscaled ones.

Of each kind also an epoch on a float32 copy that was scaled before, 4 bytes a value; and how long
it takes to measure the columns, which is done once. Interleaved rounds on this process's cores:
`taskset -c 1` for one. Ratios are medians over the rounds, each to the unscaled epoch of its round;
times are medians too.
"""

import functools
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.bench.measure import Pace, interleaved
from softstep.bench.studies import parser
from softstep.kernels.checks import Array
from softstep.model import inputs, trainer
from softstep.model.views import SCALINGS

PAUSE, BURST = 0.05, 0.02


@dataclass(frozen=True)
class Work:
    """Rows (n, d) of this dtype, the number of classes, and of rows in a batch."""

    n: int
    d: int
    dtype: str
    c: int
    batch: int

    def __str__(self) -> str:
        return f"{self.n}x{self.d} {self.dtype} -> {self.c} classes, batch {self.batch}"

    def rows(self) -> Array:
        rng = np.random.default_rng(0)
        if self.dtype == "uint8":
            return rng.integers(0, 256, (self.n, self.d), dtype=np.uint8)
        return rng.standard_normal((self.n, self.d), dtype=np.float32).astype(self.dtype)


WORKS = (
    Work(20_000, 1024, "float16", 100, 1024),
    Work(60_000, 784, "uint8", 10, 100),
    Work(60_000, 784, "float32", 10, 100),
)


def variants(work: Work) -> dict[str, Callable[[], Any]]:
    """An epoch of each kind, and what is done once."""
    X, y = work.rows(), np.random.default_rng(1).integers(0, work.c, work.n)
    scale = 1 / 255 if work.dtype == "uint8" else 1.0
    sgd = trainer.SGDSettings("cross_entropy", 0.01, work.batch)

    def measure(scaling: str) -> Any:
        return inputs.measured(X, scaling, scale, None, [0], centers=True)[0]

    def epoch(rows: Any, factor: float) -> None:
        W, b = np.zeros((1, work.d, work.c), np.float32), np.zeros((1, work.c), np.float32)
        data = trainer.Rows(rows, y, None, factor)
        trainer.run_epoch(data, trainer.BankState(W, b), sgd, 0, seed=0, done=0, total=work.n)

    scaled = {
        name: inputs.scaled(X, measure(name), scale, inputs.Factors().of(X, ...))
        for name in SCALINGS
        if name
    }
    copies = {f"{name}, copied": (rows[:], 1.0) for name, (rows, _) in scaled.items()}
    epochs = {"unscaled": (X, scale)} | scaled | copies
    return {
        **{name: functools.partial(epoch, *rows) for name, rows in epochs.items()},
        "measuring columns": functools.partial(measure, "standard"),
    }


def main(argv: list[str] | None = None) -> int:
    """Print the times of each work, and their ratios to the epoch without scaling."""
    options = parser("scaling", __doc__)
    options.add_argument("--rounds", type=int, default=20)
    given = options.parse_args(argv)
    for work in WORKS:
        print(work, flush=True)
        times = interleaved(variants(work), Pace(given.rounds, PAUSE, BURST))
        for name, taken in times.items():
            ratio = statistics.median(t / u for t, u in zip(taken, times["unscaled"], strict=True))
            print(f"    {name:21}{1e3 * statistics.median(taken):9.1f} ms {ratio:6.2f}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

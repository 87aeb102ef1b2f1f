"""What does `scaling="standard"` cost? Epochs of rows that are scaled when they are read, and not.

Rows are copied in their order, widened, centred and divided, some that the cache holds at a time,
before the fused op reads them. Also how long it takes to make all rows in that way, without
training, and to measure the columns, which is done once. Interleaved rounds on this process's
cores: `taskset -c 1` for one. Times are the least of all rounds.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.bench.measure import Pace, interleaved
from softstep.bench.studies import parser
from softstep.kernels.checks import Array
from softstep.model import inputs, trainer

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


WORKS = (Work(20_000, 1024, "float16", 100, 1024), Work(60_000, 784, "uint8", 10, 100))


def variants(work: Work) -> dict[str, Callable[[], Any]]:
    """An epoch of each kind, and the parts of scaling by themselves."""
    X, y = work.rows(), np.random.default_rng(1).integers(0, work.c, work.n)
    scale = 1 / 255 if work.dtype == "uint8" else 1.0
    sgd = trainer.SGDSettings("cross_entropy", 0.1, work.batch)
    measure = functools.partial(inputs.measured, X, "standard", scale, [None], centers=True)
    (scaler,) = measure()
    made, _ = inputs.scaled(X, scaler, scale)
    order = trainer.row_order(0, 0, work.n)
    some = max(1, made.rows_at_once // work.batch) * work.batch

    def epoch(rows: Any, factor: float) -> None:
        W, b = np.zeros((1, work.d, work.c), np.float32), np.zeros((1, work.c), np.float32)
        data = trainer.Rows(rows, y, None, factor)
        trainer.run_epoch(data, trainer.BankState(W, b), sgd, 0, seed=0, done=0, total=work.n)

    def make() -> None:
        for first in range(0, work.n, some):
            made[order[first : first + some]]

    return {
        "unscaled": functools.partial(epoch, X, scale),
        "scaled": functools.partial(epoch, made, 1.0),
        "making rows alone": make,
        "measuring columns": measure,
    }


def main(argv: list[str] | None = None) -> int:
    """Print the times of each work, and their ratios to the epoch without scaling."""
    options = parser("scaling", __doc__)
    options.add_argument("--rounds", type=int, default=20)
    given = options.parse_args(argv)
    for work in WORKS:
        print(work, flush=True)
        times = interleaved(variants(work), Pace(given.rounds, PAUSE, BURST))
        least = {name: min(taken) for name, taken in times.items()}
        for name, seconds in least.items():
            ratio = seconds / least["unscaled"]
            print(f"    {name:18}{1e3 * seconds:9.1f} ms {ratio:6.2f}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

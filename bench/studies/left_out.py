"""Where an epoch's time goes: the epoch, and the same work with a part of it left out.

The original recipe and banks of heads, on one thread and on all. In cache: the same hundred rows in
every batch, so that nothing comes from memory. In order: the rows as they are stored. Long batches:
fifty times as long, so that there are fifty times fewer updates and meetings of threads. Gradient
alone: forward and backward once over all rows, with neither batches nor updates. Forward alone:
`predict`. Interleaved rounds; times are medians.
"""

import dataclasses
import functools
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from softstep import kernels
from softstep.bench import peak, problems
from softstep.bench.measure import FULL, interleaved, limited
from softstep.bench.problems import Epoch
from softstep.bench.studies import parser
from softstep.bench.suites import BACKEND, cores, train
from softstep.kernels.verify.cases import Size, epoch_flop

HEADS = (4, 16, 52)
LONGER = 50


def epochs(rows: int) -> Iterator[tuple[str, Epoch]]:
    """The work by name: the recipe with `rows` rows, banks with a third of them."""
    for dtype in ("uint8", "float32"):
        yield f"recipe {dtype}", problems.recipe(rows, dtype)
    for h in HEADS:
        yield f"{h} heads", problems.bank(Size(rows // 3, 784, 10, h), 100)


def variants(epoch: Epoch) -> dict[str, Callable[[], Any]]:
    """The epoch, and what it becomes with a part left out."""
    n, batch = len(epoch.X), epoch.batch_size
    few = dataclasses.replace(epoch, order=np.arange(n) % batch)
    in_order = dataclasses.replace(epoch, order=np.arange(n))
    long = dataclasses.replace(epoch, batch_size=LONGER * batch)
    (X, y, _, _, W, b), _ = epoch.arguments
    scale: Any = {"feature_scale": epoch.feature_scale, "backend": BACKEND}
    return {
        "epoch": functools.partial(train, epoch, BACKEND),
        "in cache": functools.partial(train, few, BACKEND),
        "in order": functools.partial(train, in_order, BACKEND),
        "long batches": functools.partial(train, long, BACKEND),
        "gradient alone": lambda: kernels.gradient(X, y, W, b, loss=epoch.loss, **scale),
        "forward alone": lambda: kernels.predict(X, W, b, **scale),
    }


def main(argv: list[str] | None = None) -> int:
    """Print a table for each piece of work."""
    options = parser("left_out", __doc__)
    options.add_argument("--rows", type=int, default=60_000)
    options.add_argument("--rounds", type=int, default=FULL.rounds)
    given = options.parse_args(argv)
    pace = dataclasses.replace(FULL, rounds=given.rounds)
    limits = peak.of_machine({1, cores()})
    for name, epoch in epochs(given.rows):
        flop = epoch_flop(epoch.size, epoch.batch_size, epoch.loss)
        print(f"{name}: {epoch.size}, {flop / 1e9:.1f} GFLOP an epoch", flush=True)
        for threads in dict.fromkeys((1, cores())):
            with limited(threads):
                times = interleaved(variants(epoch), pace)
            for variant, taken in times.items():
                seconds = statistics.median(taken)
                done = flop / 2 if variant == "forward alone" else flop
                share = done / seconds / 1e9 / limits.gflop_per_s[threads]
                print(
                    f"    {threads} thread{'s'[: threads > 1]} {variant:15}"
                    f"{1e3 * seconds:8.1f} ms {100 * share:4.0f}% of the peak",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

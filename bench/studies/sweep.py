"""The sweep against its peers: 20 learning rates × 2 losses, one epoch of MNIST-like pixels.

The peers take the same rows in the same order, and must end with the same weights.
"""

import dataclasses
import functools
import statistics

import numpy as np

from softstep.bench import gate, measure, peak, peers, report
from softstep.bench.measure import OURS, Call, Case, Results
from softstep.bench.problems import Epoch
from softstep.bench.studies import parser
from softstep.bench.suites import BACKEND, cores, train
from softstep.kernels.verify.cases import BATCH_SIZE, SEED_SIZE, Size, pixels, seed_workload

RATES = np.geomspace(1e-3, 1, 20).astype(np.float32)
LOSSES = ("mse", "cross_entropy")
PIXEL_SCALE = 1 / 255
ONE_BY_ONE = "softstep, one by one"
AGREEMENT = 1e-3  # of the largest entry: float32 roundings of a stable descent


def problem(size: Size = SEED_SIZE, seed: int = 0) -> Epoch:
    """An epoch of 40 heads: every rate with every loss."""
    X, y = pixels(size.n, size.d, size.c, seed)
    order = np.random.default_rng((seed, 1, 0)).permutation(size.n)
    rates, losses = np.tile(RATES, len(LOSSES)), tuple(np.repeat(LOSSES, len(RATES)).tolist())
    return Epoch(X, y, order, BATCH_SIZE, size.c, rates, losses, PIXEL_SCALE)


def flop(size: Size = SEED_SIZE) -> int:
    """Floating-point operations of the 40 heads, counted as the seed workload's are."""
    return len(RATES) * len(LOSSES) * seed_workload(np.uint8, size).flop


def bank(epoch: Epoch) -> Results:
    """All heads in one call of the fused op: what `SoftmaxSweep` runs an epoch as."""
    return train(epoch, BACKEND)


def head(epoch: Epoch, k: int) -> Epoch:
    """The epoch of head k alone."""
    return dataclasses.replace(epoch, rates=epoch.rates[k : k + 1], loss=(epoch.loss[k],))


def one_by_one(epoch: Epoch) -> Results:
    """The heads one after the other, one call each."""
    heads = [bank(head(epoch, k)) for k in range(len(epoch.rates))]
    return tuple(np.concatenate(parts) for parts in zip(*heads, strict=True))


def judge(epoch: Epoch) -> gate.Judge:
    """Whether the weights are those of the bank."""
    expected = bank(epoch)
    bounds = tuple(np.full(e.shape, AGREEMENT * np.abs(e).max()) for e in expected)
    return lambda found: gate.agreement(found, expected, bounds)


def case(size: Size) -> Case:
    epoch = problem(size)
    heads = len(epoch.rates)
    found = measure.against(
        peers.SWEEP,
        functools.partial(bank, epoch),
        epoch,
        suite="sweep",
        name=f"{heads} heads, one epoch of {size.n} rows",
        flop=flop(size),
        check=judge(epoch),
    )
    ours: dict[str, Call] = {OURS: found.calls.pop(OURS)}
    alone: dict[str, Call] = {ONE_BY_ONE: functools.partial(one_by_one, epoch)}
    return dataclasses.replace(found, calls={**ours, **alone, **found.calls})


def seconds_of_one_head(size: Size, pace: measure.Pace) -> float:
    """The median for a single head, averaged over the losses."""
    epoch = problem(size)
    calls = {
        loss: functools.partial(bank, head(epoch, i * len(RATES))) for i, loss in enumerate(LOSSES)
    }
    times = measure.interleaved(calls, pace)
    return statistics.mean(statistics.median(seconds) for seconds in times.values())


def main(argv: list[str] | None = None) -> int:
    """Print the figures. The exit code is 1 if a competitor ends with other weights."""
    options = parser("sweep", __doc__)
    options.add_argument("--rows", type=int, default=SEED_SIZE.n)
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args(argv)
    size = Size(given.rows, SEED_SIZE.d, SEED_SIZE.c)
    pace = dataclasses.replace(measure.FULL, rounds=given.rounds)
    limits = peak.of_machine({cores()})
    rows = measure.measure(case(size), pace, limits.gflop_per_s[cores()])
    one = seconds_of_one_head(size, pace)
    print(*report.peak_lines(limits), "", report.header(), report.block(rows), sep="\n")
    print(f"\none head alone takes {one:.4f} s", end="")
    print(f": the bank takes {rows[0].wall / one:.1f} times as long" if rows[0].wall else "")
    return int(not all(row.agrees for row in rows if row.not_run is None))


if __name__ == "__main__":
    raise SystemExit(main())

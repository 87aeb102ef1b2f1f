"""The loss at 51 × 51 points of a plane of weights, MNIST: seconds against torch, and peak memory.

softstep computes loss and accuracy, torch the loss alone. The torch loops go through every 100th
point and are scaled to all of them. Linux only: it reads /proc.
"""

import dataclasses
import functools
import statistics
from typing import Any

import numpy as np

from softstep import SoftmaxRegression
from softstep.bench import measure, memory, peers, report
from softstep.bench.gate import agreement
from softstep.bench.measure import OURS, Pace, Results, Row
from softstep.bench.peers import Peer
from softstep.bench.problems import Plane
from softstep.bench.studies import parser
from softstep.bench.suites import cores
from softstep.kernels.losses import LOSSES
from softstep.model.datasets import load_mnist
from softstep.model.landscape import Surface, loss_surface

STEPS = 51
EVERY = 100  # torch evaluates one of so many points
PIXEL_SCALE = 1 / 255
AGREEMENT = 1e-4  # relative, of losses in float32


def places(steps: int = STEPS, every: int = EVERY) -> list[tuple[int, int]]:
    """Which (i, j) of the grid the torch loops evaluate."""
    return [divmod(k, steps) for k in range(0, steps**2, every)]


def plane(
    model: Any, X: Any, y: Any, surface: Surface, at: list[tuple[int, int]], scale: float
) -> Plane:
    """The points of the surface that the torch loops evaluate, and the weights at the middle."""
    middle = model.coef_.T, model.intercept_
    heads = tuple(
        (np.ascontiguousarray(W, np.float32), np.ascontiguousarray(b, np.float32))
        for W, b in (middle, surface.D1, surface.D2)
    )
    points = tuple((float(surface.x[j]), float(surface.y[i])) for i, j in at)
    return Plane(X, y, heads, model.loss, scale, points)


def judged(losses: Results, surface: Surface, at: list[tuple[int, int]]) -> tuple[float, bool]:
    """The worst error, and whether these are the surface's losses but for float32 roundings."""
    expected = np.array([surface.loss[i, j] for i, j in at])
    return agreement(losses, (expected,), (AGREEMENT * expected,))


def trained(loss: Any, X: Any, y: Any) -> SoftmaxRegression:
    """A model of one epoch."""
    return SoftmaxRegression(loss=loss, epochs=1, random_state=0).fit(X, y)


def seconds_for_the_grid(peer: Peer, problem: Plane, pace: Pace) -> float:
    """From the time of some points, and of one, the time of all."""
    first = dataclasses.replace(problem, points=problem.points[:1])
    calls = {"one": peer.prepare(first), "some": peer.prepare(problem)}
    times = measure.interleaved(calls, pace)
    one, some = statistics.median(times["one"]), statistics.median(times["some"])
    return one + (some - one) / (len(problem.points) - 1) * (STEPS**2 - 1)


def row_of_peer(peer: Peer, problem: Plane, surface: Surface, ours: Row, pace: Pace) -> Row:
    row = Row(ours.suite, ours.case, ours.threads, peer.name)
    if why := peer.why_not(cores(), cores()):
        return dataclasses.replace(row, not_run=why)
    error, agrees = judged(peer.prepare(problem)(), surface, places())
    row = dataclasses.replace(row, error=error, agrees=agrees)
    if not agrees or ours.wall is None:
        return row
    wall = seconds_for_the_grid(peer, problem, pace)
    return dataclasses.replace(row, wall=wall, ratio=wall / ours.wall)


def main(argv: list[str] | None = None) -> int:
    """Print the figures. The exit code is 1 if a peer has other losses."""
    options = parser("landscape", __doc__)
    options.add_argument("--rounds", type=int, default=5)
    pace = dataclasses.replace(measure.FULL, rounds=options.parse_args(argv).rounds)
    data: Any = load_mnist()
    sets = {60_000: (data.X_train, data.y_train), 10_000: (data.X_test, data.y_test)}
    models = {loss: trained(loss, *sets[60_000]) for loss in LOSSES}
    calls = {
        f"{loss}, {n} rows": functools.partial(loss_surface, models[loss], X, y, steps=STEPS)
        for loss in LOSSES
        for n, (X, y) in sets.items()
    }
    times = measure.interleaved(calls, pace)
    most = memory.peak()
    print(report.header())
    right = True
    for loss, model in models.items():
        for n, (X, y) in sets.items():
            name = f"{loss}, {n} rows"
            wall = statistics.median(times[name])
            rows = [Row("landscape", name, cores(), OURS, ratio=1.0, wall=wall)]
            if n == max(sets):
                surface = calls[name]()
                problem = plane(model, X, y, surface, places(), PIXEL_SCALE)
                rows += [row_of_peer(p, problem, surface, rows[0], pace) for p in peers.SURFACE]
            right &= all(row.agrees for row in rows)
            print(report.block(rows), flush=True)
    print(f"\npeak memory before torch, the data's 55 MB included: {most / 1e9:.2f} GB")
    return int(not right)


if __name__ == "__main__":
    raise SystemExit(main())

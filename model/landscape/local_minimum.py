"""A local minimum in which plain gradient descent stalls on the MSE of softmax, found by search.

The MSE through softmax is not convex. On lines through random weights its loss can have two minima;
plain descent that starts on the far side of the higher one, the local minimum, gets no further.
"""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep import kernels
from softstep.kernels.checks import compute_dtype
from softstep.model.landscape.line_descent import LineDescent

STD = 0.6  # of the weights a line goes through
SPAN, POINTS = 60.0, 121  # where its losses are looked at: from -SPAN to SPAN
LINES = 60
MOMENTUM = 0.9
STEPS = 150
RATES = 2 ** (np.arange(18, 29) / 2)
LONGEST = 1 / 4
FREE_RATE = 32.0  # off the line the loss is steeper, and the rates above overshoot
NEAR = 1.0  # distance from a minimum at which a descent has ended there


@dataclass(frozen=True)
class LocalMinimum:
    """What `find_local_minimum` found.

    Attributes:
        line: the line, with loss "mse". seed: what its weights and direction were drawn from.
        offsets, losses: points on the line, and the loss at each.
        local_minimum, crest, valley: the offsets of the higher minimum, of the largest loss between
            the two minima, and of the lower one.
        start: where the descents begin. learning_rate: their rate.
        plain, faster, with_momentum: their offsets, (STEPS + 1,): of plain descent, of plain
            descent with learning_rate / (1 - MOMENTUM), and of descent with MOMENTUM.
    """

    line: LineDescent
    seed: int
    offsets: Any
    losses: Any
    local_minimum: float
    crest: float
    valley: float
    start: float
    learning_rate: float
    plain: Any
    faster: Any
    with_momentum: Any


def find_local_minimum(X: Any, y: Any, *, feature_scale: float = 1.0) -> LocalMinimum:
    """The line, of LINES, with the highest crest at which plain descent stalls but momentum passes.

    A line's local minima are those among POINTS offsets that have a lower minimum next to them.
    Descent starts on the far side of the local minimum, where the loss is as far above the crest as
    the crest is above the minimum. The rate is the smallest of RATES with which, after STEPS steps,
    descent with MOMENTUM has reached the valley in steps of at most LONGEST of the way there (it
    rolls over the crest, it does not jump), plain descent is still in the local minimum, and plain
    descent at rate / (1 - MOMENTUM) has not reached the valley either. Lines are tried in order of
    their crests, the highest first.

    Args:
        X, y: the rows, (n, d), and their labels 0…c-1, (n,).

    Raises:
        ValueError: none of the lines is such.
    """
    found: list[tuple[float, dict[str, Any]]] = []
    for seed in range(LINES):
        line = random_line(X, y, seed, feature_scale=feature_scale)
        found += _local_minima(line, seed)
    for _, places in sorted(found, key=lambda f: -f[0]):
        for rate in RATES:
            if (minimum := _where_momentum_passes(places, rate)) is not None:
                return minimum
    raise ValueError(f"on none of {LINES} lines does momentum pass where plain descent stalls")


def random_line(X: Any, y: Any, seed: int, *, feature_scale: float = 1.0) -> LineDescent:
    """A line through weights and bias drawn from `default_rng(seed)`, normal with standard
    deviation STD, in a direction drawn after them."""
    rng, dtype = np.random.default_rng(seed), compute_dtype(X)
    d, c = X.shape[1], int(y.max()) + 1
    draws = [rng.standard_normal(shape) for shape in ((d, c), (c,)) * 2]
    W, b, dW, db = (draw.astype(dtype) for draw in draws)
    origin = dtype.type(STD) * W, dtype.type(STD) * b
    return LineDescent.through(X, y, origin, (dW, db), loss="mse", feature_scale=feature_scale)


def _local_minima(line: LineDescent, seed: int) -> list[tuple[float, dict[str, Any]]]:
    """The crest's height above each local minimum that a descent can start from, and the places."""
    offsets = np.linspace(-SPAN, SPAN, POINTS)
    losses = line.losses(offsets)
    inner = losses[1:-1]
    minima = np.flatnonzero((inner < losses[:-2]) & (inner < losses[2:])) + 1
    found = []
    for left, right in itertools.pairwise(minima):
        local, valley = (left, right) if losses[left] > losses[right] else (right, left)
        crest = left + np.argmax(losses[left:right])
        height = losses[crest] - losses[local]
        far = np.arange(local, -1, -1) if local < valley else np.arange(local, POINTS)
        high = far[losses[far] >= losses[crest] + height]
        if high.size:
            places = {"local_minimum": local, "crest": crest, "valley": valley, "start": high[0]}
            named = {name: float(offsets[at]) for name, at in places.items()}
            places = named | {"line": line, "seed": seed, "offsets": offsets, "losses": losses}
            found.append((height, places))
    return found


def _where_momentum_passes(places: dict[str, Any], rate: float) -> LocalMinimum | None:
    """The descents at this rate, if momentum passes the crest and plain descent stalls."""
    line, start = places["line"], places["start"]
    way = abs(places["valley"] - places["local_minimum"])
    with_momentum = line.descend(start, rate, STEPS, momentum=MOMENTUM)
    if np.abs(np.diff(with_momentum)).max() > LONGEST * way:
        return None
    if abs(with_momentum[-1] - places["valley"]) > NEAR:
        return None
    plain = line.descend(start, rate, STEPS)
    faster = line.descend(start, rate / (1 - MOMENTUM), STEPS)
    if (
        abs(plain[-1] - places["local_minimum"]) > NEAR
        or abs(faster[-1] - places["valley"]) <= NEAR
    ):
        return None
    return LocalMinimum(
        learning_rate=rate, plain=plain, faster=faster, with_momentum=with_momentum, **places
    )


def losses_in_all_weights(
    minimum: LocalMinimum, X: Any, y: Any, *, feature_scale: float = 1.0
) -> Any:
    """The loss before and after each of STEPS plain steps in all weights, (STEPS + 1,).

    The descent starts where those on the line do. All rows make one batch; the rate is FREE_RATE.
    """
    W, b = (np.ascontiguousarray(part[None]) for part in minimum.line.at(minimum.start))
    order = np.tile(np.arange(len(X)), STEPS)
    keywords: dict[str, Any] = {"loss": "mse", "feature_scale": feature_scale}
    losses, _ = kernels.train(X, y, order, len(X), W, b, learning_rate=FREE_RATE, **keywords)
    last, _ = kernels.evaluate(X, y, W, b, **keywords)
    return np.append(losses[:, 0], last)

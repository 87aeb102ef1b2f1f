"""Bootstraps of the held-out rows: how sure a score is, and what is left of the best one's.

Each of 1000 draws counts each row Poisson(1) times, the same for all heads, so that heads are
compared on the same rows. Of a score that is a mean over rows two sums for each draw and setting
are enough: over the rows drawn, and over those left out. So rows come block by block, and no table
of all rows and settings is held.

The best of many settings is partly the luckiest. So each draw chooses the best setting by the rows
it drew, and is shown what that one scores on the rows it left out, which had no part in the choice
(Tsamardinos et al., 2018, "Bootstrapping the out-of-sample predictions for efficient and accurate
cross-validation").
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels.checks import Array

COUNT = 1000
CHUNK = 256  # rows that one generator draws for
COVERED = 95  # percent of the draws that are between low and high
DIGITS = 12  # after the point, to which scores are compared: equal ones may be rounded apart
_STEPS = 1 << 16  # equally probable numbers, of which each stands for a count
_MOST = 8  # times that a row is drawn: a ninth has a probability of 1e-6
STREAM = 7  # of the seed; trainer.py and folds.py have others


def _counts_of_numbers() -> Array:
    """What each of the 65536 numbers counts: as near to Poisson(1) as they allow."""
    cumulated = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(_MOST)])
    ends = np.append(np.rint(_STEPS * cumulated).astype(int), _STEPS)
    return np.repeat(np.arange(_MOST + 1, dtype=np.uint8), np.diff(ends, prepend=0))


_COUNTS = _counts_of_numbers()


def counts_of(seed: int, first: int, stop: int) -> Array:
    """How often each draw counts the rows from `first` to `stop`, (rows, COUNT) uint8.

    Rows 256 k to 256 (k + 1) are drawn by `default_rng((seed, 7, k))`, whatever the blocks.
    """
    begin = first // CHUNK
    chunks = []
    for k in range(begin, -(-stop // CHUNK)):
        rng = np.random.default_rng((seed, STREAM, k))
        chunks.append(_COUNTS[rng.integers(_STEPS, size=(CHUNK, COUNT), dtype=np.uint16)])
    counts: Array = np.concatenate(chunks)[first - begin * CHUNK : stop - begin * CHUNK]
    return counts


@dataclass(frozen=True)
class Winner:
    """score: what the settings that the draws would have chosen score on the rows left out, the
    mean over the draws; low, high: 95% of the draws are between. wins: the share of the draws that
    would have chosen the best setting."""

    score: float
    low: float
    high: float
    wins: float


class Draws:
    """Sums over the rows drawn, and over those left out, for each draw and setting.

    names: of the scores that are kept. refit: that by which the best is chosen, if it is one of
    them: of it alone the rows left out are kept.
    """

    seed: int
    names: list[str]
    refit: str

    def __init__(self, seed: int, groups: int, names: list[str], refit: str) -> None:
        self.seed, self.names, self.refit = seed, names, refit
        self._drawn = {name: np.zeros((COUNT, groups)) for name in names}
        self._left = np.zeros((COUNT, groups if refit in names else 0))
        self._drawn_weight, self._left_weight = np.zeros((2, COUNT, groups))

    def counts(self, first: int, count: int) -> Array:
        """How often each draw counts so many rows from number `first` on, (count, COUNT)."""
        return counts_of(self.seed, first, first + count)

    def add(self, counts: Array, weights: Array, values: dict[str, Array], groups: Array) -> None:
        """Add some rows.

        counts: how often each draw counts them, (r, COUNT). weights: (r,), what they count of the
        mean. values: by score, (r, g). groups: (g,), the settings that these are of, each once.
        """
        drawn, left = counts.T.astype(np.float64), (counts.T == 0).astype(np.float64)
        self._drawn_weight[:, groups] += (drawn @ weights)[:, None]
        self._left_weight[:, groups] += (left @ weights)[:, None]
        for name, of_rows in values.items():
            weighted = weights[:, None] * of_rows
            self._drawn[name][:, groups] += drawn @ weighted
            if name == self.refit:
                self._left[:, groups] += left @ weighted

    @np.errstate(invalid="ignore")  # no rows were drawn, or left out: NaN
    def interval(self, name: str) -> tuple[Array, Array]:
        """low and high, (groups,): 95% of the draws score between. NaN of settings without rows."""
        low, high = _middle(self._drawn[name] / self._drawn_weight)
        return low, high

    @np.errstate(invalid="ignore")
    def winner(self, order: Array, cost: Any) -> Winner:
        """How good the best is, of the settings `order`, the best first. cost: `Score.cost`. A draw
        of no rows chooses nothing."""
        chooses = (self._drawn_weight[:, order] > 0).all(axis=1)
        drawn = self._drawn[self.refit][:, order] / self._drawn_weight[:, order]
        left = self._left[:, order] / self._left_weight[:, order]
        costs = np.where(np.isnan(drawn), np.inf, np.round(cost(drawn), DIGITS))
        chosen = costs.argmin(axis=1)  # of equal ones that which is ranked first
        scores = np.where(chooses, left[np.arange(COUNT), chosen], np.nan)
        low, high = _middle(scores)
        known = np.isfinite(scores)
        score = scores[known].mean() if known.any() else np.nan
        wins = (chosen[chooses] == 0).mean()
        return Winner(float(score), float(low), float(high), float(wins))


def bytes_needed(names: int, groups: int, rows: int) -> int:
    """What so many scores of so many settings take, and what a block of rows does."""
    return 8 * COUNT * (groups * 2 * (names + 3) + 3 * (rows + CHUNK))


def _middle(scores: Array) -> Array:
    """Between which 95% of the draws are, (2, ...), of those that are finite."""
    rest = (100 - COVERED) / 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where none is: NaN
        found: Array = np.nanpercentile(scores, [rest, 100 - rest], axis=0)
    return found

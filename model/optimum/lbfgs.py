"""L-BFGS for a bank of heads: they go round by round together, each by its own history and step.

What its pairs correct is curvature.py's, later class_curvature.py's.

A round evaluates one trial point of every head that is still going, in one call for all of them.
Nocedal and Wright, Numerical Optimization, 2nd ed., algorithm 7.4 (the two loops) and section 3.5;
the line search brackets a step that meets the weak Wolfe conditions (Lewis and Overton, Nonsmooth
optimization via quasi-Newton methods, 2013), approximately where f has no more figures (Hager and
Zhang, A new conjugate gradient method with guaranteed descent, 2005, equation 4.1).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels.checks import Array
from softstep.model.optimum import class_curvature
from softstep.model.optimum.absent import are_absent, without_common
from softstep.model.optimum.class_curvature import ClassCurvature
from softstep.model.optimum.curvature import Curvature
from softstep.model.optimum.problem import PROVEN, Problem
from softstep.model.optimum.space import Space

HISTORY, LEAST_HISTORY = 20, 3  # pairs of each head
HISTORY_BYTES = 1 << 29  # of all heads'
DECREASE, CURVATURE = 1e-4, 0.9  # of the Wolfe conditions
NEARLY = 0.8  # of the slope at the start, which the approximate ones allow at the end
MOST_TRIALS = 20  # of a line search
# A head computes its class curvature after so many steps, or as many as that costs, and again when
# its steps have doubled. Heads share so many bytes for it; the rest wait.
LEAST_STEPS, LOOKED_BYTES = 24, 1 << 28
MOST_IDLE = 15  # steps in which neither f nor its gradient gets less, as far as can be told

ARRAYS = 12  # float64, the size of all weights: points, gradients, directions, those on the way


def history_length(h: int, size: int) -> int:
    """How many pairs of `size` float32 numbers each of h heads may keep."""
    return int(np.clip(HISTORY_BYTES // (8 * h * size), LEAST_HISTORY, HISTORY))


def bytes_needed(n: int, h: int, d: int, c: int) -> int:
    """Bytes that h heads of d features and c classes take on their way over n rows, besides
    themselves."""
    size = (d + 1) * c
    looked = min(h, room(d, c)) * class_curvature.bytes_of_head(d, c)
    looked += class_curvature.bytes_to_find(n, d, c) if looked else 0
    return 8 * h * size * (ARRAYS + history_length(h, size)) + looked


def room(d: int, c: int) -> int:
    """How many heads of d features and c classes know the curvature where they are at a time."""
    return LOOKED_BYTES // class_curvature.bytes_of_head(d, c)


@dataclass(frozen=True)
class Points:
    """A point of each of h heads, and the objective there.

    theta: (h, d + 1, c). f: (h,). g: the gradient by theta. of_W, of_b: (h,), the squared norms of
    the gradients by W, at a fixed b', and by b. norm: (h,), that by W and b.
    """

    theta: Array
    f: Array
    g: Array
    of_W: Array
    of_b: Array
    norm: Array

    def take(self, which: Array) -> "Points":
        """Those of these heads."""
        return Points(*(values[which] for values in vars(self).values()))

    def put(self, heads: Array, points: "Points") -> None:
        """Have these points at these heads."""
        for own, values in zip(vars(self).values(), vars(points).values(), strict=True):
            own[heads] = values


class Descent:
    """All heads on their way.

    Attributes:
        history: pairs that each head keeps, as many as in company of the whole bank.
        at: where each head is. n_iter: (h,), steps taken. stuck: (h,), whether rounding left no way
            down.
        curve: the mean loss of each head after each of its steps, without l2: pairs of arrays,
            heads and losses.
    """

    history: int
    problem: Problem
    space: Space
    curvature: Curvature
    at: Points
    n_iter: Array
    stuck: Array

    def __init__(self, problem: Problem, space: Space, curvature: Curvature, theta: Array):
        h, size = len(theta), theta[0].size
        bank = h if problem.columns is None else problem.columns // theta.shape[2]
        m = self.history = history_length(bank, size)
        self.problem, self.space, self.curvature = problem, space, curvature
        self.at = Points(theta, np.full(h, np.nan), np.zeros(theta.shape), *np.zeros((3, h)))
        self.n_iter, self.stuck = np.zeros(h, np.int64), np.zeros(h, bool)
        self.curve: list[tuple[Array, Array]] = []
        # Pairs (s, y) with 1/sᵀy, the newest at `pairs - 1` of a ring. In float32: what they say
        # about the curvature needs no more figures, and ρ is that of the rounded pair.
        self._S, self._Y = np.zeros((2, h, m, size), np.float32)
        self._rho, self._pairs = np.zeros((h, m)), np.zeros(h, np.int64)
        self._direction, self._slope = np.zeros(theta.shape), np.zeros(h)
        self._step, self._low, self._high = np.zeros((3, h))
        self._trials, self._idle = np.zeros((2, h), np.int64)
        self._least_norm = np.zeros(h)
        self._cache: tuple[Array, Problem] | None = None
        d, c = theta.shape[1] - 1, theta.shape[2]
        self._convex, self._present = np.isin(problem.loss, PROVEN), ~are_absent(theta[:, -1])
        looks = self._convex & (room(d, c) > 0)
        first = max(LEAST_STEPS, class_curvature.evaluations(len(problem.data.X), d, c))
        self._looked: dict[int, ClassCurvature] = {}
        self._next_look = np.where(looks, first, np.inf)
        self._room = room(d, c)

    def ready(self, heads: Array) -> Array:
        """Those of these heads that can go on; others wait until one that has looked leaves."""
        waiting = []
        for k in heads[self.n_iter[heads] >= self._next_look[heads]]:
            if k in self._looked or len(self._looked) < self._room:
                self._look(k)
            else:
                waiting.append(k)
        return np.setdiff1d(heads, waiting, assume_unique=True)

    def leave(self, heads: Array) -> None:
        """These heads go no further, for now. One that goes on later looks first."""
        for k in heads:
            if self._looked.pop(k, None) is not None:
                self._next_look[k] = self.n_iter[k]

    def _look(self, k: int) -> None:
        """Have head k go by the curvature where it is; if that is not to be had, by the axes."""
        only = np.array([k])
        self._looked.pop(k, None)  # two at a time would take twice the memory
        found = ClassCurvature.at(self.at.theta[k], self.problem.take(only), self.space)
        self._next_look[k] = 2 * self.n_iter[k]
        if found is not None:
            self._looked[k] = found
            self._aim(only)

    def place(self, heads: Array, theta: Array) -> None:
        """Put these heads there; nothing is known of those points before `start`."""
        unknown = np.full(len(heads), np.nan)
        g = np.full(theta.shape, np.nan)
        self.at.put(heads, Points(theta, unknown, g, unknown, unknown, unknown))

    def start(self, heads: Array, dtype: Any) -> None:
        """Evaluate these heads where they are, in this arithmetic, and choose where to go."""
        self.at.put(heads, self._evaluated(heads, self.at.theta[heads], dtype))
        self.stuck[heads], self._idle[heads] = False, 0
        self._least_norm[heads] = self.at.norm[heads]
        self._aim(heads)

    def round(self, heads: Array, dtype: Any) -> Array:
        """Try a point of each of these heads; returns those that took a step."""
        direction = self._direction[heads]
        theta = self.at.theta[heads] + self._step[heads, None, None] * direction
        trial = self._evaluated(heads, theta, dtype)
        enough, far_enough = self._wolfe(heads, trial.f, _dots(trial.g, direction), dtype)
        taken = enough & far_enough
        self._narrow(heads[~taken], trial.f[~taken], enough[~taken])
        if taken.any():
            self._move(heads[taken], trial if taken.all() else trial.take(taken), dtype)
        return heads[taken]

    def _evaluated(self, heads: Array, theta: Array, dtype: Any) -> Points:
        if self._cache is None or not np.array_equal(self._cache[0], heads):
            self._cache = heads, self.problem.take(heads)
        (_, problem), space = self._cache, self.space
        W, b = space.weights(theta, dtype)
        if dtype != np.float64:  # what is evaluated is what is meant
            theta = space.variables(W, b)
        f, dW, db = problem.value(W, b)
        g, of_b = space.gradient(dW, db), (db**2).sum(axis=1)
        norm = np.sqrt(_dots(dW, dW) + of_b)
        return Points(theta, f, g, _dots(g, g) - of_b, of_b, norm)

    def _wolfe(self, heads: Array, f: Array, slope: Array, dtype: Any) -> tuple[Array, Array]:
        """Whether f has fallen enough, and whether the slope has risen enough."""
        f0, slope0, step = self.at.f[heads], self._slope[heads], self._step[heads]
        rounding = 2 * np.finfo(dtype).eps * np.abs(f0)
        falls = f <= f0 + DECREASE * step * slope0
        falls |= (f <= f0 + rounding) & (slope <= NEARLY * -slope0)
        return falls, slope >= CURVATURE * slope0

    def _narrow(self, heads: Array, f: Array, fell: Array) -> None:
        """The next step length of these heads: between what was too short and what was too long."""
        step, slope = self._step[heads], self._slope[heads]
        low = np.where(fell, step, self._low[heads])
        high = np.where(fell, self._high[heads], step)
        with np.errstate(all="ignore"):
            lowest = -slope * step**2 / (2 * (f - self.at.f[heads] - slope * step))  # of a parabola
            middle = (low + high) / 2
            inside = ~fell & (low == 0) & (lowest > 0.1 * high) & (lowest < 0.5 * high)
        following = np.where(np.isinf(high), 3 * step, np.where(inside, lowest, middle))
        self._low[heads], self._high[heads], self._step[heads] = low, high, following
        self._trials[heads] += 1
        lost = heads[self._trials[heads] >= MOST_TRIALS]
        self.stuck[lost[self._pairs[lost] == 0]] = True
        again = lost[self._pairs[lost] > 0]  # once more along the gradient
        self._pairs[again] = 0
        self._aim(again)

    def _move(self, heads: Array, to: Points, dtype: Any) -> None:
        """Take the step, remember what it says about the curvature, and choose the next."""
        s = (to.theta - self.at.theta[heads]).astype(np.float32).reshape(len(heads), -1)
        y = (to.g - self.at.g[heads]).astype(np.float32).reshape(len(heads), -1)
        product = _dots(s, y)
        sound = product > 1e-7 * np.sqrt(_dots(s, s) * _dots(y, y))
        for i in np.flatnonzero(sound):
            k = heads[i]
            slot = self._pairs[k] % self._rho.shape[1]
            self._S[k, slot], self._Y[k, slot], self._rho[k, slot] = s[i], y[i], 1 / product[i]
            self._pairs[k] += 1
        idle = self.at.f[heads] - to.f <= 2 * np.finfo(dtype).eps * np.abs(to.f)
        idle &= to.norm > 0.9 * self._least_norm[heads]
        self._least_norm[heads] = np.minimum(self._least_norm[heads], to.norm)
        self._idle[heads] = np.where(idle, self._idle[heads] + 1, 0)
        self.stuck[heads] |= self._idle[heads] >= MOST_IDLE
        self.at.put(heads, to)
        self.n_iter[heads] += 1
        self.curve.append((heads, to.f - self._penalty(heads, to.theta)))
        self._aim(heads)

    def _penalty(self, heads: Array, theta: Array) -> Array:
        """The term of l2 in f, (h,), of the weights; where it is, that of the bias too."""
        counted = theta if self.problem.l2_bias else theta[:, :-1]
        return self.problem.l2[heads] / 2 * _dots(counted, counted)

    def _aim(self, heads: Array) -> None:
        """The direction of these heads, by the two loops, and the whole of it as the first step."""
        if not len(heads):
            return
        m = self._rho.shape[1]
        for k in heads:
            q = self.at.g[k].astype(np.float32).reshape(-1)
            pairs = int(self._pairs[k])
            newest_first = [pair % m for pair in range(pairs - 1, max(0, pairs - m) - 1, -1)]
            self._two_loops(k, newest_first, q)
            q = q.reshape(self._direction[k].shape)
            # Rounding adds a part common to all classes, which only l2 would pull back.
            self._direction[k] = -without_common(q, self._present[k]) if self._convex[k] else -q
        self._slope[heads] = _dots(self._direction[heads], self.at.g[heads])
        self._step[heads], self._low[heads], self._high[heads] = 1, 0, np.inf
        self._trials[heads] = 0
        lost = heads[~(self._slope[heads] < 0) & (self._pairs[heads] > 0)]
        if len(lost):  # not downhill: once more along the gradient
            self._pairs[lost] = 0
            self._aim(lost)

    @np.errstate(all="ignore")  # _aim does not follow a direction that is not finite
    def _two_loops(self, k: int, newest_first: list[int], q: Array) -> None:
        """Multiply q (size,) by the inverse curvature that the pairs of head k tell, in place."""
        S, Y, rho, shape = self._S[k], self._Y[k], self._rho[k], self._direction[k].shape
        alphas = []
        for i in newest_first:
            alphas.append(np.float32(rho[i] * _dot(S[i], q)))
            q -= alphas[-1] * Y[i]
        newest = Y[newest_first[0]].reshape(shape) if newest_first else None
        looked = self._looked.get(k)
        if looked is None or newest is None:  # along the gradient again: as at the beginning
            size = self.curvature.divide(k, q.reshape(shape), newest)
        else:
            size = looked.divide(q.reshape(shape), newest)
        if newest_first:  # as long as the newest pair says
            gamma = np.float32(1 / np.float64(rho[newest_first[0]] * size))
            q *= gamma if np.isfinite(gamma) else 1
        for i, alpha in zip(reversed(newest_first), reversed(alphas), strict=True):
            q += (alpha - np.float32(rho[i] * _dot(Y[i], q))) * S[i]


def _dot(a: Array, b: Array) -> float:
    return float(np.einsum("p,p->", a, b))


def _dots(a: Array, b: Array) -> Array:
    """The dot product of each head's arrays, (h,), in float64."""
    a, b = (x.reshape(len(x), -1) for x in (a, b))
    return np.einsum("hp,hp->h", a, b, dtype=np.float64)

"""L-BFGS for a bank of heads: they go round by round together, each by its own history and step.

A round evaluates one trial point of every head that is still going, in one call for all of them.
Nocedal and Wright, Numerical Optimization, 2nd ed., algorithm 7.4 (the two loops) and section 3.5;
the line search brackets a step that meets the weak Wolfe conditions (Lewis and Overton, Nonsmooth
optimization via quasi-Newton methods, 2013), approximately where f has no more figures (Hager and
Zhang, A new conjugate gradient method with guaranteed descent, 2005, equation 4.1).
"""

from typing import Any

import numpy as np

from softstep.kernels.checks import Array
from softstep.model.optimum.problem import Problem
from softstep.model.optimum.space import Space

HISTORY, LEAST_HISTORY = 10, 3  # pairs of each head
HISTORY_BYTES = 1 << 29  # of all heads'
DECREASE, CURVATURE = 1e-4, 0.9  # of the Wolfe conditions
NEARLY = 0.8  # of the slope at the start, which the approximate ones allow at the end
MOST_TRIALS = 20  # of a line search
MOST_IDLE = 3  # iterations without progress that float arithmetic could show

ARRAYS = 12  # float64, the size of all weights: points, gradients, directions, those on the way


def history_length(h: int, size: int) -> int:
    """How many pairs of `size` float32 numbers each of h heads may keep."""
    return int(np.clip(HISTORY_BYTES // (8 * h * size), LEAST_HISTORY, HISTORY))


def bytes_needed(h: int, size: int) -> int:
    """Bytes that h heads of `size` numbers take on their way, besides the heads themselves."""
    return 8 * h * size * (ARRAYS + history_length(h, size))


class Descent:
    """All heads on their way.

    Attributes:
        theta: (h, d + 1, c), where each head is. f, g: its objective and gradient there.
        n_iter: (h,), steps taken. stuck: (h,), whether rounding left no way down.
        curve: the mean loss of each head after each of its steps, without l2: pairs of arrays,
            heads and losses.
    """

    def __init__(self, problem: Problem, space: Space, theta: Array):
        h, size = len(theta), theta[0].size
        m = history_length(h, size)
        self.problem, self.space, self.theta = problem, space, theta
        self.f, self.g = np.full(h, np.nan), np.zeros(theta.shape)
        self.n_iter, self.stuck = np.zeros(h, np.int64), np.zeros(h, bool)
        self.curve: list[tuple[Array, Array]] = []
        # Pairs (s, y) with 1/sᵀy, the newest at `newest` of a ring. In float32: what they say about
        # the curvature needs no more figures, and ρ is that of the rounded pair.
        self._S, self._Y = np.zeros((2, h, m, size), np.float32)
        self._rho, self._pairs = np.zeros((h, m)), np.zeros(h, np.int64)
        self._direction, self._slope = np.zeros(theta.shape), np.zeros(h)
        self._step, self._low, self._high = np.zeros((3, h))
        self._trials, self._idle = np.zeros((2, h), np.int64)
        self._cache: tuple[Array, Problem, Space] | None = None

    def start(self, heads: Array, dtype: Any) -> None:
        """Evaluate these heads where they are, in this arithmetic, and choose where to go."""
        here = self._round(heads, self.theta[heads], dtype)
        self.f[heads], self.g[heads] = self._value(heads, here)
        self.stuck[heads] = False
        self._idle[heads] = 0
        self._aim(heads)

    def round(self, heads: Array, dtype: Any) -> Array:
        """Try a point of each of these heads; returns those that took a step."""
        step = self._step[heads]
        trial = self.theta[heads] + step[:, None, None] * self._direction[heads]
        trial = self._round(heads, trial, dtype)
        f, g = self._value(heads, trial)
        slope = _dots(g, self._direction[heads])
        enough, far_enough = self._wolfe(heads, f, slope, dtype)
        taken = enough & far_enough
        self._narrow(heads[~taken], f[~taken], enough[~taken])
        if taken.any():
            self._move(heads[taken], trial[taken], f[taken], g[taken], dtype)
        return heads[taken]

    def _value(self, heads: Array, theta: Array) -> tuple[Array, Array]:
        if self._cache is None or not np.array_equal(self._cache[0], heads):
            self._cache = heads, self.problem.take(heads), self.space.take(heads)
        _, problem, space = self._cache
        f, dW, db = problem.value(*space.weights(theta, self._dtype))
        return f, space.gradient(dW, db)

    def _round(self, heads: Array, theta: Array, dtype: Any) -> Array:
        """The nearest point whose weights are of this dtype: what is evaluated is what is meant."""
        self._dtype = dtype
        if dtype == np.float64:
            return theta
        space = self.space
        return space.variables(*space.weights(theta, dtype))

    def _wolfe(self, heads: Array, f: Array, slope: Array, dtype: Any) -> tuple[Array, Array]:
        """Whether f has fallen enough, and whether the slope has risen enough."""
        f0, slope0, step = self.f[heads], self._slope[heads], self._step[heads]
        room = 2 * np.finfo(dtype).eps * np.abs(f0)
        falls = f <= f0 + DECREASE * step * slope0
        falls |= (f <= f0 + room) & (slope <= NEARLY * -slope0)
        return falls, slope >= CURVATURE * slope0

    def _narrow(self, heads: Array, f: Array, fell: Array) -> None:
        """The next step length of these heads: between what was too short and what was too long."""
        step, slope = self._step[heads], self._slope[heads]
        low = np.where(fell, step, self._low[heads])
        high = np.where(fell, self._high[heads], step)
        with np.errstate(all="ignore"):
            lowest = -slope * step**2 / (2 * (f - self.f[heads] - slope * step))  # of a parabola
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

    def _move(self, heads: Array, theta: Array, f: Array, g: Array, dtype: Any) -> None:
        """Take the step, remember what it says about the curvature, and choose the next."""
        s = (theta - self.theta[heads]).astype(np.float32).reshape(len(heads), -1)
        y = (g - self.g[heads]).astype(np.float32).reshape(len(heads), -1)
        product = _dots(s, y)
        sound = product > 1e-7 * np.sqrt(_dots(s, s) * _dots(y, y))
        kept = heads[sound]
        at = self._pairs[kept] % self._rho.shape[1]
        self._S[kept, at], self._Y[kept, at] = s[sound], y[sound]
        self._rho[kept, at] = 1 / product[sound]
        self._pairs[kept] += 1
        idle = self.f[heads] - f <= 2 * np.finfo(dtype).eps * np.abs(f)
        self._idle[heads] = np.where(idle, self._idle[heads] + 1, 0)
        self.stuck[heads] |= self._idle[heads] >= MOST_IDLE
        self.theta[heads], self.f[heads], self.g[heads] = theta, f, g
        self.n_iter[heads] += 1
        self.curve.append((heads, f - self._penalty(heads, theta)))
        self._aim(heads)

    def _penalty(self, heads: Array, theta: Array) -> Array:
        """The term of l2 in f, (h,), of the weights; where it is, that of the bias too."""
        counted = theta if self.problem.l2_bias else theta[:, :-1]
        return self.problem.l2[heads] / 2 * _dots(counted, counted)

    def _aim(self, heads: Array) -> None:
        """The direction of these heads, by the two loops, and the whole of it as the first step."""
        if not len(heads):
            return
        shape, m = self.theta[heads].shape, self._rho.shape[1]
        inverse = np.repeat(self.space.inverse[heads], shape[2], axis=1)
        q = -self.g[heads].reshape(len(heads), -1)
        pairs, alphas = self._pairs[heads], np.zeros((m, len(heads)))
        for i in range(int(min(m, pairs.max()))):
            at, has = (pairs - 1 - i) % m, pairs > i
            rho = np.where(has, self._rho[heads, at], 0)
            alphas[i] = rho * _dots(self._S[heads, at], q)
            q -= alphas[i][:, None] * self._Y[heads, at]
        q *= inverse * self._gamma(heads, inverse)[:, None]
        for i in range(int(min(m, pairs.max())) - 1, -1, -1):
            at, has = (pairs - 1 - i) % m, pairs > i
            rho = np.where(has, self._rho[heads, at], 0)
            beta = rho * _dots(self._Y[heads, at], q)
            q += np.where(has, alphas[i] - beta, 0)[:, None] * self._S[heads, at]
        direction = q.reshape(shape)
        self._direction[heads], self._slope[heads] = direction, _dots(direction, self.g[heads])
        self._step[heads], self._low[heads], self._high[heads] = 1, 0, np.inf
        self._trials[heads] = 0

    def _gamma(self, heads: Array, inverse: Array) -> Array:
        """How long the inverse curvatures are, by the newest pair: sᵀy / yᵀ D y; 1 without one."""
        at = (self._pairs[heads] - 1) % self._rho.shape[1]
        y = self._Y[heads, at]
        size = np.einsum("hp,hp,hp->h", y, y, inverse)
        with np.errstate(all="ignore"):
            gamma = 1 / (self._rho[heads, at] * size)
        return np.where((self._pairs[heads] > 0) & np.isfinite(gamma), gamma, 1)


def _dots(a: Array, b: Array) -> Array:
    """The dot product of each head's arrays, (h,), in float64."""
    a, b = (x.reshape(len(x), -1) for x in (a, b))
    return np.einsum("hp,hp->h", a, b, dtype=np.float64)

"""Every head of a bank to its optimum, and the proof that it is there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels.checks import Array
from softstep.model.optimum.lbfgs import Descent, history_length
from softstep.model.optimum.problem import Problem
from softstep.model.optimum.proof import bound_of, prove
from softstep.model.optimum.settings import Optimum
from softstep.model.optimum.space import Space

# The bias of a class without weight among a head's rows, whose optimum is at -∞: p is exactly 0.
ABSENT = -1e30
# A head is taken to a bound of so many times `tol` by estimate, then proven; where rounding or the
# estimate stood in the way, again in float64, closer and closer.
MARGINS = (0.3, 0.3, 0.03, 0.003)


@dataclass(frozen=True)
class Round:
    """What a callback is given after each round.

    number: of the round, from 0. going: heads still on their way. bound: the largest of their
    estimated bounds, relative to the objective; of heads without a bound, how much of the squared
    gradient norm of the start is left.
    """

    number: int
    going: int
    bound: float


@dataclass(frozen=True)
class Solution:
    """Of each of h heads: weights, and what is known about them.

    objective, gradient_norm: at W and b, in float64. bound: on how far `objective` is above its
    least; NaN where none exists. converged: whether bound ≤ tol · the least objective, or without
    a bound, whether the gradient norm is at most √tol of that at the start. n_iter: steps taken.
    curve: (most n_iter, h), the mean loss after each, without l2. history: pairs that each head
    kept. interrupted: whether Ctrl-C ended it.
    """

    W: Array
    b: Array
    objective: Array
    gradient_norm: Array
    bound: Array
    converged: Array
    n_iter: Array
    curve: Array
    history: int
    interrupted: bool

    def of_head(self, k: int) -> tuple[float, float, float, bool]:
        """objective, gradient_norm, bound and converged of one head, as plain values."""
        f, norm, bound = (float(x[k]) for x in (self.objective, self.gradient_norm, self.bound))
        return f, norm, bound, bool(self.converged[k])


def solve(
    problem: Problem,
    W: Array,
    b: Array,
    *,
    optimum: Optimum,
    callback: Callable[[Round], Any] | None = None,
) -> Solution:
    """From W (h, d, c) and b (h, c), which are not changed, to the optimum.

    It ends when every head is proven to be within `tol` of its optimum, relative to that, or has
    taken `max_iter` steps, or cannot be brought closer; or when `callback` returns True, or at
    Ctrl-C, after the round.
    """
    return _Solve(problem, W, b, optimum, callback).run()


class _Solve:
    def __init__(self, problem: Problem, W: Array, b: Array, optimum: Optimum, callback: Any):
        self.problem, self.dtype = problem, W.dtype
        self.tol, self.most = optimum.tol, optimum.max_iter
        self.callback, self.rounds, self.stopped, self.interrupted = callback, 0, False, False
        W, b = W.astype(np.float64), b.astype(np.float64)
        if problem.has_free_bias:
            absent = problem.class_weights(b.shape[1]) == 0
            b[absent] = ABSENT
            W.transpose(0, 2, 1)[absent] = 0
        self.space = Space.of(problem, b.shape[1])
        self.descent = Descent(problem, self.space, self.space.variables(W, b))
        self.provable = problem.provable
        self.least, self.start_norm = np.full(len(W), -np.inf), np.zeros(len(W))

    def run(self) -> Solution:
        descent, left = self.descent, np.arange(len(self.least))
        arithmetics = (self.dtype, *[np.dtype(np.float64)] * (len(MARGINS) - 1))
        for leg, (dtype, margin) in enumerate(zip(arithmetics, MARGINS, strict=True)):
            if self.stopped or not len(left):
                break
            near = self._leg(left, dtype, margin, is_first=leg == 0)
            self._prove(left[near & self.provable[left]])
            over = self._is_proven(left) | (descent.n_iter[left] >= self.most)
            over |= near & ~self.provable[left]
            if dtype == np.float64:
                over |= descent.stuck[left]
            left = left[~over]
        self._prove(np.flatnonzero(self.provable & np.isinf(self.least)))
        return self._solution()

    def _leg(self, heads: Array, dtype: Any, margin: float, *, is_first: bool) -> Array:
        """Take these heads as near as `margin` says; returns which of them are."""
        descent = self.descent
        try:
            descent.start(heads, dtype)
            if is_first:
                self.start_norm = self._norm(heads)
            going = self._far(heads, margin)
            while len(going) and not self.stopped:
                moved = descent.round(going, dtype)
                arrived = np.setdiff1d(moved, self._far(moved, margin), assume_unique=True)
                over = descent.stuck[going] | (descent.n_iter[going] >= self.most)
                going = np.setdiff1d(going[~over], arrived, assume_unique=True)
                self._tell(going)
        except KeyboardInterrupt:
            self.stopped = self.interrupted = True
        return ~np.isin(heads, self._far(heads, margin))

    def _tell(self, going: Array) -> None:
        if self.callback is not None:
            bound = float(self._distance(going).max(initial=0))
            self.stopped = bool(self.callback(Round(self.rounds, len(going), bound)))
        self.rounds += 1

    def _far(self, heads: Array, margin: float) -> Array:
        """Those of these heads that are not as near as `margin` says."""
        return heads[~(self._distance(heads) <= margin * self.tol)]

    def _distance(self, heads: Array) -> Array:
        """About how far heads are from the optimum, relative to it; see `Round.bound`."""
        f, g, l2 = self.descent.f[heads], self.descent.g[heads], self.problem.l2[heads]
        of_W, of_b = (np.einsum("hij,hij->h", x, x) for x in (g[:, :-1], g[:, -1:]))
        with np.errstate(all="ignore"):
            if self.problem.has_free_bias:
                gap = of_W / (2 * l2) + g.shape[2] * of_b
            else:
                gap = (of_W + of_b) / (2 * l2)
            bound = np.where(gap == 0, 0, np.where(gap < f, gap / (f - gap), np.inf))
            norm, start = self._norm(heads), self.start_norm[heads]
            stationary = np.where(norm == 0, 0, (norm / start) ** 2)
        return np.where(self.provable[heads], bound, stationary)

    def _norm(self, heads: Array) -> Array:
        """The norm of the gradient by W and b."""
        g = self.descent.g[heads]
        dW = g[:, :-1] + self.space.center[:, None] * g[:, -1:]
        return np.sqrt(np.einsum("hij,hij->h", dW, dW) + (g[:, -1] ** 2).sum(axis=1))

    def _prove(self, heads: Array) -> None:
        """Set what f* is at least for these heads, and take over a better bias."""
        if not len(heads):
            return
        theta = self.descent.theta
        W, b = self.space.weights(theta[heads], np.float64)
        proof = prove(self.problem.take(heads), W, b, self.space.center)
        self.least[heads] = np.maximum(self.least[heads], proof.least)
        self.descent.f[heads] = proof.objective
        theta[heads] = self.space.variables(W, proof.b)

    def _is_proven(self, heads: Array) -> Array:
        f, least = self.descent.f[heads], self.least[heads]
        proven: Array = f - least <= self.tol * least
        return proven

    def _solution(self) -> Solution:
        W, b = self.space.weights(self.descent.theta, self.dtype)
        f, dW, db = self.problem.value(W.astype(np.float64), b.astype(np.float64))
        norm = np.sqrt(np.einsum("hdc,hdc->h", dW, dW) + (db**2).sum(axis=1))
        bound = bound_of(f, self.least)
        proven = bound <= self.tol * self.least
        n_iter = self.descent.n_iter
        return Solution(
            W=W,
            b=b,
            objective=f,
            gradient_norm=norm,
            bound=bound,
            converged=np.where(self.provable, proven, norm <= np.sqrt(self.tol) * self.start_norm),
            n_iter=n_iter,
            curve=self._curve(n_iter),
            history=history_length(len(f), self.descent.theta[0].size),
            interrupted=self.interrupted,
        )

    def _curve(self, n_iter: Array) -> Array:
        curve = np.full((int(n_iter.max(initial=0)), len(n_iter)), np.nan)
        done = np.zeros(len(n_iter), np.int64)
        for heads, loss in self.descent.curve:
            curve[done[heads], heads] = loss
            done[heads] += 1
        return curve

"""Every head of a bank to its optimum, and the proof that it is there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels.checks import Array
from softstep.model.optimum.curvature import Curvature
from softstep.model.optimum.lbfgs import Descent
from softstep.model.optimum.problem import Problem
from softstep.model.optimum.proof import bound_of, prove
from softstep.model.optimum.settings import Optimum
from softstep.model.optimum.space import Space

# The bias of a class without weight among a head's rows, whose optimum is at -∞: p is exactly 0.
ABSENT = -1e30
# A head is taken to a bound of so many times `tol` by estimate, then proven; where rounding or the
# estimate stood in the way, again in float64, closer and closer.
MARGINS = (0.7, 0.3, 0.03, 0.003)


@dataclass(frozen=True)
class Round:
    """What a callback is given after each round.

    number: of the round, from 0. going: heads still on their way. bound: the largest of their
    estimated bounds, relative to the objective; of heads without a bound, how much is left of the
    squared gradient norm at zero weights.
    """

    number: int
    going: int
    bound: float


@dataclass(frozen=True)
class Solution:
    """Of each of h heads: weights, and what is known about them.

    objective, gradient_norm: at W and b, in float64. bound: on how far `objective` is above its
    least; NaN where none exists. converged: whether bound ≤ tol · the least objective, or without
    a bound, whether the gradient norm is at most √tol of that at zero weights. n_iter: steps taken.
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
        self.problem, self.dtype, self.c = problem, W.dtype, b.shape[1]
        self.tol, self.most = optimum.tol, optimum.max_iter
        self.callback, self.rounds, self.stopped, self.interrupted = callback, 0, False, False
        W, b = _without_absent(problem, W.astype(np.float64), b.astype(np.float64))
        center, curvature = Curvature.of(problem, self.c)
        self.space = Space(center)
        theta = self.space.variables(W, b)
        self.descent = Descent(problem, self.space, curvature, theta)
        self.provable = problem.provable
        self.least, self.norm_at_zero = np.full(len(W), -np.inf), np.full(len(W), np.nan)
        self.proven_at = np.full(len(W), -1)  # the steps that a head had taken at its last proof
        self.W, self.b = W.astype(self.dtype), b.astype(self.dtype)  # what is returned, and of it
        self.objective, self.norm = np.full((2, len(W)), np.nan)  # NaN: not known

    def run(self) -> Solution:
        try:
            self._to_the_optimum()
        except KeyboardInterrupt:
            self.interrupted = True
        return self._solution()

    def _to_the_optimum(self) -> None:
        descent, left = self.descent, np.arange(len(self.least))
        self._look_at_zero(np.flatnonzero(~self.provable))
        arithmetics = (self.dtype, *[np.dtype(np.float64)] * (len(MARGINS) - 1))
        for dtype, margin in zip(arithmetics, MARGINS, strict=True):
            if self.stopped or not len(left):
                break
            near = self._leg(left, dtype, margin)
            self._prove(left[near & self.provable[left]], dtype)
            over = self._is_proven(left) | (descent.n_iter[left] >= self.most)
            over |= near & ~self.provable[left]
            if dtype == np.float64:
                over |= descent.stuck[left]
            left = left[~over]
        all_heads = np.arange(len(self.least))
        moved = self.provable & (self.proven_at < descent.n_iter) & ~self._is_proven(all_heads)
        self._prove(np.flatnonzero(moved), np.float64)

    def _look_at_zero(self, heads: Array) -> None:
        """By the gradient at zero weights it is judged how little there is left of it."""
        if len(heads):
            zero = np.zeros((len(heads), *self.W.shape[1:]), self.dtype)
            _, dW, db = self.problem.take(heads).value(zero, zero[:, 0])
            self.norm_at_zero[heads] = _norm(dW, db)

    def _leg(self, heads: Array, dtype: Any, margin: float) -> Array:
        """Take these heads as near as `margin` says; returns which of them are."""
        descent = self.descent
        self.objective[heads] = np.nan
        descent.start(heads, dtype)
        going = self._far(heads, margin)
        while len(going) and not self.stopped:
            moved = descent.round(going, dtype)
            arrived = np.setdiff1d(moved, self._far(moved, margin), assume_unique=True)
            over = descent.stuck[going] | (descent.n_iter[going] >= self.most)
            going = np.setdiff1d(going[~over], arrived, assume_unique=True)
            self._tell(going)
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
        at, l2 = self.descent.at, self.problem.l2[heads]
        f, of_W, of_b, norm = (x[heads] for x in (at.f, at.of_W, at.of_b, at.norm))
        with np.errstate(all="ignore"):
            if self.problem.has_free_bias:
                gap = of_W / (2 * l2) + at.theta.shape[2] * of_b
            else:
                gap = (of_W + of_b) / (2 * l2)
            bound = np.where(gap == 0, 0, np.where(gap < f, gap / (f - gap), np.inf))
            stationary = np.where(norm == 0, 0, (norm / self.norm_at_zero[heads]) ** 2)
        return np.where(self.provable[heads], bound, stationary)

    def _prove(self, heads: Array, dtype: Any) -> None:
        """Set what f* is at least for these heads, and take over a better bias.

        dtype: of the weights that the proof is about. In that of the rows they are those returned.
        """
        if not len(heads):
            return
        at = self.descent.at
        W, b = self.space.weights(at.theta[heads], dtype)
        W, b = W.astype(np.float64, copy=False), b.astype(np.float64, copy=False)
        proof = prove(self.problem.take(heads), W, b, self.space.center, self.tol)
        self.least[heads] = np.maximum(self.least[heads], proof.least)
        self.proven_at[heads] = self.descent.n_iter[heads]
        at.f[heads], at.theta[heads] = proof.objective, self.space.variables(W, proof.b)
        if dtype == self.dtype:
            stays = (proof.b == b).all(axis=1)
            self.W[heads[stays]], self.b[heads[stays]] = W[stays], b[stays]
            self.objective[heads[stays]] = proof.objective[stays]
            self.norm[heads[stays]] = proof.gradient_norm[stays]

    def _is_proven(self, heads: Array) -> Array:
        f, least = self.descent.at.f[heads], self.least[heads]
        proven: Array = f - least <= self.tol * least
        return proven

    def _solution(self) -> Solution:
        unknown = np.flatnonzero(np.isnan(self.objective))
        self._evaluate(unknown, self.dtype if self.interrupted else np.float64)
        f, norm = self.objective, self.norm
        bound = bound_of(f, self.least)
        proven = bound <= self.tol * self.least
        n_iter = self.descent.n_iter
        return Solution(
            W=self.W,
            b=self.b,
            objective=f,
            gradient_norm=norm,
            bound=bound,
            converged=np.where(
                self.provable, proven, norm <= np.sqrt(self.tol) * self.norm_at_zero
            ),
            n_iter=n_iter,
            curve=self._curve(n_iter),
            history=self.descent.history,
            interrupted=self.interrupted,
        )

    def _evaluate(self, heads: Array, dtype: Any) -> None:
        """Set the weights to return of these heads, their objective and its gradient's norm."""
        if not len(heads):
            return
        W, b = self.space.weights(self.descent.at.theta[heads], self.dtype)
        some = self.problem.take(heads)
        f, dW, db = some.value(W.astype(dtype, copy=False), b.astype(dtype, copy=False))
        self.W[heads], self.b[heads], self.objective[heads] = W, b, f
        self.norm[heads] = _norm(dW, db)

    def _curve(self, n_iter: Array) -> Array:
        curve = np.full((int(n_iter.max(initial=0)), len(n_iter)), np.nan)
        done = np.zeros(len(n_iter), np.int64)
        for heads, loss in self.descent.curve:
            curve[done[heads], heads] = loss
            done[heads] += 1
        return curve


def _without_absent(problem: Problem, W: Array, b: Array) -> tuple[Array, Array]:
    """The weights to begin with: a class that has no weight among a head's rows is left out.

    One that was left out of another fit, and is there now, begins as the rarest of the others.
    """
    if not problem.has_free_bias:
        return W, b
    absent = problem.class_weights(b.shape[1]) == 0
    was_absent = b <= ABSENT / 2
    rarest = np.where(was_absent, np.inf, b).min(axis=1, keepdims=True)
    b = np.where(was_absent & np.isfinite(rarest), rarest, b)
    b[absent] = ABSENT
    W.transpose(0, 2, 1)[absent] = 0
    return W, b


def _norm(dW: Array, db: Array) -> Array:
    """That of the gradient of each head, (h,)."""
    return np.sqrt(np.einsum("hdc,hdc->h", dW, dW) + (db**2).sum(axis=1))

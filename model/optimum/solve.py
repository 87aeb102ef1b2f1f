"""Every head of a bank to its optimum, and the proof that it is there."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels import blas
from softstep.kernels.checks import Array
from softstep.model.optimum.absent import are_absent, without_absent, without_common
from softstep.model.optimum.curvature import Curvature
from softstep.model.optimum.kept import Keep
from softstep.model.optimum.lbfgs import HISTORY, Descent
from softstep.model.optimum.problem import Problem
from softstep.model.optimum.proof import bound_of, prove
from softstep.model.optimum.rounding import U
from softstep.model.optimum.settings import Optimum
from softstep.model.optimum.space import Space

# A head is taken to a bound of so many times `tol` by estimate, then proven; where rounding or the
# estimate stood in the way, again in float64, closer and closer.
MARGINS = (0.7, 0.3, 0.03, 0.003)
# A gradient norm below so many u √(1 + ‖s x‖²) is 0, as far as float64 can tell: features may say
# nothing.
NOTHING = 64


@dataclass(frozen=True)
class Round:
    """What a callback is given after each round.

    number: of the round, from 0. going: heads still on their way, or not begun. bound: the largest
    of the estimated bounds of those on their way, relative to the objective; of heads without a
    bound, how much is left of the squared gradient norm at zero weights. part, parts: heads that
    see the features differently, or scaled by other rows, go one part after another.
    """

    number: int
    going: int
    bound: float
    part: int = 0
    parts: int = 1


@dataclass(frozen=True)
class Solution:
    """Of each of h heads: weights, and what is known about them.

    objective, gradient_norm: at W and b, in float64; NaN where Ctrl-C came before they were taken.
    bound: on how far `objective` is above its least; NaN where none exists, or none was proven.
    converged: whether bound ≤ tol · the least objective, or without a bound, whether the gradient
    norm is at most √tol of that at zero weights; or whether what is left is lost in rounding.
    n_iter: steps taken. curve: (most n_iter, h), the mean loss after each, without l2. history:
    pairs that each head kept. stopped: whether Ctrl-C or the callback ended it; interrupted:
    whether Ctrl-C.
    """

    W: Any
    b: Array
    objective: Array
    gradient_norm: Array
    bound: Array
    converged: Array
    n_iter: Array
    curve: Array
    history: int
    stopped: bool
    interrupted: bool

    @classmethod
    def not_begun(cls, W: Any, b: Array) -> "Solution":
        """Of heads that it was stopped before: they keep their weights, of which nothing is known.

        Whether by Ctrl-C, others say.
        """
        unknown = np.full(len(b), np.nan)
        return cls(
            W=W,
            b=b,
            objective=unknown,
            gradient_norm=unknown,
            bound=unknown,
            converged=np.zeros(len(b), bool),
            n_iter=np.zeros(len(b), np.int64),
            curve=np.empty((0, len(b))),
            history=HISTORY,
            stopped=True,
            interrupted=False,
        )

    def of_head(self, k: int) -> tuple[float, float, float, bool]:
        """objective, gradient_norm, bound and converged of one head, as plain values."""
        f, norm, bound = (float(x[k]) for x in (self.objective, self.gradient_norm, self.bound))
        return f, norm, bound, bool(self.converged[k])


@blas.on_one_thread()
@np.errstate(over="ignore", invalid="ignore")  # who comes to what is not finite stops short
def solve(
    problem: Problem,
    W: Array,
    b: Array,
    *,
    optimum: Optimum,
    callback: Callable[[Round], Any] | None = None,
    keep: Keep | None = None,
) -> Solution:
    """From W (h, d, c) and b (h, c), which are not changed, to the optimum.

    It ends when every head is proven to be within `tol` of its optimum, relative to that, or has
    taken `max_iter` steps, or cannot be brought closer; or when `callback` returns True, or at
    Ctrl-C, after the round. keep: called after each round in which heads moved, with these.
    """
    return _Solve(problem, W, b, optimum, callback, keep).run()


class _Solve:
    def __init__(
        self,
        problem: Problem,
        W: Array,
        b: Array,
        optimum: Optimum,
        callback: Any,
        keep: Keep | None,
    ):
        self.keep = keep
        self.problem, self.dtype, self.c = problem, W.dtype, b.shape[1]
        self.tol, self.most = optimum.tol, optimum.max_iter
        self.callback, self.rounds, self.stopped, self.interrupted = callback, 0, False, False
        W, b = without_absent(problem, W.astype(np.float64), b.astype(np.float64))
        center, curvature = Curvature.of(problem, self.c)
        self.space = Space(center)
        theta = self._without_common(self.space.variables(W, b))
        self.descent = Descent(problem, self.space, curvature, theta)
        self.provable = problem.provable
        self.least = np.full(len(W), -np.inf)
        # Without a proof a head is there where its gradient norm is at most this.
        self.stationary = np.full(len(W), NOTHING * U * curvature.size)
        self.size = curvature.size
        self.proven_at = np.full(len(W), -1)  # the steps that a head had taken at its last proof
        self.W, self.b = W.astype(self.dtype), b.astype(self.dtype)  # what is returned, and of it
        self.objective, self.norm = np.full((2, len(W)), np.nan)  # NaN: not known

    def _without_common(self, theta: Array) -> Array:
        """θ without what all classes of a head have in common, which l2 alone is about."""
        present = ~are_absent(theta[:, -1])
        rows = slice(None) if self.problem.l2_bias and self.problem.fit_bias else slice(-1)
        for k in np.flatnonzero(self.problem.provable):
            theta[k, rows] = without_common(theta[k, rows], present[k])
        return theta

    def run(self) -> Solution:
        try:
            self._to_the_optimum()
        except KeyboardInterrupt:
            self.stopped = self.interrupted = True
        return self._solution()

    def _to_the_optimum(self) -> None:
        descent, left = self.descent, np.arange(len(self.least))
        self._look_at_zero(np.flatnonzero(~self.provable))
        arithmetics = (self.dtype, *[np.dtype(np.float64)] * (len(MARGINS) - 1))
        for dtype, margin in zip(arithmetics, MARGINS, strict=True):
            if self.stopped or not len(left):
                break
            near = self._leg(left, dtype, margin)
            self._take_proofs(left[near & self.provable[left]], dtype)
            over = self._is_proven(left) | (descent.n_iter[left] >= self.most)
            over |= near & ~self.provable[left]
            if dtype == np.float64:
                over |= descent.stuck[left]
            left = left[~over]
        all_heads = np.arange(len(self.least))
        moved = self.provable & (self.proven_at < descent.n_iter) & ~self._is_proven(all_heads)
        self._take_proofs(np.flatnonzero(moved), np.float64)

    def _look_at_zero(self, heads: Array) -> None:
        """By the gradient at zero weights it is judged how little there is left of it."""
        if len(heads):
            zero = np.zeros((len(heads), *self.W.shape[1:]))
            _, dW, db = self.problem.take(heads).value(zero, zero[:, 0])
            enough = np.sqrt(self.tol) * _norm(dW, db)
            self.stationary[heads] = np.fmax(self.stationary[heads], enough)

    def _leg(self, heads: Array, dtype: Any, margin: float) -> Array:
        """Take these heads as near as `margin` says; returns which of them are."""
        descent = self.descent
        self.objective[heads] = np.nan
        descent.start(heads, dtype)
        going = self._far(heads, margin)
        while len(going) and not self.stopped:
            moved = descent.round(descent.ready(going), dtype)
            if self.keep is not None and len(moved):
                self.keep(moved, *self.space.weights(descent.at.theta[moved], self.dtype))
            arrived = np.setdiff1d(moved, self._far(moved, margin), assume_unique=True)
            over = descent.stuck[going] | (descent.n_iter[going] >= self.most)
            left = np.setdiff1d(going[~over], arrived, assume_unique=True)
            descent.leave(np.setdiff1d(going, left, assume_unique=True))
            going = left
            self._tell(going)
        return ~np.isin(heads, self._far(heads, margin))

    def _tell(self, going: Array) -> None:
        if self.callback is not None:
            bound = float(self._estimate(going).max(initial=0))
            self.stopped = bool(self.callback(Round(self.rounds, len(going), bound)))
        self.rounds += 1

    def _far(self, heads: Array, margin: float) -> Array:
        """Those of these heads that are not as near as `margin` says."""
        return heads[~(self._estimate(heads) <= margin * self.tol)]

    def _estimate(self, heads: Array) -> Array:
        """About how far heads are from the optimum, relative to it, at no cost; see `Round.bound`.

        It is what a proof would say if the bias were at its best, and nothing rounded.
        """
        at, l2 = self.descent.at, self.problem.l2[heads]
        f, of_W, of_b, norm = (x[heads] for x in (at.f, at.of_W, at.of_b, at.norm))
        with np.errstate(all="ignore"):
            if self.problem.has_free_bias:
                gap = of_W / (2 * l2) + at.theta.shape[2] * of_b
            else:
                gap = (of_W + of_b) / (2 * l2)
            bound = np.where(gap < f, gap / (f - gap), np.inf)
            bound = np.where((gap == 0) | (f <= self._nothing), 0, bound)
            left = self.tol * (norm / self.stationary[heads]) ** 2
        return np.where(self.provable[heads], bound, left)

    @property
    def _nothing(self) -> float:
        """An objective that is lost beside that of zero weights: of one class alone it can be 0."""
        return U * float(np.log(self.c))

    def _take_proofs(self, heads: Array, dtype: Any) -> None:
        """Set what f* is at least for these heads, and what the weights to return then are worth.

        A better bias, of which the proof knows, is taken over. dtype: of the weights that the proof
        is about. Where they are those to return, it says what they are worth.
        """
        if not len(heads):
            return
        W, b = self.space.weights(self.descent.at.theta[heads], dtype)
        W, b = W.astype(np.float64, copy=False), b.astype(np.float64, copy=False)
        proof = prove(self.problem.take(heads), W, b, self.space.center, self.tol)
        self.least[heads] = np.fmax(self.least[heads], proof.least)
        self.proven_at[heads] = self.descent.n_iter[heads]
        self.descent.place(heads, self.space.variables(W, proof.b))
        same = (proof.b == b).all(axis=1) & (dtype == self.dtype)
        stays = heads[same]
        self.W[stays], self.b[stays] = W[same], b[same]
        self.objective[stays], self.norm[stays] = proof.objective[same], proof.gradient_norm[same]
        self._round_off(heads[~same])
        self._evaluate(heads[~same], np.float64)

    def _is_proven(self, heads: Array) -> Array:
        """Whether the weights to return of these heads are proven to be near enough."""
        f, least = self.objective[heads], self.least[heads]
        with np.errstate(invalid="ignore"):
            near = bound_of(f, least) <= self.tol * np.maximum(least, 0)
        proven: Array = near | (np.isfinite(least) & (f <= self._nothing))
        return proven

    def _is_stationary(self) -> Array:
        """Whether the gradient of each head is small enough, or it is at its end and more is lost
        in rounding: size²/2 is the most curvature, so that a step along the gradient lowers f by
        its square / size² at most, and weights that are rounded move the gradient by as much."""
        b = np.where(are_absent(self.b), 0, self.b)
        of_weights = np.finfo(self.dtype).eps / 4 * self.size**2 * _norm(self.W, b)
        with np.errstate(invalid="ignore"):
            of_f = self.size * np.sqrt(2 * U * np.abs(self.objective))
            flat = self.norm <= np.maximum(of_f, of_weights)
            at_end = self.descent.stuck | (self.descent.at.norm <= self.stationary)
        stationary: Array = (self.norm <= self.stationary) | (at_end & flat)
        return stationary

    def _solution(self) -> Solution:
        unknown = np.flatnonzero(np.isnan(self.objective))
        self._round_off(unknown)
        try:
            # What a proof is compared with is in float64; at Ctrl-C all else is had sooner.
            wide = np.isfinite(self.least[unknown]) | (not self.interrupted)
            self._evaluate(unknown[~wide], self.dtype)
            self._evaluate(unknown[wide], np.float64)
        except KeyboardInterrupt:
            self.stopped = self.interrupted = True
        n_iter, there = self.descent.n_iter, self._is_proven(np.arange(len(self.least)))
        return Solution(
            W=self.W,
            b=self.b,
            objective=self.objective,
            gradient_norm=self.norm,
            bound=bound_of(self.objective, self.least),
            converged=np.where(self.provable, there, self._is_stationary()),
            n_iter=n_iter,
            curve=self._curve(n_iter),
            history=self.descent.history,
            stopped=self.stopped,
            interrupted=self.interrupted,
        )

    def _round_off(self, heads: Array) -> None:
        """Return the weights that these heads are at."""
        if len(heads):
            weights = self.space.weights(self.descent.at.theta[heads], self.dtype)
            self.W[heads], self.b[heads] = weights

    def _evaluate(self, heads: Array, dtype: Any) -> None:
        """Set the objective of the weights to return of these heads, and its gradient's norm."""
        if len(heads):
            W, b = (x[heads].astype(dtype, copy=False) for x in (self.W, self.b))
            f, dW, db = self.problem.take(heads).value(W, b)
            self.objective[heads], self.norm[heads] = f, _norm(dW, db)

    def _curve(self, n_iter: Array) -> Array:
        curve = np.full((int(n_iter.max(initial=0)), len(n_iter)), np.nan)
        done = np.zeros(len(n_iter), np.int64)
        for heads, loss in self.descent.curve:
            curve[done[heads], heads] = loss
            done[heads] += 1
        return curve


def _norm(dW: Array, db: Array) -> Array:
    """That of the gradient of each head, (h,)."""
    return np.sqrt(np.einsum("hdc,hdc->h", dW, dW) + (db**2).sum(axis=1))

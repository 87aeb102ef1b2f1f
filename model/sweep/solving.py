"""A bank of heads that is solved to its optimum, in place of being trained."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from softstep.kernels.checks import Array
from softstep.model import blocks, trainer
from softstep.model.optimum.kept import keeping
from softstep.model.optimum.problem import Problem
from softstep.model.optimum.settings import Optimum
from softstep.model.optimum.shortfall import say_what_fell_short
from softstep.model.optimum.solve import Round, Solution, solve
from softstep.model.resume import Keeper
from softstep.model.sweep.heads import Curves, Heads, Plan, Training
from softstep.model.views import Weights, put


class Solving(Training):
    """As `Training`, with `solution` and `ends`; its curves have an entry for each step."""

    optimum: Optimum
    C: Array

    def __init__(
        self, heads: Heads, bank: trainer.BankState, plan: Plan, optimum: Optimum, C: Array
    ):
        """C: (h,), what the l2 of a head was given as; NaN where it was given itself."""
        super().__init__(heads, bank, replace(plan, epochs=1))
        self.optimum, self.C = optimum, C

    def run(self, callback: Callable[[Any], Any] | None, keeper: Keeper | None = None) -> None:
        found = self.to_the_optimum(callback, keeper)
        say_what_fell_short(found, self.heads.l2, self.C, self.optimum)

    def to_the_optimum(
        self, callback: Callable[[Any], Any] | None, keeper: Keeper | None = None
    ) -> Solution:
        """Take the heads there, and judge them."""
        heads, bank, plan = self.heads, self.bank, self.plan
        self._refuse_non_finite(plan.data, "X")
        if not plan.by_split:
            self._refuse_non_finite(plan.held_out, "X_val")
        if isinstance(bank.W, Weights):
            found = self._solve_parts(callback, keeper)
        else:
            data = replace(plan.data, y_index=heads.label_set, weight_index=heads.weight_set)
            problem = Problem.of(plan.sgd, data, heads.loss, heads.l2, plan.layout)
            keep = keeping(keeper, partial(_put, bank.W, bank.b, np.arange(len(bank.b))))
            found = solve(
                problem, bank.W, bank.b, optimum=self.optimum, callback=callback, keep=keep
            )
        put(bank.W, ..., found.W)
        put(bank.b, ..., found.b)
        if keeper is not None:
            keeper.keep()
        self.take_solution(replace(found, W=bank.W, b=bank.b))
        self._evaluate(len(self.curves.steps) - 1)
        self._look_at_ends()
        return found

    def take_solution(self, found: Solution) -> None:
        """Have this solution, of all heads, and the curves on its way."""
        self.solution, self.epochs[:] = found, found.n_iter
        steps = max(len(found.curve), 1)
        self.curves = Curves(*np.full((4, steps, len(found.n_iter)), np.nan))
        self.curves.steps = [1] * steps
        self.curves.loss[: len(found.curve)] = found.curve

    def _look_at_ends(self) -> None:
        """Take the figures of all heads on the rows that they learned from."""
        heads, bank, plan = self.heads, self.bank, self.plan
        evaluate, self.ends = trainer.evaluate, np.empty((2, len(heads.group)))
        if plan.layout is not None:
            evaluate = partial(blocks.evaluate, layout=plan.layout)
        some = np.flatnonzero(~np.isin(heads.part, list(plan.few)))
        if len(some):
            all_rows = heads.take(some)
            sgd = replace(plan.sgd, loss=tuple(all_rows.loss))
            y_index, weight_index = all_rows.label_set, all_rows.weight_set
            data = replace(plan.data, y_index=y_index, weight_index=weight_index)
            self.ends[:, some] = evaluate(data, *bank.weights(some), sgd)
        for p, mine in bank.W.by_part() if plan.few else ():
            if p in plan.few:
                rows, sgd = plan.rows_of(p, mine, heads), plan.sgd.of_part(p, mine)
                sgd = replace(sgd, loss=tuple(heads.loss[mine]))
                b = bank.W.biases(p, bank.b[mine])
                self.ends[:, mine] = trainer.evaluate(rows, bank.W.arrays[p], b, sgd)

    def _solve_parts(
        self, callback: Callable[[Any], Any] | None, keeper: Keeper | None
    ) -> Solution:
        """The heads of one part after those of another; once stopped, the others stay as they are.

        What is solved when Ctrl-C comes is not lost, wherever it comes.
        """
        bank = self.bank
        parts, told, interrupted = list(bank.W.by_part()), 0, False
        biases = {p: bank.W.biases(p, bank.b[mine]) for p, mine in parts}
        found = {p: Solution.not_begun(bank.W.arrays[p], b) for p, b in biases.items()}

        def tell(round: Round, part: int, later: int) -> bool:
            nonlocal told
            going = round.going + later
            whole = replace(round, number=told, going=going, part=part, parts=len(parts))
            told += 1
            return callback is not None and bool(callback(whole))

        try:
            for i, (p, mine) in enumerate(parts):
                later = sum(len(others) for _, others in parts[i + 1 :])
                found[p] = solve(
                    self._problem_of(p, mine),
                    bank.W.arrays[p],
                    biases[p],
                    optimum=self.optimum,
                    callback=partial(tell, part=i, later=later),
                    keep=keeping(keeper, partial(_put, bank.W.arrays[p], bank.b, mine)),
                )
                if found[p].stopped:
                    break
        except KeyboardInterrupt:
            interrupted = True
        arrays = [found[p].W if p in found else W for p, W in enumerate(bank.W.arrays)]
        weights = Weights(bank.W.parts, bank.W.part, arrays)
        whole = together(weights, [(mine, found[p]) for p, mine in parts], bank.b.shape[1])
        return replace(whole, interrupted=interrupted or whole.interrupted)

    def _problem_of(self, p: int, mine: Array) -> Problem:
        """That of the heads `mine`, which are in part p of the bank."""
        heads, plan = self.heads, self.plan
        rows, sgd = plan.rows_of(p, mine, heads), plan.sgd.of_part(p, mine)
        layout = None if p in plan.few else plan.layout
        return Problem.of(sgd, rows, heads.loss[mine], heads.l2[mine], layout)


def _put(W: Array, b: Array, mine: Array, heads: Array, of_W: Array, of_b: Array) -> None:
    """Write the weights of these heads of a part, whose own are W, into the bank, whose biases are
    b. mine: which of the bank are in the part."""
    W[heads], b[mine[heads], : of_b.shape[1]] = of_W, of_b


def together(W: Any, solutions: list[tuple[Any, Solution]], c: int) -> Solution:
    """Solutions, each of some heads, as one of all, whose weights are W. c: the most classes that a
    head of the bank has, perhaps none of these."""
    h, steps = len(W), max(len(found.curve) for _, found in solutions)
    curve, b = np.full((steps, h), np.nan), np.zeros((h, c), W.dtype)
    figures: dict[str, Any] = {}
    for mine, found in solutions:
        curve[: len(found.curve), mine] = found.curve
        b[mine, : found.b.shape[1]] = found.b
        for name in ("objective", "gradient_norm", "bound", "converged", "n_iter"):
            values = getattr(found, name)
            whole = figures.setdefault(name, np.empty(h, values.dtype))
            whole[mine] = values
    return Solution(
        W=W,
        b=b,
        curve=curve,
        history=min(found.history for _, found in solutions),
        stopped=any(found.stopped for _, found in solutions),
        interrupted=any(found.interrupted for _, found in solutions),
        **figures,
    )

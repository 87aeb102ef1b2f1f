"""A bank of heads that is solved to its optimum, in place of being trained."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from softstep.model import trainer
from softstep.model.optimum.problem import Problem
from softstep.model.optimum.settings import Optimum
from softstep.model.optimum.shortfall import say_what_fell_short
from softstep.model.optimum.solve import Solution, solve
from softstep.model.resume import Keeper
from softstep.model.sweep.heads import Curves, Heads, Plan, Training
from softstep.model.views import Weights


class Solving(Training):
    """As `Training`, with `solution`; its curves have an entry for each step of a head."""

    def __init__(self, heads: Heads, bank: trainer.BankState, plan: Plan, optimum: Optimum):
        super().__init__(heads, bank, replace(plan, epochs=1))
        self.optimum = optimum

    def run(self, callback: Callable[[Any], Any] | None, keeper: Keeper | None = None) -> None:
        say_what_fell_short(self.to_the_optimum(callback), self.heads.l2, self.optimum)

    def to_the_optimum(self, callback: Callable[[Any], Any] | None) -> Solution:
        """Take the heads there, and judge them."""
        heads, bank, plan = self.heads, self.bank, self.plan
        self._refuse_non_finite(plan.data, "X")
        if isinstance(bank.W, Weights):
            found = self._solve_parts(callback)
        else:
            data = replace(plan.data, y_index=heads.label_set, weight_index=heads.weight_set)
            problem = Problem.of(plan.sgd, data, heads.loss, heads.l2, plan.layout)
            found = solve(problem, bank.W, bank.b, optimum=self.optimum, callback=callback)
        bank.W[:], bank.b[:] = found.W, found.b
        self.take_solution(replace(found, W=bank.W, b=bank.b))
        self._evaluate(len(self.curves.steps) - 1)
        return found

    def take_solution(self, found: Solution) -> None:
        """Have this solution, of all heads, and the curves on its way."""
        self.solution, self.epochs[:] = found, found.n_iter
        steps = max(len(found.curve), 1)
        self.curves = Curves(*np.full((4, steps, len(found.n_iter)), np.nan))
        self.curves.steps = [1] * steps
        self.curves.loss[: len(found.curve)] = found.curve

    def _solve_parts(self, callback: Callable[[Any], Any] | None) -> Solution:
        """The heads of one part after those of another; once stopped, each part takes a round."""
        bank, heads, plan = self.bank, self.heads, self.plan
        stopped, solutions, arrays = False, [], list(bank.W.arrays)

        def tell(round: Any) -> bool:
            nonlocal stopped
            stopped = stopped or (callback is not None and bool(callback(round)))
            return stopped

        for p, mine in bank.W.by_part():
            rows, sgd = plan.rows_of(p, mine, heads), plan.sgd.of_part(p, mine)
            layout = None if p in plan.few else plan.layout
            problem = Problem.of(sgd, rows, heads.loss[mine], heads.l2[mine], layout)
            W, b = bank.W.arrays[p], bank.W.biases(p, bank.b[mine])
            found = solve(problem, W, b, optimum=self.optimum, callback=tell)
            stopped |= found.interrupted
            solutions.append((mine, found))
            arrays[p] = found.W
        return together(Weights(bank.W.parts, bank.W.part, arrays), solutions)


def together(W: Any, solutions: list[tuple[Any, Solution]]) -> Solution:
    """Solutions, each of some heads, as one of all, whose weights are W."""
    h, steps = len(W), max(len(found.curve) for _, found in solutions)
    curve, c = np.full((steps, h), np.nan), max(found.b.shape[1] for _, found in solutions)
    b = np.zeros((h, c), W.dtype)
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
        interrupted=any(found.interrupted for _, found in solutions),
        **figures,
    )

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
        heads, bank, plan = self.heads, self.bank, self.plan
        self._refuse_non_finite(plan.data, "X")
        if isinstance(bank.W, Weights):
            found = self._solve_parts(callback)
        else:
            data = replace(plan.data, y_index=heads.label_set, weight_index=heads.weight_set)
            problem = Problem.of(plan.sgd, data, heads.loss, heads.l2, plan.layout)
            found = solve(problem, bank.W, bank.b, optimum=self.optimum, callback=callback)
        bank.W[:], bank.b[:] = found.W, found.b
        self.solution, self.epochs[:] = found, found.n_iter
        steps = max(len(found.curve), 1)
        self.curves = Curves(*np.full((4, steps, len(found.n_iter)), np.nan))
        self.curves.steps = [1] * steps
        self.curves.loss[: len(found.curve)] = found.curve
        self._evaluate(steps - 1)
        say_what_fell_short(found, heads.l2, self.optimum)

    def _solve_parts(self, callback: Callable[[Any], Any] | None) -> Solution:
        """The heads of one part after those of another; once stopped, each part takes a round."""
        bank, heads, plan = self.bank, self.heads, self.plan
        stopped, solutions = False, []

        def tell(round: Any) -> bool:
            nonlocal stopped
            stopped = stopped or (callback is not None and bool(callback(round)))
            return stopped

        for p, mine in bank.W.by_part():
            rows = plan.rows_of(p, mine, heads)
            layout = None if p in plan.few else plan.layout
            problem = Problem.of(plan.sgd, rows, heads.loss[mine], heads.l2[mine], layout)
            W, b = bank.W.arrays[p], bank.b[mine]
            found = solve(problem, W, b, optimum=self.optimum, callback=tell)
            stopped |= found.interrupted
            solutions.append((mine, found))
        return _together(bank, solutions)


def _together(bank: trainer.BankState, solutions: list[tuple[Any, Solution]]) -> Solution:
    """The solutions of some heads each as one of all."""
    h, steps = len(bank.b), max(len(found.curve) for _, found in solutions)
    W: Any = Weights(bank.W.parts, bank.W.part, [found.W for _, found in solutions])
    curve = np.full((steps, h), np.nan)
    figures: dict[str, Any] = {}
    for mine, found in solutions:
        curve[: len(found.curve), mine] = found.curve
        for name in ("b", "objective", "gradient_norm", "bound", "converged", "n_iter"):
            values = getattr(found, name)
            whole = figures.setdefault(name, np.empty((h, *values.shape[1:]), values.dtype))
            whole[mine] = values
    return Solution(
        W=W,
        curve=curve,
        history=min(found.history for _, found in solutions),
        interrupted=any(found.interrupted for _, found in solutions),
        **figures,
    )

"""A bank of heads that is solved to its optimum, in place of being trained."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from softstep.model import trainer
from softstep.model.optimum.problem import Problem
from softstep.model.optimum.settings import Optimum
from softstep.model.optimum.shortfall import say_what_fell_short
from softstep.model.optimum.solve import solve
from softstep.model.resume import Keeper
from softstep.model.sweep.heads import Curves, Heads, Plan, Training


class Solving(Training):
    """As `Training`, with `solution`; its curves have an entry for each step of a head."""

    def __init__(self, heads: Heads, bank: trainer.BankState, plan: Plan, optimum: Optimum):
        super().__init__(heads, bank, replace(plan, epochs=1))
        self.optimum = optimum

    def run(self, callback: Callable[[Any], Any] | None, keeper: Keeper | None = None) -> None:
        heads, bank, plan = self.heads, self.bank, self.plan
        self._refuse_non_finite(plan.data, "X")
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

"""Some heads of a training on their way to a worker, where they are a training, and back."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from softstep.kernels.checks import Array
from softstep.model import trainer
from softstep.model.optimum.solve import Solution
from softstep.model.sweep.heads import FIGURES, Curves, Heads, Plan, Training
from softstep.model.views import put, taken

OF_GROUPS = ("diverged", "dropped")  # of the records; the others are of heads
OF_KINDS = ("optimum",)  # what kinds of trainings have besides what all have


@dataclass(frozen=True)
class Parcel:
    """Heads, whole groups or one of each, and how far they are.

    kind: of their training. own: what that kind has of its own. threads: that the worker uses at
    most. best: (W, b), with patience. records: what has become of them. alive: numbers of those
    that still train. curves: of epochs that they have just run. solution, ends: what they were
    solved to, as `Training` has it.
    """

    kind: type[Training]
    own: dict[str, Any]
    threads: int | None
    heads: Heads
    bank: trainer.BankState
    best: tuple[Any, Array] | None
    records: dict[str, Array]
    alive: Array
    curves: Curves | None = None
    solution: Solution | None = None
    ends: Array | None = None

    @classmethod
    def of(cls, training: Training, heads: Array, threads: int | None) -> Self:
        """These heads of a training, as they are now."""
        groups, own_group = np.unique(training.heads.group[heads], return_inverse=True)
        best = None
        if training.plan.patience:
            best = taken(training.best[0], heads), taken(training.best[1], heads)
        return cls(
            kind=type(training),
            own={name: value for name, value in vars(training).items() if name in OF_KINDS},
            threads=threads,
            heads=replace(training.heads.take(heads), group=own_group),
            bank=training.bank.take(heads),
            best=best,
            records={
                name: array[groups if name in OF_GROUPS else heads]
                for name, array in training.records().items()
            },
            alive=np.flatnonzero(np.isin(heads, training.alive)),
        )

    def opened(self, plan: Plan) -> Training:
        """Their training, in which halving is not theirs to decide."""
        training = self.kind.__new__(self.kind)
        plan = replace(plan, sgd=replace(plan.sgd, n_threads=self.threads))
        Training.__init__(training, self.heads, self.bank, plan)
        vars(training).update(self.own, halvings={})
        training.best = self.best or training.best
        for name, array in training.records().items():
            array[:] = self.records[name]
        _go_on_with(training, self.alive)
        return training

    def back(self, training: Training, epochs: slice) -> Self:
        """As they are after these epochs of that training."""
        return replace(
            self,
            bank=training.bank,
            best=training.best if training.plan.patience else None,
            records=training.records(),
            alive=training.alive,
            curves=Curves(*(getattr(training.curves, name)[epochs] for name in FIGURES)),
            solution=training.solution,
            ends=training.ends,
        )

    def put_into(self, training: Training, heads: Array) -> None:
        """Have these heads of a training as they are here, but for their curves."""
        groups = np.unique(training.heads.group[heads])
        training.bank.put(heads, self.bank)
        for own, best in zip(training.best, self.best or (), strict=False):
            put(own, heads, best)
        for name, array in training.records().items():
            array[groups if name in OF_GROUPS else heads] = self.records[name]
        others = np.setdiff1d(training.alive, heads, assume_unique=True)
        _go_on_with(training, np.union1d(others, heads[self.alive]))

    def draw(self, curves: Curves, epochs: slice, heads: Array) -> None:
        """Write their curves where those of these epochs and heads are."""
        for name in FIGURES:
            getattr(curves, name)[epochs, heads] = getattr(self.curves, name)


def _go_on_with(training: Training, alive: Array) -> None:
    """Have these heads remain, as they are in the whole bank."""
    is_whole = len(alive) == len(training.heads.group)
    training.alive, training.packed = alive, training.heads.take(alive)
    training.packed_bank = training.bank if is_whole else training.bank.take(alive)

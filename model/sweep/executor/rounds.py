"""A training in rounds of tasks: until halving decides, over all heads, and so on to the end.

How heads are dealt has no say in their bits: all tasks use the kernels of the whole bank.
"""

import contextlib
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import numpy as np

from softstep.kernels.arrays import is_on_gpu
from softstep.kernels.backend import choose
from softstep.kernels.checks import Array
from softstep.kernels.integers import ceil_div
from softstep.model.optimum.proof import group_heads
from softstep.model.optimum.shortfall import say_what_fell_short
from softstep.model.resume import Keeper, fill
from softstep.model.sweep import results
from softstep.model.sweep.executor import tasks
from softstep.model.sweep.executor.crew import Crew
from softstep.model.sweep.executor.parts import Parcel
from softstep.model.sweep.heads import SweepEpoch, Training
from softstep.model.sweep.solving import Solving, together
from softstep.model.views import Weights

Callback = Callable[[SweepEpoch], Any] | None
SHOWN = 5  # settings of a task, in errors


def train(training: Training, crew: Crew, callback: Callback, keeper: Keeper | None = None) -> None:
    """`training.run`, by a crew. The callback is called as each task ends; if it returns True, no
    round begins after this one. The keeper saves as each task ends.

    Raises:
        ValueError: the rows are on a GPU. WorkerError: a worker died.
    """
    plan = training.plan
    if is_on_gpu(plan.data.X):
        raise ValueError(
            "executor= brings the rows to other processes, but they are on a GPU: give X in host "
            "memory, and a backend that computes there"
        )
    crew.check()
    backend, _ = choose(plan.sgd.backend)  # here, for all
    plan = replace(plan, sgd=replace(plan.sgd, backend=backend.name))
    with crew.engine.given(plan) as shipment:
        rounds = _Rounds(training, crew, shipment, callback)
        if isinstance(training, Solving):
            rounds.solve(training)
        else:
            rounds.train(keeper)
            rounds.certify()


def dealt(load: Array, most: int) -> list[Array]:
    """The numbers of those with a load, dealt to at most so many hands, as evenly as can be: the
    largest first, each to the hand that has least. Equal ones go round."""
    count = int(np.count_nonzero(load))
    hands: list[list[int]] = [[] for _ in range(min(most, count))]
    held = np.zeros(len(hands))
    for i in np.argsort(-load, kind="stable")[:count].tolist():
        hand = int(held.argmin())
        hands[hand].append(i)
        held[hand] += load[i]
    return [np.sort(hand) for hand in hands]


class _Ended:
    """The groups whose task of this round has ended, for the keeper."""

    def __init__(self, groups: int) -> None:
        self.groups = np.zeros(groups, bool)

    def state(self) -> dict[str, Array]:
        return {"groups": self.groups}

    def restore(self, arrays: dict[str, Array]) -> None:
        fill(self.groups, arrays, "groups")


class _Rounds:
    def __init__(self, training: Training, crew: Crew, shipment: Any, callback: Callback):
        self.training, self.crew, self.shipment = training, crew, shipment
        self.callback = callback
        spans = (part.columns for part in training.plan.parts)
        self.widths = np.array([stop - start for start, stop in spans])
        self.load = self.widths[training.heads.part] + 1  # of a head: its columns, and the bias

    def train(self, keeper: Keeper | None) -> None:
        """All epochs."""
        training = self.training
        first = 0 if keeper is None else keeper.number
        for stop in (*sorted(n for n in training.halvings if n > first), training.planned):
            stops = self._round(first, stop, keeper)
            training.halve(stop)
            if stops or not len(training.alive):
                break
            first = stop
        training.finish()

    def solve(self, training: Solving) -> None:
        """All heads to their optimum."""
        solutions: list[tuple[Array, Any]] = []
        ends = np.full((2, len(training.heads.group)), np.nan)
        deal = self._dealt(np.ones(training.groups, bool))
        with self._tasks(tasks.solve, deal) as ended:
            for number, parcel in ended:
                parcel.put_into(training, deal[number])
                solutions.append((deal[number], parcel.solution))
                ends[:, deal[number]] = parcel.ends
                self._tell(0, len(solutions), len(deal))
        bank = training.bank
        found = together(bank.W, solutions, bank.b.shape[1])
        if found.interrupted:
            raise KeyboardInterrupt
        training.take_solution(found)
        training.ends = ends
        last = len(training.curves.steps) - 1
        training.curves.val_loss[last] = training.figures["loss"]
        training.curves.val_accuracy[last] = training.figures["accuracy"]
        say_what_fell_short(found, training.heads.l2, training.C, training.optimum)

    def certify(self) -> None:
        """The certificates of the heads on all rows, in the company that they are proven in."""
        training = self.training
        together = self._proven_together()
        load = np.array([self.load[heads].sum() for heads in together], float)
        hands = dealt(load, self.crew.most)
        deal = [np.sort(np.concatenate([together[i] for i in hand])) for hand in hands]
        found: dict[str, Array] = {}
        with self._tasks(tasks.prove, deal) as ended:
            for number, figures in ended:
                for name, of_some in figures.items():
                    whole = found.setdefault(name, np.full(training.groups, np.nan))
                    whole[training.heads.group[deal[number]]] = of_some
        training.certificate = found or None

    def _proven_together(self) -> list[Array]:
        """The heads to be certified, as a proof takes them: of each part so many at a time."""
        training, W = self.training, self.training.bank.W
        chosen = results.certified(training.heads)
        chosen = chosen[~training.diverged[training.heads.group[chosen]]]
        found = []
        for p in range(len(training.plan.parts)):
            mine = chosen[training.heads.part[chosen] == p]
            c = (W.arrays[p] if isinstance(W, Weights) else W).shape[2]
            count = group_heads(int(self.widths[p]), c)
            found += np.split(mine, range(count, len(mine), count)) if len(mine) else []
        return found

    def _round(self, first: int, stop: int, keeper: Keeper | None) -> bool:
        """The tasks from epoch `first` to `stop`; whether the callback ends the training."""
        training, ended = self.training, _Ended(self.training.groups)
        if keeper is not None:
            keeper.begin_epoch(first, ended)
        deal = self._dealt(~ended.groups)
        stops = False
        with self._tasks(tasks.train, deal, first, stop) as coming:
            for count, (number, parcel) in enumerate(coming, start=1):
                heads = deal[number]
                parcel.put_into(training, heads)
                parcel.draw(training.curves, slice(first, stop), heads)
                ended.groups[training.heads.group[heads]] = True
                if keeper is not None:
                    keeper.keep()
                stops |= self._tell(stop - 1, count, len(deal))
        each = ceil_div(len(training.plan.data.X), training.plan.sgd.batch_size)
        for epoch in range(first, int(training.epochs.max())):
            training.curves.steps.append(min(each, training.total_steps - epoch * each))
        return stops

    def _dealt(self, groups: Array) -> list[Array]:
        """The heads of each task: those of these groups, whole, and of settings that are judged
        as one, by the columns that still train."""
        training = self.training
        alive = training.alive
        group, sets = training.heads.group, training.sets_together
        load = np.bincount(group[alive], self.load[alive], training.groups) * groups
        hands = dealt(load.reshape(-1, sets).sum(axis=1), self.crew.most)
        return [np.flatnonzero(np.isin(group // sets, hand)) for hand in hands]

    def _tasks(
        self, work: Callable[..., Any], deal: list[Array], *more: int
    ) -> contextlib.closing[Generator[tuple[int, Any]]]:
        """A task for each of these, as `Crew.ended` yields them; cancelled at the block's end."""
        threads = self.crew.threads(self.training.plan.sgd.n_threads, len(deal))
        parcels = [Parcel.of(self.training, heads, threads) for heads in deal]
        jobs = [(self.shipment, parcel, *more) for parcel in parcels]
        names = [self._name(i, heads, len(deal)) for i, heads in enumerate(deal)]
        return contextlib.closing(self.crew.ended(work, jobs, names))

    def _name(self, number: int, heads: Array, count: int) -> str:
        groups = np.unique(self.training.heads.group[heads])
        some = ", ".join(map(str, groups[:SHOWN].tolist()))
        more = " …" if len(groups) > SHOWN else ""
        return f"task {number + 1} of {count} ({len(heads)} heads, of results {some}{more})"

    def _tell(self, epoch: int, ended: int, count: int) -> bool:
        if self.callback is None:
            return False
        return bool(self.callback(replace(self.training.at_epoch(epoch), tasks=(ended, count))))

"""Training a bank from which heads are dropped: diverged, stopped early, or worse than the others.

A group is the heads that are judged together: one setting's head on all rows and its heads on folds
or bootstraps. The remaining heads are packed together, so that time falls with their number.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np

from softstep.kernels.integers import ceil_div
from softstep.model import blocks, inputs, trainer
from softstep.model.optimum.solve import Solution
from softstep.model.resume import Keeper, fill
from softstep.model.scores import ALWAYS, Asked
from softstep.model.sweep.out_of_fold import LeftOut
from softstep.model.sweep.views import Views
from softstep.model.views import Part, named, put, seen, taken

ALL_ROWS = -1  # the split of a head that learns from all rows
RECORDS = "epochs", "diverged", "dropped", "waited"  # of a Training, beside its figures
FIGURES = ("loss", "accuracy", "val_loss", "val_accuracy")  # of the curves


@dataclass(frozen=True)
class Heads:
    """One entry per head: its settings, group, split, label and weight sets, and its part."""

    group: np.ndarray
    split: np.ndarray
    label_set: np.ndarray
    weight_set: np.ndarray
    loss: np.ndarray
    learning_rate: np.ndarray
    l2: np.ndarray
    momentum: np.ndarray
    part: np.ndarray

    def take(self, heads: np.ndarray) -> "Heads":
        return Heads(**{name: values[heads] for name, values in vars(self).items()})


class Scores(Protocol):
    """What computes the scores of a sweep: `scoring.Scoring`."""

    def try_out(self, training: "Training") -> None:
        """Find before the training what cannot be computed after it."""

    def figures(
        self, names: list[str], training: "Training", heads: np.ndarray
    ) -> dict[str, np.ndarray]:
        """These scores of these heads."""

    def final(self, training: "Training") -> Any:
        """All that were asked for, of the heads as they are in the end."""


@dataclass(frozen=True)
class Plan:
    """How the bank trains. `sgd` holds what all heads share. The `held_out` rows judge all heads;
    if `by_split`, weight set k of these rows judges the heads of split k, else weight set 0, if
    there is one, all of them; where labels are missing, there are such sets for each label set in
    turn. `asked`: the scores, and by which settings are ranked; `scoring`: what computes those
    besides loss and accuracy. `together`: whether a setting is judged by the mean over its label
    sets. `views`: what of X the rows are, and which columns of them the heads see; `parts`: of the
    bank. `left_out`: the rows that each split is judged on. `few`: of each part whose heads visit
    rows of their own these rows, with the weight sets as `few_rows.taken` has them."""

    data: trainer.Rows
    held_out: trainer.Rows
    by_split: bool
    sgd: trainer.SGDSettings
    seed: int
    epochs: int
    max_steps: int | None
    eval_every: int | None
    patience: int | None
    halving: bool
    asked: Asked
    scoring: Scores
    together: bool
    layout: blocks.Layout | None
    views: Views
    parts: tuple[Part, ...]
    left_out: LeftOut
    few: dict[int, trainer.Rows]

    def placed(self) -> "Plan":
        """The same, with all that the ops read of rows where they read the features."""
        data = self.data.placed()
        held_out = replace(self.held_out, y=data.y) if self.by_split else self.held_out
        few = {p: rows.placed() for p, rows in self.few.items()}
        return replace(self, data=data, held_out=held_out.placed(), few=few)

    def rows_of(self, p: int, mine: np.ndarray, heads: Heads) -> trainer.Rows:
        """What the heads `mine` of these, which are in part p of the bank, learn from."""
        data, weight_set = self.data, heads.weight_set
        if p in self.few:
            data, weight_set = self.few[p], weight_set // (1 + len(self.left_out.bits))
        data = replace(data, y_index=heads.label_set, weight_index=weight_set)
        return data.seen(self.parts[p], mine)

    def judge_of(self, heads: Heads) -> np.ndarray | None:
        """Which weight set of the held-out rows judges each of these heads; None: there are none.
        Of a head on all rows that no rows are held out for it is ALL_ROWS."""
        if self.held_out.sample_weight is None:
            return None
        judge = heads.split if self.by_split else np.zeros_like(heads.split)
        sets = len(self.left_out.bits) if self.by_split else 1
        if len(self.held_out.sample_weight) == sets:
            return judge
        return np.where(judge == ALL_ROWS, judge, judge + sets * heads.label_set)


@dataclass
class Curves:
    """Figures of each epoch and head, (epochs, h); NaN where there are none."""

    loss: np.ndarray
    accuracy: np.ndarray
    val_loss: np.ndarray
    val_accuracy: np.ndarray
    steps: list[int] = field(default_factory=list)

    def figures(self) -> dict[str, np.ndarray]:
        """Those of all epochs, by name."""
        return {f"curves.{name}": getattr(self, name) for name in FIGURES}

    def so_far(self) -> dict[str, np.ndarray]:
        """Those up to the last epoch that has any: of all that are planned they may be many."""
        figures = self.figures()
        begun = np.logical_or.reduce([~np.isnan(v).all(axis=1) for v in figures.values()])
        end = len(begun) - int(begun[::-1].argmax()) if begun.any() else 0
        return {name: v[:end] for name, v in figures.items()}


@dataclass(frozen=True)
class SweepEpoch:
    """What a callback of `SoftmaxSweep.fit` is given after each epoch.

    number: of the epoch, from 0. epochs: how many are planned.
    alive: heads still training, including those of folds and bootstraps.
    best: the index in `results_` of the best setting so far; None before the first evaluation.
    score: its held-out figure, the one `refit` names, at its last evaluation; or None likewise.
    tasks: with an executor, how many of the tasks that train up to this epoch have ended, and how
        many there are; else None.
    """

    number: int
    epochs: int
    alive: int
    best: int | None
    score: float | None
    tasks: tuple[int, int] | None = None


class Training:
    """A bank of heads in training; `run` trains it to the end.

    Attributes:
        bank: all heads' weights and velocities, beside the rows while it is trained, and in host
            memory afterwards. epochs: how many each head ran.
        figures: by name, (h,): what a head is judged by now, loss, accuracy and the score of
            `refit`: its last evaluation, with `patience` its best. best_figures: its best.
        diverged: (groups,) bool. dropped: (groups,), the epochs after which halving dropped it.
        solution: what the heads were solved to, ends: (2, h), their mean loss and accuracy on the
            rows they learned from; None where they are trained.
        certificate: columns of the results that workers found; None: nobody has yet.
    """

    groups: int
    heads: Heads
    bank: trainer.BankState
    plan: Plan
    figures: dict[str, np.ndarray]
    best_figures: dict[str, np.ndarray]
    alive: np.ndarray
    packed: Heads
    packed_bank: trainer.BankState
    solution: Solution | None = None
    ends: np.ndarray | None = None
    certificate: dict[str, np.ndarray] | None = None

    def __init__(self, heads: Heads, bank: trainer.BankState, plan: Plan):
        h, self.groups = len(heads.group), int(heads.group.max()) + 1
        if plan.sgd.columns is None:
            # Packed again, or dealt to workers, the bank keeps the kind of kernel it began with,
            # and so its bits.
            has_momentum = bool(heads.momentum.any())
            sgd = replace(plan.sgd, columns=bank.columns, has_momentum=has_momentum)
            plan = replace(plan, sgd=sgd)
        self.heads, self.bank, self.plan = heads, bank, plan
        n, batch = len(plan.data.X), plan.sgd.batch_size
        self.total_steps: int = trainer.planned_steps(n, batch, plan.epochs, plan.max_steps)
        self.planned: int = ceil_div(self.total_steps, ceil_div(n, batch))
        self.curves: Curves = Curves(*np.full((4, self.planned, h), np.nan))
        self.epochs: np.ndarray = np.zeros(h, np.int64)
        self.diverged: np.ndarray = np.zeros(self.groups, bool)
        self.dropped: np.ndarray = np.full(self.groups, np.iinfo(np.int64).max)
        self.halvings: Any = _halvings(heads, self.planned) if plan.halving else {}
        self.has_splits: bool = bool((heads.split != ALL_ROWS).any())
        names = dict.fromkeys((*ALWAYS, plan.asked.refit.name))
        self.figures = {name: np.full(h, np.nan) for name in names}
        self.best_figures = {name: np.full(h, np.nan) for name in names}
        self.best: Any = bank.weights(...) if plan.patience else (bank.W, bank.b)
        self.waited: np.ndarray = np.zeros(h, np.int64)
        self._X_is_finite = self._held_out_is_finite = False
        self.alive, self.packed, self.packed_bank = np.arange(h), heads, bank

    def run(
        self, callback: Callable[[SweepEpoch], Any] | None, keeper: Keeper | None = None
    ) -> None:
        self.advance(0 if keeper is None else keeper.number, self.planned, callback, keeper)
        self.finish()

    def advance(
        self,
        first: int,
        stop: int,
        callback: Callable[[SweepEpoch], Any] | None,
        keeper: Keeper | None = None,
    ) -> None:
        """Train from epoch `first` until epoch `stop` begins, before which all heads are judged."""
        for number in range(first, stop):
            self._epoch(number, keeper)
            self._drop_groups(self._newly_diverged(), self.diverged, True)
            due = number + 1 == stop or self._is_due(number)
            if due:
                self._judge(number)
            self.halve(number + 1)
            stops = callback is not None and callback(self.at_epoch(number))
            if stops and not due:
                self._judge(number)
            if stops or not len(self.alive):
                break
        self._unpack()

    def halve(self, epochs: int) -> None:
        """Drop the groups that are to go after so many epochs, if any are."""
        if epochs in self.halvings:
            self._drop_groups(self._worse_half(self.halvings[epochs]), self.dropped, epochs)

    def finish(self) -> None:
        """Put the best weights back, where they were kept, and the bank into host memory."""
        if self.plan.patience:
            figures = self.best_figures[self.plan.asked.patience.name]
            improved = np.flatnonzero(np.isfinite(figures))
            for own, best in zip((self.bank.W, self.bank.b), self.best, strict=True):
                put(own, improved, taken(best, improved))
        self.bank = self.bank.on_host()

    def judged(self, figures: np.ndarray, statistic: Callable[..., Any] = np.mean) -> np.ndarray:
        """(h,) -> (groups,): over a group's splits, or of its one head where it has none."""
        judges = (self.heads.split != ALL_ROWS) == self.has_splits
        shape = self.groups, int(judges.sum()) // self.groups
        return np.asarray(statistic(figures[judges].reshape(shape), axis=1))

    def order(self, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """These groups from the best to the worst, and their ranks in that order, from 1.

        The diverged come last, before them those that halving dropped, the later the better. What
        counts is a group's own figure or, `together`, that of its setting. Ties are broken by the
        figure of `refit`, then by accuracy and loss. Losses of different kinds are not comparable:
        with several, the loss does not count. Equal groups have equal ranks.
        """
        ranked = self.plan.asked.ranked
        costs = (s.cost(self.judged(self.figures[s.name])) for s in ranked)
        figures = [self._mean_of_sets(cost) for cost in costs]
        keys = np.stack([f[groups] for f in (self.diverged, -self.dropped, *figures)]).astype(float)
        keys = np.where(np.isnan(keys), np.inf, keys)
        keys[2:, keys[0] == 1] = 0
        order = np.lexsort(keys[::-1])
        ordered = keys[:, order]
        is_new = np.r_[True, (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)]
        ranks = np.maximum.accumulate(np.where(is_new, np.arange(1, len(groups) + 1), 0))
        return groups[order], ranks

    @property
    def sets_together(self) -> int:
        """How many groups, of a setting's label sets, are judged as one."""
        return int(self.heads.label_set.max()) + 1 if self.plan.together else 1

    def _mean_of_sets(self, figures: np.ndarray) -> np.ndarray:
        """(groups,): for each the mean over the groups that are judged with it as one."""
        sets = self.sets_together
        return np.repeat(figures.reshape(-1, sets).mean(axis=1), sets)

    @cached_property
    def _placed(self) -> Plan:
        """The plan by which heads are trained and judged."""
        return self.plan.placed()

    def state(self) -> dict[str, np.ndarray]:
        """Arrays with which another Training of this plan goes on."""
        self._unpack()
        arrays = self.bank.arrays()
        if self.plan.patience:
            arrays |= named("best_W", self.best[0]) | {"best_b": self.best[1]}
        arrays |= self.records() | self.curves.so_far()
        arrays["curves.steps"] = np.asarray(self.curves.steps)
        return arrays | {"alive": self.alive, "active": self.packed_bank.active}

    def records(self) -> dict[str, np.ndarray]:
        """What has become of heads and groups, by name: the arrays that are written to."""
        arrays = {name: getattr(self, name) for name in RECORDS}
        for when, figures in (("head", self.figures), ("best", self.best_figures)):
            arrays |= {f"{when}_{_kept(name)}": array for name, array in figures.items()}
        return arrays

    def restore(self, arrays: dict[str, np.ndarray]) -> None:
        """Go on from what `state` gave.

        Raises:
            KeyError, ValueError, IndexError: it is of another plan.
        """
        for name, array in self.state().items():
            if name not in ("alive", "active") and not name.startswith("curves."):
                fill(array, arrays, name)
        for name, array in self.curves.figures().items():
            fill(array[: len(arrays[name])], arrays, name)
        judged = (self.heads.split != ALL_ROWS) | (not self.plan.by_split)
        by = self.plan.asked.patience.name
        found, right = self.best_figures[by], self.best_figures["accuracy"]
        unlike = np.isfinite(found) != np.isfinite(right)
        if (judged & unlike).any():
            raise ValueError(f"best_{by} and best_accuracy are not of the same heads")
        steps, alive = arrays["curves.steps"], arrays["alive"]
        if steps.shape != (arrays["epoch"],) or (steps.size and steps.dtype.kind not in "iu"):
            raise ValueError(f"curves.steps is {steps.dtype} of shape {steps.shape}")
        heads = np.flatnonzero(np.isin(np.arange(len(self.heads.group)), alive))
        if alive.dtype != heads.dtype or not np.array_equal(alive, heads):
            raise ValueError("alive does not hold numbers of heads, each once and in their order")
        self.curves.steps = steps.tolist()
        self._pack(heads)
        fill(self.packed_bank.active, arrays, "active")

    def _epoch(self, number: int, keeper: Keeper | None) -> None:
        """Train the remaining heads for one epoch."""
        plan, packed = self.plan, self.packed
        done = number * ceil_div(len(plan.data.X), plan.sgd.batch_size)
        self._epoch_of_few(number)
        data = replace(self._placed.data, y_index=packed.label_set, weight_index=packed.weight_set)
        run = trainer.run_epoch
        if plan.layout is not None:
            run = partial(blocks.run_epoch, layout=plan.layout)
        bank, sgd, total = self.packed_bank, self._sgd(), self.total_steps
        epoch = run(data, bank, sgd, number, seed=plan.seed, done=done, total=total, keeper=keeper)
        visit = ~np.isin(packed.part, list(plan.few))
        self._record(number, self.alive[visit], epoch.loss[visit], epoch.accuracy[visit])
        self.curves.steps.append(epoch.steps)

    def _epoch_of_few(self, number: int) -> None:
        """The same of those heads that visit rows of their own, before the others.

        A checkpoint is made while the others train: one that is resumed has had these already.
        """
        plan, bank, packed, sgd = self.plan, self.packed_bank, self.packed, self._sgd()
        for p, mine in bank.W.by_part() if plan.few else ():
            heads = self.alive[mine]
            if p not in plan.few or self.epochs[heads[0]] > number:
                continue
            data, part = self._placed.rows_of(p, mine, packed), bank.of_part(p, mine)
            steps = ceil_div(len(data.X), sgd.batch_size)
            epoch = trainer.run_epoch(
                data,
                part,
                sgd.of_part(p, mine),
                number,
                seed=plan.seed,
                done=number * steps,
                total=plan.epochs * steps,
            )
            bank.put_part(mine, part)
            self._record(number, heads, epoch.loss, epoch.accuracy)

    def _record(
        self, number: int, heads: np.ndarray, loss: np.ndarray, accuracy: np.ndarray
    ) -> None:
        """The figures of an epoch of these heads."""
        self.curves.loss[number, heads], self.curves.accuracy[number, heads] = loss, accuracy
        self.epochs[heads] = number + 1

    def _sgd(self) -> trainer.SGDSettings:
        packed = self.packed
        return replace(
            self.plan.sgd,
            loss=tuple(packed.loss),
            learning_rate=packed.learning_rate,
            l2=packed.l2,
            momentum=packed.momentum,
        )

    def _newly_diverged(self) -> np.ndarray:
        """The groups with a head whose logits or weights are no longer finite."""
        sound = self.packed_bank.sound()
        if not sound.all() and not self._X_is_finite:
            self._refuse_non_finite(self.plan.data, "X")
            self._X_is_finite = True
        found, sets = self.packed.group[~sound], self.sets_together
        return np.unique(found[:, None] // sets * sets + np.arange(sets))

    def _refuse_non_finite(self, data: trainer.Rows, name: str) -> None:
        """ValueError naming the first row and column that a head sees and that is not finite."""
        plan = self.plan
        whole = iter([(data.X, np.zeros(1, np.int64))])
        parts = whole if plan.layout is None else blocks.in_order(data.X, plan.layout)
        for x, rows in parts:
            for columns, own in zip(plan.views.columns, plan.views.ranges, strict=True):
                labels = inputs.labels_of(None, own)
                first = int(rows[0])
                inputs.refuse_non_finite(seen(x, columns), name, first_row=first, names=labels)

    def _is_due(self, number: int) -> bool:
        plan = self.plan
        every = plan.eval_every or (1 if plan.patience else None)
        return number + 1 in self.halvings or (every is not None and (number + 1) % every == 0)

    def _judge(self, number: int) -> None:
        """Evaluate the remaining heads, and stop those that have not improved for too long."""
        self._evaluate(number)
        if self.plan.patience:
            self._pack(self.alive[~self._have_stopped(self.plan.patience)])

    def _evaluate(self, number: int) -> None:
        """Take the figures of the remaining heads on the rows held out for them."""
        plan, packed = self.plan, self.packed
        judged = packed.split != ALL_ROWS if plan.by_split else np.ones(len(self.alive), bool)
        if not judged.any():
            return
        evaluate = self._evaluate_splits if self._splits_can_be_cut() else self._evaluate_bank
        loss, accuracy = np.empty((2, len(self.alive)))
        evaluate(self._placed.held_out, np.flatnonzero(judged), loss, accuracy)
        loss, accuracy = loss[judged], accuracy[judged]
        if not self._held_out_is_finite and not np.isfinite(loss).all():
            self._refuse_non_finite(plan.held_out, "X" if plan.by_split else "X_val")
            self._held_out_is_finite = True
        heads, refit = self.alive[judged], plan.asked.refit.name
        self.curves.val_loss[number, heads] = self.figures["loss"][heads] = loss
        self.curves.val_accuracy[number, heads] = self.figures["accuracy"][heads] = accuracy
        if refit not in ALWAYS:
            self._unpack()
            self.figures[refit][heads] = plan.scoring.figures([refit], self, heads)[refit]

    def _splits_can_be_cut(self) -> bool:
        """Whether a split's rows can be copied out of X, to evaluate its heads on these alone."""
        X = self.plan.held_out.X
        return self.plan.by_split and self.plan.layout is None and isinstance(X, np.ndarray)

    def _evaluate_splits(
        self, data: trainer.Rows, heads: np.ndarray, loss: np.ndarray, accuracy: np.ndarray
    ) -> None:
        """The heads of each split on its rows."""
        judges, splits = data.sample_weight, len(self.plan.left_out.bits)
        assert judges is not None
        for split in np.unique(self.packed.split[heads]):
            of_sets = judges[split::splits]  # one, or one for each label set
            rows = np.flatnonzero(of_sets.any(axis=0))
            mine, some, index = heads[self.packed.split[heads] == split], data.only(rows), None
            if len(of_sets) > 1:
                some = replace(some, sample_weight=of_sets[:, rows])
                index = self.packed.label_set[mine]
            self._evaluate_heads(some, mine, index, loss, accuracy)

    def _evaluate_bank(
        self, data: trainer.Rows, heads: np.ndarray, loss: np.ndarray, accuracy: np.ndarray
    ) -> None:
        """The heads at once on all held-out rows, by weight those of their split."""
        judges = self.plan.judge_of(self.packed)
        index = None if judges is None else judges[heads]
        self._evaluate_heads(data, heads, index, loss, accuracy)

    def _evaluate_heads(
        self,
        data: trainer.Rows,
        heads: np.ndarray,
        weight_index: np.ndarray | None,
        loss: np.ndarray,
        accuracy: np.ndarray,
    ) -> None:
        """Write the figures of these packed heads into loss and accuracy."""
        bank, packed = self.packed_bank, self.packed
        whole = len(heads) == len(bank.W)
        W, b = (bank.W, bank.b) if whole else bank.weights(heads)
        data = replace(data, y_index=packed.label_set[heads], weight_index=weight_index)
        sgd = replace(self.plan.sgd, loss=tuple(packed.loss[heads]))
        evaluate = trainer.evaluate
        if self.plan.layout is not None:
            evaluate = partial(blocks.evaluate, layout=self.plan.layout)
        loss[heads], accuracy[heads] = evaluate(data, W, b, sgd)

    def _have_stopped(self, patience: int) -> np.ndarray:
        """Which remaining heads have not improved for too long; records the best weights.

        A head on all rows that no rows are held out for follows the mean figure of its splits, in
        which a split that has stopped counts with its best, and stops when all of them have.
        """
        score, alive, packed = self.plan.asked.patience, self.alive, self.packed
        now = self.figures | {score.name: self.figures[score.name].copy()}
        if self.plan.by_split:
            whole = self.heads.split == ALL_ROWS
            mean = self.judged(self.figures[score.name])
            now[score.name][whole] = mean[self.heads.group[whole]]
        best = self.best_figures[score.name]
        before = np.where(np.isnan(best), np.inf, score.cost(best))
        better = score.cost(now[score.name])[alive] < before[alive]
        improved = alive[better]
        for name, figures in self.best_figures.items():
            figures[improved] = now[name][improved]
        weights = self.packed_bank.weights(np.flatnonzero(better))
        for own, values in zip(self.best, weights, strict=True):
            put(own, improved, values)
        self.waited[alive] = np.where(better, 0, self.waited[alive] + 1)
        judged = alive[np.isfinite(best[alive])]
        for name, figures in self.figures.items():
            figures[judged] = self.best_figures[name][judged]
        stopped: np.ndarray = self.waited[alive] >= patience
        if self.plan.by_split:
            follows = packed.split == ALL_ROWS
            going_on = packed.group[~stopped & ~follows]
            stopped |= follows & ~np.isin(packed.group, going_on)
        return stopped

    def _worse_half(self, most: int) -> np.ndarray:
        """The worse half of the groups still in the race, of each label set, or all but `most`."""
        label_set = self.heads.label_set[self.heads.split == ALL_ROWS]
        racing = ~self.diverged & (self.dropped == np.iinfo(np.int64).max)
        worse = [np.empty(0, np.int64)]
        for t in np.unique(label_set):
            order, _ = self.order(np.flatnonzero(racing & (label_set == t)))
            worse.append(order[min(most, ceil_div(len(order), 2)) :])
        return np.concatenate(worse)

    def _drop_groups(self, groups: np.ndarray, record: np.ndarray, value: Any) -> None:
        record[groups] = value
        self._pack(self.alive[~np.isin(self.packed.group, groups)])

    def _pack(self, heads: np.ndarray) -> None:
        """Continue with these heads only."""
        if len(heads) < len(self.alive):
            self._unpack()
            self.alive, self.packed = heads, self.heads.take(heads)
            self.packed_bank = self.bank.take(heads)

    def _unpack(self) -> None:
        """Write the weights of the remaining heads back to the whole bank."""
        if self.packed_bank is not self.bank:
            self.bank.put(self.alive, self.packed_bank)

    def at_epoch(self, number: int) -> SweepEpoch:
        """What a callback is given after this epoch."""
        best, score = None, None
        if not np.isnan(self.judged(self.figures["loss"])).all():
            best = int(self.order(np.arange(self.groups))[0][0])
            score = float(self.judged(self.figures[self.plan.asked.refit.name])[best])
        return SweepEpoch(number, self.planned, len(self.alive), best, score)


def _kept(name: str) -> str:
    """As what figures of that name are kept: a user may call a score as another array is called."""
    return name if name in ALWAYS else "score"


def _halvings(heads: Heads, epochs: int) -> dict[int, int]:
    """After which epochs settings are dropped, evenly spaced, and how many may stay each time.

    Half of the settings are dropped each time, or more where there are too few epochs to get down
    to one by halving; then the same share is dropped each time.
    """
    settings = np.bincount(heads.label_set[heads.split == ALL_ROWS]).max()
    count = min(int(np.ceil(np.log2(settings))), epochs - 1)
    return {
        round(epochs * i / (count + 1)): int(np.ceil(round(settings ** (1 - i / count), 9)))
        for i in range(1, count + 1)
    }

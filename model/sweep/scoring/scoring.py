"""What a sweep is asked to score, and the figures that come of it."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels.arrays import to_host
from softstep.kernels.checks import Array
from softstep.model import inputs
from softstep.model.scores import ALWAYS, SCORES, Asked, Score
from softstep.model.sweep.heads import ALL_ROWS, Training
from softstep.model.sweep.scoring.draws import Draws, Winner
from softstep.model.sweep.scoring.estimators import Estimators
from softstep.model.sweep.scoring.judged import Judged
from softstep.model.sweep.scoring.passes import of_all_rows, summed
from softstep.model.views import mapped


@dataclass(frozen=True)
class Scored:
    """The scores of the heads of a sweep. figures: by name, (h,), in the order in which they were
    asked for; NaN of heads that do not judge, or diverged. draws: of those that are means."""

    figures: dict[str, Array]
    draws: Draws

    def intervals(self) -> dict[str, tuple[Array, Array]]:
        """Lowest and highest of each setting, of the scores that are means over rows."""
        return {name: self.draws.interval(name) for name in self.draws.names}

    def winner(self, training: Training, groups: Array) -> Winner | None:
        """How good the best of these settings is; None where the score is no mean over rows."""
        refit = training.plan.asked.refit
        if refit.name not in self.draws.names:
            return None
        order, _ = training.order(groups)
        return self.draws.winner(order[~training.diverged[order]], refit.cost)


@dataclass(frozen=True)
class Scoring:
    """asked: by the sweep. classes: how many each label set has. estimators: for scores that are
    functions of one; None in a worker, which has the rows once already."""

    asked: Asked
    classes: tuple[int, ...]
    estimators: Estimators | None

    def __reduce__(self) -> Any:
        return Scoring, (self.asked, self.classes, None)

    def figures(
        self, names: list[str], training: Training, heads: Array, draws: Draws | None = None
    ) -> dict[str, Array]:
        """These scores of these heads of the bank, (len(heads),) each; draws: as `summed`."""
        known = SCORES | self.asked.scores
        judged = self._judged(training, heads)
        kinds = "mean", "counts", "all", "estimator"
        by_kind: dict[str, dict[str, Score]] = {kind: {} for kind in kinds}
        for name in names:
            by_kind[known[name].kind][name] = known[name]
        found: dict[str, Array] = {}
        if by_kind["mean"] or by_kind["counts"]:
            found |= summed(judged, by_kind["mean"] | by_kind["counts"], draws)
        if by_kind["all"]:
            found |= of_all_rows(judged, by_kind["all"])
        if by_kind["estimator"]:
            assert self.estimators is not None
            found |= self.estimators.figures(by_kind["estimator"], training, heads)
        return found

    def try_out(self, training: Training) -> None:
        """Call the functions of an estimator for a head as it begins: one that cannot be called, or
        gives no number, is found before the training, which would be lost.

        Raises as `Estimators.figures`.
        """
        names = self.asked.of_estimators
        if names:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the head has learned nothing yet
                self.figures(names, training, _judging(training)[:1])

    def final(self, training: Training) -> Scored:
        """The scores of the heads as they are in the end, by all of which in company settings are
        ranked: so those of a worker's heads have the bits of one process."""
        plan, refit, judging = training.plan, self.asked.refit, _judging(training)
        scores = self.asked.scores | {refit.name: refit}
        drawn = [name for name, score in scores.items() if score.is_mean]
        draws = Draws(plan.seed, training.groups, drawn, refit.name)
        names = [name for name in scores if name in drawn or name not in ALWAYS]
        new = self.figures(names, training, judging, draws if drawn else None)
        for name in self.asked.scores:
            if name not in ALWAYS:
                none = np.full(len(training.heads.group), np.nan)
                figures = training.figures.setdefault(name, none)
                figures[judging] = new[name]
            _say_where_there_is_none(name, training)
        return Scored({name: training.figures[name] for name in self.asked.scores}, draws)

    def _judged(self, training: Training, heads: Array) -> Judged:
        plan, taken = training.plan, training.heads.take(heads)
        W, b = training.bank.weights(heads)
        return Judged(
            heads=taken,
            W=mapped(to_host, W),
            b=to_host(b),
            data=plan.held_out,
            judge=plan.judge_of(taken),
            parts=plan.parts,
            classes=self.classes,
            sgd=plan.sgd,
            layout=plan.layout,
        )


def _judging(training: Training) -> Array:
    """The heads by which settings are judged, without those that diverged."""
    heads = training.heads
    judges = (heads.split != ALL_ROWS) == training.has_splits
    return np.flatnonzero(judges & ~training.diverged[heads.group])


def _say_where_there_is_none(name: str, training: Training) -> None:
    """Warn of settings that have no figure of this score, though they did not diverge."""
    none = np.isnan(training.judged(training.figures[name])) & ~training.diverged
    if none.any():
        inputs.warn(
            f"scoring={name!r} is NaN for {none.sum()} of {len(none)} settings, which rank last"
        )


def refuse_missing(asked: Asked, labels: Any, held_out: Any, by_split: bool) -> None:
    """Raise ValueError where a score would say nothing of these rows: a class of which a set of
    held-out rows has none, or fewer classes than it needs."""
    y, sets = held_out.y, held_out.sample_weight
    own = [sets] * labels.count
    if sets is not None and (labels.observed is not None if by_split else len(sets) > 1):
        own = list(sets.reshape(labels.count, -1, sets.shape[1]))  # of each label set
    for name, score in asked.scores.items():
        for t, classes in enumerate(labels.classes):
            of_set = f" of label set {labels.numbers[t]}" if labels.two_dimensional else ""
            if len(classes) < score.least_classes:
                raise ValueError(
                    f"scoring={name!r} is 1 for any model of {len(classes)} classes{of_set}: ask "
                    "for fewer"
                )
            if not score.every_class:
                continue
            codes = y.argmax(axis=1) if y.dtype.kind == "f" else y[t]
            for split, weights in enumerate([None] if sets is None else own[t]):
                there = np.bincount(codes, weights, len(classes)) > 0
                if not there.all():
                    rows = f"split {split}" if by_split else "y_val"
                    missing = classes[int(there.argmin())]
                    raise ValueError(
                        f"scoring={name!r} compares the rows of each class with the others, but "
                        f"{rows} has none of class {missing!s}{of_set}: stratify the folds, hold "
                        "out more rows, or leave it out"
                    )

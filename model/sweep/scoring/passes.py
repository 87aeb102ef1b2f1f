"""Passes over the held-out rows that take the scores of heads."""

from functools import partial
from typing import Any

import numpy as np

from softstep.kernels import blas
from softstep.kernels.checks import Array
from softstep.model.scores import Answers, Counts, Score
from softstep.model.sweep.scoring.draws import Draws
from softstep.model.sweep.scoring.judged import Group, Judged


@np.errstate(invalid="ignore")  # of heads whose logits overflow on some rows
def summed(judged: Judged, scores: dict[str, Score], draws: Draws | None) -> dict[str, Array]:
    """Scores that are means over rows, or come from counts, (h,) each, in one pass over the rows.

    draws: what each row counts is added to these too.
    """
    means = {name: score for name, score in scores.items() if score.is_mean}
    counted = {name: score for name, score in scores.items() if score.kind == "counts"}
    sets = [(k, heads, list(judged.groups(heads)), judged.mass(k)) for k, heads in judged.sets()]
    sums: dict[str, Array] = {name: np.zeros(len(judged.b)) for name in means}
    mass = np.zeros(len(judged.b))
    counts: dict[Any, Counts] = {}
    for x, first in judged.in_blocks():
        drawn = None if draws is None else draws.counts(first, len(x))
        for k, heads, groups, whole in sets:
            rows, weights = judged.counted(k, first, len(x))
            if not len(rows):
                continue
            values = {name: np.empty((len(rows), len(heads))) for name in means}
            for g, group in enumerate(groups):
                answers = judged.answers(x, first, rows, group, heads)
                for name, score in means.items():
                    values[name][:, group.place] = _of_rows(score, answers)
                if counted:
                    found = Counts.of(answers.predictions, answers.labels, weights, group.classes)
                    key = k, g
                    counts[key] = counts[key] + found if key in counts else found
            w = np.ones(len(rows)) if weights is None else weights
            mass[heads] += w.sum()
            for name, of_rows in values.items():
                sums[name][heads] += w @ of_rows
            if draws is not None and drawn is not None:
                of_groups, group_numbers = _by_group(judged.heads.group[heads], values)
                w = w / whole  # each set counts as much as another
                draws.add(drawn[rows], w, of_groups, group_numbers)
    of_means = {name: total / mass for name, total in sums.items()}
    return of_means | _from_counts(counted, counts, sets, len(judged.b))


def _of_rows(score: Score, answers: Answers) -> Array:
    """(r, g)"""
    y = answers.targets if score.soft else answers.labels
    found: Array = score.of(getattr(answers, score.needs), y)
    return found


def _by_group(group: Array, values: dict[str, Array]) -> tuple[dict[str, Array], Array]:
    """The means of values (r, h) over the heads of each group, (r, g), and the groups, (g,).

    group: of each head, ascending.
    """
    begins = np.flatnonzero(np.diff(group, prepend=-1))
    each = np.diff(np.append(begins, len(group)))
    found = {name: np.add.reduceat(v, begins, axis=1) / each for name, v in values.items()}
    return found, group[begins]


def _from_counts(
    scores: dict[str, Score], counts: dict[Any, Counts], sets: list[Any], h: int
) -> dict[str, Array]:
    found = {name: np.full(h, np.nan) for name in scores}
    for k, heads, groups, _ in sets:
        for g, group in enumerate(groups):
            for name, score in scores.items():
                found[name][heads[group.place]] = score.of(counts[k, g])
    return found


def of_all_rows(judged: Judged, scores: dict[str, Score]) -> dict[str, Array]:
    """Scores that need all rows at once, (h,) each: groups of heads whose probabilities fit into
    `HELD` bytes, each in a pass over the rows. NaN where a probability is no number."""
    found = {name: np.full(len(judged.b), np.nan) for name in scores}
    for k, heads in judged.sets():
        rows, weights = judged.counted(k, 0, len(judged.data.X))
        label_set = judged.heads.label_set[heads]
        labels = {t: judged.labels(t, rows) for t in np.unique(label_set).tolist()}
        size = len(rows) * judged.b.shape[1] * judged.b.itemsize
        for group in judged.groups(heads, size):
            P = _held(judged, k, group, heads, len(rows))
            for name, score in scores.items():
                of_head = partial(_of_head, score=score, labels=labels, weights=weights)
                in_turn = zip(P, label_set[group.place].tolist(), strict=True)
                of = blas.each(of_head, in_turn, judged.sgd.n_threads, len(P))
                found[name][heads[group.place]] = list(of)
            del P, in_turn, of  # before the next are made
    return found


def _held(judged: Judged, k: int, group: Group, heads: Array, n: int) -> Array:
    """Probabilities (g, n, c) of all n rows of a set."""
    P, at = np.empty((len(group.place), n, group.classes), group.W.dtype), 0
    for x, first in judged.in_blocks():
        rows, _ = judged.counted(k, first, len(x))
        if len(rows):
            answers = judged.answers(x, first, rows, group, heads)
            P[:, at : at + len(rows)] = answers.probabilities.transpose(1, 0, 2)
            at += len(rows)
    return P


def _of_head(
    head: tuple[Array, int], score: Score, labels: dict[int, Array], weights: Array | None
) -> float:
    P, t = head
    return float(score.of(P, labels[t], weights)) if np.isfinite(P).all() else np.nan

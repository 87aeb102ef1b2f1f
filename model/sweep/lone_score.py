"""A score of one fitted model on any rows: what `SoftmaxSweep.score` gives of its best setting."""

from typing import Any

import numpy as np

from softstep.kernels.arrays import on_host, to_host
from softstep.kernels.checks import Array
from softstep.model import inputs
from softstep.model.regression import SoftmaxRegression
from softstep.model.scores import Answers, Counts, Score, number


def score_of(score: Score, model: SoftmaxRegression, X: Any, y: Any, sample_weight: Any) -> float:
    """What `score` is of a fitted model on the rows X, (n, d).

    y: labels (n,), or soft targets (n, c). sample_weight: what each row counts, (n,); None: alike.
    Rows that count nothing have no part in it.

    Raises:
        NotFittedError: before `fit`.
        TypeError, ValueError: X, y or the weights are of another form; a label is none of the
            model's classes, unless the score is the accuracy; no row is of a class of which the
            score needs some; a function gives no number.
    """
    if score.is_mean and score.needs == "predictions":  # whose labels may be unknown: never right
        return float(model.score(X, y, sample_weight))
    inputs.warn_of_other_rows(X, {"y": y})
    if score.kind == "estimator":
        given = inputs.features(X)
        rows, weights = _that_count(sample_weight, len(given.X))
        labels = _labels(model, y, len(given.X), rows)
        counted = {} if weights is None else {"sample_weight": weights}
        return number(score, score.of(model, given.taken(rows), labels, **counted))
    V = to_host(model._logits(X))
    rows, weights = _that_count(sample_weight, len(V))
    targets = _targets(model, y, len(V), rows)
    answers = Answers(V[rows][:, None], targets, model.loss, model.backend, model.n_threads)
    return _of_answers(score, answers, weights, model.classes_)


def _that_count(sample_weight: Any, n: int) -> tuple[Any, Array | None]:
    """Those of n rows that count, and what they do; None: alike."""
    if sample_weight is None:
        return ..., None
    weights = inputs.of_mean_one(inputs.weight_array(sample_weight, n))
    rows = np.flatnonzero(weights)
    own = weights[rows]
    return rows, None if (own == own[0]).all() else own


def _labels(model: SoftmaxRegression, y: Any, n: int, rows: Any) -> Array:
    """Those of these rows, as they were given; of soft targets the most probable class, (r,)."""
    y = inputs.target_array(y)
    if inputs.is_soft(y):
        found: Array = model.classes_[_targets(model, y, n, rows).argmax(axis=1)]
        return found
    labels: Array = inputs.label_values(y, n)
    return labels[rows]


def _targets(model: SoftmaxRegression, y: Any, n: int, rows: Any) -> Array:
    """Of these rows of n: soft targets (r, c), or the places of the labels among the classes,
    (r, 1)."""
    y = inputs.target_array(y)
    if inputs.is_soft(y):
        return on_host(inputs.soft_target_rows(y, n, model.classes_)[0], "y")[rows]
    codes: Array = inputs.encode(inputs.label_values(y, n)[rows], model.classes_)[:, None]
    return codes


def _of_answers(score: Score, answers: Answers, weights: Array | None, classes: Array) -> float:
    labels = answers.labels
    if score.every_class:
        there = np.bincount(labels[:, 0], minlength=len(classes)) > 0
        if not there.all():
            raise ValueError(
                f"{score.name!r} compares the rows of each class with the others, but y has none "
                f"of class {classes[int(there.argmin())]!s}"
            )
    if score.kind == "counts":
        counts = Counts.of(answers.predictions, labels, weights, len(classes))
        return float(score.of(counts)[0])
    if score.kind == "all":
        return float(score.of(answers.probabilities[:, 0], labels[:, 0], weights))
    of_rows = score.of(getattr(answers, score.needs), answers.targets if score.soft else labels)
    return float(np.average(of_rows[:, 0], weights=weights))

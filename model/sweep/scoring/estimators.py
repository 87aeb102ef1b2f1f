"""Scores by functions of an estimator: each head as a SoftmaxRegression, on rows that judge it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels.checks import Array
from softstep.model import inputs
from softstep.model.inputs import Schema
from softstep.model.regression import SoftmaxRegression
from softstep.model.scores import Score, number
from softstep.model.sweep import results
from softstep.model.sweep.data import Labels
from softstep.model.sweep.heads import ALL_ROWS, Training
from softstep.model.trainer import Rows


@dataclass(frozen=True)
class Estimators:
    """models, labels, schemas: of the sweep. X: the held-out rows as they were given. held_out: the
    same as the ops take them, with what they count."""

    models: list[SoftmaxRegression]
    labels: Labels
    schemas: list[Schema]
    X: Any
    held_out: Rows

    def figures(
        self, scores: dict[str, Score], training: Training, heads: Array
    ) -> dict[str, Array]:
        """These scores of these heads, (len(heads),) each.

        Raises:
            TypeError: a function gives no number. What it raises besides is the caller's, with a
                note of the score.
        """
        trained = results.trained(self.models, self.labels, self.schemas, training, {})
        rows, some = inputs.features(self.X), training.heads.take(heads)
        found = {name: np.empty(len(heads)) for name in scores}
        judges = training.plan.judge_of(some)
        judges = np.zeros(len(heads), np.int64) if judges is None else judges
        for judge in np.unique(judges).tolist():  # whose rows are picked out once
            own, weights = self._rows(judge)
            X, given = rows.taken(own), {} if weights is None else {"sample_weight": weights}
            for i in np.flatnonzero(judges == judge).tolist():
                split = None if some.split[i] == ALL_ROWS else int(some.split[i])
                model = trained.estimator(int(some.group[i]), split)
                y = self._labels(int(some.label_set[i]), own)
                for name, score in scores.items():
                    found[name][i] = number(score, _called(score, model, X, y, given))
        return found

    def _rows(self, judge: int) -> tuple[Any, Array | None]:
        """Those of that weight set, `...` for all, and what they count; None: alike."""
        sets = self.held_out.sample_weight
        if sets is None:
            return ..., None
        rows = np.flatnonzero(sets[judge])
        weights = sets[judge][rows].astype(np.float64)
        return rows, None if (weights == weights[0]).all() else weights

    def _labels(self, label_set: int, rows: Any) -> Array:
        """As they were given; of soft targets the most probable class."""
        y = self.held_out.y
        codes = y[rows].argmax(axis=1) if y.dtype.kind == "f" else y[label_set, rows]
        found: Array = self.labels.classes[label_set][codes]
        return found


def _called(score: Score, model: SoftmaxRegression, X: Any, y: Array, given: Any) -> Any:
    """What the function of a score returns."""
    try:
        return score.of(model, X, y, **given)
    except Exception as error:
        error.add_note(f"raised by scoring={score.name!r}")
        raise

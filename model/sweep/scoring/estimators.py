"""Scores by functions of an estimator: each head as a SoftmaxRegression, on rows that judge it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels.checks import Array
from softstep.model import inputs
from softstep.model.inputs import NamedColumns, Schema, SparseRows
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
            TypeError: a function gives no number. What it raises besides is the caller's.
        """
        trained = results.trained(self.models, self.labels, self.schemas, training, {})
        rows = inputs.features(self.X)
        bank = training.heads
        found = {name: np.empty(len(heads)) for name in scores}
        judges = training.plan.judge_of(bank)
        for i, k in enumerate(heads.tolist()):
            split = None if bank.split[k] == ALL_ROWS else int(bank.split[k])
            own, weights = self._rows(None if judges is None else int(judges[k]))
            given = {} if weights is None else {"sample_weight": weights}
            model = trained.estimator(int(bank.group[k]), split)
            X, y = _as_given(rows, own), self._labels(int(bank.label_set[k]), own)
            for name, score in scores.items():
                found[name][i] = number(score, score.of(model, X, y, **given))
        return found

    def _rows(self, judge: int | None) -> tuple[Any, Array | None]:
        """Those of that weight set, and what they count; None: alike."""
        sets = self.held_out.sample_weight
        if judge is None or sets is None:
            return slice(None), None
        rows = np.flatnonzero(sets[judge])
        weights = sets[judge][rows].astype(np.float64)
        return rows, None if (weights == weights[0]).all() else weights

    def _labels(self, label_set: int, rows: Any) -> Array:
        """As they were given; of soft targets the most probable class."""
        y = self.held_out.y
        codes = y[rows].argmax(axis=1) if y.dtype.kind == "f" else y[label_set, rows]
        found: Array = self.labels.classes[label_set][codes]
        return found


def _as_given(rows: inputs.Features, own: Any) -> Any:
    """These rows, with the names of their columns; sparse ones as SciPy has them."""
    if isinstance(rows.X, SparseRows):
        return rows.X.matrix[own]
    X = rows.X[own]
    return X if rows.names is None else NamedColumns.of(np.asarray(X), tuple(rows.names))

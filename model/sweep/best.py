"""What a fitted sweep predicts: as its best setting does, of each label set."""

from collections.abc import Callable
from typing import Any

import numpy as np

from softstep.kernels.arrays import on_host
from softstep.kernels.checks import Array
from softstep.model import inputs
from softstep.model.fitted import not_fitted
from softstep.model.scores import Score
from softstep.model.sweep.lone_score import score_of


class PredictsByBest:
    """The predictions of `best_estimator_`, in the forms of scikit-learn.

    For labels (n, t) there are t best ones: labels come as (n, t), all else as a list of t arrays,
    with None for a label set that was skipped. With `refit_together`, where all that were not have
    two classes, all else comes as (n, t) too, of the second class, with NaN for one that was.
    """

    best_estimator_: Any
    _refit: Score
    classes_: Any
    missing: Any
    refit_together: Any
    _set_names: tuple[str, ...] | None

    def decision_function(self, X: Any) -> Any:
        """Logits, as `SoftmaxRegression.decision_function`; for label sets a list of them.

        Raises:
            NotFittedError: before `fit`. TypeError, ValueError: X is not as `fit` describes.
        """
        return self._together(self._each(lambda best: best.decision_function(X)), X)

    def predict_proba(self, X: Any) -> Any:
        """Class probabilities, (n, c); for label sets a list, or (n, t). Raises as
        `decision_function`."""
        return self._together(self._each(lambda best: best.predict_proba(X)), X)

    def predict_log_proba(self, X: Any) -> Any:
        """Their logarithms, (n, c); for label sets a list, or (n, t). Raises as
        `decision_function`."""
        return self._together(self._each(lambda best: best.predict_log_proba(X)), X)

    def predict(self, X: Any) -> Any:
        """The most probable label of each row, (n,); for label sets (n, t), in which one that was
        skipped has the one label it has, or None.

        Raises as `decision_function`.
        """
        labels = self._each(lambda best: best.predict(X))
        if not isinstance(labels, list):
            return labels
        n = next(len(column) for column in labels if column is not None)
        columns = [
            _constant(classes, n) if column is None else on_host(column, "labels")
            for column, classes in zip(labels, self.classes_, strict=True)
        ]
        if len({column.dtype.kind in "UO" for column in columns}) > 1:  # text beside numbers
            return np.stack([column.astype(object) for column in columns], axis=1)
        found = np.stack(columns, axis=1)
        return found if found.dtype.kind == "O" else inputs.as_given(found, X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """With `scoring` the score of `refit`, by which the best was chosen, as GridSearchCV has it
        (of loss, brier and ece less is better); without it accuracy, as `SoftmaxRegression.score`.
        For label sets the mean over them; labels that are missing, and label sets that were
        skipped, do not count.

        Raises as `decision_function`; TypeError or ValueError for y or weights of another form, and
        ValueError for labels of which the score can say nothing: unknown ones, or none of a class
        that AUC or average precision compares with the others.
        """
        self._require_fit()
        best, refit = self.best_estimator_, self._refit
        if not isinstance(best, list) and self.missing is None:
            return score_of(refit, best, X, y, sample_weight)
        best = best if isinstance(best, list) else [best]
        inputs.warn_of_other_rows(X, {"y": y})
        sets = inputs.label_sets(y, None, "y", self.missing, may_be_soft=False)
        assert sets is not None
        if len(sets) != len(best):
            raise ValueError(f"y has shape {np.shape(y)}, but there are {len(best)} label sets")
        sets = inputs.by_name(sets, y, self._set_names, "y")
        scores = [
            score_of(refit, one, X, found.values, _weights(sample_weight, found.observed))
            for one, found in zip(best, sets, strict=True)
            if one is not None
        ]
        return float(np.mean(scores))

    def _each(self, predict: Callable[[Any], Any]) -> Any:
        """The prediction of the best setting, or a list of one for each label set."""
        self._require_fit()
        best = self.best_estimator_
        if not isinstance(best, list):
            return predict(best)
        return [None if each is None else predict(each) for each in best]

    def _together(self, found: Any, X: Any) -> Any:
        """A list of what is found for each label set as one array, (n, t), if they are one task."""
        is_one = isinstance(found, list) and self.refit_together
        if not is_one or any(len(classes) > 2 for classes in self.classes_):
            return found
        arrays = [None if each is None else on_host(each, "predictions") for each in found]
        first = next(each for each in arrays if each is not None)
        columns = np.full((len(first), len(arrays)), np.nan, first.dtype)
        for t, each in enumerate(arrays):
            if each is not None:
                columns[:, t] = each if each.ndim == 1 else each[:, 1]
        return inputs.as_given(columns, X)

    def _require_fit(self) -> None:
        if not hasattr(self, "best_estimator_"):
            raise not_fitted(type(self).__name__)


def _constant(classes: Array, n: int) -> Array:
    """The label of n rows where there is one class, or none."""
    return np.full(n, classes[0]) if len(classes) else np.full(n, None)


def _weights(sample_weight: Any, observed: Array | None) -> Any:
    """Weights of rows, 0 for those without a label."""
    if observed is None:
        return sample_weight
    if sample_weight is None:
        return observed.astype(np.float64)
    return inputs.weight_array(sample_weight, len(observed)) * observed

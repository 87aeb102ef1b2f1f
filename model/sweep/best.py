"""What a fitted sweep predicts: as its best setting does, of each label set."""

from collections.abc import Callable
from typing import Any

import numpy as np

from softstep.kernels.arrays import on_host, to_host
from softstep.model import inputs
from softstep.model.fitted import not_fitted


class PredictsByBest:
    """The predictions of `best_estimator_`, in the forms of scikit-learn.

    For labels (n, t) there are t best ones: labels come as (n, t), all else as a list of t arrays.
    """

    best_estimator_: Any

    def decision_function(self, X: Any) -> Any:
        """Logits, as `SoftmaxRegression.decision_function`; for label sets a list of them.

        Raises:
            NotFittedError: before `fit`. TypeError, ValueError: X is not as `fit` describes.
        """
        return self._each(lambda best: best.decision_function(X))

    def predict_proba(self, X: Any) -> Any:
        """Class probabilities, (n, c); for label sets a list. Raises as `decision_function`."""
        return self._each(lambda best: best.predict_proba(X))

    def predict_log_proba(self, X: Any) -> Any:
        """Their logarithms, (n, c); for label sets a list. Raises as `decision_function`."""
        return self._each(lambda best: best.predict_log_proba(X))

    def predict(self, X: Any) -> Any:
        """The most probable label of each row, (n,); for label sets (n, t).

        Raises as `decision_function`.
        """
        labels = self._each(lambda best: best.predict(X))
        if not isinstance(labels, list):
            return labels
        columns = [on_host(column, "labels") for column in labels]
        return inputs.as_given(np.stack(columns, axis=1), X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy, as `SoftmaxRegression.score`; for label sets the mean over them.

        Raises as `decision_function`; TypeError or ValueError for y or weights of another form.
        """
        self._require_fit()
        if not isinstance(self.best_estimator_, list):
            return float(self.best_estimator_.score(X, y, sample_weight))
        y, sets = to_host(inputs.target_array(y)), len(self.best_estimator_)
        if y.ndim != 2 or y.shape[1] != sets:
            raise ValueError(f"y has shape {y.shape}, but there are {sets} label sets")
        scores = [
            best.score(X, y[:, t], sample_weight) for t, best in enumerate(self.best_estimator_)
        ]
        return float(np.mean(scores))

    def _each(self, predict: Callable[[Any], Any]) -> Any:
        """The prediction of the best setting, or a list of one for each label set."""
        self._require_fit()
        best = self.best_estimator_
        return [predict(each) for each in best] if isinstance(best, list) else predict(best)

    def _require_fit(self) -> None:
        if not hasattr(self, "best_estimator_"):
            raise not_fitted(type(self).__name__)

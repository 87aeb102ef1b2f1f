"""Scores by functions of an estimator: a user's own, and the scorers of scikit-learn."""

import numbers
from typing import Any

import numpy as np

from softstep.model import extras
from softstep.model.scores.table import SCORES, Score


def by_function(name: str, function: Any) -> Score:
    """The score of a function (estimator, X, y) -> number; greater is better."""
    return Score(name, "estimator", "estimator", function)


def of_scikit_learn(name: str) -> Score:
    """The scorer of that name.

    Raises:
        ValueError: there is none, or no scikit-learn; the text names the scores that are built in.
    """
    known = f"{', '.join(SCORES)} or topK, such as top5"
    try:
        metrics = extras.load("sklearn.metrics", extra="sklearn")
    except extras.MissingExtraError:
        raise ValueError(
            f"scoring has {name!r}, which is not built in: choose {known}, or for a scorer of "
            "scikit-learn: pip install 'softstep[sklearn]'"
        ) from None
    if name not in metrics.get_scorer_names():
        raise ValueError(
            f"scoring has {name!r}, which is no scorer of scikit-learn, and not built in: "
            f"choose {known}"
        )
    return by_function(name, metrics.get_scorer(name))


def number(score: Score, value: Any) -> float:
    """What a function gave, as a number.

    Raises:
        TypeError: it is none.
    """
    plain = value.item() if getattr(value, "ndim", None) == 0 else value
    if isinstance(plain, bool | np.bool_) or not isinstance(plain, numbers.Real):
        raise TypeError(
            f"scoring={score.name!r} gave {value!r}: its function must return a number; for "
            "several give a dict with a function for each"
        )
    return float(plain)

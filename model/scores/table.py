"""The scores that are built in. A score is a row of this table, where all code looks it up."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from softstep.model.scores import calibration, counts, means, ranks

Kind = Literal["mean", "counts", "all", "estimator"]
Needs = Literal["logits", "probabilities", "predictions", "cross_entropy", "losses", "estimator"]


@dataclass(frozen=True)
class Score:
    """A score of g heads on r rows.

    name: under which it is asked for. kind: how it comes from the rows, and so what `of` takes;
    needs: which of the heads' answers (`Answers`) that is.
        "mean": of(answers, y) -> (r, g), whose mean over the rows it is. y: labels (r, g).
        "counts": of(`Counts`) -> (g,), from sums over the rows by class and prediction.
        "all": of(P (n, c), y (n,), weights (n,) or None) -> a number, all rows of a head at once.
        "estimator": of(estimator, X, y) -> a number, as scikit-learn's scorers.
    greater_is_better: or less. soft: whether y may be soft targets, (r, 1, c); else it is their
    most probable class. every_class: whether it takes rows of each class. least_classes: with fewer
    it would be the same for all heads.
    """

    name: str
    kind: Kind
    needs: Needs
    of: Callable[..., Any]
    greater_is_better: bool = True
    soft: bool = False
    every_class: bool = False
    least_classes: int = 2

    @property
    def is_mean(self) -> bool:
        return self.kind == "mean"

    def cost(self, figures: Any) -> Any:
        """The figures such that less is better."""
        return -figures if self.greater_is_better else figures


def _top(name: str, k: int) -> Score:
    return Score(name, "mean", "logits", partial(means.top, k=k), least_classes=k + 1)


SCORES = {
    score.name: score
    for score in (
        Score("accuracy", "mean", "predictions", means.right),
        Score("loss", "mean", "losses", means.same, greater_is_better=False),
        Score("balanced_accuracy", "counts", "predictions", counts.balanced_accuracy),
        _top("top_k_accuracy", k=2),
        Score("neg_log_loss", "mean", "cross_entropy", means.negative),
        Score("brier", "mean", "probabilities", means.brier, greater_is_better=False, soft=True),
        Score("ece", "all", "probabilities", calibration.ece, greater_is_better=False),
        Score("macro_f1", "counts", "predictions", counts.macro_f1),
        Score("roc_auc_ovr", "all", "probabilities", ranks.roc_auc_ovr, every_class=True),
        Score(
            "average_precision", "all", "probabilities", ranks.average_precision, every_class=True
        ),
    )
}
ALWAYS = ("accuracy", "loss")  # a sweep computes them whatever is asked for


def find(name: str) -> Score | None:
    """The score of that name; "top5" and its like are top_k_accuracy of 5. None: there is none."""
    top = re.fullmatch(r"top([1-9]\d{0,8})", name)
    return _top(name, int(top[1])) if top else SCORES.get(name)

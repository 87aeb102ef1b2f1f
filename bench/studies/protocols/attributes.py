"""40 binary attributes of the same images: a logistic regression for each, judged over folds."""

import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import numpy as np

from softstep import SoftmaxSweep
from softstep.bench.measure import clocked, limited
from softstep.bench.peers import installed
from softstep.bench.problems import Array
from softstep.bench.studies.protocols.choosing import HOW
from softstep.bench.studies.protocols.features import SEED, Images
from softstep.bench.studies.protocols.results import OURS, Put

ATTRIBUTES, FOLDS = 40, 5
FEW = 1_000  # rows to compile on: each attribute is in each fold
RARE, COMMON = 0.05, 0.5  # the shares of the rows that have an attribute, but for the ten digits
SCORES = ("roc_auc_ovr", "average_precision")


@dataclass(frozen=True)
class Rows:
    """name: which they are. X (n, d), Y (n, 40) of zeros and ones. folds: pairs of rows to learn
    from and to judge on."""

    name: str
    X: Array
    Y: Array
    folds: list[tuple[Array, Array]]

    @classmethod
    def of(cls, name: str, X: Array, Y: Array) -> Self:
        parts = np.array_split(np.random.default_rng(SEED).permutation(len(X)), FOLDS)
        folds = [(np.setdiff1d(np.arange(len(X)), part), np.sort(part)) for part in parts]
        return cls(name, X, Y, folds)

    def few(self) -> Self:
        """The first of them."""
        return self.of(self.name, self.X[:FEW], self.Y[:FEW])


def problem(n: int, d: int) -> Rows:
    """Of n images, or as many as there are, whether each is one of the ten digits, and whether it
    is far along each of 30 random directions of the pixels."""
    images = Images.found(n)
    rng = np.random.default_rng(SEED)
    X = images.block(d, rng)
    pixels = images.pixels.reshape(len(X), -1)
    along = pixels @ rng.standard_normal((pixels.shape[1], ATTRIBUTES - 10))
    shares = np.geomspace(RARE, COMMON, ATTRIBUTES - 10)
    far = [a > np.quantile(a, 1 - share) for a, share in zip(along.T, shares, strict=True)]
    Y = np.stack([*(images.digits == k for k in range(10)), *far], axis=1).astype(np.int64)
    return Rows.of(f"{ATTRIBUTES} label sets, {FOLDS} folds, {images.name} {len(X)}x{d}", X, Y)


def sweep(rows: Rows) -> Array:
    """The means over the folds of both scores of each attribute, (2, 40)."""
    grid = {"loss": "cross_entropy", "C": 1.0, "scaling": "standard"}
    heads = SoftmaxSweep(grid, cv=rows.folds, scoring=[*SCORES], refit_together=True, **HOW)
    heads.fit(rows.X, rows.Y)
    return np.stack([heads.results_[f"mean_val_{name}"] for name in SCORES])


def loop(rows: Rows, folds: slice = slice(None)) -> Array:
    """The scores of each attribute in some of the folds, (folds, 2, 40), by scikit-learn."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score, roc_auc_score
    from sklearn.preprocessing import StandardScaler

    def scores(x: Any, y: Any, x_judge: Any, y_judge: Any) -> tuple[Any, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged, as it is by default
            p = LogisticRegression().fit(x, y).predict_proba(x_judge)[:, 1]
        return roc_auc_score(y_judge, p), average_precision_score(y_judge, p)

    found = []
    for learn, judge in rows.folds[folds]:
        scaler = StandardScaler().fit(rows.X[learn])
        x, x_judge = scaler.transform(rows.X[learn]), scaler.transform(rows.X[judge])
        found.append([scores(x, y[learn], x_judge, y[judge]) for y in rows.Y.T])
    return np.array(found).transpose(0, 2, 1)


def measure(quick: bool, put: Put) -> None:
    rows = problem(*((600, 16) if quick else (10_000, 1024)))
    sweep(rows.few())  # compiles
    ours, seconds = clocked(partial(sweep, rows))
    put(OURS, seconds, _told(ours), work=rows.name)
    if installed("sklearn"):
        with limited(1):  # each product has one column, which two cores take longer for
            loop(rows.few(), slice(1))
            theirs, seconds = clocked(partial(loop, rows))
        theirs = theirs.mean(axis=0)
        apart = np.abs(theirs - ours).max()
        told = f"{_told(theirs)}; apart from ours by {apart:.1e} at most"
        put("scikit-learn, one attribute after the other, on one core", seconds, told)


def _told(scores: Array) -> str:
    auc, precision = scores.mean(axis=1)
    return f"mean ROC AUC {auc:.4f}, mean average precision {precision:.4f}"

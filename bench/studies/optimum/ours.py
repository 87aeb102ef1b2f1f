"""The heads of a work by softstep, each until it is proven."""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.bench import memory
from softstep.bench.measure import clocked
from softstep.bench.problems import Array
from softstep.bench.studies.optimum.works import SEED, Work

TOL = 1e-6  # relative: how near everybody goes
SETTINGS: dict[str, Any] = {
    "solver": "lbfgs",
    "tol": TOL,
    "max_iter": 10_000,
    "random_state": SEED,
}
FEW_ROWS = 300  # to compile on
RATES, EPOCHS = np.geomspace(0.01, 1, 8), 10  # of SGD


@dataclass(frozen=True)
class Heads:
    """W (h, d, c) and b (h, c), one for each C, of all rows or of a fold."""

    W: Array
    b: Array

    @classmethod
    def of(cls, models: Any) -> "Heads":
        """Those of fitted models."""
        W, b = (np.stack(x) for x in zip(*((m.coef_.T, m.intercept_) for m in models), strict=True))
        return cls(W, b)

    def uncentred(self, X: Array) -> "Heads":
        """The same heads of X, if these are of X - X.mean(axis=0)."""
        return Heads(self.W, self.b - X.mean(axis=0) @ self.W)


@dataclass(frozen=True)
class Solved:
    """What `solve` found: the heads on all rows and those of each fold, how long it took and how
    much memory it took besides X, how many rounds there were."""

    whole: Heads
    folds: list[Heads]
    seconds: float
    bytes_above: int
    rounds: int
    said: list[str]


def one_head(work: Work) -> Any:
    """The model of the only C, fitted."""
    model = SoftmaxRegression(loss="cross_entropy", C=float(work.C[0]), **SETTINGS)
    return model.fit(work.X, work.y)


def solve(work: Work, tol: float = TOL) -> Solved:
    """All heads in one sweep."""
    X, y = work.X[:FEW_ROWS], work.y[:FEW_ROWS]
    _sweep(work.C[:2], None, tol).fit(X, y, X_val=X, y_val=y)  # compiles
    rounds: list[Any] = []
    held_out = {} if work.folds else {"X_val": work.X_test, "y_val": work.y_test}
    sweep = _sweep(work.C, work.folds or None, tol)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        _, above, seconds = memory.peak_above(
            lambda: sweep.fit(work.X, work.y, **held_out, callback=rounds.append)
        )
    each = range(len(work.C))
    return Solved(
        Heads.of([sweep.estimator(i) for i in each]),
        [Heads.of([sweep.estimator(i, k) for i in each]) for k in range(len(work.folds))],
        seconds,
        above,
        len(rounds),
        [str(warning.message) for warning in said],
    )


def _sweep(C: Array, folds: Any, tol: float) -> Any:
    grid = {"loss": "cross_entropy", "C": C.tolist()}
    return SoftmaxSweep(grid, cv=folds, **SETTINGS | {"tol": tol})


def seconds_of_one_head(work: Work, repeats: int) -> float:
    """The median."""
    return float(np.median([clocked(lambda: one_head(work))[1] for _ in range(repeats)]))


def by_sgd(work: Work) -> tuple[float, float]:
    """Seconds of a sweep by gradient descent, and its best accuracy on the test rows."""
    grid = {"loss": "cross_entropy", "learning_rate": RATES.tolist(), "l2": [0.0, 1e-4]}
    sweep = SoftmaxSweep(grid, epochs=EPOCHS, schedule="cosine", random_state=SEED)
    X, y = work.X[:FEW_ROWS], work.y[:FEW_ROWS]
    sweep.fit(X, y, X_val=X, y_val=y)  # compiles
    _, seconds = clocked(lambda: sweep.fit(work.X, work.y, X_val=work.X_test, y_val=work.y_test))
    return seconds, float(sweep.results_["mean_val_accuracy"].max())

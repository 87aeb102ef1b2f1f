"""DINOv2's evaluation by logistic regression: 45 values of C, each to the optimum."""

import warnings
from functools import partial
from typing import Any

import numpy as np

from softstep.bench.measure import clocked
from softstep.bench.peers import installed
from softstep.bench.problems import Array
from softstep.bench.studies.protocols.choosing import Chosen, Rows, chosen, proven
from softstep.bench.studies.protocols.results import OURS, Put

C = 10.0 ** np.linspace(-6, 5, 45)
MAX_ITER, TOL = 1_000, 1e-12  # of the original


def loop(rows: Rows, grid: Array) -> tuple[Chosen, Array]:
    """A fit for each C of the grid by scikit-learn, in float64; and their accuracies on the rows
    that choose."""
    from sklearn.linear_model import LogisticRegression

    X, X_test = rows.X.astype(np.float64), rows.X_test.astype(np.float64)

    def fit(c: float, of: slice) -> Any:
        return LogisticRegression(C=c, max_iter=MAX_ITER, tol=TOL).fit(X[of], rows.y[of])

    X_judge, y_judge = X[rows.judge], rows.y[rows.judge]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        accuracies = np.array([fit(c, rows.learn).score(X_judge, y_judge) for c in grid])
        best = int(accuracies.argmax())
        test = fit(grid[best], slice(None)).score(X_test, rows.y_test)
    return Chosen(float(grid[best]), float(accuracies[best]), test), accuracies


def measure(quick: bool, put: Put) -> None:
    rows = Rows.of_digits(*((300, 16) if quick else (5_000, 1024)), choosing=0.1, test=0.25)
    grid = C[::11] if quick else C
    sweep = partial(chosen, name="C", grid={"C": grid.tolist()}, max_iter=MAX_ITER)
    sweep(rows.few())  # compiles
    (ours, heads), seconds = clocked(partial(sweep, rows))
    put(OURS, seconds, f"C {ours}; {proven(heads)}", work=f"{len(grid)} C, {rows.name}")
    if installed("sklearn"):
        loop(rows.few(), grid[:1])
        (theirs, accuracies), seconds = clocked(partial(loop, rows, grid))
        apart = np.abs(accuracies - heads.results_["mean_val_accuracy"]).max()
        told = f"C {theirs}; accuracies apart from ours by {apart:.1e} at most"
        put("scikit-learn, one C after the other", seconds, told)

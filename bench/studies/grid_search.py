"""A grid by cross-validation: SoftmaxSweep against scikit-learn's GridSearchCV, on part of MNIST.

Both try the same L2 penalties on the same five folds. They do not do the same work: scikit-learn
takes each fit to its optimum by L-BFGS, which has no learning rate; the sweep runs SGD, with
several learning rates for each penalty. What is compared is what a user gets: seconds, and the
test accuracy of the chosen model.
"""

import functools
from typing import Any

import numpy as np

from softstep import SoftmaxSweep
from softstep.bench.measure import clocked
from softstep.bench.studies import parser
from softstep.model.datasets import load_mnist

ROWS, FOLDS, SEED = 5_000, 5, 0
CS = np.geomspace(1e-3, 1, 8)  # scikit-learn's: 1 / (λ n), n the rows that a fold learns from
RATES = np.geomspace(0.02, 0.5, 5)
EPOCHS = 20


def penalties() -> Any:
    """λ of each C."""
    return 1 / (CS * ROWS * (FOLDS - 1) / FOLDS)


def by_sweep(X: Any, y: Any, folds: Any) -> Any:
    """The chosen model and how many fits it took."""
    grid = {
        "loss": "cross_entropy",
        "l2": penalties().tolist(),
        "learning_rate": RATES.tolist(),
    }
    sweep = SoftmaxSweep(grid, cv=folds, epochs=EPOCHS, schedule="cosine", random_state=SEED)
    return sweep.fit(X, y).best_estimator_, len(CS) * len(RATES) * (FOLDS + 1)


def by_grid_search(X: Any, y: Any, folds: Any) -> Any:
    """The same by scikit-learn, on all cores."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV

    search = GridSearchCV(LogisticRegression(max_iter=1_000), {"C": CS}, cv=folds, n_jobs=-1)
    return search.fit(X, y).best_estimator_, len(CS) * FOLDS + 1


def main(argv: list[str] | None = None) -> int:
    from sklearn.model_selection import StratifiedKFold

    parser("grid_search", __doc__).parse_args(argv)
    data: Any = load_mnist()
    rows = np.random.default_rng(SEED).permutation(len(data.X_train))[:ROWS]
    X, y = (data.X_train[rows] / 255).astype(np.float32), data.y_train[rows]
    X_test = (data.X_test / 255).astype(np.float32)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    by_sweep(X, y, folds)  # compiles
    print(f"{ROWS} rows of MNIST, {len(CS)} penalties, {FOLDS} folds")
    for name, search in (("SoftmaxSweep", by_sweep), ("GridSearchCV", by_grid_search)):
        (model, fits), seconds = clocked(functools.partial(search, X, y, folds))
        accuracy = model.score(X_test, data.y_test)
        print(f"{name:14} {fits:4} fits {seconds:7.2f} s  test accuracy {accuracy:.4f}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""What is solved: 30 heads on MNIST, five penalties by five folds and on all rows."""

from typing import Any

import numpy as np

from softstep import SoftmaxSweep
from softstep.model.datasets import load_mnist

PENALTIES, FOLDS, TOL = np.geomspace(1e-4, 1e-2, 5).tolist(), 5, 1e-6


def sweep(**more: Any) -> SoftmaxSweep:
    grid = {"l2": PENALTIES, "loss": "cross_entropy"}
    given = {"cv": FOLDS, "solver": "lbfgs", "tol": TOL, "random_state": 0, "n_threads": 1}
    return SoftmaxSweep(grid, **{**given, **more})


def rows(count: int) -> tuple[Any, Any]:
    """The first rows of MNIST, pixels, and their labels."""
    data: Any = load_mnist()
    return data.X_train[:count], data.y_train[:count]


def part(array: Any, number: int, parts: int) -> Any:
    """The rows of one of so many processes."""
    return np.array_split(array, parts)[number]

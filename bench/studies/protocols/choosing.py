"""A grid of optima, the best of them by rows held out, and its model on all rows."""

import warnings
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.bench.problems import Array
from softstep.bench.studies.protocols.features import SEED, Images

FEW = 300  # rows to compile on
HOW: dict[str, Any] = {"solver": "lbfgs", "random_state": SEED}


@dataclass(frozen=True)
class Rows:
    """name: which they are. X, y: to learn from, of which the last `choosing` choose the setting.
    X_test, y_test: to test."""

    name: str
    X: Array
    y: Array
    X_test: Array
    y_test: Array
    choosing: int

    @classmethod
    def of_digits(cls, n: int, d: int, *, choosing: float, test: float) -> Self:
        """What digit an image shows, of n to learn from, or as many as there are.

        choosing, test: so many times as many rows choose, and test.
        """
        images = Images.found(round(n * (1 + test)))
        X, y = images.block(d, np.random.default_rng(SEED)), images.digits
        n = round(len(X) / (1 + test))
        chosen_by = round(choosing * n)
        name = f"{images.name} {n - chosen_by}x{d}->10"
        return cls(name, X[:n], y[:n], X[n:], y[n:], chosen_by)

    @property
    def learn(self) -> slice:
        return slice(len(self.X) - self.choosing)

    @property
    def judge(self) -> slice:
        return slice(len(self.X) - self.choosing, None)

    def few(self) -> Self:
        """The first of them."""
        return replace(self, X=self.X[:FEW], y=self.y[:FEW], choosing=FEW // 3)


@dataclass(frozen=True)
class Chosen:
    """value: of the setting that was chosen. judged: its accuracy on the rows that choose. test:
    that of a model of it on all rows to learn from."""

    value: float
    judged: float
    test: float

    def __str__(self) -> str:
        return (
            f"{self.value:.3g} chosen by validation accuracy {self.judged:.4f}, "
            f"test accuracy {self.test:.4f}"
        )


def chosen(rows: Rows, name: str, grid: dict[str, Any], **how: Any) -> tuple[Chosen, Any]:
    """All settings of the grid in one call, the model of the best; and the sweep, fitted.

    name: of the setting that the grid goes through.
    """
    sweep = SoftmaxSweep({"loss": "cross_entropy", **grid}, **HOW, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of settings that do not converge, which are counted
        sweep.fit(
            rows.X[rows.learn],
            rows.y[rows.learn],
            X_val=rows.X[rows.judge],
            y_val=rows.y[rows.judge],
        )
        model = SoftmaxRegression(**sweep.best_params_, **HOW, **how).fit(rows.X, rows.y)
    judged = sweep.results_["mean_val_accuracy"][sweep.best_index_]
    test = model.score(rows.X_test, rows.y_test)
    return Chosen(sweep.best_params_[name], float(judged), test), sweep


def proven(sweep: Any) -> str:
    """How many heads are at their optimum, in words."""
    converged = sweep.results_["converged"]
    return f"{int(converged.sum())} of {len(converged)} proven to be at their optimum"

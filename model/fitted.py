"""The weights a fitted SoftmaxRegression predicts with, and how it reads features."""

import sys
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import numpy as np

from softstep.kernels.checks import Array, compute_dtype
from softstep.model import inputs
from softstep.model.inputs import Features, NamedColumns, Schema


class NotFittedError(ValueError, AttributeError):
    """The model must be fitted first. Scikit-learn's error of that name too, where it is loaded."""


def not_fitted(owner: str) -> NotFittedError:
    """The error to raise for an estimator of the class `owner`."""
    return _not_fitted_class("sklearn.exceptions" in sys.modules)(
        f"this {owner} is not fitted: call fit first"
    )


@cache
def _not_fitted_class(is_scikit_learns: bool) -> type[NotFittedError]:
    if not is_scikit_learns:
        return NotFittedError
    theirs = sys.modules["sklearn.exceptions"].NotFittedError
    return type("NotFittedError", (NotFittedError, theirs), {"__reduce__": _reduce})


def _reduce(error: NotFittedError) -> tuple[type[NotFittedError], tuple[Any, ...]]:
    """Pickled, as in a worker process of joblib, it is the class that has a name."""
    return NotFittedError, error.args


@dataclass(frozen=True)
class Fitted:
    """The weights of a fitted model, and how it reads features.

    W: (d, c). b: (c,). classes: (c,), sorted. schema: what the features were it learned from.
    """

    W: Array
    b: Array
    classes: Array
    schema: Schema

    @classmethod
    def of(cls, model: Any) -> Self:
        """The weights and settings of a fitted SoftmaxRegression.

        Raises:
            NotFittedError: before `fit`.
        """
        if not hasattr(model, "coef_"):
            raise not_fitted(type(model).__name__)
        return cls(
            W=model.coef_.T,
            b=model.intercept_,
            classes=model.classes_,
            schema=Schema.of_model(model),
        )

    @classmethod
    def to_go_on(cls, model: Any, rows: Features, classes: Array) -> Self | None:
        """The last fit of a SoftmaxRegression with `warm_start`, for one on these rows; else None.

        Raises:
            TypeError: `warm_start` is no flag. ValueError: other columns, or other classes.
        """
        if not inputs.flag("warm_start", model.warm_start) or not hasattr(model, "coef_"):
            return None
        fitted = cls.of(model)
        fitted.schema.check_columns(rows)
        if rows.columns != fitted.schema.columns:
            raise ValueError(
                f"warm_start goes on with the columns {fitted.schema.columns} of X, but `features` "
                f"is {rows.columns}: fit a new model"
            )
        if not np.array_equal(classes, fitted.classes):
            raise ValueError(
                f"warm_start goes on with the classes {fitted.classes}, but those of y are "
                f"{classes}: fit a new model, or use partial_fit, which is told them all at first"
            )
        return fitted

    def features(self, X: Any) -> tuple[Array, float]:
        """X in the form the ops take, and its scale.

        Raises:
            TypeError, ValueError: X is not finite, of shape (n, d) and of a supported dtype, has
                other columns, or would be misread.
        """
        rows = self.schema.rows(X)
        inputs.refuse_non_finite(rows.X, names=rows.labels)
        return self.schema.numbers(rows, self.W.dtype), self.schema.factor(rows)

    def lone_row(self, x: Any) -> tuple[Array, float]:
        """As `features`, of one row: (1, d), or (d,), which has no names that could be checked."""
        if inputs.names_of(x) is not None:
            return self.features(x)
        X, names = inputs.host_array(x, "x"), self.schema.names
        X = X if X.ndim == 2 else X[None]
        return self.features(X if names is None else NamedColumns.of(X, tuple(names)))

    def weights(self, X: Array) -> tuple[Array, Array]:
        """W, (d, c), and b, (c,), in the dtype in which X is computed with; copies if need be."""
        dtype = compute_dtype(X)
        return self.W.astype(dtype, order="C", copy=False), self.b.astype(dtype, copy=False)

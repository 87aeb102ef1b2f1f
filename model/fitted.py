"""The weights a fitted SoftmaxRegression predicts with, and how it reads features."""

import sys
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import numpy as np

from softstep.kernels.checks import Array, compute_dtype
from softstep.model import inputs
from softstep.model.inputs import Features, MadeRows, NamedColumns, Schema
from softstep.model.views import Scaler


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
    scaler: by which rows are scaled that W and b are weights of; None: they are not.
    """

    W: Array
    b: Array
    classes: Array
    schema: Schema
    scaler: Scaler | None

    @classmethod
    def of(cls, model: Any) -> Self:
        """The weights and settings of a fitted SoftmaxRegression.

        Raises:
            NotFittedError: before `fit`.
        """
        if not hasattr(model, "coef_"):
            raise not_fitted(type(model).__name__)
        W, b, scaler = model.coef_.T, model.intercept_, model._scaler
        if scaler is not None:
            W, b = _scaled_weights(model, scaler)
        return cls(W, b, model.classes_, Schema.of_model(model), scaler)

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
        scaling = None if fitted.scaler is None else fitted.scaler.scaling
        if scaling != model.scaling:
            raise ValueError(
                f"warm_start goes on with scaling={scaling!r}, but `scaling` is {model.scaling!r}: "
                "fit a new model"
            )
        return fitted

    def raw(self) -> tuple[Array, Array]:
        """The weights W (d, c), b (c,) of the features as they are given, or of unit length, in
        float64: far from 0 a rounded W would move the logits."""
        W, b = self.W.astype(np.float64), self.b.astype(np.float64)
        return (W, b) if self.scaler is None else self.scaler.folded(W, b)

    def features(self, X: Any) -> tuple[Array, float]:
        """X in the form the ops take, and its scale. Raises as `unscaled`."""
        X, scale = self.unscaled(X)
        return inputs.scaled(X, self.scaler, scale)

    def unscaled(self, X: Any) -> tuple[Array, float]:
        """The same before rows are scaled by `scaler`.

        Raises:
            TypeError, ValueError: X is not finite, of shape (n, d) and of a supported dtype, has
                other columns, or would be misread.
        """
        rows = self.schema.rows(X)
        inputs.refuse_non_finite(rows.X, names=rows.labels)
        return self.schema.numbers(rows, self.W.dtype), self.schema.factor(rows)

    def lone_row(self, x: Any) -> tuple[Array, float]:
        """As `features`, of one row: (1, d), or (d,), which has no names that could be checked."""
        names = self.schema.names
        if inputs.names_of(x) is None:
            x = inputs.host_array(x, "x", takes_bfloat16=True)
            x = x if x.ndim == 2 else x[None]
            x = x if names is None else NamedColumns.of(x, tuple(names))
        X, scale = self.features(x)
        return (X[:] if isinstance(X, MadeRows) else X), scale

    def weights(self, X: Array) -> tuple[Array, Array]:
        """W, (d, c), and b, (c,), in the dtype in which X is computed with; copies if need be."""
        dtype = compute_dtype(X)
        return self.W.astype(dtype, order="C", copy=False), self.b.astype(dtype, copy=False)


def _scaled_weights(model: Any, scaler: Scaler) -> tuple[Array, Array]:
    """W (d, c) and b (c,) of scaled rows: the bank's, unless coef_ or intercept_ were changed."""
    W, b = model._folded
    if np.array_equal(W.T, model.coef_) and np.array_equal(b, model.intercept_):
        return model._bank.W[0], model._bank.b[0]
    return scaler.unfolded(model.coef_.T, model.intercept_)

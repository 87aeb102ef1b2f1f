"""The weights a fitted SoftmaxRegression predicts with, and how it reads features."""

from dataclasses import dataclass
from typing import Any, Self

from softstep.kernels.checks import Array, compute_dtype
from softstep.model import inputs
from softstep.model.inputs import Schema


class NotFittedError(ValueError, AttributeError):
    """The model must be fitted first."""


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
            raise NotFittedError(f"this {type(model).__name__} is not fitted: call fit first")
        return cls(
            W=model.coef_.T,
            b=model.intercept_,
            classes=model.classes_,
            schema=Schema.of_model(model),
        )

    def features(self, X: Any) -> tuple[Array, float]:
        """X in the form the ops take, and its scale.

        Raises:
            TypeError, ValueError: X is not finite, of shape (n, d) and of a supported dtype, has
                other columns, or would be misread.
        """
        rows = self.schema.rows(X)
        inputs.refuse_non_finite(rows.X)
        return self.schema.numbers(rows, self.W.dtype), self.schema.factor(rows)

    def weights(self, X: Array) -> tuple[Array, Array]:
        """W, (d, c), and b, (c,), in the dtype in which X is computed with; copies if need be."""
        dtype = compute_dtype(X)
        return self.W.astype(dtype, order="C", copy=False), self.b.astype(dtype, copy=False)

"""The weights a fitted SoftmaxRegression predicts with, and how it reads features."""

from dataclasses import dataclass
from typing import Any, Self

from softstep.kernels.checks import Array, compute_dtype
from softstep.model import feature_scale, inputs


class NotFittedError(ValueError, AttributeError):
    """The model must be fitted first."""


@dataclass(frozen=True)
class Fitted:
    """The weights of a fitted model, and how it reads features.

    W: (d, c). b: (c,). classes: (c,), sorted.
    feature_scale: the factor applied to the features in training.
    scale_setting: the model's setting `feature_scale`, from which the scale of other rows follows.
    """

    W: Array
    b: Array
    classes: Array
    feature_scale: float
    scale_setting: float | str

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
            feature_scale=model.feature_scale_,
            scale_setting=model.feature_scale,
        )

    def features(self, X: Any) -> tuple[Array, float]:
        """X in the form the ops take, and its scale.

        Raises:
            TypeError, ValueError: X is not finite, of shape (n, d) and of a supported dtype.
        """
        X = inputs.features(X, n_features=len(self.W))
        inputs.refuse_non_finite(X)
        scale = feature_scale.factor(self.scale_setting, X)
        feature_scale.warn_of_pixels(X, "X", scale, self.feature_scale)
        return X, scale

    def weights(self, X: Array) -> tuple[Array, Array]:
        """W, (d, c), and b, (c,), in the dtype in which X is computed with; copies if need be."""
        dtype = compute_dtype(X)
        return self.W.astype(dtype, order="C", copy=False), self.b.astype(dtype, copy=False)

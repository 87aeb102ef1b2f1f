"""One row's forward and backward pass, every number of it, by the package's own ops."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep import kernels
from softstep.model.regression import SoftmaxRegression

Array = Any


@dataclass(frozen=True)
class Explanation:
    """The passes of one row, in float64.

    Attributes:
        x: features, scaled, (d,). label: the class 0…c-1. y: the target, (c,).
        loss_name: "mse" or "cross_entropy". learning_rate: the model's.
        W, b: weights (d, c) and bias (c,). v: logits, p: probabilities, (c,). loss: of the row.
        dp: ∂L/∂p, (c,); None for the cross-entropy, whose dv comes from the logits at once.
        dv, dW, db: ∂L/∂v (c,), ∂L/∂W (d, c), ∂L/∂b (c,).
        loss_after: of the row, after a step of descent on it alone.
    """

    x: Array
    label: int
    y: Array
    loss_name: str
    learning_rate: float
    W: Array
    b: Array
    v: Array
    p: Array
    loss: float
    dp: Array | None
    dv: Array
    dW: Array
    db: Array
    loss_after: float

    def jacobian(self) -> Array:
        """∂p_j/∂v_i = p_j (δ_ij - p_i), (c, c): a row for each i."""
        return np.diag(self.p) - np.outer(self.p, self.p)


def explain(model: SoftmaxRegression, x: Any, label: int) -> Explanation:
    """The forward and the backward pass of one row.

    Args:
        model: fitted. x: features as the model was fitted on, (d,). label: one of its classes.

    Raises:
        NotFittedError; ValueError: x has another form, or the label is no class of the model.
        ArithmeticError: the weight gradient is not the outer product of x and dv.
    """
    X, scale = model._features_to_predict(np.asarray(x)[None])
    X = X.astype(np.float64) * scale
    found = np.flatnonzero(model.classes_ == label)
    if not found.size:
        raise ValueError(f"{label} is not one of the model's classes")
    y = found[:1]
    W, b = model.coef_.T.astype(np.float64, order="C"), model.intercept_.astype(np.float64)
    V, P, loss = _forward(X, y, W, b, model.loss)
    dP = kernels.mse_backward(P, y) if model.loss == "mse" else None
    dV = kernels.cross_entropy_backward(V, y) if dP is None else kernels.softmax_backward(dP, P)
    dW, db = kernels.linear_backward(dV, X)
    _refuse_another_gradient(dW, X[0], dV[0])
    rate = float(model.learning_rate)
    *_, loss_after = _forward(X, y, W - rate * dW, b - rate * db, model.loss)
    return Explanation(
        x=X[0],
        label=int(y[0]),
        y=np.eye(len(b))[y[0]],
        loss_name=model.loss,
        learning_rate=rate,
        W=W,
        b=b,
        v=V[0],
        p=P[0],
        loss=loss,
        dp=None if dP is None else dP[0],
        dv=dV[0],
        dW=dW,
        db=db,
        loss_after=loss_after,
    )


def _forward(X: Array, y: Array, W: Array, b: Array, loss: str) -> tuple[Array, Array, float]:
    """Logits, probabilities, loss."""
    V = kernels.linear_forward(X, W, b)
    P = kernels.softmax_forward(V)
    losses = kernels.mse_forward(P, y) if loss == "mse" else kernels.cross_entropy_forward(V, y)
    return V, P, float(losses[0])


def _refuse_another_gradient(dW: Array, x: Array, dv: Array) -> None:
    """dW of one row is x ⊗ dv: one product for each weight, so one rounding."""
    outer = np.outer(x, dv)
    if not (np.abs(dW - outer) <= np.finfo(np.float64).eps * np.abs(outer)).all():
        raise ArithmeticError("the weight gradient is not the outer product of x and dv")

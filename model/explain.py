"""One row's forward and backward pass with all its numbers, computed by the package's own ops."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep import kernels
from softstep.kernels import losses
from softstep.kernels.losses import Loss
from softstep.model.fitted import Fitted
from softstep.model.regression import SoftmaxRegression

Array = Any


@dataclass(frozen=True)
class Explanation:
    """The forward and backward pass of one row, in float64.

    Attributes:
        x: features, scaled, (d,). label: the class 0…c-1. y: the target, (c,).
        loss_name: of the model's loss. learning_rate: the model's.
        W, b: weights (d, c) and bias (c,). v: logits, p: probabilities, (c,). loss: of the row.
        dp: ∂L/∂p, (c,); None for a loss that is computed from the logits, as its gradient is.
        dv, dW, db: ∂L/∂v (c,), ∂L/∂W (d, c), ∂L/∂b (c,).
        loss_after: of the row, after one gradient step on it alone.
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
        model: fitted. x: features like those it was fitted on, (d,), or a table of one row, whose
            names are compared. label: one of its classes.

    Raises:
        NotFittedError: before `fit`.
        ValueError: x has another shape or other columns, or the label is not one of the classes.
        ArithmeticError: the weight gradient is not the outer product of x and dv.
    """
    fitted = Fitted.of(model)
    X, scale = fitted.lone_row(x)
    if len(X) != 1:
        raise ValueError(f"x must be one row, not {len(X)}")
    X = X.astype(np.float64) * scale
    found = np.flatnonzero(model.classes_ == label)
    if not found.size:
        raise ValueError(f"{label} is not one of the model's classes")
    y = found[:1]
    W, b = fitted.W.astype(np.float64, order="C"), fitted.b.astype(np.float64)
    loss = losses.find(model.loss)
    V, P, value = _forward(X, y, W, b, loss)
    dP, dV = _backward(V, P, y, loss)
    dW, db = kernels.linear_backward(dV, X)
    _refuse_another_gradient(dW, X[0], dV[0])
    rate = float(model.learning_rate)
    *_, value_after = _forward(X, y, W - rate * dW, b - rate * db, loss)
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
        loss=value,
        dp=None if dP is None else dP[0],
        dv=dV[0],
        dW=dW,
        db=db,
        loss_after=value_after,
    )


def _forward(X: Array, y: Array, W: Array, b: Array, loss: Loss) -> tuple[Array, Array, float]:
    """Logits, probabilities, loss."""
    V = kernels.linear_forward(X, W, b)
    P = kernels.softmax_forward(V)
    (value,) = getattr(kernels, loss.forward)(V if loss.forward_input == "V" else P, y)
    return V, P, float(value)


def _backward(V: Array, P: Array, y: Array, loss: Loss) -> tuple[Array | None, Array]:
    """dP, or None where the gradient is taken from the logits, and dV."""
    backward = getattr(kernels, loss.input_backward)
    if loss.forward_input == "V":
        return None, backward(V, y)
    dP = backward(P, y)
    return dP, kernels.softmax_backward(dP, P)


def _refuse_another_gradient(dW: Array, x: Array, dv: Array) -> None:
    """Raise ArithmeticError unless dW is x ⊗ dv: one product, so one rounding, for each weight."""
    outer = np.outer(x, dv)
    if not (np.abs(dW - outer) <= np.finfo(np.float64).eps * np.abs(outer)).all():
        raise ArithmeticError("the weight gradient is not the outer product of x and dv")

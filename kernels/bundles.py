"""What the fused ops hand to a backend: checked arguments, in three bundles.

`evaluate(data, bank)`, `gradient(data, bank)` and `train(data, bank, steps)` of every backend take
these, and may rely on what is said of each field.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels.csr import CSR
from softstep.kernels.losses import Loss
from softstep.kernels.scaled import Scaled

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Data:
    """Rows and what the heads learn from them.

    X: (n, d), as stored, its rows may lie apart; or CSR, or `Scaled`. feature_scale: multiplies the
        features.
    y: label sets (t, n) int64, or soft targets (n, c), float32 or float64.
    sample_weight: weight sets (s, n) in the dtype of the arithmetic, or None.
    y_index, weight_index: (h,) int64, which label set and which weight set each head uses.
    """

    X: Array | CSR | Scaled
    y: Array
    sample_weight: Array | None
    y_index: Array
    weight_index: Array
    feature_scale: float

    @property
    def is_soft(self) -> bool:
        return bool(self.y.dtype.kind == "f")


@dataclass(frozen=True, kw_only=True)
class Bank:
    """h heads: weights W (h, d, c) and biases b (h, c), in the dtype of the arithmetic; losses."""

    W: Array
    b: Array
    loss: tuple[Loss, ...]


@dataclass(frozen=True, kw_only=True)
class SGDSteps:
    """The steps of a descent.

    order: (m,) int64, rows in the order they are visited, `batch_size` of them in each step.
    learning_rate: (steps, h). l2, momentum: (h,). All float64.
    l2_bias, fit_bias: whether l2 acts on the bias, and whether the bias is trained.
    velocity: (MW, Mb) of the forms of W and b, updated in place, or None.
    active: (h,) bool, updated in place.
    columns: choose between kinds of kernel as for a bank of so many columns.
    decay: (h,) float64, updated in place: on CSR the weights are decay[k] W[k]; else None. CSR
        comes without momentum and velocity.
    """

    order: Array
    batch_size: int
    learning_rate: Array
    l2: Array
    l2_bias: bool
    momentum: Array
    velocity: tuple[Array, Array] | None
    fit_bias: bool
    active: Array
    columns: int
    decay: Array | None

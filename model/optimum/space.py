"""The variables in which a bank is minimised: with m the mean of the features s x,

V = (s x - m)ᵀW + b' is the same model, with b' = b + mᵀW; and where the bias is free its optimum is
the same. So the features are centred without touching them: ∇_W at a fixed b' is dW - m ⊗ db.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels.checks import Array


@dataclass(frozen=True)
class Space:
    """Variables θ (h, d + 1, c), the weights over the bias b', in float64. center: m, (d,)."""

    center: Array

    def variables(self, W: Array, b: Array) -> Array:
        """θ of these weights."""
        theta = np.empty((W.shape[0], W.shape[1] + 1, W.shape[2]))
        theta[:, :-1] = W
        theta[:, -1] = b + self._shift(W)
        return theta

    def weights(self, theta: Array, dtype: Any) -> tuple[Array, Array]:
        """W and b, rounded to `dtype`."""
        W = theta[:, :-1].astype(dtype)
        return W, (theta[:, -1] - self._shift(W)).astype(dtype)

    def gradient(self, dW: Array, db: Array) -> Array:
        """∂f/∂θ from ∂f/∂W and ∂f/∂b."""
        g = np.empty((dW.shape[0], dW.shape[1] + 1, dW.shape[2]))
        np.multiply(-self.center[:, None], db[:, None], out=g[:, :-1])
        g[:, :-1] += dW
        g[:, -1] = db
        return g

    def _shift(self, W: Array) -> Array:
        # W (h, d, c) -> mᵀW (h, c)
        return np.einsum("d,hdc->hc", self.center, W)

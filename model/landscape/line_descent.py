"""Descent in one parameter: the offset along a line through the weights.

At W + t·D the logits of all rows are V0 + t·V1, so their loss and its slope cost little at any t. D
has length 1, W and b together; a step t ← t - α dL/dt is then the step of descent in all weights
with the rate α, projected on the line.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from softstep import kernels
from softstep.kernels import losses
from softstep.model import inputs

Array = Any


@dataclass(frozen=True)
class LineDescent:
    """The mean loss of some rows on a line, and descent along it.

    Attributes:
        V0, V1: logits at the line's origin, and what an offset of 1 adds to them, (n, c).
        y: labels, 0…c-1, (n,). loss: its name.
        origin, direction: pairs (W, b) of shapes (d, c) and (c,); the direction has length 1.
    """

    V0: Array
    V1: Array
    y: Array
    loss: str
    origin: tuple[Array, Array]
    direction: tuple[Array, Array]

    @classmethod
    def through(
        cls,
        X: Array,
        y: Array,
        origin: tuple[Array, Array],
        direction: tuple[Array, Array],
        *,
        loss: str,
        feature_scale: float = 1.0,
    ) -> Self:
        """The line through the weights `origin` along `direction`, of any length above 0.

        Args:
            X, y: the rows, (n, d), also such as are made, and their labels 0…c-1, (n,).
            origin, direction: pairs (W, b) of the dtype that goes with X.
        """
        length = np.sqrt(sum(np.sum(np.square(part, dtype=float)) for part in direction))
        if not (np.isfinite(length) and length > 0):
            raise ValueError(f"the direction's length must be above 0, not {length}")
        unit = tuple((part / length).astype(part.dtype) for part in direction)

        def logits(W: Array, b: Array) -> Array:
            return inputs.by_rows(
                lambda x: kernels.linear_forward(x, W, b, feature_scale=feature_scale), X, None
            )

        V0, V1 = (logits(*pair) for pair in (origin, unit))
        return cls(V0, V1, y, loss, origin, unit)

    def at(self, offset: float) -> tuple[Array, Array]:
        """The weights at this offset, (W, b)."""
        return tuple(
            part + part.dtype.type(offset) * step
            for part, step in zip(self.origin, self.direction, strict=True)
        )

    def losses(self, offsets: Array) -> Array:
        """The mean loss at each offset, (k,)."""
        sums, _ = kernels.surface_forward(
            self.V0, self.V1, self.V1, self.y, offsets, [0.0], loss=self.loss
        )
        return sums[0] / len(self.y)

    def slope(self, offset: float) -> float:
        """dL/dt at this offset: Σ_r dv_r · V1_r / n, dv being the gradient of the logits."""
        V = self.V0 + self.V0.dtype.type(offset) * self.V1
        backward = getattr(kernels, losses.find(self.loss).backward)
        dV = backward(V, self.y).astype(np.float64)
        return float((dV * self.V1).sum() / len(self.y))

    def descend(
        self, start: float, learning_rate: float, steps: int, *, momentum: float = 0.0
    ) -> Array:
        """The offsets from the start to the end, (steps + 1,).

        m ← momentum·m + dL/dt, t ← t - learning_rate·m, as in `softstep.kernels.train`.
        """
        offsets, velocity = [float(start)], 0.0
        for _ in range(steps):
            velocity = momentum * velocity + self.slope(offsets[-1])
            offsets.append(offsets[-1] - learning_rate * velocity)
        return np.array(offsets)

"""The way the weights take in training."""

import math
from typing import Any

import numpy as np

GROWTH = 1.1


class WeightPath:
    """Keeps the weights of `SoftmaxRegression.fit(..., path=WeightPath())` at chosen steps.

    Those are 0 (before the first step), 1, 2, 3 … and then each a tenth later than the one before,
    and the last: some 80 for 10000 steps. The weights grow about as the logarithm of the steps, so
    these lie about evenly along the way. Training gives the same bits with a path as without.

    The last point is the model: where early stopping went back, the path ends there too.

    Attributes:
        steps: (k,), how many steps came before.
        W, b: the weights then, (k, d, c) and (k, c).
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget what there is."""
        self._points: list[tuple[int, np.ndarray, np.ndarray]] = []
        self.due = 0

    def add(self, step: int, W: Any, b: Any) -> None:
        """Keep a copy of the weights W (d, c) and b (c,) after `step` steps."""
        self._points.append((step, W.copy(), b.copy()))
        self.due = max(step + 1, math.ceil(GROWTH * step))

    def end(self, step: int, W: Any, b: Any) -> None:
        """Let W and b after `step` steps be the last point."""
        self._points = [point for point in self._points if point[0] < step]
        self.add(step, W, b)

    def __len__(self) -> int:
        return len(self._points)

    @property
    def steps(self) -> np.ndarray:
        return np.array([step for step, _, _ in self._points], dtype=np.int64)

    @property
    def W(self) -> np.ndarray:
        return np.stack([W for _, W, _ in self._points])

    @property
    def b(self) -> np.ndarray:
        return np.stack([b for _, _, b in self._points])

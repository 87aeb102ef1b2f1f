"""The path of the weights during training."""

import math
from typing import Any

import numpy as np

GROWTH = 1.1


class WeightPath:
    """Records the weights at selected steps of `SoftmaxRegression.fit(..., path=WeightPath())`.

    These steps are 0 (before training), 1, 2, 3 … and then each a tenth later than the one before,
    and the last: about 80 for 10000 steps. The weights grow roughly as the logarithm of the number
    of steps, so the points are spread evenly along the path. Recording does not change the bits of
    the result.

    The last point is the final model, also where early stopping restored earlier weights.

    Attributes:
        steps: (k,) int64, the number of steps before each point.
        W, b: the weights at each point, (k, d, c) and (k, c), in the dtype of the model.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Discard all points."""
        self._points: list[tuple[int, np.ndarray, np.ndarray]] = []
        self.due: int = 0

    def add(self, step: int, W: Any, b: Any) -> None:
        """Keep a copy of the weights W (d, c) and b (c,) after `step` steps."""
        self._points.append((step, W.copy(), b.copy()))
        self.due = max(step + 1, math.ceil(GROWTH * step))

    def end(self, step: int, W: Any, b: Any) -> None:
        """Make W and b after `step` steps the last point, discarding later ones."""
        self._points = [point for point in self._points if point[0] < step]
        self.add(step, W, b)

    def state(self) -> dict[str, np.ndarray]:
        """The points as arrays, of which there may be none."""
        if not self._points:
            return {}
        return {"path.steps": self.steps, "path.W": self.W, "path.b": self.b}

    def restore(self, arrays: dict[str, np.ndarray], W: Any, b: Any, taken: int) -> None:
        """Go on from what `state` gave, after `taken` steps of weights of the form of W and b.

        Raises:
            KeyError, ValueError: it is of another training.
        """
        self.begin()
        steps = arrays["path.steps"]
        for name, shape, dtype in (
            ("path.steps", (len(steps),), np.dtype(np.int64)),
            ("path.W", (len(steps), *W.shape), W.dtype),
            ("path.b", (len(steps), *b.shape), b.dtype),
        ):
            found = arrays[name]
            if (found.shape, found.dtype) != (shape, dtype):
                raise ValueError(f"{name} is {found.dtype} of shape {found.shape}")
        for step, W_then, b_then in zip(
            steps.tolist(), arrays["path.W"], arrays["path.b"], strict=True
        ):
            if step != self.due or step >= taken:
                raise ValueError(f"path.steps holds {step}, where {self.due} is due")
            self.add(step, W_then, b_then)
        if self.due < taken:
            raise ValueError(f"path.steps lacks {self.due}")

    def __len__(self) -> int:
        return len(self._points)

    @property
    def steps(self) -> np.ndarray:
        """The number of steps taken before each point, (k,) int64."""
        return np.array([step for step, _, _ in self._points], dtype=np.int64)

    @property
    def W(self) -> np.ndarray:
        """The weights at each point, (k, d, c)."""
        return np.stack([W for _, W, _ in self._points])

    @property
    def b(self) -> np.ndarray:
        """The bias at each point, (k, c)."""
        return np.stack([b for _, _, b in self._points])

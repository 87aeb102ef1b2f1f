"""Learning rates that fall in the course of training."""

from typing import Any

import numpy as np

SCHEDULES = ("constant", "cosine", "step")


def rates(schedule: Any, learning_rate: Any, steps: Any, *, first: Any, total: Any) -> Any:
    """The learning rates of steps first … first + steps - 1 of a descent of `total` steps.

    The factor at step t of T: 1 for "constant"; ½(1 + cos(π t/T)) for "cosine"; for "step" 1 in the
    first half, 0.1 in the third quarter, 0.01 in the last.

    learning_rate: a number or (h,) -> the same for "constant", else (steps, 1) or (steps, h).
    """
    if schedule == "constant":
        return learning_rate
    t = (first + np.arange(steps)) / total
    if schedule == "cosine":
        factors = (1 + np.cos(np.pi * t)) / 2
    else:
        factors = np.where(t < 0.5, 1.0, np.where(t < 0.75, 0.1, 0.01))
    return factors[:, None] * np.atleast_1d(learning_rate)

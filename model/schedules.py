"""Learning rates that fall while a descent goes on."""

import numpy as np

SCHEDULES = ("constant", "cosine", "step")


def rates(schedule, learning_rate, steps, *, first, total):
    """The learning rates of steps first … first + steps - 1 of a descent of `total` steps.

    At step t of T: "constant" is the rate itself, "cosine" ½(1 + cos(π t/T)) of it, "step" all of
    it in the first half, a tenth in the third quarter, a hundredth in the last.

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

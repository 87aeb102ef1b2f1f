"""Classes that have no weight among a head's rows: they are left out, and come back.

What falls with the label's probability alone (`problem.OF_THE_LABEL`) is least where such a class
has none: its bias would go to -∞. In MSE it may take some from a class that a row is wrongly sure
of, and is a class like others.
"""

from typing import Any

import numpy as np

from softstep.kernels.checks import Array
from softstep.model.optimum.problem import OF_THE_LABEL, Problem

ABSENT = -1e30  # the bias of a class that is left out: its probability is exactly 0


def are_absent(b: Array) -> Array:
    """Which classes are left out, by their bias; of the form of b."""
    absent: Array = b <= ABSENT / 2
    return absent


def without_common(x: Array, present: Array) -> Array:
    """x (…, c) without what all classes that are present, (c,) bool, have in common."""
    common = x.sum(axis=-1, keepdims=True, where=present) / present.sum(dtype=x.dtype)
    return np.where(present, x - common, x)


def without_absent(problem: Problem, W: Array, b: Array) -> tuple[Array, Array]:
    """W (h, d, c) and b (h, c) of heads, in place: what has no weight among their rows is left out.

    A class that was left out before, and is there now, begins as the rarest of the others.
    """
    b[:] = brought_back(b)
    if problem.has_free_bias:
        absent = problem.class_weights(b.shape[1]) == 0
        absent &= np.isin(problem.loss, OF_THE_LABEL)[:, None]
        b[absent] = ABSENT
        W.transpose(0, 2, 1)[absent] = 0
    return W, b


def brought_back(b: Array, which: Any = True) -> Array:
    """Biases, (…, c), in which these classes are as probable as the rarest, if they were left out.

    which: (c,) bool; True: all of them.
    """
    absent = are_absent(b)
    rarest = np.where(absent, np.inf, b).min(axis=-1, keepdims=True)
    found: Array = np.where(absent & which & np.isfinite(rarest), rarest, b)
    return found

"""Rows of probabilities (n, c), summed over in vectors of float64 whatever their own precision."""

from typing import NamedTuple

import numpy as np

from softstep.kernels._numba.jit import IN_PLACE, INLINE, jit
from softstep.kernels._numba.parallel import pool
from softstep.kernels._numba.parallel.pool import OVER
from softstep.kernels._numba.simd.vector import BYTES
from softstep.kernels.integers import ceil_div
from softstep.kernels.threads import threads_for

DOUBLES = BYTES // 8  # lanes of such a vector
ITEM_VALUES = 1 << 13
FLOP_PER_VALUE = 20  # about: as long as it takes to read and write a value


class NoScratch(NamedTuple):
    """These kernels need no buffers."""


def run_rows(kernel, job):
    """Call the kernel for rows (job.n, job.c) in as many threads as are worth it."""
    if job.n:
        pool.run(kernel, threads_for(FLOP_PER_VALUE * job.n * job.c), job, NoScratch())


@jit(INLINE)
def begin_rows(job, scratch, step, phase):
    return ceil_div(job.n, _item_rows(job.c)) if step == 0 else OVER


@jit(IN_PLACE)
def _item_rows(c):
    return max(ITEM_VALUES // c, 1)


@jit(IN_PLACE)
def rows_of_item(job, item):
    """The first row of an item and the one after the last."""
    rows = _item_rows(job.c)
    return item * rows, min((item + 1) * rows, job.n)


@jit(IN_PLACE)
def with_error(total, error, term):
    """(total, error) + term: numbers or vectors (TwoSum: Knuth, TAOCP vol. 2, section 4.2.2)."""
    new = total + term
    part = new - total
    return new, error + ((total - (new - part)) + (term - part))


@jit(IN_PLACE)
def rounded_once(total, error):
    """The sum of both; the total itself where it is not finite, for then the error is NaN."""
    return total + error if abs(total) < np.inf else total

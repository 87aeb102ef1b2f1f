"""Checks of arguments that are on the GPU, without reading them back: launchers of checks.cu."""

import numpy as np

from softstep.kernels._cupy.arrays import empty, rows, to_host
from softstep.kernels._cupy.kernel import load_kernel
from softstep.kernels._cupy.launch import C_TYPE, WARP, blocks_for, op
from softstep.kernels._cupy.linear import x_kind
from softstep.kernels.arrays import row_length
from softstep.kernels.checks import SUM_TOLERANCE
from softstep.kernels.integers import ceil_div

THREADS = 128


@op
def in_range(values, count):
    """Whether all of `values`, int64, are in [0, count)."""
    args = np.int64(values.size), np.int64(count)
    return _all_good("outside", values, values.size, args, defines(np.dtype(np.float64)))


@op
def are_distributions(Y):
    """Whether the rows of Y (n, c) are >= 0 and sum to 1, NaN aside."""
    n, c = Y.shape
    return _all_good("no_distribution", Y, n * WARP, (np.int64(n), np.int64(c)), defines(Y.dtype))


@op
def all_finite(X):
    """Whether no feature is NaN or infinite."""
    if X.dtype.kind in "iu":
        return True
    real = np.dtype(np.float64 if X.dtype == np.float64 else np.float32)
    types, X = {**defines(real), "X_KIND": x_kind(X.dtype)}, rows(X)
    sizes = tuple(map(np.int64, (*X.shape, row_length(X))))
    return _all_good("not_finite", X, X.size, sizes, types)


def defines(dtype):
    """How checks.cu is compiled."""
    return {"REAL": C_TYPE[dtype], "SUM_TOLERANCE": repr(SUM_TOLERANCE)}


def _all_good(name, values, threads, sizes, types):
    if threads == 0:
        return True
    blocks = blocks_for(threads, THREADS)
    bad = empty((blocks * ceil_div(THREADS, WARP),), np.uint8)
    load_kernel("checks.cu", name, **types)((blocks,), (THREADS,), (values, bad, *sizes))
    return not to_host(bad).any()

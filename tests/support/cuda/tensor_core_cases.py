"""Products on tensor cores: sizes that take them, and how far off the results may be."""

import numpy as np

from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.cases import Size

OPS = ("linear_forward", "linear_backward")
EXACT = ("float16", "uint8")  # and float32 on request
# Rows and columns that fill no tile, a depth that fills no slab; lines that are aligned, and not.
SIZES = (Size(257, 272, 132), Size(256, 259, 131))


def truth_and_bounds(op, arguments):
    """As `parity.truth_and_bounds`. Float32 features: both factors are rounded to 11 bits."""
    truth, bounds = parity.truth_and_bounds(op, arguments)
    positional, options = parity.wide(arguments)
    first, second = (np.abs(a) for a in positional[:2])
    if arguments[0][OPS.index(op)].dtype == np.float32:
        product = first @ second if op == "linear_forward" else second.T @ first
        by_tf32 = (2 * 2**-11 + 2**-22) * abs(options["feature_scale"]) * product
        bounds = bounds[0] + by_tf32, *bounds[1:]
    return truth, bounds


def arguments(op, size, dtype):
    return cases.OPS[op].arguments(size, dtype, 1)

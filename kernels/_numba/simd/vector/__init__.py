"""A vector register as a Numba type: kernels say in plain loops what the processor does.

`load` widens as it reads: float32 and float64 stay what they are, uint8, int8, float16 and
bfloat16 (their bits, as uint16 and int16) become float32; `load_for` widens to the dtype of another
array. Vectors take +, -, *, / with vectors and numbers; comparisons give masks.
`registers` is a block of vectors that the compiler keeps in registers, if the loops over it have
constant bounds.
"""

from softstep.kernels._numba.simd.vector.arithmetic import (
    every,
    filled,
    first_lanes,
    fma,
    is_double,
    is_lane,
    lane_max,
    lane_sum,
    lane_sum_in_two,
    lanes_of,
    maximum,
    select,
    splat,
)
from softstep.kernels._numba.simd.vector.conversions import (
    entry,
    exponent_and_fraction,
    power_of_two,
    rint,
    rounded_as,
    rounded_for,
    times_power,
    widened,
)
from softstep.kernels._numba.simd.vector.memory import (
    keep_order,
    load,
    load_doubles,
    load_first,
    load_first_for,
    load_for,
    prefetch,
    scalar,
    store,
    store_first,
)
from softstep.kernels._numba.simd.vector.model import (
    BYTES,
    HAS_FMA,
    HAS_HALF,
    LANES,
    REGISTERS,
)
from softstep.kernels._numba.simd.vector.registers import (
    lane_sums,
    registers,
    square,
    transpose,
)

__all__ = [
    "BYTES",
    "HAS_FMA",
    "HAS_HALF",
    "LANES",
    "REGISTERS",
    "entry",
    "every",
    "exponent_and_fraction",
    "filled",
    "first_lanes",
    "fma",
    "is_double",
    "is_lane",
    "keep_order",
    "lane_max",
    "lane_sum",
    "lane_sum_in_two",
    "lane_sums",
    "lanes_of",
    "load",
    "load_doubles",
    "load_first",
    "load_first_for",
    "load_for",
    "maximum",
    "power_of_two",
    "prefetch",
    "registers",
    "rint",
    "rounded_as",
    "rounded_for",
    "scalar",
    "select",
    "splat",
    "square",
    "store",
    "store_first",
    "times_power",
    "transpose",
    "widened",
]

"""What the launchers share: C types, the shape of a launch over rows, targets, and `out=`."""

import numpy as np

from softstep.kernels._cupy.device import MAX_GRID, device
from softstep.kernels.arrays import as_dtype

C_TYPE = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}  # of the arithmetic

WARP = 32
WARP_ROW = 1024  # up to so many columns a warp takes a row, above it a block does
WARP_BLOCK, ROW_BLOCK = 128, 256  # threads of a block: four rows, or one
VALUES = (1, 4, 16, 32)  # how many of a row's values a thread may hold at a time
REGISTER_VALUES = {np.dtype(np.float32): 32, np.dtype(np.float64): 16}  # that its registers allow
BLOCKS_PER_MULTIPROCESSOR = 32  # a launch over rows; the blocks go on to further rows


def ceil_div(a, b):
    return -(-a // b)


def check_width(tiles, heads, classes):
    """Refuse what has more tiles of columns than a grid has along y."""
    if tiles > MAX_GRID[1]:
        bank = f"{heads:,} heads of {classes:,} classes" if heads > 1 else f"{classes:,} classes"
        raise ValueError(f"{bank}: too many columns for one call of the cupy backend")


def blocks_for(count, per_block):
    """Blocks for a loop over `count` items in steps of the whole grid."""
    return min(ceil_div(count, per_block), BLOCKS_PER_MULTIPROCESSOR * device.multiprocessors())


def row_defines(c, dtype, most=VALUES[-1]):
    """How a kernel on rows of c columns is compiled, at `most` so many values in a thread."""
    threads = WARP if c <= WARP_ROW else ROW_BLOCK
    most = min(most, REGISTER_VALUES[dtype])
    enough = (v for v in VALUES if v * threads >= c)
    values = min(next(enough, most), most)  # if not enough, tile by tile
    return {"REAL": C_TYPE[dtype], "ROW_THREADS": threads, "ROW_VALUES": values}


def launch_rows(file, name, rows, c, args, *, dtype, most=VALUES[-1], **defines):
    """Run a kernel that works on rows of c columns."""
    if rows == 0:
        return
    rows_are = row_defines(c, dtype, most)
    block = WARP_BLOCK if rows_are["ROW_THREADS"] == WARP else ROW_BLOCK
    kernel = device.kernel(file, name, **rows_are, **defines)
    kernel((blocks_for(rows, block // rows_are["ROW_THREADS"]),), (block,), args)


def targets(y, dtype):
    """Labels (int64) or soft targets (as `dtype`) on the device, and Y_SOFT."""
    if y.dtype.kind == "i":
        return device.asarray(y), 0
    return device.asarray(as_dtype(y, dtype)), 1


def scalar(value, dtype):
    """A number as a kernel of this dtype takes it; infinite if it is too large for that."""
    with np.errstate(over="ignore"):
        return np.dtype(dtype).type(value)


def result_for(out, like):
    """Where a kernel writes a result of the form of `like`: `out` itself if that is on the GPU."""
    if out is None or isinstance(out, np.ndarray):
        return device.empty(like.shape, like.dtype)
    return device.asarray(out)


def finish(result, out):
    """What an op returns: its result, or `out` with the result in it."""
    if out is None:
        return result
    device.copy_into(out, result)
    return out

"""What the launchers share: C types and structs, launches over rows, targets, and `out=`."""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from softstep.kernels._cupy.arrays import asarray, copy_into, empty, on_gpu_of
from softstep.kernels._cupy.device import MAX_GRID, multiprocessors, named
from softstep.kernels._cupy.kernel import load_kernel
from softstep.kernels.arrays import as_dtype
from softstep.kernels.integers import ceil_div

C_TYPE = {np.dtype(np.float32): "float", np.dtype(np.float64): "double"}  # of the arithmetic

WARP = 32
WARP_ROW = 1024  # a row of up to so many columns is a warp's, a longer one a block's
FEWEST_LANES, SHARER_VALUES = 4, 8  # where rows share a warp: lanes of a row, values in each
WARP_BLOCK, ROW_BLOCK = 128, 256  # threads of a block: four rows, or one
VALUES = (1, 4, 8, 16, 32)  # how many of a row's values a thread may hold at a time
REGISTER_VALUES = {np.dtype(np.float32): 32, np.dtype(np.float64): 16}  # as many as registers allow
BLOCKS_PER_MULTIPROCESSOR = 32  # of a launch over rows; each block goes on to further rows


def op(function: Callable[..., Any]) -> Callable[..., Any]:
    """An op: it runs on the GPU that its arrays are on, and profilers show it by its name.

    Raises, besides what the op does:
        ValueError: its arrays are on several GPUs.
    """

    @functools.wraps(function)
    def on_its_gpu(*args: Any, **options: Any) -> Any:
        with on_gpu_of(args, tuple(options.values())), named(f"softstep.{function.__name__}"):
            return function(*args, **options)

    return on_its_gpu


class Struct(np.ndarray):
    """A struct as a kernel takes it by value.

        Struct(features={"X": X, "d": np.int64(d)}, scale=np.float32(1))
        // struct Features { const float *X; long long d; };
        // struct S { Features features; float scale; };

    The keywords are the fields of the struct in C, in their order: CuPy arrays, NumPy scalars of
    exactly the field's type, None for a null pointer, and dicts for structs in it.

    CuPy passes a NumPy array of one item by value (its user guide: "Custom user types"): the driver
    copies sizeof(struct) bytes from where the item begins. A numpy.void scalar would not do: CuPy
    asserts that it has less than 64 bytes.

    The pointers in it keep nothing alive; `fields` does, for as long as the Struct lives.
    """

    fields: dict[str, Any]
    layout: np.dtype[Any]

    def __new__(cls, **fields: Any) -> "Struct":
        layout, values = _packed(fields)
        # As bare bytes: CuPy reads __array_interface__ at each launch, where NumPy would describe
        # every field, slowly.
        struct = np.array(values, layout).view((np.void, layout.itemsize)).view(cls)
        struct.fields, struct.layout = fields, layout
        return struct


def _packed(fields: dict[str, Any]) -> tuple[np.dtype[Any], tuple[Any, ...]]:
    """The dtype of a struct with these fields, and what NumPy writes there."""
    dtypes, values = [], []
    dtype: np.dtype[Any]
    packed: Any
    for value in fields.values():
        if isinstance(value, dict):
            dtype, packed = _packed(value)
        elif isinstance(value, np.generic):
            dtype, packed = value.dtype, value
        else:
            dtype, packed = np.dtype(np.uint64), 0 if value is None else value.data.ptr
        dtypes.append(dtype)
        values.append(packed)
    return _layout(tuple(zip(fields, dtypes, strict=True))), tuple(values)


@functools.cache
def _layout(fields: tuple[tuple[str, np.dtype[Any]], ...]) -> np.dtype[Any]:
    """The dtype of a struct with these fields, aligned and padded as in C."""
    return np.dtype(list(fields), align=True)


def scalar(value, dtype):
    """A number as a kernel of this dtype takes it; infinite if it is too large for that."""
    with np.errstate(over="ignore"):
        return np.dtype(dtype).type(value)


# ---- grids


def check_width(tiles, heads, classes):
    """Refuse what has more tiles of columns than a grid has along y."""
    if tiles > MAX_GRID[1]:
        bank = f"{heads:,} heads of {classes:,} classes" if heads > 1 else f"{classes:,} classes"
        raise ValueError(f"{bank}: too many columns for one call of the cupy backend")


def blocks_for(count, per_block):
    """Blocks for a loop over `count` items in steps of the whole grid."""
    return min(ceil_div(count, per_block), BLOCKS_PER_MULTIPROCESSOR * multiprocessors())


def row_defines(c, dtype, most=VALUES[-1]):
    """How a kernel on rows of c columns is compiled, with at most `most` values in a thread.

    Few columns are the work of some lanes, with up to eight values each: rows then share a warp.
    """
    threads = WARP if c <= WARP_ROW else ROW_BLOCK
    most = min(most, REGISTER_VALUES[dtype])
    while FEWEST_LANES < threads <= WARP and c <= min(most, SHARER_VALUES) * threads // 2:
        threads //= 2
    enough = (v for v in VALUES if v * threads >= c)
    values = min(next(enough, most), most)  # if that is not enough, tile by tile
    return {
        "REAL": C_TYPE[dtype],
        "ROW_THREADS": threads,
        "ROW_VALUES": values,
        "ONE_TILE": int(c <= threads * values),
    }


def launch_rows(file, name, rows, c, args, *, dtype, most=VALUES[-1], **defines):
    """Run a kernel that works on rows of c columns."""
    if rows == 0:
        return
    of_rows = row_defines(c, dtype, most)
    block = WARP_BLOCK if of_rows["ROW_THREADS"] <= WARP else ROW_BLOCK
    kernel = load_kernel(file, name, **of_rows, **defines)
    kernel((blocks_for(rows, block // of_rows["ROW_THREADS"]),), (block,), args)


# ---- what goes in and comes out


def targets(y, dtype):
    """Labels (int64) or soft targets (as `dtype`) on the device, and Y_SOFT."""
    if y.dtype.kind == "i":
        return asarray(y), 0
    return asarray(as_dtype(y, dtype)), 1


def result_array(out, like):
    """Where a kernel writes a result of the form of `like`: to `out` itself if it is on the GPU."""
    if out is None or isinstance(out, np.ndarray):
        return empty(like.shape, like.dtype)
    return asarray(out)


def result_in(out, result):
    """What an op returns: `out` with the result in it, or where there is none the result."""
    if out is None:
        return result
    copy_into(out, result)
    return out

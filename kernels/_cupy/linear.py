"""The linear layer: launchers of linear.cu and, on the tensor cores, of linear_tensor.cu.

How a product is cut into tiles and parts follows from its shape alone, never from the GPU: the same
shape gives the same bits everywhere.
"""

import os
from dataclasses import dataclass

import numpy as np

from softstep.kernels._cupy.arrays import asarray, empty, rows, zeros
from softstep.kernels._cupy.device import compute_capability
from softstep.kernels._cupy.kernel import load_kernel
from softstep.kernels._cupy.launch import (
    C_TYPE,
    blocks_for,
    check_width,
    op,
    result_in,
    scalar,
)
from softstep.kernels.arrays import row_length
from softstep.kernels.errors import BackendError
from softstep.kernels.integers import ceil_div

DEPTH = 16  # of the slabs a tile goes through
BLOCKS = 256  # a product of fewer tiles is split along its depth too, into about this many blocks
LEAST_PART = 128  # of the depth: less is not worth a block of its own
MOST_PARTS = 64
COLUMN_THREADS = 8  # rows a block of column_sums adds at a time
THREADS = 256  # of a block of add_parts

TILES = {16: 128, 32: 128, 64: 64}  # columns of a tile: its rows; few columns take a narrow one

# Tensor cores. "0" asks for none, "1" for those that round float32 features too; read at call time.
TF32 = "SOFTSTEP_TF32"
LEAST_TF32 = 80  # the first compute capability that has them
TENSOR_TILE, TENSOR_SLAB, TENSOR_THREADS = 128, 32, 256  # those of tensor.cuh
EXACT_IN_TF32 = ("float16", "uint8", "bfloat16", "int8")
# However the tensor cores round, a slab's sum is off by at most 160u and its weights by 8u: with so
# many products that is within the bound of a plain sum (docs/gpu.md).
LEAST_TENSOR_DEPTH = 256
LEAST_TENSOR_WIDTH = 128  # rows and columns: a tile with less is mostly idle

STORED = ("float32", "float64", "float16", "uint8", "bfloat16", "int8")
X_KIND = {name: kind for kind, name in enumerate(STORED)}  # by the name of the dtype


def x_kind(features):
    """How kernels are told that features are of this dtype."""
    return X_KIND[_name_of(features)]


def _name_of(dtype):
    return dtype.type.__name__  # bfloat16 too, which NumPy calls otherwise


def takes_tensor_cores(features, rows, columns, depth, *, may_round=False):
    """Whether a product of features of this dtype takes the tensor cores.

    may_round: float32 features do too, if the environment asks for it.

    Raises:
        ValueError: the environment asks for neither "1" nor "0".
        BackendError: it asks for "1", and this GPU has none for TF32.
    """
    asked = os.environ.get(TF32, "")
    if asked not in ("", "0", "1"):
        raise ValueError(f"{TF32} must be 1 or 0, not {asked!r}")
    if asked == "1" and (found := compute_capability()) < LEAST_TF32:
        raise BackendError(
            f"{TF32}=1 asks for TF32, which this GPU does not have: its compute capability is "
            f"{found / 10}, at least {LEAST_TF32 / 10} is needed. Unset {TF32}"
        )
    is_rounded = features == np.float32 and may_round and asked == "1"
    is_large = min(rows, columns) >= LEAST_TENSOR_WIDTH and depth >= LEAST_TENSOR_DEPTH
    may = asked != "0" and (is_rounded or _name_of(features) in EXACT_IN_TF32)
    return may and is_large and compute_capability() >= LEAST_TF32


def tensor_bytes(item, across):
    """Shared memory of a tile on the tensor cores: two struct Slabs, features of `item` bytes."""
    features = TENSOR_TILE * TENSOR_SLAB * item
    return 2 * (features if across else features * 3 // 2) + 2 * TENSOR_TILE * TENSOR_SLAB * 4


def defines(dtype):
    """How the kernels of linear.cu that only add are compiled."""
    return {"REAL": C_TYPE[dtype], "COLUMN_THREADS": COLUMN_THREADS}


@dataclass(frozen=True)
class Tiling:
    """How a product (rows, columns) with a sum over `depth` is cut up."""

    rows: int
    columns: int
    depth: int
    on_tensor_cores: bool = False

    @property
    def tile(self):
        """Rows and columns of a tile."""
        if self.on_tensor_cores:
            return TENSOR_TILE, TENSOR_TILE
        columns = next((width for width in TILES if self.columns <= width), 64)
        return TILES[columns], columns

    @property
    def tiles(self):
        return tuple(map(ceil_div, (self.rows, self.columns), self.tile))

    @property
    def part(self):
        """How much of the depth a block takes."""
        across, down = self.tiles
        parts = min(BLOCKS // (across * down), self.depth // LEAST_PART, MOST_PARTS)
        return ceil_div(ceil_div(self.depth, max(parts, 1)), DEPTH) * DEPTH

    @property
    def parts(self):
        return ceil_div(self.depth, self.part)

    def launch(self, name, X, dtype, args, rows=None):
        """Run linear_forward or linear_backward; `rows` if this call has fewer than the tiling."""
        tile_rows, tile_columns = self.tile
        types = {"REAL": C_TYPE[dtype], "X_KIND": x_kind(X.dtype)}
        down = ceil_div(self.rows if rows is None else rows, tile_rows)
        grid = down, self.tiles[1], self.parts
        if self.on_tensor_cores:
            kernel = load_kernel("linear_tensor.cu", f"{name}_tensor", **types)
            shared = tensor_bytes(X.dtype.itemsize, across=name == "linear_backward")
            kernel(grid, (TENSOR_THREADS,), args, shared=shared)
            return
        tile = {"TILE_ROWS": tile_rows, "TILE_COLUMNS": tile_columns, "DEPTH": DEPTH}
        kernel = load_kernel("linear.cu", name, **types, **tile)
        kernel(grid, (tile_rows * tile_columns // 16,), args)


def tiling_for(X, factor, rows, columns, depth):
    """How a product of features X is cut up, on the tensor cores where they are taken."""
    shape = rows, columns, depth
    takes = factor.dtype == np.float32 and takes_tensor_cores(X.dtype, *shape, may_round=True)
    return Tiling(*shape, on_tensor_cores=takes)


def parts_for(result, count):
    """Where a kernel writes `count` parts of a sum: one part is the result itself."""
    return result if count == 1 else empty((count, *result.shape), result.dtype)


def add_parts(parts, bias, result, count):
    """result = the sum of `count` parts, in their order, plus the bias if there is one."""
    if count == 1:
        return
    size, c = result.size, result.shape[-1]
    kernel = load_kernel("linear.cu", "add_parts", **defines(result.dtype))
    args = (parts, bias, result, np.int64(count), np.int64(size), np.int64(c))
    kernel((blocks_for(size, THREADS),), (THREADS,), args)


def logits(X, first, W, b, V, tiling, feature_scale):
    """V (count, c) = the logits of as many rows of X (n, d), from `first` on; all on the device."""
    count, c = V.shape
    parts = parts_for(V, tiling.parts)
    bias = b if tiling.parts == 1 else None  # else add_parts adds it
    sizes = map(np.int64, (first, count, X.shape[1], row_length(X), c, tiling.part))
    args = (X, W, bias, parts, scalar(feature_scale, V.dtype), *sizes)
    tiling.launch("linear_forward", X, V.dtype, args, count)
    add_parts(parts, b, V, tiling.parts)


@op
def linear_forward(X, W, b, *, feature_scale=1.0, out=None):
    # X (n, d), W (d, c), b (c,) -> V (n, c)
    n, d = X.shape
    c = W.shape[1]
    tiling = tiling_for(X, W, n, c, d)
    check_width(tiling.tiles[1], 1, c)
    V = empty((n, c), W.dtype)  # `out` may be X, which is read until the end
    if n > 0:
        X, W, b = rows(X), asarray(W), asarray(b)
        logits(X, 0, W, b, V, tiling, feature_scale)
    return result_in(out, V)


@op
def linear_backward(dV, X, *, feature_scale=1.0):
    # dV (n, c), X (n, d) -> dW (d, c) = Σ_rows x ⊗ dv, db (c,) = Σ_rows dv
    n, d = X.shape
    c = dV.shape[1]
    if n == 0:
        return zeros((d, c), dV.dtype), zeros((c,), dV.dtype)
    tiling = tiling_for(X, dV, d, c, n)
    check_width(tiling.tiles[1], 1, c)
    dV, X = asarray(dV), rows(X)
    dW = empty((d, c), dV.dtype)
    parts = parts_for(dW, tiling.parts)
    sizes = map(np.int64, (n, d, row_length(X), c, tiling.part))
    args = (dV, X, parts, scalar(feature_scale, dV.dtype), *sizes)
    tiling.launch("linear_backward", X, dV.dtype, args)
    add_parts(parts, None, dW, tiling.parts)
    return dW, column_sums(dV)


def column_sums(dV):
    # dV (n, c) -> db (c,)
    n, c = dV.shape
    tiling = Tiling(1, c, n)
    db = empty((c,), dV.dtype)
    parts = parts_for(db, tiling.parts)
    kernel = load_kernel("linear.cu", "column_sums", **defines(dV.dtype))
    args = (dV, parts, *map(np.int64, (n, c, tiling.part)))
    kernel((ceil_div(c, 32), tiling.parts), (32 * COLUMN_THREADS,), args)
    add_parts(parts, None, db, tiling.parts)
    return db

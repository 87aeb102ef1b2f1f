"""Minibatch gradient descent of a bank of heads: which kernels run, on which tiles and scratch.

Path A is one cooperative launch for many steps, for banks so small that launching would take longer
than the arithmetic. Path B is two or three launches a step, replayed as a graph. Both give the same
bits, and so do all tiles: what is chosen here is a matter of speed. The tensor cores alone give
other bits: wide heads take them for steps of many rows, whatever else is in the bank.
"""

import functools
import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels._cupy.arrays import asarray, copy_into, empty, nans, rows, to_host, zeros
from softstep.kernels._cupy.device import (
    DeviceError,
    launches_cooperatively,
    shared_memory_of_a_block,
)
from softstep.kernels._cupy.evaluate import targets_of_heads
from softstep.kernels._cupy.kernel import capture, load_kernel
from softstep.kernels._cupy.launch import Struct, check_width, op, scalar
from softstep.kernels._cupy.linear import (
    TENSOR_THREADS,
    TENSOR_TILE,
    X_KIND,
    takes_tensor_cores,
    tensor_bytes,
)
from softstep.kernels._cupy.losses import DEFINES, codes
from softstep.kernels.arrays import row_length
from softstep.kernels.integers import ceil_div

THREADS = TENSOR_THREADS  # of every block

# path A
REDUNDANT_BYTES = 128 * 1024  # more partial logits than this are not summed by every block
STEPS_PER_LAUNCH = 2048
PATIENCE = "SOFTSTEP_BARRIER_SECONDS"  # how long blocks wait for each other; read at call time
PATIENCE_SECONDS = 30.0

# path B
DEPTH = 16  # of the features, or of the rows, that a tile takes at a time, if it takes no more
TILE_FEATURES = 64  # of the update
WIDEST_TILE = 128
STEPS_PER_GRAPH = 20  # twice as many are launched one by one: before a capture, and for it
ENOUGH_BLOCKS = 128
SPLIT_FEATURES = 256  # from so many on blocks share out the slices, where there are few tiles
SPLIT_BLOCKS = 512  # into about so many blocks
SPLIT_BYTES = 64 << 20  # of the parts of the logits, at most
TILE_BYTES = 32 << 10  # of the low tiles of the features and the weights


def types_of(dtype):
    """How the kernels are compiled for features of this dtype."""
    real = "double" if dtype == np.float64 else "float"
    return {"REAL": real, "X_KIND": X_KIND[np.dtype(dtype).name], "THREADS": THREADS, **DEFINES}


@dataclass(frozen=True, kw_only=True)
class _Call:
    """A call of `train` as its kernels see it.

    types: how all of them are compiled; row_types: what those that work on rows take besides.
    features, dtype: of X, of the arithmetic. rows: of all steps; batch: of a step, at most all
    there are. d, h, c: features, heads, classes. job: what all of them are given (struct Job).
    """

    types: dict[str, Any]
    row_types: dict[str, Any]
    features: np.dtype[Any]
    dtype: np.dtype[Any]
    rows: int
    batch: int
    d: int
    h: int
    c: int
    steps: int
    job: Struct


@op
def train(data, bank, steps):
    # X (n, d), y (t, n) or (n, c), order (m,), W (h, d, c), b (h, c) -> losses, correct (steps, h)
    count, h = steps.learning_rate.shape
    losses, correct = nans((count, h)), zeros((count, h), np.int64)
    codes(bank.loss)  # refuses, also where there is nothing to do
    if count == 0:
        return losses, correct
    _check_width(bank.W)
    weights = asarray(bank.W), asarray(bank.b)
    velocity = _velocity(steps, bank)
    active = empty((2, h), np.bool_)  # of this step and of the next, which the step writes
    copy_into(active[0], asarray(steps.active))
    results = {"active": active, "losses": losses, "correct": correct}
    call = _call(data, bank, steps, weights, velocity, results)
    last = _train_in_one_launch(call) if _is_small(call) else _train_step_by_step(call)

    written = [(bank.W, weights[0]), (bank.b, weights[1]), (steps.active, active[last])]
    if steps.velocity is not None:
        written += zip(steps.velocity, velocity, strict=True)
    for theirs, ours in written:
        copy_into(theirs, ours)
    return losses, correct


def _check_width(W):
    """Refuse a bank with more tiles of columns than a grid has."""
    h, _, c = W.shape
    _, tiles_of_logits = _tile_columns(h, c)
    tiles_of_update = ceil_div(h * c, _update_columns(h * c, W.dtype))
    check_width(max(tiles_of_logits, tiles_of_update), h, c)


def _velocity(steps, bank):
    """(MW, Mb) on the device, or a pair of None where no head needs them."""
    if steps.velocity is not None:
        return tuple(map(asarray, steps.velocity))
    if not steps.momentum.any():
        return None, None
    return zeros(bank.W.shape, bank.W.dtype), zeros(bank.b.shape, bank.b.dtype)


def _call(data, bank, steps, weights, velocity, results):
    """The call, with its data on the device."""
    (h, d, c), dtype = bank.W.shape, bank.W.dtype
    batch = min(steps.batch_size, len(steps.order))
    targets, is_soft = targets_of_heads(data, bank)
    (W, b), (MW, Mb), X = weights, velocity, rows(data.X)
    job = Struct(
        features={
            "X": X,
            "d": np.int64(d),
            "stride": np.int64(row_length(X)),
            "scale": scalar(data.feature_scale, dtype),
        },
        batches={
            "order": asarray(steps.order),
            "m": np.int64(len(steps.order)),
            "size": np.int64(batch),
        },
        targets=targets,
        bank={"W": W, "b": b, "MW": MW, "Mb": Mb, "h": np.int64(h), "c": np.int64(c)},
        settings=_settings(steps, dtype),
        results=results,
    )
    return _Call(
        types=types_of(data.X.dtype),
        features=np.dtype(data.X.dtype),
        row_types={"Y_SOFT": is_soft, "ROW_LANES": row_lanes(c)},
        dtype=dtype,
        rows=len(steps.order),
        batch=batch,
        d=d,
        h=h,
        c=c,
        steps=len(steps.learning_rate),
        job=job,
    )


def _settings(steps, dtype):
    """The fields of struct Settings, in the dtype of the arithmetic."""

    def on_device(values):
        with np.errstate(over="ignore"):  # what float32 does not hold is infinite
            return asarray(values.astype(dtype))

    return {
        "learning_rate": on_device(steps.learning_rate),
        "l2": on_device(steps.l2),
        "momentum": on_device(steps.momentum),
        "l2_bias": np.bool_(steps.l2_bias),
        "fit_bias": np.bool_(steps.fit_bias),
    }


def row_lanes(c):
    """How many lanes of a warp work on a row of a head: 8 classes each, up to a warp."""
    return min(32, 1 << max(0, ceil_div(c, 8) - 1).bit_length())


# ---- path A


def _slices(d):
    """Features per slice, a multiple of a tile's depth, and slices. By d alone, as the bits are.

    With about √d features a block of path A spends as long on them as on adding up all blocks'.
    """
    features = DEPTH * math.ceil(math.sqrt(d) / DEPTH)
    return features, ceil_div(d, features)


def _bytes_of_block(batch, d, h, c, item):
    """The shared memory of train_steps: struct Block, for items of so many bytes."""
    features, _ = _slices(d)
    padded = 4 * ceil_div(batch, 4)
    x_slices = 2 * padded * (features + 4)
    bank_and_velocity = 2 * (features + 1) * h * c
    gradient_and_loss = (padded * c + batch) * h
    flags_and_updates = (batch + 1) * h + 1
    reals = x_slices + bank_and_velocity + gradient_and_loss
    return 3 * padded * 8 + reals * item + flags_and_updates * 4


def _shared_bytes(call):
    return _bytes_of_block(call.batch, call.d, call.h, call.c, call.dtype.itemsize)


def _steps_kernel(call):
    slices = {"SLICE_FEATURES": _slices(call.d)[0]}
    defines = {**call.types, **call.row_types, **slices}
    return load_kernel("train_steps.cu", "train_steps", cooperative=True, **defines)


def _is_small(call):
    """Path A: a slice of the bank and of a batch fits into a block, and all blocks onto the GPU."""
    shared = _shared_bytes(call)
    if _takes_tensor_cores(call, call.batch):
        return False
    if not launches_cooperatively() or shared > shared_memory_of_a_block():
        return False
    _, blocks = _slices(call.d)
    return _steps_kernel(call).resident_blocks(THREADS, shared) >= blocks


def _train_in_one_launch(call):
    """All steps, in launches of STEPS_PER_LAUNCH. Returns which row of `active` is valid."""
    _, blocks = _slices(call.d)
    launches = ceil_div(call.steps, STEPS_PER_LAUNCH)
    size = 4 * ceil_div(call.batch, 4) * call.h * call.c
    by_owner = blocks * size * call.dtype.itemsize > REDUNDANT_BYTES
    patience, gave_up = _patience(), zeros((1,), np.uint32)
    exchange = Struct(
        partials=empty((2, blocks, size), call.dtype),
        dV=empty((size,), call.dtype),
        loss=empty((call.batch, call.h), call.dtype),
        flags=empty((call.batch, call.h), np.int32),
        arrivals=zeros((launches,), np.uint32),
        gave_up=gave_up,
        patience=np.int64(1e9 * patience),
        by_owner=np.bool_(by_owner),
    )
    kernel, shared = _steps_kernel(call), _shared_bytes(call)
    for launch in range(launches):
        first = launch * STEPS_PER_LAUNCH
        end = min(first + STEPS_PER_LAUNCH, call.steps)
        args = (call.job, exchange, *map(np.int64, (first, end, launch)))
        kernel((blocks,), (THREADS,), args, shared=shared)
    if to_host(gave_up)[0]:
        raise DeviceError(
            f"{kernel.label} gave up: its blocks waited {patience:g} s for one of them, as when "
            "another process has the GPU. What it trains on the GPU may be of different steps. "
            f"Free the GPU, or set {PATIENCE} to more seconds"
        )
    return 0


def _patience():
    """For how many seconds blocks wait for each other. ValueError: the variable says nonsense."""
    asked = os.environ.get(PATIENCE, "") or PATIENCE_SECONDS
    try:
        seconds = float(asked)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < 1e9:
        raise ValueError(f"{PATIENCE} must be a number of seconds above 0, not {asked!r}")
    return seconds


# ---- path B


def _train_step_by_step(call):
    """All steps, as graphs of STEPS_PER_GRAPH. Returns which row of `active` is valid."""
    results = {
        "counter": zeros((2,), np.int64),
        "dV": empty((call.batch, call.h * call.c), call.dtype),
        "loss": empty((call.h, call.batch), call.dtype),
        "flags": empty((call.h, call.batch), np.int32),
    }
    last = call.rows - (call.steps - 1) * call.batch
    takes = [_takes_tensor_cores(call, rows) for rows in (call.batch, last)]
    alike = call.steps if takes[0] == takes[1] else call.steps - 1

    def step(launches):
        for launch in launches:
            launch()

    def steps():
        for _ in range(STEPS_PER_GRAPH):
            step(usual)

    usual = _launches(call, results, takes[0])
    capture(steps, alike // STEPS_PER_GRAPH)
    for _ in range(alike % STEPS_PER_GRAPH):
        step(usual)
    if alike < call.steps:
        step(_launches(call, results, takes[1]))
    return call.steps % 2


def steps_take_tensor_cores(features, rows, d, c):
    """Whether steps of so many rows, of features of this dtype, do.

    By a head and a step alone: what is beside a head must not decide its bits.
    """
    return c > WIDEST_TILE and takes_tensor_cores(features.name, rows, c, min(d, rows))


def _takes_tensor_cores(call, rows):
    return steps_take_tensor_cores(call.features, rows, call.d, call.c)


def _launches(call, results, on_tensor_cores):
    """What a step launches. results: the first fields of struct StepResults."""
    tiling, (_, count) = _tiling(call), _slices(call.d)
    slices = None
    if on_tensor_cores:
        kernels = _on_tensor_cores(call)
    else:
        kernels = [(kernel, grid, 0) for kernel, grid in (*_forward(call, tiling), _update(call))]
        if tiling.parts > 1:
            slices = empty((count, call.batch, call.h * call.c), call.dtype)
    args = call.job, Struct(**results, slices=slices, slice_count=np.int64(count))
    return [
        functools.partial(kernel, grid, (THREADS,), args, shared=shared)
        for kernel, grid, shared in kernels
    ]


def _on_tensor_cores(call):
    """The kernels of a step, their grids and bytes of dynamic shared memory."""
    tile = {"TILE_FEATURES": TENSOR_TILE, "TILE_COLUMNS": TENSOR_TILE}
    column_tiles = ceil_div(call.h * call.c, TENSOR_TILE)

    def product(name, lines, shared):
        kernel = load_kernel("train_tensor.cu", name, **call.types, **tile)
        return kernel, (ceil_div(lines, TENSOR_TILE), column_tiles), shared

    slabs = [tensor_bytes(call.features.itemsize, across) for across in (False, True)]
    return [
        product("train_logits_tensor", call.batch, slabs[0]),
        (*_rows(call, THREADS // call.row_types["ROW_LANES"]), 0),
        product("train_update_tensor", call.d, slabs[1] + 4 * TENSOR_TILE),  # and which heads
    ]


def _rows(call, of_block):
    """The kernel of the losses and gradients of a step's rows, and its grid.

    of_block: how many rows of heads a block takes.
    """
    kernel = load_kernel("train_rows.cu", "train_rows", **call.types, **call.row_types)
    return kernel, (ceil_div(call.batch * call.h, of_block),)


@dataclass(frozen=True)
class _Tiling:
    """How the logits are cut up without tensor cores: by their shape alone.

    rows, columns: of a tile. depth: features it takes at a time. row_tiles, column_tiles: how many.
    parts: into how many the slices of the features are shared out.
    """

    rows: int
    columns: int
    depth: int
    row_tiles: int
    column_tiles: int
    parts: int

    @property
    def tile(self):
        """How the kernels are compiled for it."""
        return {"TILE_ROWS": self.rows, "TILE_COLUMNS": self.columns, "DEPTH": self.depth}

    @property
    def grid(self):
        return self.row_tiles, self.column_tiles, self.parts


def _tiling(call):
    item = call.dtype.itemsize
    features, _ = _slices(call.d)
    columns, column_tiles = _tile_columns(call.h, call.c)
    is_high = ceil_div(call.batch, 64) * column_tiles >= ENOUGH_BLOCKS
    rows = _high_rows(columns, item) if is_high else 16
    row_tiles = ceil_div(call.batch, rows)
    return _Tiling(
        rows=rows,
        columns=columns,
        depth=DEPTH if is_high else _low_depth(features, columns, item),
        row_tiles=row_tiles,
        column_tiles=column_tiles,
        parts=_parts(call, row_tiles * column_tiles),
    )


def _parts(call, tiles):
    """Into how many parts the slices are shared out: one where there are enough tiles."""
    _, slices = _slices(call.d)
    size = slices * call.batch * call.h * call.c * call.dtype.itemsize
    if tiles >= ENOUGH_BLOCKS or call.d < SPLIT_FEATURES or size > SPLIT_BYTES:
        return 1
    each = ceil_div(slices, ceil_div(SPLIT_BLOCKS, tiles))
    return ceil_div(slices, each)


def _forward(call, tiling):
    """The kernels of a step's logits and gradients, one or two, and their grids."""
    defines = {**call.types, **tiling.tile, "SLICE_FEATURES": _slices(call.d)[0]}
    if tiling.parts > 1:  # a thread of the second kernel adds up the parts of a logit
        kernel = load_kernel("train_forward.cu", "train_slices", **defines)
        return [(kernel, tiling.grid), _rows(call, max(1, THREADS // call.c))]
    if call.c > WIDEST_TILE:
        kernel = load_kernel("train_forward.cu", "train_logits", **defines)
        return [(kernel, tiling.grid), _rows(call, THREADS // call.row_types["ROW_LANES"])]
    kernel = load_kernel("train_forward.cu", "train_forward", **defines, **call.row_types)
    return [(kernel, tiling.grid)]


def _update(call):
    """The kernel of a step's update, and its grid."""
    tile = _update_tile(call.h * call.c, call.dtype)
    kernel = load_kernel("train_update.cu", "train_update", **call.types, **tile)
    return kernel, tuple(
        map(ceil_div, (call.d, call.h * call.c), (TILE_FEATURES, tile["TILE_COLUMNS"]))
    )


def _update_tile(columns, dtype):
    """A tile of the update: a narrow one leaves registers for more rows at a time."""
    width = _update_columns(columns, dtype)
    depth = DEPTH if width > 32 else 48 if dtype == np.float32 else 32
    return {"TILE_FEATURES": TILE_FEATURES, "TILE_COLUMNS": width, "DEPTH": depth}


def _update_columns(columns, dtype):
    """The width of a tile of the update; with more doubles registers spill."""
    widest = 64 if dtype == np.float32 else 32
    return next((width for width in (16, 32) if columns <= width), widest)


def _tile_columns(h, c):
    """The width that wastes least on whole heads, and how many tiles that makes."""
    if c > WIDEST_TILE:
        return 64, ceil_div(h * c, 64)
    tiles = {width: ceil_div(h, width // c) for width in (64, 128, 32, 16) if width >= c}
    width = min(tiles, key=lambda width: width * tiles[width])
    return width, tiles[width]


def _high_rows(columns, item):
    """The rows of a tile that is as high as registers and 48 KB of shared memory allow."""
    return min(64, (16 << 10) // (columns * item))


def _low_depth(features, columns, item):
    """How much of a slice a tile of 16 rows takes at a time: all loads of that are on their way."""
    room = (TILE_BYTES // item - 16 * 4) // (16 + columns)
    divisors = (depth for depth in range(DEPTH, features + 1, DEPTH) if features % depth == 0)
    return max(depth for depth in divisors if depth <= max(room, DEPTH))

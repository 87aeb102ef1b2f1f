"""Minibatch gradient descent of a bank of heads: which kernels run, on which tiles and scratch.

Path A (training/steps.py) is one cooperative launch for many steps, for banks so small that
launching would take longer than the arithmetic. Path B, here, is two or three launches a step,
replayed as a graph. Both give the same bits, and so do all tiles: what is chosen is a matter of
speed. The tensor cores alone give other bits: wide heads take them for steps of many rows, whatever
else is in the bank.
"""

import functools

import numpy as np

from softstep.kernels._cupy.arrays import asarray, copy_into, empty, nans, zeros
from softstep.kernels._cupy.kernel import capture, load_kernel
from softstep.kernels._cupy.launch import Struct, check_width, op
from softstep.kernels._cupy.linear import TENSOR_TILE, tensor_bytes
from softstep.kernels._cupy.losses import codes
from softstep.kernels._cupy.training.call import call_of, velocity_of
from softstep.kernels._cupy.training.shapes import (
    THREADS,
    TILE_FEATURES,
    WIDEST_TILE,
    slices,
    tile_columns,
    tiling_of,
    update_columns,
    update_tile,
)
from softstep.kernels._cupy.training.steps import is_small, train_in_one_launch
from softstep.kernels.integers import ceil_div

STEPS_PER_GRAPH = 20  # twice as many are launched one by one: before a capture, and for it


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
    velocity = velocity_of(steps, bank)
    active = empty((2, h), np.bool_)  # of this step and of the next, which the step writes
    copy_into(active[0], asarray(steps.active))
    results = {"active": active, "losses": losses, "correct": correct}
    call = call_of(data, bank, steps, weights, velocity, results)
    last = train_in_one_launch(call) if is_small(call) else _train_step_by_step(call)

    written = [(bank.W, weights[0]), (bank.b, weights[1]), (steps.active, active[last])]
    if steps.velocity is not None:
        written += zip(steps.velocity, velocity, strict=True)
    for theirs, ours in written:
        copy_into(theirs, ours)
    return losses, correct


def _check_width(W):
    """Refuse a bank with more tiles of columns than a grid has."""
    h, _, c = W.shape
    _, tiles_of_logits = tile_columns(h, c)
    tiles_of_update = ceil_div(h * c, update_columns(h * c, W.dtype))
    check_width(max(tiles_of_logits, tiles_of_update), h, c)


# ---- path B


def _train_step_by_step(call):
    """All steps, as graphs of STEPS_PER_GRAPH. Returns which row of `active` is valid."""
    results = {
        "counter": zeros((2,), np.int64),
        "dV": empty((call.batch, call.h * call.c), call.dtype),
        "loss": empty((call.h, call.batch), call.dtype),
        "flags": empty((call.h, call.batch), np.int32),
    }
    last = call.total_rows - (call.steps - 1) * call.batch
    takes = [call.takes_tensor_cores(rows) for rows in (call.batch, last)]
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


def _launches(call, results, on_tensor_cores):
    """What a step launches. results: the first fields of struct StepResults.

    Each of its kernels comes with its grid and its bytes of dynamic shared memory.
    """
    tiling = tiling_of(call.batch, call.d, call.h, call.c, call.dtype.itemsize)
    _, count = slices(call.d)
    parts = None
    if on_tensor_cores:
        kernels = _on_tensor_cores(call)
    else:
        kernels = [*_forward(call, tiling), _update(call)]
        if tiling.parts > 1:
            parts = empty((count, call.batch, call.h * call.c), call.dtype)
    args = call.job, Struct(**results, slices=parts, slice_count=np.int64(count))
    return [
        functools.partial(kernel, grid, (THREADS,), args, shared=shared)
        for kernel, grid, shared in kernels
    ]


def _on_tensor_cores(call):
    tile = {"TILE_FEATURES": TENSOR_TILE, "TILE_COLUMNS": TENSOR_TILE}
    column_tiles = ceil_div(call.h * call.c, TENSOR_TILE)

    def product(name, lines, shared):
        kernel = load_kernel("train_tensor.cu", name, **call.types, **tile)
        return kernel, (ceil_div(lines, TENSOR_TILE), column_tiles), shared

    slabs = [tensor_bytes(call.features.itemsize, across) for across in (False, True)]
    return [
        product("train_logits_tensor", call.batch, slabs[0]),
        _rows(call, THREADS // call.row_types["ROW_LANES"]),
        product("train_update_tensor", call.d, slabs[1] + 4 * TENSOR_TILE),  # and which heads
    ]


def _rows(call, of_block):
    """The kernel of the losses and gradients of a step's rows.

    of_block: how many rows of heads a block takes.
    """
    kernel = load_kernel("train_rows.cu", "train_rows", **call.types, **call.row_types)
    return kernel, (ceil_div(call.batch * call.h, of_block),), 0


def _forward(call, tiling):
    """The kernels of a step's logits and gradients, one or two."""
    defines = {**call.types, **tiling.tile, "SLICE_FEATURES": slices(call.d)[0]}
    if tiling.parts > 1:  # a thread of the second kernel adds up the parts of a logit
        kernel = load_kernel("train_forward.cu", "train_slices", **defines)
        return [(kernel, tiling.grid, 0), _rows(call, max(1, THREADS // call.c))]
    if call.c > WIDEST_TILE:
        kernel = load_kernel("train_forward.cu", "train_logits", **defines)
        return [(kernel, tiling.grid, 0), _rows(call, THREADS // call.row_types["ROW_LANES"])]
    kernel = load_kernel("train_forward.cu", "train_forward", **defines, **call.row_types)
    return [(kernel, tiling.grid, 0)]


def _update(call):
    """The kernel of a step's update."""
    tile = update_tile(call.h * call.c, call.dtype)
    kernel = load_kernel("train_update.cu", "train_update", **call.types, **tile)
    tiles = map(ceil_div, (call.d, call.h * call.c), (TILE_FEATURES, tile["TILE_COLUMNS"]))
    return kernel, tuple(tiles), 0

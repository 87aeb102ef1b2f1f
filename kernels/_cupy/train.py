"""Minibatch gradient descent of a bank of heads: which kernels run, on which tiles and scratch.

Path A, one cooperative launch for many steps, where a bank is so small that launches would take
longer than the arithmetic; else path B, two or three launches per step, replayed as a graph. Both
give the same bits, and so do all tiles: what is chosen here is a matter of speed.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.kernels._cupy.device import device
from softstep.kernels._cupy.evaluate import label_sets
from softstep.kernels._cupy.launch import ceil_div, check_width, scalar, targets
from softstep.kernels._cupy.linear import X_KIND

THREADS = 256  # of every block

# path A
SHARED_BYTES = 64 * 1024  # every GPU since sm_75 has this much for a block
REDUNDANT_BYTES = 128 * 1024  # more partial logits than this are not summed by every block
STEPS_PER_LAUNCH = 2048

# path B
DEPTH = 16  # of the features, or of the rows, that a tile takes at a time
TILE_FEATURES = 64  # of the update
WIDEST_TILE = 128
STEPS_PER_GRAPH = 50
ENOUGH_BLOCKS = 128


def types_of(dtype):
    """How what reads features of this dtype is compiled."""
    return {"REAL": "double" if dtype == np.float64 else "float", "X_KIND": X_KIND[np.dtype(dtype)],
            "THREADS": THREADS}  # fmt: skip


@dataclass(frozen=True)
class _Call:
    """What the kernels are given, in the groups and the order of their parameters."""

    types: dict[str, Any]  # of the arithmetic and of the features
    of_rows: dict[str, Any]  # how what works on rows is compiled
    shape: tuple[int, int, int, int]  # batch (all rows where they are fewer), d, h, c
    steps: int
    features: tuple[Any, ...]
    rows: tuple[Any, ...]
    targets: tuple[Any, ...]
    sizes: tuple[Any, ...]
    weights: tuple[Any, ...]
    velocity: tuple[Any, ...]
    settings: tuple[Any, ...]
    results: tuple[Any, ...]


def train(
    X,
    y,
    order,
    batch_size,
    W,
    b,
    *,
    loss,
    learning_rate,
    l2=0.0,
    l2_bias=False,
    momentum=0.0,
    velocity=None,
    fit_bias=True,
    sample_weight=None,
    y_index=None,
    weight_index=None,
    feature_scale=1.0,
    active=None,
    columns=None,
):
    # X (n, d), y (t, n) or (n, c), order (m,), W (h, d, c), b (h, c) -> losses, correct (steps, h)
    steps, h = learning_rate.shape
    losses = device.nans((steps, h))
    correct = device.zeros((steps, h), np.int64)
    if steps == 0:
        return losses, correct
    real = W.dtype.type
    n, d = X.shape
    c = W.shape[2]
    batch = min(batch_size, len(order))
    check_width(max(_tile_columns(h, c)[1], ceil_div(h * c, _update_columns(h * c, W.dtype))), h, c)
    labels = label_sets(y)
    y, is_soft = targets(y, W.dtype)
    weights = (device.asarray(W), device.asarray(b))
    moments = _velocity(velocity, momentum, W, b)
    with np.errstate(over="ignore"):  # what float32 does not hold is infinite
        settings = [device.asarray(values.astype(real)) for values in (learning_rate, l2, momentum)]
    states = device.empty((2, h), np.bool_)  # of this step and of the next, which the step writes
    device.copy_into(states[0], device.asarray(active))
    call = _Call(
        types=types_of(X.dtype),
        of_rows={"Y_SOFT": is_soft, "ROW_LANES": _row_lanes(c)},
        shape=(batch, d, h, c),
        steps=steps,
        features=(device.asarray(X), np.int64(d), scalar(feature_scale, W.dtype)),
        rows=(device.asarray(order), np.int64(len(order)), np.int64(batch)),
        targets=(
            np.int64(n),
            labels,
            y if is_soft else None,
            None if sample_weight is None else device.asarray(sample_weight),
            device.asarray(y_index),
            device.asarray(weight_index),
            device.asarray(np.array(loss) == "mse"),
        ),
        sizes=(np.int64(h), np.int64(c)),
        weights=weights,
        velocity=moments,
        settings=(*settings, np.bool_(l2_bias), np.bool_(fit_bias)),
        results=(states, losses, correct),
    )
    last_state = _train_in_one_launch(call) if _is_small(call) else _train_step_by_step(call)

    device.copy_into(W, weights[0])
    device.copy_into(b, weights[1])
    if velocity is not None:
        device.copy_into(velocity[0], moments[0])
        device.copy_into(velocity[1], moments[1])
    device.copy_into(active, states[last_state])
    return losses, correct


def _velocity(velocity, momentum, W, b):
    """(MW, Mb) on the device, or a pair of None where no head needs them."""
    if velocity is not None:
        return device.asarray(velocity[0]), device.asarray(velocity[1])
    if not momentum.any():
        return None, None
    return device.zeros(W.shape, W.dtype), device.zeros(b.shape, b.dtype)


def _row_lanes(c):
    """How many lanes of a warp work on a row of a head: 8 classes each, up to a warp."""
    return min(32, 1 << max(0, math.ceil(c / 8) - 1).bit_length())


# ---- path A


def _slices(d):
    """Features per slice, a multiple of a tile's depth, and slices. By d alone, as the bits are.

    With about √d features a block of path A spends as long on them as on adding up all blocks'.
    """
    features = DEPTH * math.ceil(math.sqrt(d) / DEPTH)
    return features, ceil_div(d, features)


def _bytes_of_block(shape, item):
    """The shared memory of train_steps, as it lays it out."""
    batch, d, h, c = shape
    features, _ = _slices(d)
    x_slices = 2 * 4 * ceil_div(batch, 4) * (features + 4)
    bank_and_velocity = 2 * (features + 1) * h * c
    gradient_and_loss = batch * h * (c + 1)
    flags_and_updates = (batch + 1) * h
    return (x_slices + bank_and_velocity + gradient_and_loss) * item + flags_and_updates * 4


def _steps_kernel(call):
    slices = {"SLICE_FEATURES": _slices(call.shape[1])[0]}
    defines = {**call.types, **call.of_rows, **slices}
    return device.cooperative_kernel("train_steps.cu", "train_steps", **defines)


def _is_small(call):
    """Path A: a slice of the bank and of a batch fits into a block, and all blocks onto the GPU."""
    if not device.launches_cooperatively():
        return False
    shared = _bytes_of_block(call.shape, call.weights[0].dtype.itemsize)
    if shared > SHARED_BYTES:
        return False
    _, blocks = _slices(call.shape[1])
    return device.resident_blocks(_steps_kernel(call), THREADS, shared) >= blocks


def _train_in_one_launch(call):
    """All steps, in launches of STEPS_PER_LAUNCH. Returns which row of the states is valid."""
    batch, d, h, c = call.shape
    dtype = call.weights[0].dtype
    _, blocks = _slices(d)
    launches = ceil_div(call.steps, STEPS_PER_LAUNCH)
    size = batch * h * c
    by_owner = blocks * size * dtype.itemsize > REDUNDANT_BYTES
    scratch = (
        device.empty((2, blocks, size), dtype),
        device.empty((size,), dtype),
        device.empty((batch, h), dtype),
        device.empty((batch, h), np.int32),
        device.zeros((launches,), np.uint32),
    )
    kernel = _steps_kernel(call)
    for number in range(launches):
        first = number * STEPS_PER_LAUNCH
        end = min(first + STEPS_PER_LAUNCH, call.steps)
        kernel(
            (blocks,),
            (THREADS,),
            (
                *call.features, *call.rows, *call.targets, *call.sizes, *call.weights,
                *call.velocity, *call.settings, *call.results,
                np.int64(first), np.int64(end), np.bool_(by_owner), *scratch, np.int64(number),
            ),
            shared=_bytes_of_block(call.shape, dtype.itemsize),
        )  # fmt: skip
    return 0


# ---- path B


def _train_step_by_step(call):
    """All steps, as graphs of STEPS_PER_GRAPH. Returns which row of the states is valid."""
    batch, _, h, c = call.shape
    dtype = call.weights[0].dtype
    counter = device.zeros((2,), np.int64)
    gradient = device.empty((batch, h * c), dtype)
    row_results = (device.empty((h, batch), dtype), device.empty((h, batch), np.int32))
    forward = _forward(call, counter, gradient, row_results)
    update = _update(call, counter, gradient, row_results)

    def step():
        for run in forward:
            run()
        update()

    def steps():
        for _ in range(STEPS_PER_GRAPH):
            step()

    device.capture(steps, call.steps // STEPS_PER_GRAPH)
    for _ in range(call.steps % STEPS_PER_GRAPH):
        step()
    return call.steps % 2


def _forward(call, counter, gradient, row_results):
    """What launches the logits and gradients of a step: one kernel, or two for wide heads."""
    batch, d, h, c = call.shape
    columns, column_tiles = _tile_columns(h, c)
    is_high = ceil_div(batch, 64) * column_tiles >= ENOUGH_BLOCKS
    tile = _tile(columns, is_high, call.types["REAL"])
    defines = {**call.types, **tile, "SLICE_FEATURES": _slices(d)[0], "DEPTH": DEPTH}
    grid = (ceil_div(batch, tile["TILE_ROWS"]), column_tiles)
    if c <= WIDEST_TILE:
        kernel = device.kernel("train_forward.cu", "train_forward", **defines, **call.of_rows)
        args = (*call.features, *call.rows, *call.targets, *call.sizes, *call.weights,
                counter, gradient, *row_results)  # fmt: skip
        return [lambda: kernel(grid, (THREADS,), args)]
    logits = device.kernel("train_forward.cu", "train_logits", **defines)
    logits_args = (*call.features, *call.rows, *call.sizes, *call.weights, counter, gradient)
    of_rows = {"REAL": call.types["REAL"], "THREADS": THREADS, **call.of_rows}
    softmax = device.kernel("train_rows.cu", "train_rows", **of_rows)
    softmax_args = (*call.rows, *call.targets, *call.sizes, counter, gradient, *row_results)
    blocks = ceil_div(batch * h * call.of_rows["ROW_LANES"], THREADS)
    return [
        lambda: logits(grid, (THREADS,), logits_args),
        lambda: softmax((blocks,), (THREADS,), softmax_args),
    ]


def _update(call, counter, gradient, row_results):
    """What launches the update of a step."""
    _, d, h, c = call.shape
    columns = _update_columns(h * c, gradient.dtype)
    tile = {"TILE_FEATURES": TILE_FEATURES, "TILE_COLUMNS": columns, "DEPTH": DEPTH}
    kernel = device.kernel("train_update.cu", "train_update", **call.types, **tile)
    grid = (ceil_div(d, TILE_FEATURES), ceil_div(h * c, columns))
    args = (*call.features, *call.rows, *call.sizes, *call.weights, *call.velocity,
            *call.settings, *call.results, counter, gradient, *row_results)  # fmt: skip
    return lambda: kernel(grid, (THREADS,), args)


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


def _tile(columns, is_high, real):
    """A tile of the logits; as high as registers and 48 KB of shared memory allow, or low."""
    high = 4096 // columns if real == "float" else 2048 // columns
    return {"TILE_ROWS": min(64, high) if is_high else 16, "TILE_COLUMNS": columns}

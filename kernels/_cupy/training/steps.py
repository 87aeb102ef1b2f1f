"""Path A of `train`: many steps of a small bank in one cooperative launch of train_steps.cu."""

import math
import os

import numpy as np

from softstep.kernels._cupy.arrays import empty, to_host, zeros
from softstep.kernels._cupy.device import (
    DeviceError,
    launches_cooperatively,
    shared_memory_of_a_block,
)
from softstep.kernels._cupy.kernel import load_kernel
from softstep.kernels._cupy.launch import Struct
from softstep.kernels._cupy.training.shapes import THREADS, bytes_of_block, slices
from softstep.kernels.integers import ceil_div

REDUNDANT_BYTES = 128 * 1024  # more partial logits than this are not summed by every block
STEPS_PER_LAUNCH = 2048
PATIENCE = "SOFTSTEP_BARRIER_SECONDS"  # how long blocks wait for each other; read at call time
PATIENCE_SECONDS = 30.0


def is_small(call):
    """A slice of the bank and of a batch fits into a block, and all blocks onto the GPU."""
    if call.takes_tensor_cores(call.batch) or not launches_cooperatively():
        return False
    if _shared_bytes(call) > shared_memory_of_a_block():
        return False
    kernel, (blocks,), shared = _kernel(call)
    return kernel.resident_blocks(THREADS, shared) >= blocks


def _shared_bytes(call):
    return bytes_of_block(call.batch, call.d, call.h, call.c, call.dtype.itemsize)


def _kernel(call):
    """The kernel, its grid and bytes of dynamic shared memory."""
    features, blocks = slices(call.d)
    defines = {**call.types, **call.row_types, "SLICE_FEATURES": features}
    kernel = load_kernel("train_steps.cu", "train_steps", cooperative=True, **defines)
    return kernel, (blocks,), _shared_bytes(call)


def train_in_one_launch(call):
    """All steps, in launches of STEPS_PER_LAUNCH. Returns which row of `active` is valid."""
    kernel, (blocks,), shared = _kernel(call)
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

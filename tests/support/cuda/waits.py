"""What a step of a small bank waits for, before and now: a calculation, on no GPU.

    python waits.py

A step of a small bank computes little: it waits. Its time is the trips to memory that a thread
makes one after the other, the barriers and launches, what a multiprocessor reads through L2, and
the longest chains of arithmetic. How long a trip, a barrier, a launch and a link of a chain take is
assumed, alike on all GPUs. The host's part is left out: what a call checks, allocates and copies,
and the launches from Python until there is a graph.

Before: a thread waited for each load of a gather, its row's number first; for groups of 8 blocks'
logits, one logit at a time; and a tile went through all features, 16 at a time.
"""

from dataclasses import dataclass

import numpy as np

from softstep.bench.studies.roofline import DEEP, GPUS, RECIPE
from softstep.kernels._cupy.training.shapes import (
    DEPTH,
    THREADS,
    bytes_of_block,
    row_lanes,
    slices,
    tiling_of,
    update_tile,
)
from softstep.kernels._cupy.training.steps import REDUNDANT_BYTES
from softstep.kernels.integers import ceil_div

FLOAT = np.dtype(np.float32)

L2, MEMORY = 0.2, 0.4  # µs of a trip
BARRIER, LAUNCH = 1.1, 1.4  # µs: of all blocks of a grid, and between two kernels of a graph
SHARED, FMA = 30, 4  # clocks: of a trip to shared memory, of a multiply-add that waits for another
L2_BYTES = 64  # that a multiprocessor reads in a clock


@dataclass(frozen=True)
class Loads:
    """What a thread has on the way at a time.

    features; by_number: is the row's number fetched first? logits, of so many slices; taken: of
    what other blocks hand over; rows: of the update, all of which is in shared memory.
    """

    features: int
    by_number: bool
    logits: int
    slices: int
    taken: int
    rows: int


BEFORE = Loads(features=1, by_number=True, logits=1, slices=8, taken=1, rows=4)
NOW = Loads(features=16, by_number=False, logits=4, slices=16, taken=16, rows=8)


def rows_clocks(work, threads):
    """Losses and gradients of a block's rows of heads: four passes over a lane's classes, sums."""
    lanes = row_lanes(work.c)
    passes = ceil_div(work.batch * work.h * lanes, threads)
    return passes * (250 * ceil_div(work.c, lanes) + 400)


def in_one_launch(work, gpu, loads):
    """µs of a step of path A."""
    features, blocks = slices(work.d)
    columns, threads, per_us = work.h * work.c, THREADS, gpu.clock * 1e3
    size = work.batch * columns
    by_owner = blocks * size * 4 > REDUNDANT_BYTES
    of_block = ceil_div(size, blocks) if by_owner else size

    products = ceil_div(ceil_div(work.batch, 4) * columns, threads) * features / 8
    gathered = ceil_div(work.batch * features, threads * loads.features)
    trip = MEMORY + (L2 if loads.by_number else 0)
    logits = ceil_div(of_block, threads * loads.logits) * ceil_div(blocks, loads.slices)
    update = ceil_div(features // 4 * columns, threads) * work.batch / loads.rows
    handed = ceil_div(size, threads * loads.taken) + 2 if by_owner else 0

    clocks = products * (SHARED + 8 * FMA) + update * (SHARED + loads.rows * FMA)
    clocks += of_block * blocks * 4 / L2_BYTES
    clocks += rows_clocks(work, threads * (blocks if by_owner else 1))
    waits = max(BARRIER, gathered * trip) + (BARRIER if by_owner else 0)
    waits += (logits + handed + (2 if loads.by_number else 1)) * L2
    return waits + clocks / per_us


def fits(work, gpu):
    """Whether a block of path A has room in its shared memory."""
    return bytes_of_block(work.batch, work.d, work.h, work.c, 4) <= gpu.shared << 10


def step_by_step(work, gpu, is_shared_out):
    """µs of a step of path B."""
    per_us = gpu.clock * 1e3
    tiling = tiling_of(work.batch, work.d, work.h, work.c, FLOAT.itemsize)
    features, count = slices(work.d)
    if is_shared_out:
        launches, depth = 3, update_tile(work.h * work.c, FLOAT)["DEPTH"]
        slabs = ceil_div(count, tiling.parts) * features / tiling.depth
        logits = ceil_div(count, NOW.slices) * L2
    else:
        launches, depth, slabs, logits = 2, DEPTH, ceil_div(work.d, DEPTH), 0
    update = ceil_div(work.batch, depth) * (L2 + MEMORY)
    rows = 2 * L2 + rows_clocks(work, work.batch * work.h * row_lanes(work.c)) / per_us
    return launches * LAUNCH + slabs * MEMORY + logits + rows + update


def lines():
    """Pairs: the work, and (before, now) on a GPU, or None where it cannot run so."""

    def recipe(gpu):
        before, now = (in_one_launch(RECIPE, gpu, loads) for loads in (BEFORE, NOW))
        return before * RECIPE.steps / 1e3, now * RECIPE.steps / 1e3

    def recipe_by_launches(gpu):
        before, now = (step_by_step(RECIPE, gpu, is_shared) for is_shared in (False, True))
        return before * RECIPE.steps / 1e3, now * RECIPE.steps / 1e3

    def deep(gpu):
        if not fits(DEEP, gpu):
            return None
        return step_by_step(DEEP, gpu, False), in_one_launch(DEEP, gpu, NOW)

    def deep_by_launches(gpu):
        return step_by_step(DEEP, gpu, False), step_by_step(DEEP, gpu, True)

    yield "60000 x 784 -> 10, uint8: 600 steps of batch 100, ms, in one launch", recipe
    yield "the same, launches per step", recipe_by_launches
    yield "4096 -> 10, float32: a step of batch 256, µs, in one launch", deep
    yield "the same, launches per step", deep_by_launches


def table():
    """Markdown: a line for each work, "before → now" for each GPU."""
    rows = [["work", *(gpu.name for gpu in GPUS.values())], ["---", *["--:"] * len(GPUS)]]
    for name, times in lines():
        found = map(times, GPUS.values())
        cells = (" → ".join(f"{time:.1f}" for time in both) if both else "–" for both in found)
        rows.append([name, *cells])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


if __name__ == "__main__":
    print(table())

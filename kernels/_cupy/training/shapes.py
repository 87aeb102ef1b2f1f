"""How `train` cuts up a bank and its batches: whole numbers that follow from the shapes alone."""

import math
from dataclasses import dataclass

import numpy as np

from softstep.kernels._cupy.linear import TENSOR_THREADS, takes_tensor_cores
from softstep.kernels.integers import ceil_div

THREADS = TENSOR_THREADS  # of every block
DEPTH = 16  # of the features, or of the rows, that a tile takes at a time, if it takes no more
TILE_FEATURES = 64  # of the update
WIDEST_TILE = 128
ENOUGH_BLOCKS = 128
SPLIT_FEATURES = 256  # from so many on blocks share out the slices, where there are few tiles
SPLIT_BLOCKS = 512  # into about so many blocks
SPLIT_BYTES = 64 << 20  # of the parts of the logits, at most
TILE_BYTES = 32 << 10  # of the low tiles of the features and the weights


def steps_take_tensor_cores(features, rows, d, c):
    """Whether steps of so many rows, of features of this dtype, do.

    By a head and a step alone: what is beside a head must not decide its bits.
    """
    return c > WIDEST_TILE and takes_tensor_cores(features, rows, c, min(d, rows))


def row_lanes(c):
    """How many lanes of a warp work on a row of a head: 8 classes each, up to a warp."""
    return min(32, 1 << max(0, ceil_div(c, 8) - 1).bit_length())


def slices(d):
    """Features per slice, a multiple of a tile's depth, and slices. By d alone, as the bits are.

    With about √d features a block of path A spends as long on them as on adding up all blocks'.
    """
    features = DEPTH * math.ceil(math.sqrt(d) / DEPTH)
    return features, ceil_div(d, features)


def bytes_of_block(batch, d, h, c, item):
    """The shared memory of train_steps: struct Block, for items of so many bytes."""
    features, _ = slices(d)
    padded = 4 * ceil_div(batch, 4)
    x_slices = 2 * padded * (features + 4)
    bank_and_velocity = 2 * (features + 1) * h * c
    gradient_and_loss = (padded * c + batch) * h
    flags_and_updates = (batch + 1) * h + 1
    reals = x_slices + bank_and_velocity + gradient_and_loss
    return 3 * padded * 8 + reals * item + flags_and_updates * 4


# ---- tiles of the logits, without tensor cores


@dataclass(frozen=True)
class Tiling:
    """How the logits are cut up without tensor cores.

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


def tiling_of(batch, d, h, c, item):
    """The tiling of a step, for logits of so many bytes each."""
    features, _ = slices(d)
    columns, column_tiles = tile_columns(h, c)
    is_high = ceil_div(batch, 64) * column_tiles >= ENOUGH_BLOCKS
    rows = high_rows(columns, item) if is_high else 16
    row_tiles = ceil_div(batch, rows)
    return Tiling(
        rows=rows,
        columns=columns,
        depth=DEPTH if is_high else low_depth(features, columns, item),
        row_tiles=row_tiles,
        column_tiles=column_tiles,
        parts=_parts(d, batch * h * c * item, row_tiles * column_tiles),
    )


def _parts(d, logits, tiles):
    """Into how many parts the slices are shared out: one where there are enough tiles.

    logits: bytes of a step's.
    """
    _, count = slices(d)
    if tiles >= ENOUGH_BLOCKS or d < SPLIT_FEATURES or count * logits > SPLIT_BYTES:
        return 1
    each = ceil_div(count, ceil_div(SPLIT_BLOCKS, tiles))
    return ceil_div(count, each)


def tile_columns(h, c):
    """The width that wastes least on whole heads, and how many tiles that makes."""
    if c > WIDEST_TILE:
        return 64, ceil_div(h * c, 64)
    tiles = {width: ceil_div(h, width // c) for width in (64, 128, 32, 16) if width >= c}
    width = min(tiles, key=lambda width: width * tiles[width])
    return width, tiles[width]


def high_rows(columns, item):
    """The rows of a tile that is as high as registers and 48 KB of shared memory allow."""
    return min(64, (16 << 10) // (columns * item))


def low_depth(features, columns, item):
    """How much of a slice a tile of 16 rows takes at a time: all loads of that are on their way."""
    room = (TILE_BYTES // item - 16 * 4) // (16 + columns)
    divisors = (depth for depth in range(DEPTH, features + 1, DEPTH) if features % depth == 0)
    return max(depth for depth in divisors if depth <= max(room, DEPTH))


# ---- tiles of the update


def update_tile(columns, dtype):
    """A tile of the update: a narrow one leaves registers for more rows at a time."""
    width = update_columns(columns, dtype)
    narrow = {16: 48, 32: 48} if dtype == np.float32 else {16: 32, 32: 24}
    depth = narrow.get(width, DEPTH)
    return {"TILE_FEATURES": TILE_FEATURES, "TILE_COLUMNS": width, "DEPTH": depth}


def update_columns(columns, dtype):
    """The width of a tile of the update; with more doubles registers spill."""
    widest = 64 if dtype == np.float32 else 32
    return next((width for width in (16, 32) if columns <= width), widest)

"""Features larger than memory: read in shuffled blocks, the next one while one is computed on.

The rows lie in chunks of consecutive rows. The order of epoch e comes from one generator,
`numpy.random.default_rng((seed, 1, e))`: it permutes the chunks, cuts the result into blocks of as
equal a number of chunks as can be, sorts the chunks of each block (the file is then read forwards),
and for each block in turn permutes its rows. Minibatches are consecutive in this order and may
reach over two blocks. `row_order` gives it: training in blocks has the bits of training in it.
"""

import mmap
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from softstep.kernels.arrays import lies_in_rows, row_length
from softstep.kernels.checks import FEATURE_DTYPES, compute_dtype
from softstep.kernels.integers import ceil_div
from softstep.model import trainer
from softstep.model.inputs.arrays import cure_of_void
from softstep.model.resume import Keeper

CHUNK_BYTES = 1 << 20  # enough for a disk to read fast
MAPPED_AROUND = 1 << 21  # a page that is touched may bring in all of a huge page around it
LEAST_CHUNKS = 64  # in a block, so that neighbours in the file are far apart in the order
SAMPLE_ROWS, SAMPLE_BYTES = 1000, 1 << 20
UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9}


@dataclass(frozen=True)
class Layout:
    """The number of rows in a chunk, and of chunks in a block at most."""

    chunk_rows: int
    block_chunks: int

    @property
    def block_rows(self) -> int:
        return self.chunk_rows * self.block_chunks


def size_in_bytes(value: Any) -> int:
    """A number of bytes, or text such as "500MB" or "1.5 GB" (kB, MB, GB, by thousands).

    Raises:
        TypeError, ValueError: neither, or not above zero.
    """
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(kB|MB|GB)\s*", value)
        if not found:
            raise ValueError(f"memory must be bytes, or a text such as '1.5 GB', not {value!r}")
        value = int(float(found[1]) * UNITS[found[2]])
    if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
        raise TypeError(f"memory must be bytes, or a text such as '1.5 GB', not {value!r}")
    if value < 1:
        raise ValueError(f"memory must be above zero, not {value}")
    return int(value)


def features(X: Any, name: str) -> np.ndarray:
    """X, if it can be read block by block; else TypeError or ValueError."""
    if hasattr(X, "tocsr"):
        raise TypeError(
            f"memory= is for files, but {name} is a sparse matrix, which is in memory already: "
            "leave memory= out, and it is read as it is stored, or in small blocks"
        )
    if not isinstance(X, np.ndarray) or X.dtype.name not in FEATURE_DTYPES:
        is_array = isinstance(X, np.ndarray)
        kind = f"{X.dtype}{cure_of_void(X.dtype, name)}" if is_array else type(X).__name__
        raise TypeError(
            f"memory= reads {name} in blocks: it must be a NumPy array, such as a memory-mapped "
            f".npy, of {', '.join(FEATURE_DTYPES)}, not {kind}"
        )
    if isinstance(X, np.ma.MaskedArray):
        raise TypeError(f"memory= reads {name} in blocks, without its mask: give {name}.filled()")
    if X.ndim != 2 or X.size == 0:
        raise ValueError(f"{name} must be 2-D, one row per sample, but its shape is {X.shape}")
    if not lies_in_rows(X) or not X.dtype.isnative:
        raise ValueError(
            f"memory= reads {name} row by row: it must be C-contiguous, or columns of an array "
            "that is, in native byte order"
        )
    if getattr(X, "_mmap", None) is not None and getattr(X, "mode", None) != "r":
        raise ValueError(
            f"memory= can give back the pages of a file only where it is mapped to be read: open "
            f"{name} with mmap_mode='r', not another mode"
        )
    return X


def sample(X: np.ndarray) -> np.ndarray:
    """Some rows, evenly spread over X, copied: what the first ones hold, later ones may not."""
    row_bytes = X.shape[1] * X.itemsize
    count = max(2, min(SAMPLE_ROWS, SAMPLE_BYTES // row_bytes))
    rows = range(0, len(X), ceil_div(len(X), count))
    release = page_release(X)
    found = np.empty((len(rows), X.shape[1]), X.dtype)
    for i, row in enumerate(rows):
        found[i] = X[row]
        release(row, row + 1)
    return found


def layout(X: np.ndarray, memory: int, *, fixed: int, per_row: int, batch_size: int) -> Layout:
    """The largest blocks that fit into `memory` bytes.

    fixed: bytes needed regardless of the blocks. per_row: bytes for each row of a block, besides
    the two buffers of features.

    Raises:
        ValueError: too little memory for blocks of two batches; the text says how much is needed.
    """
    row_bytes = X.shape[1] * X.itemsize
    each = 2 * row_bytes + per_row
    rows = (memory - fixed) // each - 2 * batch_size  # the rest of a block goes into the next
    least = max(2 * batch_size, LEAST_CHUNKS)
    if rows < least:
        needed = fixed + (least + 2 * batch_size) * each
        raise ValueError(
            f"memory of {memory} bytes is too little: this sweep needs {needed} ({fixed} of them "
            "for weights and labels)"
        )
    rows = min(rows, len(X))
    chunk_rows = max(1, min(CHUNK_BYTES // row_bytes, rows // LEAST_CHUNKS))
    return Layout(chunk_rows, rows // chunk_rows)


def row_order(seed: int, epoch: int, n: int, layout: Layout) -> np.ndarray:
    """The order in which epoch `epoch` visits n rows."""
    blocks = _blocks(seed, epoch, n, layout)
    return np.concatenate([rows[order] for rows, order in blocks])


def run_epoch(
    data: trainer.Rows,
    bank: trainer.BankState,
    sgd: trainer.SGDSettings,
    number: int,
    *,
    seed: int,
    layout: Layout,
    done: int,
    total: int,
    keeper: Keeper | None = None,
) -> trainer.Epoch:
    """One pass over the rows, or the remaining `total - done` steps if fewer; updates `bank`."""
    batch = sgd.batch_size
    blocks = _blocks(seed, number, len(data.X), layout)
    left_x, left = data.X[:0], np.empty(0, np.int64)
    planned = min(len(data.X), (total - done) * batch)
    sums, visited = trainer.EpochSums(batch, planned, len(bank.W)), 0
    if keeper is not None:
        keeper.begin_epoch(number, sums)
    for x, rows, order, is_last in _read_ahead(data.X, blocks, layout, room=batch):
        # The rows left over from the last block go first, into the room kept before this one.
        x[batch - len(left) : batch] = left_x
        x, rows = x[batch - len(left) :], np.concatenate([left, rows])
        order = np.concatenate([np.arange(len(left)), len(left) + order])
        order, rest = np.split(order, [len(order) if is_last else len(order) // batch * batch])
        left_x, left = x[rest], rows[rest]
        order = order[: (total - done) * batch - visited]
        todo = order[max(0, sums.rows - visited) :]  # less only where an epoch is resumed
        visited += len(order)
        if len(todo):
            part = _rows_of(data, x, rows)
            trainer.add_steps(sums, part, bank, sgd, todo, done=done, total=total, keeper=keeper)
        if done + sums.steps == total:
            break
    return sums.means(number)


def evaluate(
    data: trainer.Rows, W: Any, b: Any, sgd: trainer.SGDSettings, layout: Layout
) -> tuple[np.ndarray, np.ndarray]:
    """Mean loss and accuracy of each head, (h,) float64; rows are read and converted in blocks."""

    def parts() -> Iterator[trainer.Rows]:
        for x, rows in in_order(data.X, layout):
            yield _rows_of(data, x if compute_dtype(x) == W.dtype else x.astype(W.dtype), rows)

    return trainer.evaluate_parts(parts(), W, b, sgd)


def in_order(X: np.ndarray, layout: Layout) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of consecutive rows, from first to last: features and row numbers."""
    starts = range(0, len(X), layout.block_rows)
    stops = (min(start + layout.block_rows, len(X)) for start in starts)
    blocks = ((np.arange(*span), None) for span in zip(starts, stops, strict=True))
    for x, rows, _, _ in _read_ahead(X, blocks, layout, room=0):
        yield x, rows


def _blocks(
    seed: int, epoch: int, n: int, layout: Layout
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each block its rows in file order, and the order in which they are visited."""
    rng = np.random.default_rng((seed, 1, epoch))
    chunks = rng.permutation(ceil_div(n, layout.chunk_rows))
    for block in np.array_split(chunks, ceil_div(len(chunks), layout.block_chunks)):
        starts = np.sort(block) * layout.chunk_rows
        rows = (starts[:, None] + np.arange(layout.chunk_rows)).ravel()
        rows = rows[rows < n]
        yield rows, rng.permutation(len(rows))


def _rows_of(data: trainer.Rows, x: np.ndarray, rows: np.ndarray) -> trainer.Rows:
    """`data` restricted to these rows, whose features are x."""
    y = data.y[rows] if data.y.dtype.kind == "f" else data.y[:, rows]
    weights = None if data.sample_weight is None else data.sample_weight[:, rows]
    return replace(data, X=x, y=y, sample_weight=weights, factors=None)


def _read_ahead(
    X: np.ndarray, blocks: Iterator[tuple[np.ndarray, Any]], layout: Layout, *, room: int
) -> Iterator[tuple[np.ndarray, np.ndarray, Any, bool]]:
    """Yields features (after `room` free rows), rows, the block's extra, whether it is the last.

    A thread reads the next block meanwhile. A block is overwritten when the next but one is
    requested.
    """
    shape = room + min(layout.block_rows, len(X)), X.shape[1]
    buffers = [np.empty(shape, X.dtype) for _ in range(2)]
    release = page_release(X)

    def read(buffer: np.ndarray, rows: np.ndarray) -> np.ndarray:
        at = room
        for start, stop in _runs(rows, layout.chunk_rows):
            buffer[at : at + stop - start] = X[start:stop]
            at += stop - start
            release(start, stop)
        return buffer[:at]

    with ThreadPoolExecutor(1, "softstep-read") as reader:

        def begun(rows: np.ndarray) -> Callable[[], np.ndarray]:
            """What waits for these rows; where no thread can be started, what reads them."""
            try:
                return reader.submit(read, buffers[0], rows).result
            except RuntimeError:
                reader.shutdown(cancel_futures=True)  # one that starts later has nothing to read
                return partial(read, buffers[0], rows)

        coming = next(blocks, None)
        reading = begun(coming[0]) if coming else None
        while coming and reading:
            x, (rows, more), coming = reading(), coming, next(blocks, None)
            if coming:
                buffers.reverse()
                reading = begun(coming[0])
            yield x, rows, more, coming is None


def _runs(rows: np.ndarray, longest: int) -> Iterator[tuple[int, int]]:
    """The runs of consecutive numbers in ascending `rows`, none longer than `longest`."""
    start = 0
    breaks = [*np.flatnonzero(np.diff(rows) != 1) + 1, len(rows)]
    for stop in breaks:
        for first in range(start, stop, longest):
            last = min(first + longest, stop)
            yield int(rows[first]), int(rows[last - 1]) + 1
        start = stop


def page_release(X: np.ndarray) -> Callable[[int, int], None]:
    """A function that gives back the pages of rows of a file mapped read-only.

    They stay in the system's cache of the file; they only stop counting as this process's memory.
    """
    mapped = getattr(X, "_mmap", None)
    if mapped is None or getattr(X, "mode", None) != "r" or not hasattr(mmap, "MADV_DONTNEED"):
        return lambda start, stop: None
    row_bytes = row_length(X) * X.itemsize
    base = np.frombuffer(mapped, np.uint8).ctypes.data

    def release(start: int, stop: int) -> None:
        first = (X.ctypes.data + start * row_bytes) // MAPPED_AROUND * MAPPED_AROUND
        last = ceil_div(X.ctypes.data + stop * row_bytes, MAPPED_AROUND) * MAPPED_AROUND
        first, last = max(first, base), min(last, base + len(mapped))
        mapped.madvise(mmap.MADV_DONTNEED, first - base, last - first)

    return release

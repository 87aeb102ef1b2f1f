"""A plan on its way to the workers: pickled, and its arrays beside that, copied nowhere.

An array that is mapped from a file travels as the file's name: the worker maps it too.
"""

import hashlib
import io
import os
import pickle
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from softstep.kernels.checks import Array
from softstep.model.archive import map_npy
from softstep.model.sweep.heads import Plan

ALIGNED = 64  # bytes: where an array begins in the file
LOOKED_AT = 64  # rows of a file's array, by which a worker knows that its file is the same


def opened(X: Any) -> Any:
    """X; of the path of a .npy file its array, mapped.

    Raises:
        OSError: it cannot be read. DataError: it is no such file.
    """
    return map_npy(X) if isinstance(X, str | os.PathLike) else X


@dataclass(frozen=True)
class Mapped:
    """An array in a file: its place there, and what it looks like."""

    file: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    releases: bool  # whether it was a memory map itself, whose pages are given back
    digest: str  # of some of its rows

    @classmethod
    def of(cls, array: Array) -> Self | None:
        """The array as a place in a file; None for one that is in no file, or has changed there."""
        root: np.memmap[Any, Any] | None = None
        base: Any = array
        while isinstance(base, np.ndarray):
            root = base if isinstance(base, np.memmap) else root
            base = base.base
        if root is None or root.mode != "r" or root.filename is None or not array.size:
            return None
        offset = root.offset + array.ctypes.data - root.ctypes.data
        return cls(
            file=str(root.filename),
            offset=offset,
            shape=array.shape,
            strides=array.strides,
            dtype=array.dtype,
            releases=isinstance(array, np.memmap),
            digest=_digest(array),
        )

    def opened(self) -> Array:
        """The array, mapped from its file.

        Raises:
            OSError: the file cannot be read here. ValueError: it is too short, or another one.
        """
        whole = _mapped(Path(self.file))
        try:
            array: Any = np.ndarray.__new__(
                np.memmap if self.releases else np.ndarray,
                self.shape,
                self.dtype,
                buffer=whole,
                offset=self.offset,
                strides=self.strides,
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.file} is shorter here than X, which lies in it") from error
        if _digest(array) != self.digest:
            raise ValueError(
                f"{self.file} holds other values on {platform.node()} than where fit was called: "
                "have the same file everywhere, or give X as an array"
            )
        if self.releases:
            array._mmap, array.mode = whole._mmap, whole.mode
            array.filename, array.offset = whole.filename, self.offset
        found: Array = array
        return found


def _digest(array: Array) -> str:
    """Of some of its rows."""
    rows = np.linspace(0, len(array) - 1, LOOKED_AT).astype(np.int64)
    return hashlib.sha256(array[rows].tobytes()).hexdigest()


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: Any) -> Mapped | None:
        return Mapped.of(value) if isinstance(value, np.ndarray) else None

    def reducer_override(self, value: Any) -> Any:
        """Columns of a wider matrix are copied, so that they are an array of their own."""
        if isinstance(value, np.ndarray) and not (
            value.flags.c_contiguous or value.flags.f_contiguous
        ):
            return np.ascontiguousarray(value).__reduce_ex__(5)
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, mapped: Mapped) -> Array:
        """What is twice in the plan is mapped once, as it is in memory once."""
        maps: dict[Mapped, Array] = vars(self).setdefault("maps", {})
        if mapped not in maps:
            maps[mapped] = mapped.opened()
        return maps[mapped]


def packed(plan: Plan) -> tuple[bytes, list[memoryview]]:
    """The plan without its arrays, and the memory of these."""
    buffers: list[pickle.PickleBuffer] = []
    header = io.BytesIO()
    _Pickler(header, 5, buffer_callback=buffers.append).dump(plan)
    return header.getvalue(), [buffer.raw() for buffer in buffers]


@dataclass(frozen=True)
class Sent:
    """A plan that an engine brings into the memory of each worker."""

    header: bytes
    buffers: list[Array]

    @classmethod
    def of(cls, plan: Plan) -> Self:
        header, buffers = packed(plan)
        return cls(header, [np.frombuffer(buffer, np.uint8) for buffer in buffers])

    def plan(self) -> Plan:
        found: Plan = _Unpickler(io.BytesIO(self.header), buffers=self.buffers).load()
        return found

    def is_wanted(self) -> bool:
        """Whether the task that asks, of Dask, has not been cancelled."""
        from distributed import get_worker

        worker = get_worker()
        task = worker.state.tasks.get(worker.get_current_task())
        return task is not None and task.state != "cancelled"


@dataclass(frozen=True)
class Filed:
    """A plan whose arrays are in a file, from `start` to `stop` each, that each worker maps.

    The file is there as long as anybody waits for what becomes of the plan.
    """

    header: bytes
    file: str
    spans: list[tuple[int, int]]

    @classmethod
    def of(cls, plan: Plan, folder: str) -> Self:
        """Written to a file in this folder.

        Raises:
            OSError: it cannot be written.
        """
        header, buffers = packed(plan)
        path, spans = Path(folder) / "rows", []
        try:
            with path.open("wb") as file:
                spans = [_written(file, buffer) for buffer in buffers]
        except OSError as error:
            size = sum(buffer.nbytes for buffer in buffers)
            raise OSError(
                f"{size} bytes for the workers cannot be written to {folder} ({error.strerror}): "
                "set TMPDIR to a folder with room, or give X as the path of a .npy file"
            ) from error
        return cls(header, str(path), spans)

    def plan(self) -> Plan:
        """Mapped from the file.

        Raises:
            OSError: it cannot be read here.
        """
        whole = _mapped(Path(self.file))
        buffers = [whole[start:stop] for start, stop in self.spans]
        found: Plan = _Unpickler(io.BytesIO(self.header), buffers=buffers).load()
        return found

    def is_wanted(self) -> bool:
        return Path(self.file).exists()


def _written(file: BinaryIO, buffer: memoryview) -> tuple[int, int]:
    """From where to where it is in the file."""
    file.write(bytes(-file.tell() % ALIGNED))
    start = file.tell()
    file.write(buffer)
    return start, file.tell()


def _mapped(path: Path) -> Any:
    """All bytes of a file."""
    try:
        return np.memmap(path, np.uint8, "r")
    except OSError as error:
        raise OSError(
            f"a worker on {platform.node()} cannot read {path} ({error.strerror}): the rows must "
            "be where all workers can read them; set TMPDIR to such a folder, or give X as the "
            "path of a .npy file in one"
        ) from error

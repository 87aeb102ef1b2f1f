"""The only reader of .npy and .npz files, which may come from anyone.

Nothing is trusted before it is checked: what a header claims is compared with what is stored, and
with the limits, before memory is allocated. NumPy's own reader, and so pickle, is never called.
"""

import ast
import io
import math
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

Array = np.ndarray[Any, Any]
PathLike = str | os.PathLike[str]

MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 10_000  # bytes; NumPy's own limit
MOST_MEMBERS = 1_000
KINDS = "?bBiufcUS"  # np.dtype.kind of what is read: no objects, no records
UNSUSPECTED = 64 << 20  # bytes; the ratio of files that unpack to less is not checked
RATIO, MEMORY = "SOFTSTEP_MAX_RATIO", "SOFTSTEP_MAX_MEMORY"
NO_WAIT = getattr(os, "O_NONBLOCK", 0)


class DataError(ValueError):
    """A file that is not in the expected format; the message names it and says what is wrong."""


@dataclass(frozen=True)
class Limits:
    """How far a compressed file may expand.

    ratio: bytes unpacked per byte stored. memory: bytes unpacked, in total.
    """

    ratio: float = 100.0
    memory: float = math.inf

    @classmethod
    def of_environment(cls) -> "Limits":
        """The defaults, or what SOFTSTEP_MAX_RATIO and SOFTSTEP_MAX_MEMORY (bytes) say.

        Raises:
            ValueError: a variable is not a positive number.
        """
        return cls(_positive(RATIO, cls.ratio), _positive(MEMORY, _installed_memory()))

    def check(self, path: PathLike, unpacked: int, stored: int) -> None:
        """Raise DataError if a file unpacks to more than the limits allow.

        unpacked, stored: sizes in bytes.
        """
        if unpacked > self.memory:
            raise DataError(
                f"{path}: unpacks to {_size(unpacked)}, above the limit of {_size(self.memory)}; "
                f"{MEMORY} raises it"
            )
        if unpacked > UNSUSPECTED and unpacked > self.ratio * stored:
            raise DataError(
                f"{path}: unpacks to {_size(unpacked)}, {unpacked / max(stored, 1):,.0f} times "
                f"what is stored, above the limit of {self.ratio:g}; {RATIO} raises it"
            )


def _positive(variable: str, default: float) -> float:
    given = os.environ.get(variable)
    if not given:
        return default
    try:
        value = float(given)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise ValueError(f"{variable} must be a number above 0, not {given!r}")
    return value


def _installed_memory() -> float:
    """The memory of this machine in bytes; infinite where the system does not say."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return math.inf


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


@contextmanager
def opened(path: PathLike) -> Iterator[io.BufferedReader]:
    """Open a regular file for reading bytes.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it cannot be read.
        DataError: it is a folder, a pipe or a device, whose end may never come.
    """
    with _at_once(path) as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            what = "a pipe" if stat.S_ISFIFO(mode) else "a device"
            raise DataError(f"{path}: {what}, not a file")
        yield file


def _at_once(path: PathLike) -> io.BufferedReader:
    """Opens a pipe that nobody writes to as well: what a file is, is asked when it is open, for
    before that another may take its place."""
    try:
        return open(path, "rb", opener=lambda p, flags: os.open(p, flags | NO_WAIT))
    except IsADirectoryError:
        raise DataError(f"{path}: a folder, not a file") from None


@dataclass(frozen=True)
class Header:
    """The header of a .npy file: the array's dtype and layout, and the offset of its data."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran_order: bool
    end: int

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def check(self, name: str, stored: int) -> None:
        """Check that `stored`, the number of bytes after the header, is what it says.

        Raises:
            DataError: it is not.
        """
        if stored != self.nbytes:
            raise DataError(
                f"{name}: its header, shape {self.shape} of {self.dtype}, says {self.nbytes} "
                f"bytes, but {stored} are stored"
            )


def read_header(file: IO[bytes], name: str) -> Header:
    """The header of a .npy at the beginning of `file`.

    Raises:
        DataError: there is none, or it describes objects, records or an impossible shape.
    """
    start = file.read(8)
    if len(start) < 8 or start[:6] != MAGIC:
        raise DataError(f"{name}: not a .npy array")
    version = start[6]
    if version not in (1, 2, 3):
        raise DataError(f"{name}: .npy format {version}.{start[7]} is not known")
    length_bytes, form = (2, "<H") if version == 1 else (4, "<I")
    packed = file.read(length_bytes)
    if len(packed) < length_bytes:
        raise DataError(f"{name}: cut off in its header")
    (length,) = struct.unpack(form, packed)
    if length > LONGEST_HEADER:
        raise DataError(f"{name}: its header has {length} bytes, more than {LONGEST_HEADER}")
    text = file.read(length)
    if len(text) < length:
        raise DataError(f"{name}: cut off in its header")
    dtype, shape, fortran_order = _described(text.decode("latin-1"), name)
    return Header(dtype, shape, fortran_order, 8 + length_bytes + length)


def _described(text: str, name: str) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    try:
        about = ast.literal_eval(text.strip())
        descr, order, shape = (about[key] for key in ("descr", "fortran_order", "shape"))
        dtype = np.dtype(descr) if isinstance(descr, str) else None
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError) as error:
        raise DataError(f"{name}: its header is damaged") from error
    if descr in ("|V2", "<V2"):
        raise DataError(
            f"{name}: cannot be read: it holds {descr}, as np.save leaves of bfloat16: "
            "save it as .safetensors or .pt, or X.astype('float32')"
        )
    if dtype is None or dtype.hasobject or dtype.kind not in KINDS or not dtype.itemsize:
        raise DataError(
            f"{name}: cannot be read: it holds objects, records or nothing ({str(descr)[:40]}), "
            "not plain numbers or text"
        )
    is_shape = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
    # Also of an array without elements NumPy multiplies the other lengths.
    most = math.prod(max(n, 1) for n in shape) * dtype.itemsize if is_shape else 0
    if not is_shape or len(shape) > 8 or most >= 2**63:
        raise DataError(f"{name}: {str(shape)[:80]} is not a valid shape")
    if not isinstance(order, bool):
        raise DataError(f"{name}: its header is damaged")
    return dtype, shape, order


def map_npy(path: PathLike) -> Array:
    """The array of a .npy file, memory-mapped read-only.

    Raises:
        FileNotFoundError, OSError: as `opened`.
        DataError: it is not a .npy file, or its size differs from what its header says.
    """
    with opened(path) as file:
        header = read_header(file, str(path))
        header.check(str(path), os.fstat(file.fileno()).st_size - header.end)
        order: Any = "F" if header.fortran_order else "C"
        if header.nbytes == 0:
            return np.empty(header.shape, header.dtype, order)
        return np.memmap(
            file, header.dtype, mode="r", offset=header.end, shape=header.shape, order=order
        )


def read_npz(
    path: PathLike, limits: Limits | None = None, only: Collection[str] | None = None
) -> dict[str, Array]:
    """The arrays of an .npz file by name, or of those names alone.

    Raises:
        FileNotFoundError, OSError: as `opened`.
        DataError: it is not an .npz file, is damaged, encrypted or compressed in an unknown way, or
            exceeds the limits (None: those of the environment).
    """
    limits = limits if limits is not None else Limits.of_environment()
    with opened(path) as file:
        stored = os.fstat(file.fileno()).st_size
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                _check_members(path, members)
                limits.check(path, sum(m.file_size for m in members), stored)
                named = {m.filename.removesuffix(".npy"): m for m in members}
                names = [name for name in named if only is None or name in only]
                return {name: _member(path, archive, named[name]) for name in names}
        except DataError:
            raise
        except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, OSError) as error:
            raise DataError(f"{path}: not an .npz file, or a damaged one: {error}") from error
        except (NotImplementedError, RuntimeError, ValueError, UnicodeError) as error:
            raise DataError(f"{path}: cannot be unpacked: {error}") from error


def _check_members(path: PathLike, members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MOST_MEMBERS:
        raise DataError(f"{path}: holds {len(members)} members, more than {MOST_MEMBERS}")
    names = set()
    for member in members:
        name = member.filename
        if not name.endswith(".npy"):
            raise DataError(f"{path}: {name!r} is not an array")
        if name in names:
            raise DataError(f"{path}: holds {name!r} twice")
        if member.flag_bits & 1:
            raise DataError(f"{path}: {name!r} is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{path}: {name!r} is packed in a way that .npz files are not")
        names.add(name)


def _member(path: PathLike, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Array:
    name = f"{path}: {member.filename}"
    with archive.open(member) as file:
        header = read_header(file, name)
        header.check(name, member.file_size - header.end)
        values, at = np.empty(header.nbytes, np.uint8), 0
        while at < header.nbytes:
            chunk = file.read(min(1 << 20, header.nbytes - at))
            if not chunk:
                raise DataError(f"{name}: cut off after {at} of {header.nbytes} bytes")
            values[at : at + len(chunk)] = np.frombuffer(chunk, np.uint8)
            at += len(chunk)
        file.read(1)  # at the end the checksum is compared
    if header.nbytes == 0:
        return np.empty(header.shape, header.dtype)
    order: Any = "F" if header.fortran_order else "C"
    return values.view(header.dtype).reshape(header.shape, order=order)

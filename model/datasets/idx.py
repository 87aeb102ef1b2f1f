"""IDX, the file format of MNIST: a magic number, the sizes, the bytes (all big-endian).

Only unsigned bytes are read (type 0x08), plain or gzip. The magic number is 0x0800 plus the number
of dimensions: 2049 for labels, 2051 for images. Source: the MNIST page of LeCun, Cortes and Burges.
"""

import gzip
import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from softstep.model.archive import DataError, Limits, opened

Array = np.ndarray[Any, Any]

GZIP = b"\x1f\x8b"
LONGEST_HEADER = 16  # bytes: the magic number and three sizes
UNKNOWN = 1 << 20  # bytes that are unpacked of what is no IDX file

_DIMENSIONS = {"labels": 1, "images": 3}


def read_images(path: Path) -> Array:
    """Images, (n, rows, columns) uint8. DataError names the file."""
    return _read(path, parse_images)


def read_labels(path: Path) -> Array:
    """Labels, (n,) int64. DataError names the file."""
    return _read(path, parse_labels)


def parse_images(content: bytes) -> Array:
    """Images, (n, rows, columns) uint8, from the bytes of an IDX file."""
    return _parse(content, "images")


def parse_labels(content: bytes) -> Array:
    """Labels, (n,) int64, from the bytes of an IDX file."""
    return _parse(content, "labels").astype(np.int64)


def uncompressed(file: IO[bytes], most: int | None = None) -> bytes:
    """What a file holds, unpacked if it is gzip (told by content, not by name).

    most: how many bytes that may be; None: as many as the sizes in its own header say. A byte more
    is given of what holds more.

    Raises:
        DataError: its gzip data are damaged or cut off, or hold more.
    """
    start = file.read(LONGEST_HEADER)
    stored = file.seek(0, os.SEEK_END)
    file.seek(0)
    if not start.startswith(GZIP):
        return file.read(min(stored, (_size(start) if most is None else most) + 1))
    try:
        if most is None:
            most = _size(_unpacked(file, LONGEST_HEADER))
            Limits.of_environment().check("what it holds", most, stored)
        found = _unpacked(file, most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"its gzip data are damaged or cut off ({error})") from error
    if len(found) > most:
        raise DataError(f"its gzip data hold more than the {most:,} bytes expected")
    return found


def _unpacked(file: IO[bytes], most: int) -> bytes:
    """At most so many bytes of what gzip data hold."""
    file.seek(0)
    with gzip.GzipFile(fileobj=file) as unpacking:
        return unpacking.read(most)


def _size(start: bytes) -> int:
    """How many bytes an IDX file has, by its header; enough to see that it is none."""
    ndim = int.from_bytes(start[:4], "big") - 0x800
    if ndim not in _DIMENSIONS.values() or len(start) < 4 + 4 * ndim:
        return UNKNOWN
    shape = np.frombuffer(start, ">u4", count=min(ndim, len(start) // 4 - 1), offset=4).tolist()
    return 4 + 4 * ndim + int(math.prod(shape))


def _read(path: Path, parse: Callable[[bytes], Array]) -> Array:
    try:
        with opened(path) as file:
            return parse(uncompressed(file))
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _parse(content: bytes, kind: str) -> Array:
    ndim = _DIMENSIONS[kind]
    magic, found = 0x800 + ndim, int.from_bytes(content[:4], "big")
    header = 4 + 4 * ndim
    if len(content) >= 4 and found != magic:
        raise DataError(f"not an IDX file of {kind}: its magic number is {found}, not {magic}")
    if len(content) < header:
        raise DataError(f"truncated: {len(content)} bytes, where the header alone takes {header}")
    shape = np.frombuffer(content, ">u4", count=ndim, offset=4).tolist()
    size = header + math.prod(shape)
    if len(content) != size:
        fault = f"truncated: {len(content)}" if len(content) < size else f"too long: over {size}"
        raise DataError(f"{fault} bytes; its header, sizes {shape}, says {size}")
    # A copy, because a view of `bytes` would be read-only.
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()

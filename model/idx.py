"""IDX, the file format of MNIST: a magic number, the sizes, the bytes (all big-endian).

Only unsigned bytes are read (type 0x08), plain or gzip. The magic number is 0x0800 plus the number
of dimensions: 2049 for labels, 2051 for images. Source: the MNIST page of LeCun, Cortes and Burges.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_DIMENSIONS = {"labels": 1, "images": 3}


def read_images(path: Path) -> Array:
    """Images, (n, rows, columns) uint8. ValueError names the file."""
    return _read(path, parse_images)


def read_labels(path: Path) -> Array:
    """Labels, (n,) int64. ValueError names the file."""
    return _read(path, parse_labels)


def parse_images(content: bytes) -> Array:
    """Images, (n, rows, columns) uint8, from the bytes of an IDX file."""
    return _parse(content, "images")


def parse_labels(content: bytes) -> Array:
    """Labels, (n,) int64, from the bytes of an IDX file."""
    return _parse(content, "labels").astype(np.int64)


def uncompressed(content: bytes) -> bytes:
    """The bytes themselves, or what they hold when they are gzip (told by content, not by name)."""
    import gzip
    import zlib

    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"its gzip data are damaged or cut off ({error})") from error


def _read(path: Path, parse: Callable[[bytes], Array]) -> Array:
    try:
        return parse(uncompressed(path.read_bytes()))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _parse(content: bytes, kind: str) -> Array:
    ndim = _DIMENSIONS[kind]
    magic, found = 0x800 + ndim, int.from_bytes(content[:4], "big")
    header = 4 + 4 * ndim
    if len(content) >= 4 and found != magic:
        raise ValueError(f"not an IDX file of {kind}: its magic number is {found}, not {magic}")
    if len(content) < header:
        raise ValueError(f"truncated: {len(content)} bytes, where the header alone takes {header}")
    shape = np.frombuffer(content, ">u4", count=ndim, offset=4).tolist()
    size = header + math.prod(shape)
    if len(content) != size:
        fault = "truncated" if len(content) < size else "too long"
        raise ValueError(f"{fault}: {len(content)} bytes; its header, sizes {shape}, says {size}")
    # A copy, because a view of `bytes` would be read-only.
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()

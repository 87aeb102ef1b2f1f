"""`-`: a file that comes through standard input, whose kind its first bytes tell."""

import contextlib
import io
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from softstep.model.archive import Array, DataError, Limits
from softstep.model.datasets.idx import GZIP

DASH, NAME = "-", "stdin"
BLOCK = 1 << 20
KINDS = (
    (b"\x93NUMPY", ".npy"),
    (b"PAR1", ".parquet"),
    (b"ARROW1", ".feather"),
    (b"\0\0\x08", "-idx3-ubyte"),
)


@contextlib.contextmanager
def as_file(given: Path) -> Iterator[Path]:
    """The file itself; of `-` a temporary one, named stdin in what is said about it.

    Raises:
        DataError: nothing comes, or more than SOFTSTEP_MAX_MEMORY; and what the block raises.
    """
    if str(given) != DASH:
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        try:
            yield _stored(Path(folder))
        except DataError as error:
            raise DataError(str(error).replace(f"{folder}/", "").replace(folder, "")) from error


def kept(array: Array) -> Array:
    """The array, in memory where its file is about to go."""
    return np.array(array) if isinstance(array, np.memmap) else array


def _stored(folder: Path) -> Path:
    stream: io.BufferedIOBase | None = getattr(sys.stdin, "buffer", None)
    start = stream.read(BLOCK) if stream is not None else b""
    if stream is None or not start:
        raise DataError(f"{NAME}: nothing comes through standard input")
    path = folder / f"{NAME}{_suffix(start)}"
    limit, count = Limits.of_environment().memory, 0
    with path.open("wb") as file:
        while start:
            count += len(start)
            if count > limit:
                raise DataError(f"{NAME}: more than the limit of {limit:,.0f} bytes")
            file.write(start)
            start = stream.read(BLOCK)
    return path


def _suffix(start: bytes) -> str:
    if start.startswith(GZIP):
        with contextlib.suppress(zlib.error):
            start = zlib.decompressobj(31).decompress(start, 16)
        return "-idx3-ubyte.gz" if start.startswith(KINDS[-1][0]) else ".csv.gz"
    if start.startswith(b"PK"):
        return ".pt" if b"data.pkl" in start[:200] else ".npz"
    if start[8:10] == b'{"':
        return ".safetensors"
    return next((suffix for magic, suffix in KINDS if start.startswith(magic)), ".csv")

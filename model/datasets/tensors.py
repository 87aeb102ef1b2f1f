"""The reader of .safetensors files, which may come from anyone.

The library `safetensors` compares what the header claims with what is stored before it reads.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from softstep.kernels.arrays import bfloat16
from softstep.model import archive
from softstep.model.archive import Array, DataError, PathLike
from softstep.model.extras import load

READ = {"BOOL", "U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64", "F16", "F32", "F64", "BF16"}


@dataclass(frozen=True)
class Tensors:
    """An open file. names: of its tensors. metadata: pairs of texts."""

    path: PathLike
    names: list[str]
    metadata: dict[str, str]
    file: Any

    def array(self, name: str) -> Array:
        """The tensor of that name.

        Raises:
            DataError: NumPy has no such type, as float8, or none of bfloat16 without ml_dtypes.
        """
        kind = self.file.get_slice(name).get_dtype()
        if kind not in READ:
            raise DataError(f"{self.path}: {name} holds {kind}: store it as float32")
        if kind == "BF16":
            self._needs_bfloat16(name)
        found: Array = self.file.get_tensor(name)
        return found

    def _needs_bfloat16(self, name: str) -> None:
        """Import what has it: then safetensors reads it. DataError if it is not installed."""
        try:
            bfloat16()
        except TypeError as error:
            raise DataError(f"{self.path}: {name} holds bfloat16: {error}") from error


@contextmanager
def opened(path: PathLike) -> Iterator[Tensors]:
    """The file, as long as the block takes.

    Raises:
        FileNotFoundError, OSError: as `archive.opened`. MissingExtraError: no safetensors.
        DataError: it is not such a file, or damaged.
    """
    library = load("safetensors", extra="safetensors")
    with archive.opened(path):  # an ordinary file
        pass
    try:
        file = library.safe_open(path, framework="np")
    except library.SafetensorError as error:
        raise DataError(f"{path}: not a .safetensors file, or a damaged one: {error}") from error
    with file:
        yield Tensors(path, list(file.keys()), file.metadata() or {}, file)

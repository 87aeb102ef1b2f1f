"""Files of arrays: the names of features and labels, tensors of PyTorch, folders of .npy."""

import os
import re
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from softstep.kernels.arrays import asarray, is_bfloat16
from softstep.model import archive
from softstep.model.archive import Array, DataError, Limits
from softstep.model.datasets import tensors
from softstep.model.extras import load

# Names of features and labels: ours, Keras', those of np.savez(file, X, y).
TRAINING = (("X_train", "y_train"), ("x_train", "y_train"), ("X", "y"), ("arr_0", "arr_1"))
TEST = (("X_test", "y_test"), ("x_test", "y_test"))
PREDICTED = (("X", "y"), *TEST, ("arr_0", "arr_1"))
NAMED = {name for pair in (*TRAINING, *TEST) for name in pair}
BLOCK = 1 << 24  # bytes copied at a time


def read_npy(path: Path) -> dict[str, Array]:
    """The one array of a .npy, memory-mapped."""
    return {"X": archive.map_npy(path)}


def read_safetensors(path: Path) -> dict[str, Array]:
    """The tensors by name."""
    with tensors.opened(path) as file:
        return {name: file.array(name) for name in file.names}


def read_torch(path: Path) -> dict[str, Array]:
    """A tensor, a dict of tensors or a tuple of them, as torch.save writes it; no code is run.

    Raises:
        DataError: anything else, or damaged, or in the form before PyTorch 1.6.
    """
    torch = load("torch", extra="torch")
    with archive.opened(path) as file:
        if not zipfile.is_zipfile(file):
            raise DataError(f"{path}: not a file that torch.save of PyTorch 1.6 or newer wrote")
        stored = os.fstat(file.fileno()).st_size
        try:
            with zipfile.ZipFile(file) as members:
                if any(m.compress_type != zipfile.ZIP_STORED for m in members.infolist()):
                    raise DataError(f"{path}: is packed, which torch.save does not do")
            file.seek(0)
            found = torch.load(file, map_location="cpu", weights_only=True)
        except DataError:
            raise
        except Exception as error:  # of many kinds, by whatever is damaged
            reason = str(error).strip().partition("\n")[0][:200]
            raise DataError(f"{path}: cannot be read as tensors: {reason}") from error
    if isinstance(found, torch.Tensor):
        found = {"X": found}
    elif isinstance(found, list | tuple):
        found = {f"arr_{i}": tensor for i, tensor in enumerate(found)}
    if not isinstance(found, dict) or not all(isinstance(v, torch.Tensor) for v in found.values()):
        raise DataError(f"{path}: must hold a tensor, or a dict or tuple of tensors, alone")
    claimed = sum(tensor.numel() * tensor.element_size() for tensor in found.values())
    Limits.of_environment().check(path, claimed, stored)
    return {str(name): _array(path, str(name), tensor) for name, tensor in found.items()}


def _array(path: Path, name: str, tensor: Any) -> Array:
    try:
        values = tensor.detach()
        found: Array = asarray(values, name) if is_bfloat16(values) else values.numpy()
    except (TypeError, RuntimeError) as error:
        why = error if is_bfloat16(tensor) else "store it as float32"
        raise DataError(f"{path}: {name} holds {tensor.dtype}: {why}") from error
    return found


def read_folder(path: Path) -> dict[str, Array]:
    """The rows of all .npy of a folder, in the order of their names (2 before 10), as one array.

    Its name tells of how many files it is, and of the first and the last.

    They are joined in a temporary file, which is memory-mapped, so that they need not fit into
    memory; TMPDIR says on which disk.

    Raises:
        DataError: there is none, or they differ in dtype or width.
    """
    files = sorted(path.glob("*.npy"), key=_natural)
    if not files:
        raise DataError(f"{path}: a folder without .npy files")
    shards = [archive.map_npy(file) for file in files]
    first = shards[0]
    for file, shard in zip(files, shards, strict=True):
        if shard.dtype != first.dtype or shard.shape[1:] != first.shape[1:] or not shard.ndim:
            raise DataError(
                f"{file}: {shard.dtype} of shape {shard.shape} does not go on from "
                f"{files[0].name}, {first.dtype} of shape {first.shape}"
            )
    shape = (sum(map(len, shards)), *first.shape[1:])
    if len(shards) == 1 or 0 in shape:
        return {"X": first}
    name = f"{len(files)} files, {files[0].name} to {files[-1].name}"
    with tempfile.TemporaryFile() as joined:
        for shard in shards:
            step = max(1, BLOCK * len(shard) // max(shard.nbytes, 1))
            for start in range(0, len(shard), step):
                joined.write(np.ascontiguousarray(shard[start : start + step]).data)
        joined.flush()
        return {name: np.memmap(joined, first.dtype, mode="r", shape=shape)}


def _natural(path: Path) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]

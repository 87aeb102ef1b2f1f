"""Models, surfaces and lines on disk: one .npz of arrays and, as JSON, settings; no pickles."""

import contextlib
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from softstep.model import archive
from softstep.model.archive import Array, DataError, PathLike

FORMAT = "softstep model 2"
SETTINGS = "softstep"  # the name of the member that holds them
LONGEST_SETTINGS = 1 << 24  # characters
DEEPEST = 20  # levels of objects and lists in settings


class CheckpointError(DataError):
    """A file that softstep did not save, or that is damaged."""


def target(path: PathLike) -> Path:
    """The file that `path` stands for, links resolved; ValueError if it is not a regular file."""
    resolved = Path(path).resolve()
    if resolved.exists() and not resolved.is_file():
        raise ValueError(f"{path} is not an ordinary file: nothing can be saved there")
    return resolved


@contextlib.contextmanager
def atomic_write(path: PathLike) -> Iterator[IO[bytes]]:
    """Open a binary file that replaces `path` on success and leaves `path` as it was on failure.

    It is synced to disk before it gets its name, and has the permissions of the file it replaces.
    """
    path = target(path)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")  # two may save at once
    try:
        with _created(partial, path) as file:
            if path.exists():
                partial.chmod(path.stat().st_mode & 0o7777)
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def _created(partial: Path, path: Path) -> IO[bytes]:
    """The new file `partial`; an error names `path`, which it is to become."""
    try:
        return partial.open("xb")
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None


def _sync_folder(folder: Path) -> None:
    """Sync the folder's entries to disk, where the system allows opening a folder."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def save(
    path: PathLike, arrays: dict[str, Array], settings: dict[str, Any], kind: str = FORMAT
) -> None:
    """Write `arrays` and `settings` (anything JSON holds) to `path`, whole or not at all."""
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"{name} holds Python objects, which cannot be saved")
    about = {"format": kind, "sha256": {n: _digest(a) for n, a in arrays.items()}, **settings}
    members: dict[str, Any] = {SETTINGS: np.array(json.dumps(about, allow_nan=False)), **arrays}
    with atomic_write(path) as file:
        np.savez(file, **members)


def load(path: PathLike, kind: str = FORMAT) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays and the settings that `save` wrote as this kind.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file was not saved by softstep, is of another format, or damaged.
    """
    arrays, settings = _read(path, kind.split()[1])
    if settings.pop("format", None) != kind:
        raise CheckpointError(f"{path} was written in another format than {kind!r}")
    digests = settings.pop("sha256", None)
    if digests != {name: _digest(array) for name, array in arrays.items()}:
        raise CheckpointError(f"{path} is damaged: its arrays are not those that were saved")
    return arrays, settings


def kind_of(path: PathLike) -> Any:
    """As what kind `save` wrote a file; its arrays are not compared with their digests.

    Raises:
        As `load`.
    """
    return _read(path, "file")[1].get("format")


def _read(path: PathLike, what: str) -> tuple[dict[str, Array], dict[str, Any]]:
    try:
        arrays = archive.read_npz(path)
        return arrays, _settings(arrays.pop(SETTINGS, None))
    except DataError as error:
        raise CheckpointError(
            f"{path} is not a {what} saved by softstep, or damaged ({error})"
        ) from error


def _digest(array: Array) -> str:
    """SHA-256 of an array's dtype, shape and values, row by row."""
    form = f"{array.dtype.str} {array.shape} ".encode()
    return hashlib.sha256(form + np.ascontiguousarray(array).tobytes()).hexdigest()


def _settings(member: Array | None) -> dict[str, Any]:
    """The settings, decoded.

    Raises:
        DataError: it is missing, or not a JSON object.
    """
    if member is None or member.dtype.kind != "U" or member.shape != ():
        raise DataError("it has no settings")
    return settings_of(str(member))


def settings_of(text: str) -> dict[str, Any]:
    """The settings that a text of JSON holds, which may come from anyone.

    Raises:
        DataError: it is too long, or not a JSON object.
    """
    if len(text) > LONGEST_SETTINGS:
        raise DataError("its settings are too long")
    try:
        found = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DataError("its settings are not valid JSON") from error
    if not isinstance(found, dict):
        raise DataError("its settings are not a JSON object")
    if is_deeper(found, DEEPEST):
        raise DataError("its settings are nested too deep")
    return found


def is_deeper(value: Any, most: int) -> bool:
    """Whether a JSON value is nested more than `most` levels deep."""
    if not isinstance(value, dict | list):
        return False
    within = value.values() if isinstance(value, dict) else value
    return most == 0 or any(is_deeper(part, most - 1) for part in within)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not finite")

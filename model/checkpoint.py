"""Models, surfaces and lines on disk: one .npz of arrays and, as JSON, settings; no pickles."""

import hashlib
import json
import math
from typing import Any

import numpy as np

from softstep.model import archive
from softstep.model.archive import Array, DataError, PathLike
from softstep.model.writing import atomic_write

FORMAT = "softstep model 2"
SETTINGS = "softstep"  # the name of the member that holds them
LONGEST_JSON = 1 << 24  # characters
DEEPEST = 20  # levels of objects and lists in JSON


class CheckpointError(DataError):
    """A file that softstep did not save, or that is damaged."""


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
    named = isinstance(digests, dict) and digests.keys() == arrays.keys()  # before all are hashed
    if not named or any(digests[name] != _digest(array) for name, array in arrays.items()):
        raise CheckpointError(f"{path} is damaged: its arrays are not those that were saved")
    return arrays, settings


def kind_of(path: PathLike) -> Any:
    """As what kind `save` wrote a file; its arrays are not read.

    Raises:
        As `load`.
    """
    return _read(path, "file", only=(SETTINGS,))[1].get("format")


def _read(
    path: PathLike, what: str, only: tuple[str, ...] | None = None
) -> tuple[dict[str, Array], dict[str, Any]]:
    try:
        arrays = archive.read_npz(path, only=only)
        return arrays, _settings(arrays.pop(SETTINGS, None))
    except DataError as error:
        raise CheckpointError(
            f"{path} is not a {what} saved by softstep, or damaged ({error})"
        ) from error


def _digest(array: Array) -> str:
    """SHA-256 of an array's dtype, shape and values, row by row."""
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape} ".encode())
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)  # no copy of it
    return digest.hexdigest()


def _settings(member: Array | None) -> dict[str, Any]:
    """The settings, decoded.

    Raises:
        DataError: it is missing, or not a JSON object.
    """
    if member is None or member.dtype.kind != "U" or member.shape != ():
        raise DataError("it has no settings")
    return json_object(str(member), "its settings")


def json_object(text: str, what: str) -> dict[str, Any]:
    """The object that a text of JSON holds, which may come from anyone; `what` it is, in errors.

    Raises:
        DataError: it is too long, nested too deep, not JSON, or no object; a number is not finite.
    """
    if len(text) > LONGEST_JSON:
        raise DataError(f"{what}: too long, over {LONGEST_JSON:,} characters")
    try:
        found = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{what}: no valid JSON ({str(error)[:80]})") from error
    if not isinstance(found, dict):
        raise DataError(f"{what}: not a JSON object")
    if _is_deeper(found, DEEPEST):
        raise DataError(f"{what}: nested too deep")
    return found


def _is_deeper(value: Any, most: int) -> bool:
    """Whether a JSON value is nested more than `most` levels deep."""
    if not isinstance(value, dict | list):
        return False
    within = value.values() if isinstance(value, dict) else value
    return most == 0 or any(_is_deeper(part, most - 1) for part in within)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not finite")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"{digits} is not finite")
    return number

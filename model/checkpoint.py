"""Models, surfaces, lines on disk: one .npz of arrays and, as JSON, settings; no pickles."""

import contextlib
import json
import uuid
from pathlib import Path

import numpy as np

FORMAT = "softstep model 1"


class CheckpointError(ValueError):
    """A file that is not what softstep saved as such, or is damaged."""


def target(path):
    """Where `save` writes for `path`: what it links to; ValueError if that is no ordinary file."""
    resolved = Path(path).resolve()
    if resolved.exists() and not resolved.is_file():
        raise ValueError(f"{path} is not an ordinary file: nothing can be saved there")
    return resolved


@contextlib.contextmanager
def whole(path):
    """A file of bytes that takes the place of `path` when it is done, and leaves it if it fails."""
    path = target(path)
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")  # two may save at once
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def save(path, arrays, settings, kind=FORMAT):
    """Write `arrays` and `settings` (anything JSON holds) to `path`, whole or not at all."""
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"{name} holds Python objects, which cannot be saved")
    with whole(path) as file:
        np.savez(file, softstep=np.array(json.dumps({"format": kind, **settings})), **arrays)


def load(path, kind=FORMAT):
    """The arrays and the settings that `save` wrote as this kind.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is none of softstep, or one of another format.
    """
    try:
        # NumPy leaves open what it opened itself and finds cut off.
        with Path(path).open("rb") as source, np.load(source, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        settings = json.loads(str(arrays.pop("softstep")))
        if settings.pop("format") != kind:
            raise CheckpointError(f"{path} was written in another format than {kind!r}")
        return arrays, settings
    except FileNotFoundError:
        raise
    except CheckpointError:
        raise
    except Exception as error:
        what = kind.split()[1]
        raise CheckpointError(f"{path} is not a {what} saved by softstep, or damaged") from error

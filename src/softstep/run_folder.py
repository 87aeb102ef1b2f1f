"""The folder a command writes its results to: tried before the work, its files written whole."""

import contextlib
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def ready(folder: Path) -> Iterator[None]:
    """Make `folder` and try to write there, so that what follows is not lost for want of a place.

    What was made goes again where nothing came into it.

    Raises:
        OSError: the folder cannot be made, or not written to.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        yield
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # it is not empty, or was never made
                path.rmdir()


def write(path: Path, text: str) -> None:
    """Write `path`, whole or not at all."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)

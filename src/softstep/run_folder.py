"""Where a command writes its results: tried before the work, the files written whole."""

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
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file, not a folder")
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


def ready_for(page: Path, *, read: Path | None) -> contextlib.AbstractContextManager[None]:
    """As `ready`, for the folder of the file `page`, while the file `read` is read.

    Raises:
        ValueError: the page is a folder, or that file. OSError: as `ready`.
    """
    if page.is_dir():
        raise ValueError(f"{page} is a folder: name a file in it")
    if read is not None and page.resolve() == read.resolve():
        raise ValueError(f"{page} is what is to be read: name another file to be written")
    return ready(page.parent)


def write(path: Path, text: str) -> None:
    """Write `path`, whole or not at all; names of files that are no Unicode stay as they are."""
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with partial.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(text)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)

"""Where a command writes its results: tried before the work, the files written whole."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from softstep.model import checkpoint


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


def ready_for(page: Path) -> contextlib.AbstractContextManager[None]:
    """As `ready`, for the folder of a page.

    Raises:
        ValueError: it is a folder, or a file that is no page. OSError: as `ready`.
    """
    if page.is_dir():
        raise ValueError(f"{page} is a folder: name a file in it")
    if page.exists() and page.suffix not in (".html", ".htm"):
        raise ValueError(f"{page} is there, and no .html file: name another one")
    return ready(page.parent)


def write(path: Path, text: str) -> None:
    """Write `path`, whole or not at all; names of files that are no Unicode stay as they are."""
    with checkpoint.whole(path) as file:
        file.write(text.encode("utf-8", "surrogateescape"))

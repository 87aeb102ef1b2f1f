"""Where a command writes its results: tested before the work, each file whole or not at all."""

import contextlib
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from softstep.model import checkpoint, datasets, writing
from softstep.model.resume import lock

LOCK = lock.Lock(".run.lock", "another softstep command writes its results there")


@contextlib.contextmanager
def ready(folder: Path) -> Iterator[None]:
    """Create `folder` and try to write there, so that no work is lost for want of a place.

    Folders that were created and stay empty are removed again.

    Raises:
        OSError: the folder cannot be created or written to.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file, not a folder")
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        writing.make_folder(folder)
        with tempfile.TemporaryFile(dir=folder):
            pass
        yield
    finally:
        for path in made:
            with contextlib.suppress(OSError):  # it is not empty, or was never created
                path.rmdir()


@contextlib.contextmanager
def of_run(folder: Path) -> Iterator[None]:
    """As `ready`, for a folder whose files are one run's: nobody else's run writes there meanwhile.

    Raises:
        BlockingIOError: one does. OSError: as `ready`.
    """
    with ready(folder), lock.held(folder, LOCK):
        yield


@contextlib.contextmanager
def ready_for_file(path: Path) -> Iterator[None]:
    """As `ready`, for the folder of a file that is written whole, under another name at first.

    Raises:
        ValueError: it is not an ordinary file. OSError: as `ready`, or the name is too long.
    """
    path = writing.target(path)
    with ready(path.parent):
        writing.try_name(path)
        yield


def refuse_own_input(outputs: Iterable[Path], given: Iterable[str | None]) -> None:
    """Raise ValueError if a command would overwrite a file that it was given to read."""
    names = [name for name in given if name is not None and name not in datasets.NAMED]
    sources = [file for name in names for file in _files_of(Path(name))]
    for path in outputs:
        for source in sources:
            if path.exists() and source.exists() and path.samefile(source):
                raise ValueError(f"{path} is what was given to read: write somewhere else")


def _files_of(given: Path) -> Iterable[Path]:
    """The files that are read of what was given: of a folder those in it."""
    return given.iterdir() if given.is_dir() else (given,)


def save_at(path: Path, save: Callable[[Path], Any]) -> None:
    """Call `save` with the path, or, if that fails, with one in a new temporary folder.

    Raises:
        OSError: it failed; the text says where the work is, so that it is not lost.
    """
    try:
        save(path)
    except OSError as error:
        spare = Path(tempfile.mkdtemp(prefix="softstep-")) / path.name
        save(spare)
        reason = error.strerror or error
        raise OSError(f"{path}: {reason}; it was saved to {spare} instead") from error


def refuse_what_is_no_model(path: Path) -> None:
    """Raise ValueError if a model would overwrite something else."""
    if path.is_file() and path.stat().st_size and not is_model(path):
        raise ValueError(f"{path} exists and is no model that softstep saved: write somewhere else")


def is_model(path: Path) -> bool:
    """Whether there is a file of that name, and softstep saved a model in it."""
    try:
        return path.is_file() and str(checkpoint.kind_of(path)).startswith("softstep model ")
    except checkpoint.CheckpointError:
        return False


def ready_for(page: Path) -> contextlib.AbstractContextManager[None]:
    """As `ready`, for the folder of a page.

    Raises:
        ValueError: it is a folder, or a file that is not a page. OSError: as `ready`.
    """
    if page.is_dir():
        raise ValueError(f"{page} is a folder: name a file in it")
    if page.exists() and page.suffix not in (".html", ".htm"):
        raise ValueError(f"{page} exists and is not an .html file: name another one")
    return ready(page.parent)


def write_text(path: Path, text: str) -> None:
    """Write `path`, whole or not at all; file names in it that are not Unicode keep their bytes."""
    with writing.atomic_write(path) as file:
        file.write(text.encode("utf-8", "surrogateescape"))

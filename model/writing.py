"""Files that are written whole or not at all, and are on the disk when they have their name."""

import contextlib
import errno
import glob
import os
import re
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from softstep.model.archive import PathLike

PARTIAL = re.compile(r"[0-9a-f]{32}")  # the end of the name of a file that is being written
LEFT_BEHIND = 86_400  # seconds after which nobody writes it any more: a killed run left it


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
    What a run that was killed left behind of the same file is removed after a day.

    Raises:
        OSError: it cannot be written; it names `path`.
    """
    path = target(path)
    partial = _partial(path)
    try:
        with _named(path, partial), partial.open("xb") as file:
            if path.exists():
                partial.chmod(path.stat().st_mode & 0o7777)
            yield file
            file.flush()
            os.fsync(file.fileno())
        with _named(path, partial):
            partial.replace(path)
            sync_folder(path.parent)
    finally:
        _remove(partial)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        if PARTIAL.fullmatch(left.name.removeprefix(f".{path.name}.")) and _is_old(left):
            _remove(left)


def try_name(path: Path) -> None:
    """Create and remove a file of the name that `path` has while it is written.

    Raises:
        OSError: it cannot be created, such as where the name is too long; it names `path`.
    """
    partial = _partial(path)
    try:
        with _named(path, partial), partial.open("xb"):
            pass
    finally:
        _remove(partial)


def make_folder(folder: Path) -> list[Path]:
    """Create a folder where there is none, and those above it, on disk.

    Returns:
        Those that are new, the innermost first.
    """
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in new:
        sync_folder(path.parent)
    return new


def sync_folder(folder: Path) -> None:
    """Sync the folder's entries to disk, where the system can open and sync a folder."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _named(path: Path, partial: Path) -> Iterator[None]:
    """The system's errors within this block name `path`, not the file that is to become it."""
    try:
        yield
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(partial)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


def _partial(path: Path) -> Path:
    """What a file is called while it is written; two may write it at once."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}")


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime > LEFT_BEHIND
    except OSError:
        return False


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()

"""A folder of checkpoints belongs to one training at a time."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path

NAME = ".lock"
NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # which would lead to a file that is no lock


@contextlib.contextmanager
def held(folder: Path) -> Iterator[Path]:
    """Within this block nobody else holds `folder`, which is given; who dies lets go of it.

    Raises:
        BlockingIOError: someone does. OSError: the lock cannot be written.
    """
    path = folder / NAME
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | NO_LINK, 0o666)
        try:
            _lock(descriptor, folder)
            if _is(path, descriptor):
                break
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder removed it as it was opened: there may be a new one
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):  # Windows removes no file that is open
            path.unlink()
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    """Lock the open file, if its file system can."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
            message = "another training keeps its checkpoints there: wait, or give another folder"
            raise BlockingIOError(errno.EWOULDBLOCK, message, str(folder)) from None
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise


def _is(path: Path, descriptor: int) -> bool:
    """Whether the name still leads to the open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False

"""A folder belongs to one training, or one run, at a time."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from softstep.model.resume.store import tell

NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # which would lead to a file that is no lock


@dataclass(frozen=True)
class Lock:
    """name: of the file that is locked. taken: who holds the folder where somebody does."""

    name: str
    taken: str


CHECKPOINTS = Lock(".lock", "another training keeps its checkpoints there")


@contextlib.contextmanager
def held(folder: Path, lock: Lock = CHECKPOINTS) -> Iterator[Path]:
    """Within this block nobody else holds `folder`, which is given; who dies lets go of it.

    Raises:
        BlockingIOError: someone does. OSError: the lock cannot be written.
    """
    path = folder / lock.name
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | NO_LINK, 0o666)
        try:
            _lock(descriptor, folder, lock)
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


def _lock(descriptor: int, folder: Path, lock: Lock) -> None:
    """Lock the open file; where its file system cannot, say so."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK):
            message = f"{lock.taken}: wait, or give another folder"
            raise BlockingIOError(errno.EWOULDBLOCK, message, str(folder)) from None
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        tell(f"{folder} cannot be locked: make sure that nobody else writes there")


def _is(path: Path, descriptor: int) -> bool:
    """Whether the name still leads to the open file."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False

"""The folder of a run's checkpoints: the last two that are sound."""

import contextlib
import os
import re
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from softstep.model import checkpoint, writing
from softstep.model.archive import Array, PathLike
from softstep.model.checkpoint import CheckpointError

FORMAT = "softstep checkpoint 1"
NAME = "checkpoint-{:06}.npz"
NUMBERED = re.compile(r"checkpoint-(\d{6,})\.npz", re.ASCII)
# What runs left that were killed while they wrote.
LEFT = re.compile(rf"\.{NUMBERED.pattern}\.{writing.PARTIAL.pattern}", re.ASCII)
KEPT = 2


@dataclass(frozen=True)
class Saved:
    """A checkpoint: the state in arrays, and what run it is of, by field."""

    arrays: dict[str, Array]
    about: dict[str, str]

    def seed(self) -> int | None:
        """That of the run; None if it has none."""
        text = self.about.get("seed")
        if isinstance(text, str) and text.isdecimal():
            with contextlib.suppress(ValueError):  # of more digits than Python converts
                return int(text)
        return None


def tell(text: str) -> None:
    """One line to whoever watches. No warning: those may be errors, which would end the run; and no
    error where nobody can watch any more."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:
            print(f"softstep: {text}", file=sys.stderr, flush=True)


def prepared(folder: PathLike) -> Path:
    """The folder for checkpoints, which is created.

    Raises:
        TypeError: `folder` is not a path. OSError: it cannot be written to.
    """
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(f"checkpoint must be a folder, not {folder!r}")
    path = Path(folder)
    refuse_file(path)
    writing.make_folder(path)
    with tempfile.TemporaryFile(dir=path):
        pass
    return path


def refuse_file(folder: Path) -> None:
    """Raise NotADirectoryError if it is a file."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file: checkpoints need a folder")


def files_in(folder: Path) -> list[Path]:
    """The files there that have the name of a checkpoint, the oldest first."""
    return sorted((path for path in folder.iterdir() if _number(path)), key=_number)


def refuse_used(folder: PathLike) -> None:
    """Raise ValueError if a folder holds checkpoints, which a new training would replace."""
    path = Path(folder)
    if path.is_dir() and files_in(path):
        raise ValueError(
            f"{folder} holds a checkpoint already: resume it (resume=True, --resume), or give "
            "another folder"
        )


class Store:
    """The checkpoints in `folder`."""

    def __init__(self, folder: Path):
        self.folder: Path = folder
        self.files: list[Path] = files_in(folder)
        self._last = max(map(_number, self.files), default=0)

    def newest(self) -> Saved | None:
        """The newest checkpoint that is sound, or None if there is none at all.

        Raises:
            CheckpointError: there are some, but none is sound.
        """
        first_error = None
        while self.files:
            try:
                arrays, about = checkpoint.load(self.files[-1], FORMAT)
            except CheckpointError as error:
                tell(f"{error}; looking for an earlier one")
                first_error = first_error or error
                self.files.pop()
            else:
                return Saved(arrays, about)
        if first_error is not None:
            raise first_error
        return None

    def write(self, saved: Saved) -> None:
        """Write a checkpoint, and remove those no longer needed, damaged ones among them.

        Raises:
            OSError: it could not be written; the others are untouched.
        """
        path = self.folder / NAME.format(self._last + 1)
        checkpoint.save(path, saved.arrays, saved.about, FORMAT)
        self._last += 1
        self.files = [*self.files, path][-KEPT:]
        for old in self.folder.iterdir():
            is_old = _number(old) and old not in self.files and _is_checkpoint(old)
            if is_old or LEFT.fullmatch(old.name):
                with contextlib.suppress(OSError):
                    old.unlink()


def _number(path: Path) -> int:
    """That of a checkpoint, by its name; 0 of any other file."""
    found = NUMBERED.fullmatch(path.name)
    return int(found[1]) if found is not None else 0


def _is_checkpoint(path: Path) -> bool:
    """Whether it is one, perhaps with damaged arrays, and not somebody's file of such a name."""
    try:
        return bool(checkpoint.kind_of(path) == FORMAT)
    except (CheckpointError, OSError):
        return False

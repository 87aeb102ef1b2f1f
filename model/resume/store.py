"""The folder of a run's checkpoints: the last two that are sound."""

import contextlib
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from softstep.model import checkpoint
from softstep.model.archive import Array, PathLike
from softstep.model.checkpoint import CheckpointError

FORMAT = "softstep checkpoint 1"
NAME = "checkpoint-{:06}.npz"
PATTERN = "checkpoint-*.npz"
KEPT = 2


@dataclass(frozen=True)
class Saved:
    """A checkpoint: the state in arrays, and what run it is of, by field."""

    arrays: dict[str, Array]
    about: dict[str, str]

    def seed(self) -> int | None:
        """That of the run; None if it has none."""
        text = self.about.get("seed")
        return int(text) if isinstance(text, str) and text.isdecimal() else None


def tell(text: str) -> None:
    """One line to whoever watches. No warning: those may be errors, which would end the run."""
    print(f"softstep: {text}", file=sys.stderr, flush=True)


def prepared(folder: PathLike) -> Path:
    """The folder for checkpoints, which is created.

    Raises:
        TypeError: `folder` is not a path. OSError: it cannot be written to.
    """
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(f"checkpoint must be a folder, not {folder!r}")
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise NotADirectoryError(f"{folder} is a file: checkpoints need a folder")
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path):
        pass
    return path


class Store:
    """The checkpoints in `folder`."""

    def __init__(self, folder: Path):
        self.folder: Path = folder
        self.files: Any = sorted(self.folder.glob(PATTERN))
        self._last = max((_number(path) for path in self.files), default=0)

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
        """Write a checkpoint, and remove those no longer needed, unsound ones among them.

        Raises:
            OSError: it could not be written; the others are untouched.
        """
        path = self.folder / NAME.format(self._last + 1)
        checkpoint.save(path, saved.arrays, saved.about, FORMAT)
        self._last += 1
        self.files = [*self.files, path][-KEPT:]
        left = [f".{PATTERN}.*", PATTERN]  # the first are from runs killed while they wrote
        for old in (path for pattern in left for path in self.folder.glob(pattern)):
            if old not in self.files:
                with contextlib.suppress(OSError):
                    old.unlink()


def _number(path: Path) -> int:
    digits = path.stem.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 0

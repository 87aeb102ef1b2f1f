"""The keeper of a training's state: when to save, what, and where to go on."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from softstep.model import inputs
from softstep.model.archive import Array, PathLike
from softstep.model.checkpoint import CheckpointError
from softstep.model.resume import lock, signals
from softstep.model.resume.origin import Clock
from softstep.model.resume.store import Saved, Store, prepared, tell

# Seconds between two copies of the state: so many at least, and so many for each of its bytes, for
# these are packed for the kernels in each slice of steps, and copied.
SLICE, PER_BYTE = 0.2, 3e-7
GROWTH = 4  # of a slice at most, from one to the next: the first may have compiled kernels
SUMS = "sums."
SHOWN = 300  # characters of a field that differs


class Resumable(Protocol):
    """Something whose state is arrays, by name."""

    def state(self) -> dict[str, Array]:
        """The state as it is now; its arrays may change later."""

    def restore(self, arrays: dict[str, Array]) -> None:
        """Take over what `state` gave. KeyError or ValueError: it is none of these."""


@contextlib.contextmanager
def opened(folder: PathLike | None, every: Any, resume: Any) -> "Iterator[Keeper | None]":
    """The keeper that `fit(checkpoint=folder, checkpoint_every=every, resume=resume)` asks for;
    the folder is its own within this block.

    Raises:
        TypeError, ValueError: an argument is not as described; `folder` holds a checkpoint and is
            not to be resumed. CheckpointError: none of its checkpoints is sound. OSError: it cannot
            be written to, or another training holds it.
    """
    every = inputs.number("checkpoint_every", every, least=0)
    resume = inputs.flag("resume", resume)
    if folder is None:
        if resume:
            raise ValueError("resume needs checkpoint, the folder to resume from")
        yield None
        return
    with lock.held(prepared(folder)) as path:
        yield _keeper(path, every, resume)


def _keeper(folder: Path, every: float, resume: bool) -> "Keeper":
    store = Store(folder)
    if not resume and store.files:
        raise ValueError(
            f"{folder} holds a checkpoint already: resume it (resume=True, --resume), or give "
            "another folder"
        )
    saved = store.newest()
    if resume and saved is None:
        tell(f"{folder} holds no checkpoint yet: training starts from the beginning")
    return Keeper(store, every, saved)


def seed(random_state: Any, keeper: "Keeper | None") -> int:
    """The seed of a run: for None the one of the run that is resumed, or a random one."""
    if random_state is None and keeper is not None and keeper.saved is not None:
        random_state = keeper.saved.seed()
    return int(inputs.seed("random_state", random_state))


def fill(target: Array, arrays: dict[str, Array], name: str) -> None:
    """Overwrite `target` with the array of that name.

    Raises:
        KeyError: there is none. ValueError: it is of another shape or dtype.
    """
    found = arrays[name]
    if (found.shape, found.dtype) != (target.shape, target.dtype):
        raise ValueError(f"{name} is {found.dtype} of shape {found.shape}")
    target[...] = found


class Keeper:
    """Saves the state of what trains: every so often, at a signal and at the end.

    Attributes:
        number: the epoch that trains, or with which to begin. saved: the checkpoint to resume, or
            None. steps_at_once: how many steps to take before asking again. clock: the time the run
            takes, over all its breaks.
    """

    saved: Saved | None
    number: int
    steps_at_once: int

    def __init__(self, store: Store, every: float, saved: Saved | None):
        self.saved, self.number, self.steps_at_once = saved, 0, 1
        self.clock = Clock()
        self._store, self._every = store, every
        self._kept: dict[str, Array] = {}  # the last copy of the state
        self._unsaved = False  # whether it is not on the disk
        self._sums: dict[str, Array] = {}  # those to resume with
        self._failures = 0

    @contextlib.contextmanager
    def keeping(self, owner: Resumable, about: dict[str, str]) -> Iterator[None]:
        """Resume `owner`, if there is something to resume, and keep its state within this block.

        about: what run it is.

        Raises:
            CheckpointError: the checkpoint is of another run, or not of this kind.
        """
        self._owner, self._about = owner, about
        if self.saved is not None:
            self._resume(self.saved)
        size = sum(array.nbytes for array in owner.state().values())
        self._length = max(SLICE, min(PER_BYTE * size, self._every))
        self._copy_due = time.monotonic()
        self._save_due = self._copy_due + self._every
        with signals.caught():
            try:
                yield
            except KeyboardInterrupt:
                self._save()
                raise
            else:
                self._save()
            finally:
                self._say_failures()

    def begin_epoch(self, number: int, sums: Resumable) -> None:
        """The steps of an epoch begin; `sums` is given back what it was if they are resumed."""
        if self._sums:
            sums.restore(self._sums)
            self._sums = {}
        self.number, self._epoch_sums = number, sums

    @contextlib.contextmanager
    def slice(self, steps: int) -> Iterator[None]:
        """Steps are taken within this block: `steps` of them, at most `steps_at_once`.

        Only at its end is the state whole; what comes between, such as judging at the end of an
        epoch, is done again after a break.
        """
        start = time.monotonic()
        yield
        now = time.monotonic()
        fitting = int(self._length * steps / max(now - start, 1e-9))
        self.steps_at_once = max(1, min(GROWTH * self.steps_at_once, fitting))
        if now >= min(self._copy_due, self._save_due):
            self._kept = {name: array.copy() for name, array in self._state().items()}
            self._unsaved, self._copy_due = True, now + self._length
        if now >= self._save_due:
            self._save()

    def _resume(self, saved: Saved) -> None:
        folder = self._store.folder
        for field in (*self._about, *saved.about):
            then, now = (about.get(field, "not given") for about in (saved.about, self._about))
            if then != now:
                raise CheckpointError(
                    f"{folder} holds the checkpoint of another run: its {field[:SHOWN]} was "
                    f"{str(then)[:SHOWN]}, but is {now[:SHOWN]} now"
                )
        try:
            self.number = int(saved.arrays["epoch"])
            self.clock.before = inputs.number("seconds", saved.arrays["seconds"].item(), least=0)
            self._owner.restore(saved.arrays)
            prefixed = ((n, a) for n, a in saved.arrays.items() if n.startswith(SUMS))
            self._sums = {name.removeprefix(SUMS): array for name, array in prefixed}
        except (KeyError, ValueError, TypeError, IndexError) as error:
            raise CheckpointError(f"{folder} holds no checkpoint of this kind: {error}") from error

    def _state(self) -> dict[str, Array]:
        sums = {f"{SUMS}{name}": array for name, array in self._epoch_sums.state().items()}
        place = {"epoch": np.array(self.number), "seconds": np.array(self.clock.seconds())}
        return place | sums | self._owner.state()

    def _save(self) -> None:
        """Write the last copy, unless it is written. If that fails, say so, once, and go on."""
        if not self._unsaved:
            return
        try:
            self._store.write(Saved(self._kept, self._about))
            self._unsaved = False
        except OSError as error:
            if not self._failures:
                tell(f"no checkpoint could be written ({error}): training goes on without")
            self._failures += 1
        self._save_due = time.monotonic() + self._every

    def _say_failures(self) -> None:
        if self._failures:
            newest = self._store.files[-1].name if self._store.files else "none"
            tell(
                f"{self._failures} times no checkpoint could be written to {self._store.folder}; "
                f"the newest there: {newest}"
            )

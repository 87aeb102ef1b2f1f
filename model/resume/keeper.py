"""The keeper of a training's state: when to save, what, and where to go on."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from softstep.kernels.arrays import host_copy, put
from softstep.model import inputs
from softstep.model.archive import Array, PathLike
from softstep.model.checkpoint import CheckpointError
from softstep.model.resume import lock, signals
from softstep.model.resume.fingerprint import INSTRUCTIONS
from softstep.model.resume.origin import Clock
from softstep.model.resume.store import Saved, Store, prepared, refuse_used, tell

# Seconds between two copies of the state: so many at least, and so many for each of its bytes, for
# these are packed for the kernels in each slice of steps, and copied.
SLICE, PER_BYTE = 0.2, 3e-7
SAVING = 0.01  # of the time, at most, is spent on writing, unless it is asked for
ASKED = 60.0  # by fewer seconds than these between two checkpoints
GROWTH = 4  # of a slice at most, from one to the next: the first may have compiled kernels
SUMS = "sums."
SHOWN = 300  # characters of a field that differs
BEFORE = 30  # of them before the first that differs


class Resumable(Protocol):
    """Something whose state is arrays, by name."""

    def state(self) -> dict[str, Array]:
        """The state as it is now; its arrays may change later, and may be on a GPU."""

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
    if not resume:
        refuse_used(folder)
    store = Store(folder)
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
    """Overwrite `target`, which may be on a GPU, with the array of that name.

    Raises:
        KeyError: there is none. ValueError: it is of another shape or dtype.
    """
    found = arrays[name]
    if (found.shape, found.dtype) != (target.shape, target.dtype):
        raise ValueError(f"{name} is {found.dtype} of shape {found.shape}")
    put(target, ..., found)


def whole(arrays: dict[str, Array], name: str, most: int) -> int:
    """The whole number of that name, from 0 to `most`.

    Raises:
        KeyError: there is none. ValueError: it is none, or beyond.
    """
    found = arrays[name]
    if found.shape != () or found.dtype.kind not in "iu" or not 0 <= found <= most:
        raise ValueError(f"{name} is {str(found)[:SHOWN]}, not a whole number up to {most}")
    return int(found)


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
    clock: Clock

    def __init__(self, store: Store, every: float, saved: Saved | None):
        self.saved, self.number, self.steps_at_once = saved, 0, 1
        self.clock = Clock()
        self._store, self._every = store, every
        self._kept: dict[str, Array] = {}  # the last copy of the state
        self._unsaved = False  # whether it is not on the disk
        self._sums: dict[str, Array] | None = None  # those to resume with
        self._failures = 0
        self._signals: list[int] = []  # those that arrived

    @contextlib.contextmanager
    def keeping(self, owner: Resumable, about: dict[str, str], epochs: int) -> Iterator[None]:
        """Resume `owner`, if there is something to resume, and keep its state within this block.

        about: what run it is. epochs: how many are planned.

        Raises:
            CheckpointError: the checkpoint is of another run, or not of this kind.
        """
        self._owner, self._about = owner, about
        if self.saved is not None:
            self._resume(self.saved, epochs)
        self._length = self._seconds_between(owner.state())
        self._copy_due = time.monotonic()
        self._save_due = self._copy_due + self._every
        with signals.caught() as self._signals:
            try:
                yield
            except KeyboardInterrupt:
                self._save()
                self._say_what_is_kept()
                raise
            else:
                self._save()
            finally:
                self._say_failures()

    def begin_epoch(self, number: int, sums: Resumable) -> None:
        """The steps of an epoch begin; `sums` is given back what it was if they are resumed."""
        if self._sums is not None:
            with self._understanding():
                sums.restore(self._sums)
            self._sums = None
        self.number, self._epoch_sums = number, sums
        self._raise_dropped()

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
        self.look()

    def look(self) -> None:
        """The state is whole now: copy it and save it, if that is due."""
        now = time.monotonic()
        if self._signals or now >= min(self._copy_due, self._save_due):
            self._copy(now)
        self._raise_dropped()
        if now >= self._save_due:
            self._save()

    def keep(self) -> None:
        """Save the state as it is now, which is whole."""
        self._copy(time.monotonic())
        self._save()
        self._raise_dropped()

    def _copy(self, now: float) -> None:
        self._kept = {name: host_copy(array) for name, array in self._state().items()}
        self._length = self._seconds_between(self._kept)
        self._unsaved, self._copy_due = True, now + self._length

    def _raise_dropped(self) -> None:
        """Raise KeyboardInterrupt for a signal whose own exception was dropped."""
        if self._signals:
            raise KeyboardInterrupt

    def _seconds_between(self, state: dict[str, Array]) -> float:
        """From one copy of the state to the next, and so the length of a slice."""
        size = sum(array.nbytes for array in state.values())
        return max(SLICE, min(PER_BYTE * size, self._every))

    def _resume(self, saved: Saved, epochs: int) -> None:
        folder = self._store.folder
        for field in dict.fromkeys((*self._about, *saved.about)):
            then, now = (about.get(field, "not given") for about in (saved.about, self._about))
            if then == now:
                continue
            was, is_now = map(_in_one_line, _from_where_they_differ(str(then), now))
            if field == INSTRUCTIONS:
                tell(
                    f"{folder} is of another processor ({was}; here {is_now}): the bits may not be "
                    "those of a run without a break"
                )
            else:
                raise CheckpointError(
                    f"{folder} holds the checkpoint of another run: its "
                    f"{_in_one_line(field[:SHOWN])} was {was}, but is {is_now} now"
                )
        with self._understanding():
            self.number = whole(saved.arrays, "epoch", epochs - 1)
            seconds = np.empty(())
            fill(seconds, saved.arrays, "seconds")
            self.clock.before = inputs.number("seconds", float(seconds), least=0)
            self._owner.restore(saved.arrays)
            prefixed = ((n, a) for n, a in saved.arrays.items() if n.startswith(SUMS))
            self._sums = {name.removeprefix(SUMS): array for name, array in prefixed}

    @contextlib.contextmanager
    def _understanding(self) -> Iterator[None]:
        """Within this block arrays of the checkpoint are taken over."""
        try:
            yield
        except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
            folder, reason = self._store.folder, " ".join(str(error).split())[:SHOWN]
            raise CheckpointError(f"{folder} holds no checkpoint of this kind: {reason}") from error

    def _state(self) -> dict[str, Array]:
        sums = {f"{SUMS}{name}": array for name, array in self._epoch_sums.state().items()}
        place = {"epoch": np.array(self.number), "seconds": np.array(self.clock.seconds())}
        return place | sums | self._owner.state()

    def _save(self) -> None:
        """Write the last copy, unless it is written. If that fails, say so, once, and go on."""
        if not self._unsaved:
            return
        start = time.monotonic()
        try:
            self._store.write(Saved(self._kept, self._about))
            self._unsaved = False
        except (OSError, MemoryError) as error:
            why = getattr(error, "strerror", None) or str(error) or "out of memory"
            if not self._failures:
                tell(f"no checkpoint could be written ({why}): training goes on without")
            self._failures += 1
        now = time.monotonic()
        least = (now - start) / SAVING if self._every >= ASKED else 0.0
        self._save_due = now + max(self._every, least)

    def _say_what_is_kept(self) -> None:
        if self._store.files and not self._unsaved:
            folder = self._store.folder
            tell(f"{folder} holds what was done: go on from there (resume=True, --resume)")

    def _say_failures(self) -> None:
        if self._failures:
            newest = self._store.files[-1].name if self._store.files else "none"
            tell(
                f"{self._failures} times no checkpoint could be written to {self._store.folder}; "
                f"the newest there: {newest}"
            )


def _from_where_they_differ(then: str, now: str) -> tuple[str, str]:
    """What is shown of two texts: of long ones the part with the first difference."""
    pairs = enumerate(zip(then, now, strict=False))
    first = next((i for i, (a, b) in pairs if a != b), min(len(then), len(now)))
    start = max(0, first - BEFORE) if max(len(then), len(now)) > SHOWN else 0
    before = "… " if start else ""
    parts = [before + text[start : start + SHOWN] for text in (then, now)]
    return parts[0], parts[1]


def _in_one_line(text: str) -> str:
    """Text that may be a stranger's, its line feeds and other controls written out."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)

"""Promise: a checkpoint that cannot be of this training is refused in one sentence, and a file that
is no checkpoint is left alone."""

import contextlib
import os
import signal

import numpy as np
import pytest
from command import softstep

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.model import CheckpointError, WeightPath, checkpoint
from softstep.model.resume import keeper, store

RNG = np.random.default_rng(0)
Y = RNG.integers(3, size=130)
X = (RNG.standard_normal((3, 5))[Y] + RNG.standard_normal((130, 5))).astype(np.float32)
GRID = {"learning_rate": [0.01, 0.1, 1.0], "momentum": [0.0, 0.9]}
AT = 7  # the checkpoint at which the trainings here break off, in the middle of an epoch


class Broken(Exception):
    """The process is gone."""


def train(folder, resume=False):
    model = SoftmaxRegression(batch_size=30, epochs=4, patience=3, random_state=3)
    keeping = {"checkpoint": folder, "checkpoint_every": 0, "resume": resume}
    return model.fit(X[:100], Y[:100], X_val=X[100:], y_val=Y[100:], path=WeightPath(), **keeping)


def sweep(folder, resume=False):
    model = SoftmaxSweep(GRID, cv=2, halving=True, epochs=5, batch_size=40, random_state=1)
    return model.fit(X, Y, checkpoint=folder, checkpoint_every=0, resume=resume)


FITS = {"train": train, "sweep": sweep}


@pytest.fixture
def often(monkeypatch):
    """A checkpoint after each step."""
    monkeypatch.setattr(keeper, "SLICE", 0.0)
    monkeypatch.setattr(keeper, "PER_BYTE", 0.0)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def broken(often, tmp_path, monkeypatch):
    """broken(fit): the arrays and fields of the checkpoint of a training that broke off."""

    def until(fit):
        written, write = [], store.Store.write

        def counted(self, saved):
            write(self, saved)
            written.append(saved)
            if len(written) == AT:
                raise Broken

        with monkeypatch.context() as patch, contextlib.suppress(Broken):
            patch.setattr(store.Store, "write", counted)
            fit(tmp_path / "whole")
        newest = max((tmp_path / "whole").iterdir())
        return checkpoint.load(newest, store.FORMAT)

    return until


@contextlib.contextmanager
def soon(seconds=20):
    """TimeoutError if the block takes longer."""

    def too_long(number, frame):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def kept(folder, arrays, about):
    folder.mkdir(exist_ok=True)
    checkpoint.save(folder / "checkpoint-000007.npz", arrays, about, store.FORMAT)
    return folder


def refused(fit, folder):
    with soon(), pytest.raises(CheckpointError) as info:
        fit(folder, resume=True)
    message = str(info.value)
    assert message.startswith(f"{folder} holds no checkpoint of this kind")
    assert "\n" not in message
    assert len(message) < 600


pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="nothing ends a hang")


@pytest.mark.parametrize("name", FITS)
def test_what_was_saved_is_resumed(name, broken, tmp_path):
    arrays, about = broken(FITS[name])
    with soon():
        FITS[name](kept(tmp_path / "same", arrays, about), resume=True)


@pytest.mark.parametrize("name", FITS)
def test_each_array_must_be_there_and_of_its_form(name, broken, tmp_path):
    arrays, about = broken(FITS[name])
    assert len(arrays) > 10
    for part, array in arrays.items():
        others = {"of text": array.astype(str), "of two axes more": array[None, None]}
        for what, other in others.items():
            folder = kept(tmp_path / f"{part} {what}", arrays | {part: other}, about)
            refused(FITS[name], folder)
        rest = {other: array for other, array in arrays.items() if other != part}
        refused(FITS[name], kept(tmp_path / f"without {part}", rest, about))


def of(value):
    return lambda array: np.full_like(array, value)


WRONG = {
    "train": {
        "epoch": (of(-1), of(4), of(10**6), lambda a: np.array(np.inf)),
        "seconds": (of(-1), of(np.inf), of(np.nan)),
        "sums.rows": (of(0), of(-30), of(20), of(110), of(10**6)),
        "sums.steps": (of(0), of(-1), of(4), of(10**9)),
        "sums.correct": (of(-1), of(10**6)),
        "sums.counted": (of(-1), of(10**6)),
        "path.steps": (of(0), lambda a: a[::-1], lambda a: a + 10**6, lambda a: a - 1),
        "history": (of(np.nan), of(np.inf), lambda a: a[:0], lambda a: a + 1),
    },
    "sweep": {
        "epoch": (of(-1), of(5)),
        "sums.rows": (of(0), of(10**6)),
        "sums.correct": (of(-1), of(10**6)),
        "alive": (of(0), of(-1), of(10**6), lambda a: a[::-1].copy(), lambda a: a[:-1] + 1),
        "curves.steps": (lambda a: np.ones(99, int), lambda a: a[:0]),
        "best_loss": (of(0.0),),
    },
}


@pytest.mark.parametrize(
    ("name", "part", "change"),
    [
        (name, part, change)
        for name, parts in WRONG.items()
        for part, changes in parts.items()
        for change in changes
    ],
)
def test_numbers_that_cannot_be_are_refused(name, part, change, broken, tmp_path):
    arrays, about = broken(FITS[name])
    arrays[part] = change(arrays[part])
    refused(FITS[name], kept(tmp_path / "wrong", arrays, about))


def test_a_path_that_lacks_its_last_point_is_refused(broken, tmp_path):
    arrays, about = broken(train)
    shorter = {f"path.{n}": arrays[f"path.{n}"][:-1] for n in ("steps", "W", "b")}
    refused(train, kept(tmp_path / "wrong", arrays | shorter, about))


def test_the_command_says_one_line_and_ends_with_2(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ("train", "--epochs", 2, "--out", "m.npz", "--checkpoint", "kept")
    assert softstep(capsys, *command)[0] == 0
    newest = max((tmp_path / "kept").iterdir())
    arrays, about = checkpoint.load(newest, store.FORMAT)
    for part in ("sums.loss", "epoch", "W"):
        rest = {name: array for name, array in arrays.items() if name != part}
        checkpoint.save(newest, rest, about, store.FORMAT)
        code, _, err = softstep(capsys, *command, "--resume")
        assert (code, err.count("\n")) == (2, 1)
        assert f"kept holds no checkpoint of this kind: {part.removeprefix('sums.')!r}" in err


def test_a_seed_of_endless_digits_is_another_run(broken, tmp_path):
    arrays, about = broken(train)
    folder = kept(tmp_path / "wrong", arrays, about | {"seed": "9" * 10_000})
    model = SoftmaxRegression(batch_size=30, epochs=4, patience=3)
    with pytest.raises(CheckpointError, match="another run"):
        model.fit(X, Y, X_val=X, y_val=Y, path=WeightPath(), checkpoint=folder, resume=True)


# files that are no checkpoints


@pytest.mark.parametrize("name", ["checkpoint-best.npz", "checkpoint-9.npz", "checkpoint-.npz"])
def test_a_file_of_another_name_is_neither_read_nor_removed(name, often, tmp_path, capsys):
    (tmp_path / name).write_bytes(b"mine")
    train(tmp_path)
    train(tmp_path, resume=True)
    assert (tmp_path / name).read_bytes() == b"mine"
    assert capsys.readouterr().err == ""
    assert len(list(tmp_path.iterdir())) == 3


def test_somebody_s_file_of_such_a_name_is_not_removed(often, tmp_path):
    train(tmp_path)
    model = tmp_path / "checkpoint-000001.npz"
    SoftmaxRegression(epochs=1).fit(X, Y).save(model)
    rows = tmp_path / "checkpoint-000002.npz"
    np.savez(rows, X=X)
    before = model.read_bytes(), rows.read_bytes()
    found = store.Store(tmp_path)
    for _ in range(3):
        found.write(found.newest())
    assert (model.read_bytes(), rows.read_bytes()) == before
    assert len(list(tmp_path.iterdir())) == 4


def test_the_newest_is_that_of_the_largest_number(often, tmp_path):
    folder = tmp_path / "kept"
    train(folder)
    older, newer = store.files_in(folder)
    older.rename(folder / "checkpoint-999999.npz")
    newer.rename(folder / "checkpoint-1000000.npz")
    found = store.Store(folder)
    assert [file.name for file in found.files] == [
        "checkpoint-999999.npz",
        "checkpoint-1000000.npz",
    ]
    found.write(found.newest())
    assert [file.name for file in store.files_in(folder)] == [
        "checkpoint-1000000.npz",
        "checkpoint-1000001.npz",
    ]

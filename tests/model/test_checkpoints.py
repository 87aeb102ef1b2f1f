"""Promise: a training broken off at any step goes on from its checkpoint to the same bits."""

import contextlib
import ctypes
import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import types
import zipfile
from dataclasses import astuple
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from softstep import SoftmaxRegression, SoftmaxSweep, kernels
from softstep.model import CheckpointError, WeightPath, checkpoint, trainer
from softstep.model.resume import fingerprint, keeper, lock, signals, store

N, D, C = 130, 5, 3
RNG = np.random.default_rng(0)
Y = RNG.integers(C, size=N)
X = (RNG.standard_normal((C, D))[Y] + RNG.standard_normal((N, D))).astype(np.float32)
WEIGHTS = RNG.uniform(0.5, 2.0, N)
TRAIN, VAL = slice(None, 100), slice(100, None)
HELD_OUT = {"X_val": X[VAL], "y_val": Y[VAL]}
GRID = {
    "learning_rate": [0.01, 5.0, 1e300],
    "loss": ["mse", "cross_entropy"],
    "momentum": [0.0, 0.9],
}


class Broken(Exception):
    """The process is gone."""


def train(folder=None, resume=False, every=0, **changes):
    """A model and everything that its fit found."""
    settings = {"batch_size": 30, "epochs": 4, "momentum": 0.9, "schedule": "cosine"}
    fixed = {"random_state": 3, "patience": 2, "loss": "cross_entropy", "learning_rate": 2.0}
    model, path = SoftmaxRegression(**settings | fixed | changes), WeightPath()
    model.fit(
        X[TRAIN],
        Y[TRAIN],
        WEIGHTS[TRAIN],
        **HELD_OUT,
        path=path,
        checkpoint=folder,
        checkpoint_every=every,
        resume=resume,
    )
    bank = model._bank
    figures = [np.array(astuple(epoch), float) for epoch in model.history_]
    return [bank.W, bank.b, *bank.velocity, model.loss_curve_, *figures, path.steps, path.W, path.b]


def sweep(folder=None, resume=False, data=(X, Y), **changes):
    """A sweep and everything that its fit found."""
    settings = {"cv": 2, "halving": True, "patience": 1, "epochs": 5, "batch_size": 40}
    model = SoftmaxSweep(GRID, **{"random_state": 1, "max_steps": 17} | settings | changes)
    model.fit(*data, checkpoint=folder, checkpoint_every=0, resume=resume)
    training = model._trained
    tables = [np.array(v) for k, v in model.results_.items() if k != "params"]
    bank = training.bank
    return [bank.W, bank.b, *bank.velocity, model.loss_curves_, *tables]


def stopping(folder=None, resume=False):
    """A sweep whose heads stop when they do not improve, and not before."""
    return sweep(folder, resume, halving=False, patience=2, epochs=7, max_steps=26)


def in_blocks(folder=None, resume=False):
    """A sweep whose features are read in blocks."""
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((1500, 40)).astype(np.float32)
    data = rows, (rows[:, 0] > 0).astype(int)
    settings = {"memory": "1.6MB", "batch_size": 100, "epochs": 2, "max_steps": None}
    return sweep(folder, resume, data, patience=None, **settings)


SPARSE = sparse.csr_array(np.where(X > 3, X, 0))


def on_sparse_rows(folder=None, resume=False):
    """A sweep whose weights have a decay between the steps of an epoch, and which drops heads."""
    grid = {"learning_rate": [0.01, 0.5, 1e300], "l2": [0.01, 0.1]}
    settings = {"cv": 2, "halving": True, "epochs": 4, "batch_size": 40, "random_state": 1}
    model = SoftmaxSweep(grid, **settings)
    model.fit(SPARSE, Y, checkpoint=folder, checkpoint_every=0, resume=resume)
    bank = model._trained.bank
    return [bank.W, bank.b, model.loss_curves_, model.results_["epochs"]]


OVERFLOWING = X.copy()
OVERFLOWING[7] = (
    1e25  # in the first epoch it makes the weights so large that in the second it overflows
)


def diverging(folder=None, resume=False):
    """A sweep in which heads diverge in the middle of an epoch."""
    grid, settings = {"learning_rate": [0.1, 1e-30]}, {"cv": 2, "epochs": 3, "batch_size": 20}
    model = SoftmaxSweep(grid, random_state=0, backend="numpy", **settings)
    model.fit(OVERFLOWING, Y, checkpoint=folder, checkpoint_every=0, resume=resume)
    tables = [np.array(v) for k, v in model.results_.items() if k != "params"]
    bank = model._trained.bank
    return [bank.W, bank.b, model.loss_curves_, *tables]


def same(found, expected):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


@pytest.fixture
def step_by_step(monkeypatch):
    """A checkpoint after each step; the disk is not waited for."""
    monkeypatch.setattr(keeper, "SLICE", 0.0)
    monkeypatch.setattr(keeper, "PER_BYTE", 0.0)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def broken_after(monkeypatch):
    """break_after(k): the process is gone once k checkpoints are written; a list counts them."""
    write, written = store.Store.write, []

    def arm(k):
        def counted(self, saved):
            write(self, saved)
            written.append(saved)
            if len(written) == k:
                raise Broken

        written.clear()
        monkeypatch.setattr(store.Store, "write", counted)
        return written

    return arm


def test_the_sweeps_here_drop_heads_in_every_way():
    model = SoftmaxSweep(GRID, cv=2, epochs=5, batch_size=40, random_state=1).fit(X, Y)
    whole = model.results_["epochs"]
    assert 0 < model.results_["diverged"].sum() < len(whole)
    halved = model.set_params(halving=True).fit(X, Y).results_["epochs"]
    stopped = model.set_params(halving=False, patience=1).fit(X, Y).results_["epochs"]
    assert halved.sum() < whole.sum()
    assert stopped.sum() < whole.sum()


@pytest.mark.filterwarnings("ignore:the columns of X")
@pytest.mark.usefixtures("step_by_step")
@pytest.mark.parametrize("fit", [train, sweep, stopping, in_blocks, diverging, on_sparse_rows])
def test_broken_at_any_step_it_resumes_to_the_same_bits(fit, broken_after, tmp_path):
    whole = fit()
    written = broken_after(0)
    same(fit(tmp_path / "whole"), whole)
    steps = len(written)
    assert steps > 10
    for k in range(1, steps + 1):
        folder = tmp_path / str(k)
        broken_after(k)
        with contextlib.suppress(Broken):
            fit(folder)
        broken_after(0)
        same(fit(folder, resume=True), whole)


@pytest.mark.filterwarnings("ignore:the columns of X")
@pytest.mark.usefixtures("step_by_step")
def test_a_training_that_diverged_does_so_after_any_break_too(broken_after, tmp_path):
    def diverge(folder, resume=False):
        model = SoftmaxRegression("cross_entropy", batch_size=20, random_state=0, backend="numpy")
        with pytest.raises(FloatingPointError, match="diverged in epoch 2"):
            model.fit(OVERFLOWING, Y, checkpoint=folder, checkpoint_every=0, resume=resume)

    written = broken_after(0)
    diverge(tmp_path / "whole")
    active = [saved.arrays["active"][0] for saved in written]
    assert active[0]
    assert not active[-1]
    for k in range(1, len(written) + 1):
        broken_after(k)
        with contextlib.suppress(Broken):
            diverge(tmp_path / str(k))
        broken_after(0)
        diverge(tmp_path / str(k), resume=True)


@pytest.mark.usefixtures("step_by_step")
@pytest.mark.parametrize("fit", [train, sweep])
def test_it_may_break_again_and_again_with_other_numbers_of_threads(fit, broken_after, tmp_path):
    whole = fit()
    for threads in range(1, 100):
        written = broken_after(2)
        try:
            found = fit(tmp_path, resume=threads > 1, n_threads=1 + threads % 3)
        except Broken:
            assert len(written) == 2
        else:
            break
    same(found, whole)
    assert threads > 5


def test_the_seed_that_was_drawn_is_kept(broken_after, tmp_path):
    broken_after(1)
    with pytest.raises(Broken):
        train(tmp_path, random_state=None)
    (about,) = [checkpoint.load(file, store.FORMAT)[1] for file in tmp_path.iterdir()]
    broken_after(0)
    found = train(tmp_path, resume=True, random_state=None)
    same(found, train(random_state=int(about["seed"])))


def test_only_the_last_two_stay(tmp_path):
    killed = f".checkpoint-000001.npz.{'0123456789abcdef' * 2}"
    (tmp_path / killed).write_bytes(b"of a killed run")
    train(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 2
    assert all(name.startswith("checkpoint-") for name in names)


def test_a_finished_run_resumes_to_what_it_found(tmp_path):
    same(train(tmp_path, resume=True), train())
    same(train(tmp_path, resume=True), train())


def test_slices_grow_while_steps_are_quick_and_shrink_when_they_are_slow(tmp_path, monkeypatch):
    class Nothing:
        def state(self):
            return {}

    now, sizes = [0.0], []
    clock = types.SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr(keeper, "time", clock)
    with keeper.opened(tmp_path, 1e9, False) as kept, kept.keeping(Nothing(), {}, 1):
        kept.begin_epoch(0, Nothing())
        for seconds_of_a_step in (0.001, 0.001, 0.001, 0.001, 0.1, 1.0):
            sizes.append(kept.steps_at_once)
            with kept.slice(kept.steps_at_once):
                now[0] += seconds_of_a_step * kept.steps_at_once
    assert [*sizes, kept.steps_at_once] == [1, 4, 16, 64, 200, 2, 1]


class Growing:
    """Trains on a clock of its own: `size` is of its state, `seconds` those that a step takes."""

    def __init__(self, clock):
        self.clock, self.size = clock, 0

    def state(self):
        return {"W": np.zeros(self.size, np.uint8)}

    def step(self, kept, seconds=1.0):
        with kept.slice(1):
            self.clock[0] += seconds


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(keeper, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_saving_takes_a_hundredth_of_the_time_at_most(clock, tmp_path, monkeypatch):
    saved = []

    def slow(self, state):
        saved.append(clock[0])
        clock[0] += 3.0

    monkeypatch.setattr(store.Store, "write", slow)
    training = Growing(clock)
    with keeper.opened(tmp_path, 60.0, False) as kept, kept.keeping(training, {}, 1):
        kept.begin_epoch(0, training)
        for _ in range(1000):
            training.step(kept)
    first, *others = saved
    assert first == 60.0
    between = np.diff([first, *others[:-1]])  # the last is at the end
    assert len(between) > 1
    assert (between >= 300.0).all()


def test_epochs_that_are_yet_to_come_take_no_room(tmp_path):
    sizes = []
    for epochs in (4, 4000):
        folder = tmp_path / str(epochs)
        model = SoftmaxSweep(GRID, epochs=epochs, random_state=1)
        how = {"checkpoint": folder, "callback": lambda epoch: epoch.number == 2}
        model.fit(X[TRAIN], Y[TRAIN], **HELD_OUT, **how)
        sizes.append(max(path.stat().st_size for path in folder.iterdir()))
    assert sizes[1] < 1.1 * sizes[0]


def test_a_state_is_written_once(clock, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(store.Store, "write", lambda self, saved: written.append(saved))
    training = Growing(clock)
    with keeper.opened(tmp_path, 60.0, False) as kept, kept.keeping(training, {}, 1):
        kept.begin_epoch(0, training)
        training.step(kept, seconds=61.0)
        assert len(written) == 1
    assert len(written) == 1  # at the end there is nothing new


def test_what_is_to_be_kept_is_written_at_once(clock, tmp_path):
    training = Growing(clock)
    with keeper.opened(tmp_path, 60.0, False) as kept, kept.keeping(training, {}, 1):
        kept.begin_epoch(0, training)
        kept.keep()
        assert [path.name for path in tmp_path.glob("*.npz")] == ["checkpoint-000001.npz"]


def test_a_state_that_grows_is_copied_less_often(clock, tmp_path, monkeypatch):
    monkeypatch.setattr(keeper, "PER_BYTE", 1.0)
    training, copies = Growing(clock), []
    with keeper.opened(tmp_path, 1e6, False) as kept, kept.keeping(training, {}, 1):
        kept.begin_epoch(0, training)
        for size in (10, 100, 100):
            training.size = size
            while len(copies) < 200 and kept._kept.get("W", np.empty(0)).size != size:
                training.step(kept)
            copy = kept._kept
            start = clock[0]
            while kept._kept is copy:
                training.step(kept)
            copies.append(clock[0] - start)
    assert copies[0] >= 10
    assert min(copies[1:]) >= 100


def test_an_epoch_in_which_no_row_was_right_yet_goes_on():
    sums, again = (trainer.EpochSums(10, 100, 2) for _ in range(2))
    sums.add(np.ones((1, 2)), np.zeros((1, 2), np.int64), 10, 10)
    again.restore(sums.state())
    same([again.correct, again.loss], [np.zeros(2, np.int64), np.full(2, 10.0)])


# what is refused


def test_a_folder_with_a_checkpoint_is_refused_unless_resumed(tmp_path):
    train(tmp_path)
    with pytest.raises(ValueError, match="holds a checkpoint already: resume it"):
        train(tmp_path)


def test_resuming_nothing_starts_from_the_beginning_and_says_so(tmp_path, capsys):
    same(train(tmp_path, resume=True), train())
    (line,) = capsys.readouterr().err.splitlines()
    assert "holds no checkpoint yet: training starts from the beginning" in line


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"learning_rate": 0.1}, "learning_rate"),
        ({"random_state": 4}, "seed"),
        ({"epochs": 9}, "epochs"),
        ({"patience": None}, "patience"),
        ({"backend": "numpy"}, "backend"),
        ({"class_weight": {0: 2.0}}, "class_weight"),
    ],
)
def test_another_setting_is_refused_by_name(change, field, tmp_path):
    train(tmp_path)
    with pytest.raises(CheckpointError, match=rf"another run: its {field} was"):
        train(tmp_path, resume=True, **change)


def changed(array, at):
    other = array.copy()
    other[at] += 1
    return other


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ((X[:-1], Y[:-1]), r"X\.shape"),
        ((X.astype(np.float64), Y), r"X\.dtype"),
        ((changed(X, (7, 2)), Y), r"X\.rows"),
        ((X, changed(Y, Y == 1)), r"y\.values"),
    ],
)
def test_another_data_set_is_refused_by_what_differs(data, field, tmp_path):
    sweep(tmp_path, cv=None, n_bootstrap=2, patience=None)
    with pytest.raises(CheckpointError, match=rf"another run: its {field} was"):
        sweep(tmp_path, resume=True, data=data, cv=None, n_bootstrap=2, patience=None)


def test_other_weights_and_folds_are_refused(tmp_path):
    SoftmaxSweep({}, cv=2, random_state=0, epochs=1).fit(X, Y, checkpoint=tmp_path)
    again = SoftmaxSweep({}, cv=2, random_state=0, epochs=1)
    with pytest.raises(CheckpointError, match=r"its weights\.values was"):
        again.fit(X, Y, sample_weight=WEIGHTS, checkpoint=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="its cv was 2, but is 3 now"):
        again.set_params(cv=3).fit(X, Y, checkpoint=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match="its estimator was SoftmaxSweep"):
        SoftmaxRegression(random_state=0).fit(X, Y, checkpoint=tmp_path, resume=True)


def test_another_version_is_refused(tmp_path, monkeypatch):
    train(tmp_path)
    monkeypatch.setattr("softstep.__version__", "99.0")
    with pytest.raises(CheckpointError, match=r"its version was .*, but is 99\.0 now"):
        train(tmp_path, resume=True)


def test_of_many_rows_a_sample_is_looked_at(monkeypatch):
    class Features(np.ndarray):
        def __getitem__(self, rows):
            read.append(rows)
            return super().__getitem__(rows)

    read = []
    monkeypatch.setattr(fingerprint, "SAMPLE", 48)
    rows, of = trainer.Rows(X.view(Features), Y), fingerprint.of_rows
    fields = of(rows)
    assert fields["X.shape"] == str(X.shape)
    sample = [row for some in read for row in range(N)[some]]
    assert len(set(sample)) == len(sample) == 48
    for row in range(N):
        assert (fields == of(trainer.Rows(changed(X, row), Y))) == (row not in sample)
    assert fields == of(trainer.Rows(X.copy(), Y))


def test_on_request_all_rows_are_looked_at(monkeypatch, tmp_path):
    monkeypatch.setattr(fingerprint, "SAMPLE", 50)
    monkeypatch.setattr(fingerprint, "READ_AT_ONCE", 7 * X[0].nbytes)
    print_of = fingerprint.of_rows(trainer.Rows(X, Y), "whole")["X.rows"]
    assert print_of == hashlib.sha256(X.tobytes()).hexdigest()
    settings = {"epochs": 1, "random_state": 0}
    for model in (SoftmaxRegression(**settings), SoftmaxSweep({}, cv=2, **settings)):
        keeping = {"checkpoint": tmp_path / type(model).__name__, "fingerprint": "whole"}
        model.fit(X, Y, **keeping)
        for row in range(N):
            with pytest.raises(CheckpointError, match=r"another run: its X\.rows was"):
                model.fit(changed(X, (row, 2)), Y, **keeping, resume=True)
        with pytest.raises(CheckpointError, match="its fingerprint was whole, but is sample now"):
            model.fit(X, Y, checkpoint=keeping["checkpoint"], resume=True)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"resume": True}, ValueError, "resume needs checkpoint"),
        ({"checkpoint": 3}, TypeError, "checkpoint must be a folder"),
        ({"checkpoint": "x", "checkpoint_every": -1}, ValueError, "checkpoint_every"),
        ({"checkpoint": "x", "resume": 1}, TypeError, "resume must be True or False"),
        ({"checkpoint": __file__}, NotADirectoryError, "is a file"),
        ({"fingerprint": "all"}, ValueError, "fingerprint must be"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for model in (SoftmaxRegression(), SoftmaxSweep({}, cv=2)):
        with pytest.raises(error, match=message):
            model.fit(X, Y, **arguments)


def test_another_version_of_a_library_that_computes_is_refused(tmp_path, monkeypatch):
    train(tmp_path)
    others = fingerprint.versions() | {"numba": "99.0"}
    monkeypatch.setattr(fingerprint, "versions", lambda: others)
    with pytest.raises(CheckpointError, match=r"its numba was .*, but is 99\.0 now"):
        train(tmp_path, resume=True)


def test_another_processor_is_told(tmp_path, monkeypatch, capsys):
    whole = train(tmp_path)
    monkeypatch.setattr(fingerprint.processor, "features", lambda: ("SSE2", "NEON"))
    same(train(tmp_path, resume=True), whole)
    (line,) = capsys.readouterr().err.splitlines()
    assert "is of another processor" in line
    assert "here SSE2, NEON" in line


def test_of_long_settings_the_part_that_differs_is_shown(tmp_path):
    rates = [0.1 + i / 1000 for i in range(200)]
    grid = {"learning_rate": rates}
    SoftmaxSweep(grid, cv=2, epochs=1, random_state=0).fit(X, Y, checkpoint=tmp_path)
    grid = {"learning_rate": [*rates[:-1], 77.0]}
    with pytest.raises(CheckpointError, match="its param_grid was") as refused:
        SoftmaxSweep(grid, cv=2, epochs=1, random_state=0).fit(
            X, Y, checkpoint=tmp_path, resume=True
        )
    then, _, now = str(refused.value).partition(", but is ")
    assert str(rates[-1]) in then
    assert "77.0" in now


@pytest.mark.parametrize(
    ("setting", "same_again", "other"),
    [
        ({0: 2, 1: 1.5}, {1: np.float64(1.5), np.int64(0): np.int64(2)}, {0: 2, 1: 1.25}),
        ([np.arange(2000)], [np.arange(2000)], [np.arange(2000) + (np.arange(2000) == 1000)]),
        ((1, (2.0, None)), [1, [np.float32(2.0), None]], [1, [2.0, True]]),
    ],
)
def test_a_setting_is_told_by_what_is_in_it(setting, same_again, other):
    assert fingerprint._said(setting) == fingerprint._said(same_again)
    assert fingerprint._said(setting) != fingerprint._said(other)


# one training for each folder


def test_two_trainings_cannot_share_a_folder(tmp_path):
    whole, refused = train(), []

    def second(epoch):
        for model in (SoftmaxRegression(), SoftmaxSweep({}, cv=2)):
            with pytest.raises(BlockingIOError, match="another training keeps its checkpoints"):
                model.fit(X, Y, checkpoint=tmp_path, resume=True)
            refused.append(model)

    SoftmaxRegression(epochs=2).fit(X, Y, callback=second, checkpoint=tmp_path)
    assert len(refused) == 4
    assert not (tmp_path / lock.CHECKPOINTS.name).exists()
    for file in tmp_path.iterdir():
        file.unlink()
    same(train(tmp_path), whole)


def test_a_folder_is_free_after_an_error_and_after_a_process_that_died(tmp_path):
    with pytest.raises(ValueError, match="NaN"):
        SoftmaxRegression().fit(X * np.nan, Y, checkpoint=tmp_path)
    assert not list(tmp_path.iterdir())
    code = "import os, sys; from softstep.model.resume import lock; from pathlib import Path\n"
    code += "with lock.held(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout.readline() == b"held\n"
            with pytest.raises(BlockingIOError):
                train(tmp_path)
        finally:
            process.kill()
    assert (tmp_path / lock.CHECKPOINTS.name).exists()
    same(train(tmp_path), train())


def test_a_lock_that_its_holder_removes_is_taken_anew(tmp_path, monkeypatch):
    flock, taken = lock._lock, []

    def removed_meanwhile(descriptor, folder, which):
        flock(descriptor, folder, which)
        taken.append(descriptor)
        if len(taken) == 1:
            (folder / lock.CHECKPOINTS.name).unlink()

    monkeypatch.setattr(lock, "_lock", removed_meanwhile)
    with lock.held(tmp_path), pytest.raises(BlockingIOError), lock.held(tmp_path):
        pass
    assert len(taken) == 2


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / lock.CHECKPOINTS.name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"\.lock"):
        train(tmp_path / "kept")
    assert not (tmp_path / "elsewhere").exists()


def test_a_field_that_a_stranger_made_long_does_not_fill_the_screen(tmp_path):
    train(tmp_path)
    newest = sorted(tmp_path.iterdir())[-1]
    arrays, about = checkpoint.load(newest, store.FORMAT)
    about = about | {"learning_rate": "9" * 10**6}
    checkpoint.save(newest, arrays, about, store.FORMAT)
    with pytest.raises(CheckpointError, match="another run: its learning_rate was 999") as refused:
        train(tmp_path, resume=True)
    assert len(str(refused.value)) < 2000


def test_a_field_of_a_stranger_is_told_in_one_line(tmp_path):
    train(tmp_path)
    newest = sorted(tmp_path.iterdir())[-1]
    arrays, about = checkpoint.load(newest, store.FORMAT)
    for field in ("learning_rate", "one\nmore\x1b[2J"):
        checkpoint.save(newest, arrays, about | {field: "2\n\x1b[2J"}, store.FORMAT)
        with pytest.raises(CheckpointError, match=r"was 2\\n\\x1b\[2J, but") as refused:
            train(tmp_path, resume=True)
        assert str(refused.value).isprintable()


def test_where_nothing_can_be_locked_that_is_told(tmp_path, capsys, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    same(train(tmp_path), train())
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"softstep: {tmp_path} cannot be locked")


# damage, and disks that are full


def damage(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.usefixtures("step_by_step")
def test_a_damaged_checkpoint_gives_way_to_the_one_before(broken_after, tmp_path, capsys):
    broken_after(6)
    with pytest.raises(Broken):
        sweep(tmp_path)
    broken_after(0)
    older, newer = sorted(tmp_path.iterdir())
    with zipfile.ZipFile(newer) as members:  # an array: what says whose file it is stays sound
        damage(newer, members.getinfo("curves.loss.npy").header_offset + 200)
    same(sweep(tmp_path, resume=True), sweep())
    (line,) = capsys.readouterr().err.splitlines()
    assert newer.name in line
    assert line.endswith("looking for an earlier one")
    assert not older.exists()  # training went on, and left two sound ones
    for path in tmp_path.iterdir():
        checkpoint.load(path, store.FORMAT)


def test_where_all_are_damaged_it_is_an_error(tmp_path):
    train(tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError, match="damaged"):
        train(tmp_path, resume=True)


def test_a_model_is_no_checkpoint(tmp_path):
    SoftmaxRegression(epochs=1).fit(X, Y).save(tmp_path / "checkpoint-000001.npz")
    with pytest.raises(CheckpointError, match="another format"):
        train(tmp_path, resume=True)


@pytest.mark.usefixtures("step_by_step")
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_on_a_full_disk_training_goes_on(call, tmp_path, capsys, monkeypatch):
    whole, done = train(), []
    (place, name) = (os, "fsync") if call == "fsync" else (type(tmp_path), "replace")
    works = getattr(place, name)

    def until_full(*arguments):
        done.append(arguments)
        if len(done) > 4:  # of each checkpoint the file is synced, then the folder
            raise OSError(errno.ENOSPC, "No space left on device")
        return works(*arguments)

    monkeypatch.setattr(place, name, until_full)
    same(train(tmp_path), whole)
    monkeypatch.undo()
    first, last = capsys.readouterr().err.splitlines()
    assert "no checkpoint could be written (No space left on device)" in first
    assert "times no checkpoint could be written" in last
    names = sorted(path.name for path in tmp_path.iterdir())
    assert last.endswith(f"the newest there: {names[-1]}")
    assert not [name for name in names if name.startswith(".")]
    same(train(tmp_path, resume=True), whole)


@pytest.mark.usefixtures("step_by_step")
def test_a_file_that_cannot_grow_is_no_checkpoint(tmp_path, capsys):
    resource = pytest.importorskip("resource")  # not on Windows
    whole, limits = train(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        found = train(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    same(found, whole)
    first, last = capsys.readouterr().err.splitlines()
    assert "File too large" in first
    assert last.endswith("the newest there: none")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("step_by_step")
@pytest.mark.parametrize("stream", ["full", "closed", "none"])
def test_that_nobody_can_be_told_of_a_full_disk_ends_nothing(stream, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    whole = train()
    with Path("/dev/full").open("w") as nowhere:
        if stream == "closed":
            nowhere.close()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", None if stream == "none" else nowhere)
            patch.setattr(os, "fsync", full)
            same(train(tmp_path), whole)
        if stream == "full":
            with contextlib.suppress(OSError):
                nowhere.close()


@pytest.mark.usefixtures("step_by_step")
def test_too_little_memory_for_a_checkpoint_ends_nothing(tmp_path, capsys, monkeypatch):
    def too_large(*arguments, **keywords):
        raise MemoryError

    whole = train()
    monkeypatch.setattr(np, "savez", too_large)
    same(train(tmp_path), whole)
    assert "no checkpoint could be written (out of memory)" in capsys.readouterr().err


# signals


@pytest.mark.usefixtures("step_by_step")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at", range(2, 16, 3))
def test_a_signal_during_the_steps_saves_what_is_done(number, at, tmp_path, monkeypatch):
    whole, raised, taken = train(), [], []

    def handler(signum, frame):
        raised.append(signum)
        raise KeyboardInterrupt

    run_steps = trainer.run_steps

    def interrupted(*arguments, **keywords):
        taken.append(1)
        if len(taken) == at:
            signal.raise_signal(number)
        return run_steps(*arguments, **keywords)

    before = signal.signal(number, handler)
    monkeypatch.setattr(trainer, "run_steps", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, every=1e9)
    finally:
        assert signal.signal(number, before) is handler
    assert raised == [number]
    assert len(taken) == at
    monkeypatch.undo()
    (path,) = tmp_path.iterdir()
    arrays, _ = checkpoint.load(path, store.FORMAT)
    assert arrays["sums.steps"] + 4 * arrays["epoch"] == at - 1
    same(train(tmp_path, resume=True), whole)


@pytest.mark.usefixtures("step_by_step")
@pytest.mark.parametrize("at", range(4))
def test_an_interrupt_between_epochs_saves_the_end_of_the_epoch(at, tmp_path):
    whole = sweep(patience=None)

    def interrupt(epoch):
        if epoch.number == at:
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    settings = {"cv": 2, "halving": True, "epochs": 5, "batch_size": 40, "max_steps": 17}
    model = SoftmaxSweep(GRID, random_state=1, **settings)
    try:
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, Y, callback=interrupt, checkpoint=tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    same(sweep(tmp_path, resume=True, patience=None), whole)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("step_by_step")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_whose_exception_c_code_drops_ends_the_training_all_the_same(
    number, tmp_path, monkeypatch
):
    whole, taken, run_steps = train(), [], trainer.run_steps
    in_c = ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(number))

    def interrupted(*arguments, **keywords):
        taken.append(1)
        if len(taken) == 3:
            in_c()
        return run_steps(*arguments, **keywords)

    def handler(signum, frame):
        raise KeyboardInterrupt

    before = signal.signal(number, handler)
    monkeypatch.setattr(trainer, "run_steps", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, every=1e9)
    finally:
        signal.signal(number, before)
    assert len(taken) == 3
    monkeypatch.undo()
    same(train(tmp_path, resume=True), whole)


@pytest.mark.usefixtures("step_by_step")
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_array])
def test_ctrl_c_leaves_a_warm_start_the_weights_that_it_had_come_to(form, tmp_path, monkeypatch):
    settings = {"batch_size": 30, "learning_rate": 0.5, "l2": 0.1, "random_state": 3}
    rows, taken, step = form(SPARSE.toarray()), [], kernels.train

    def interrupted(*arguments, **keywords):
        if len(taken) == 7:  # an epoch of five steps and two of another
            raise KeyboardInterrupt
        taken.append(1)
        return step(*arguments, **keywords)

    model = SoftmaxRegression(**settings, warm_start=True)
    monkeypatch.setattr(kernels, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.fit(rows, Y, checkpoint=tmp_path)
    monkeypatch.setattr(kernels, "train", step)
    alone = SoftmaxRegression(**settings, max_steps=7).fit(rows, Y)
    same([model.coef_, model.intercept_], [alone.coef_, alone.intercept_])
    assert model.n_iter_ == len(model.loss_curve_) == 1
    alone.set_params(warm_start=True, max_steps=None)
    same([model.fit(rows, Y).coef_], [alone.fit(rows, Y).coef_])


def test_else_ctrl_c_leaves_a_model_as_it_was(monkeypatch):
    def interrupt(*arguments, **keywords):
        raise KeyboardInterrupt

    model = SoftmaxRegression(epochs=1, random_state=0).fit(X, Y)
    before = dict(vars(model))
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, callback=interrupt)
    assert vars(model) == before
    model.set_params(warm_start=True)
    before = dict(vars(model))
    monkeypatch.setattr("softstep.model.resume.of_rows", interrupt)  # before the first step
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y)
    assert vars(model) == before


def block(does):
    """A block in which signals are caught, and what it does."""
    with signals.caught():
        does()


def test_a_signal_whose_exception_is_dropped_arrives_at_the_end():
    def drop():
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            block(drop)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_second_signal_leaves_no_handler_behind(monkeypatch):
    seen, put, again = [], signal.signal, [signal.SIGTERM]

    def mine(number, frame):
        seen.append(number)

    def interrupted(number, handler):
        while again:
            signal.raise_signal(again.pop())
        return put(number, handler)

    def first():
        monkeypatch.setattr(signals.signal, "signal", interrupted)
        signal.raise_signal(signal.SIGINT)

    before = [signal.signal(number, mine) for number in signals.SIGNALS]
    try:
        with pytest.raises(KeyboardInterrupt):
            block(first)
        monkeypatch.undo()
        assert [signal.getsignal(number) for number in signals.SIGNALS] == [mine, mine]
    finally:
        monkeypatch.undo()
        for number, handler in zip(signals.SIGNALS, before, strict=True):
            signal.signal(number, handler)
    assert seen == [signal.SIGINT]


def test_it_trains_in_another_thread_too(tmp_path):
    found = []
    thread = threading.Thread(target=lambda: found.append(train(tmp_path)))
    thread.start()
    thread.join()
    same(found[0], train())

"""Promise: Ctrl-C and SIGTERM end a command at once, without a traceback; with a checkpoint nothing
of the training is lost."""

import ctypes
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from only import BETWEEN_PROCESSES
from processes import started

from softstep import SoftmaxRegression
from softstep.cli import main
from softstep.runs import interrupts

SIGNALS = pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])


def stop(process, number):
    """The exit code, stderr, and the seconds from the signal to the end."""
    start = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    return process.returncode, err, time.monotonic() - start


@BETWEEN_PROCESSES
@SIGNALS
@pytest.mark.parametrize("delay", [0.02, 0.1, 0.3, 0.6])
def test_while_it_starts(number, code, delay, tmp_path):
    with started("train", "--epochs", 100_000, "--out", tmp_path / "m.npz") as process:
        time.sleep(delay)
        found, err, _ = stop(process, number)
    assert found == code
    assert "Traceback" not in err
    assert "softstep: " in err


@BETWEEN_PROCESSES
@SIGNALS
def test_while_it_trains_and_then_it_is_resumed(number, code, tmp_path):
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=20_000)
    X = rng.standard_normal((20_000, 50)) + y[:, None]
    np.savez(tmp_path / "rows.npz", X_train=X, y_train=y, X_test=X[:9], y_test=y[:9])
    rows, kept = tmp_path / "rows.npz", tmp_path / "kept"
    command = ("train", rows, "--epochs", 60, "--checkpoint", kept, "--out")
    with started(*command, tmp_path / "resumed.npz") as process:
        while not process.stdout.readline().startswith("epoch"):
            assert process.poll() is None
        found, err, seconds = stop(process, number)
    said = [line for line in err.splitlines() if "compiling CPU kernels" not in line]
    assert (found, len(said)) == (code, 3)
    assert str(kept) in said[0]
    assert "--resume" in said[0]
    assert "Traceback" not in err
    assert seconds < 3  # on a busy machine, the end of the interpreter included
    assert not (tmp_path / "resumed.npz").exists()
    assert [path.name for path in kept.iterdir()] == ["checkpoint-000001.npz"]
    arguments = [str(a) for a in command]
    assert main([*arguments, str(tmp_path / "resumed.npz")]) == 2  # not without --resume
    assert main([*arguments, str(tmp_path / "resumed.npz"), "--resume"]) == 0
    arguments[arguments.index("--checkpoint") + 1] = str(tmp_path / "other")
    assert main([*arguments, str(tmp_path / "whole.npz")]) == 0
    models = [SoftmaxRegression.load(tmp_path / f"{name}.npz") for name in ("resumed", "whole")]
    assert np.array_equal(*(model.coef_ for model in models))
    assert np.array_equal(*(model.loss_curve_ for model in models))


@pytest.mark.parametrize(
    "command",
    [
        ("train", "--epochs", "3", "--out", "m.npz"),
        ("sweep", "--lr", "0.1,1", "--loss", "mse", "--epochs", "3", "--out", "found"),
        ("landscape", "--epochs", "3", "--steps", "3", "--out", "land"),
    ],
)
def test_a_command_takes_checkpoints(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    kept = ("--checkpoint", "kept", "--checkpoint-every", "0")
    assert main([*command, "--resume"]) == 2
    assert "resume needs checkpoint" in capsys.readouterr().err
    assert main([*command, *kept, "--resume"]) == 0
    assert "starts from the beginning" in capsys.readouterr().err
    assert main([*command, *kept]) == 2
    assert "kept holds a checkpoint already: resume it" in capsys.readouterr().err
    assert main([*command, *kept, "--resume"]) == 0
    assert main([*command, *kept, "--resume", "--seed", "7"]) == 2
    assert "kept holds the checkpoint of another run: its seed was 0" in capsys.readouterr().err


@SIGNALS
def test_handlers_are_as_before_after_a_command(number, code):
    before = signal.getsignal(number)
    assert main(["backends"]) == 0
    assert signal.getsignal(number) is before


def test_a_signal_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with interrupts.as_exceptions():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers")
def test_a_signal_that_c_code_drops_arrives_a_little_later(monkeypatch, capfd):
    monkeypatch.setattr(interrupts, "AGAIN", 0.2)
    in_c = ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGTERM))

    def dropped():
        with interrupts.as_exceptions():
            in_c()
            time.sleep(60)

    hook = sys.unraisablehook
    with pytest.raises(interrupts.Terminated):
        dropped()
    assert capfd.readouterr().err == ""
    assert sys.unraisablehook is hook


# An alarm that comes as the block ends, and one that somebody else waits for.
LATE_ALARM = """
import os, signal, sys
from softstep.runs import interrupts
put = signal.signal
def late(number, handler):  # while the handlers are put back
    if number == signal.SIGALRM and handler is signal.SIG_DFL:
        put(number, handler)
        signal.sigtimedwait([], 0.3)
        return None
    return put(number, handler)
interrupts.AGAIN = 0.1
try:
    with interrupts.as_exceptions():
        signal.signal = late
        os.kill(os.getpid(), signal.SIGTERM)
except interrupts.Terminated:
    sys.exit(143)
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers")
def test_the_alarm_ends_before_its_handler_does():
    done = subprocess.run([sys.executable, "-c", LATE_ALARM], check=False, timeout=60)
    assert done.returncode == 143


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there are no timers")
def test_an_alarm_of_somebody_else_is_left_alone():
    rung = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    signal.setitimer(signal.ITIMER_REAL, 1000)
    try:
        with pytest.raises(interrupts.Terminated), interrupts.as_exceptions():
            signal.raise_signal(signal.SIGTERM)
        left, _ = signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert left > 900
    assert rung == []


@SIGNALS
def test_where_nobody_listens_any_more_the_code_is_the_same(number, code, tmp_path):
    command = ("train", "--epochs", 100_000, "--out", tmp_path / "m.npz")
    with started(*command, stderr=subprocess.STDOUT) as process:
        while not process.stdout.readline().startswith("epoch"):
            assert process.poll() is None
        process.stdout.close()  # as `2>&1 | tee log` does when Ctrl-C ends it too
        time.sleep(1)
        process.send_signal(number)
        assert process.wait(timeout=60) == code


def test_a_reader_of_predictions_that_leaves_is_not_an_error_of_python(tmp_path):
    rows = np.random.default_rng(0).standard_normal((100_000, 3))
    SoftmaxRegression(epochs=1, random_state=0).fit(rows[:100], np.arange(100) % 2).save(
        tmp_path / "m.npz"
    )
    np.save(tmp_path / "rows.npy", rows)
    command = ("predict", tmp_path / "m.npz", tmp_path / "rows.npy")
    with started(*command, environment={"SOFTSTEP_BACKEND": "numpy"}) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert process.wait(timeout=60) == 141
    assert err.startswith("rows.npy: 100000 rows")  # and nothing more
    assert err.count("\n") == 1

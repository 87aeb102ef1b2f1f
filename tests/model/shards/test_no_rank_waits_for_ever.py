"""Promise: whatever comes to one rank of a fit, no other waits for it for ever."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import over_rows
import pytest
from engines import mpiexec, mpiexec_fails
from only import BETWEEN_PROCESSES, POSIX
from over_rows import X, Y

from softstep.model.resume import signals
from softstep.model.shards.ranks import fit_over

SCRIPT = Path(over_rows.__file__).with_name("ranks.py")


@pytest.fixture
def ctrl_c():
    """Ctrl-C raises KeyboardInterrupt."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_answers_that_cannot_be_combined_are_one_error_on_every_rank(tmp_path):
    ended = mpiexec(4, SCRIPT, "quarrels", tmp_path)
    assert ended.returncode == 0, ended.stderr
    said = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(4)]
    expected = "ZeroDivisionError: rank 2, in the rows of all ranks: [225] and [450]"
    assert said == [expected] * 4


@BETWEEN_PROCESSES
def test_ranks_that_are_told_to_end_leave_rank_0_the_time_to_save(tmp_path):
    mpiexec_fails(SCRIPT, "termination", tmp_path)
    over_rows.assert_goes_on(tmp_path / "kept")


@BETWEEN_PROCESSES
def test_a_second_ctrl_c_ends_a_job_that_waits_for_ever(tmp_path):
    assert "KeyboardInterrupt" in mpiexec_fails(SCRIPT, "absence", tmp_path)


def test_a_rank_that_cannot_begin_ends_the_run(tmp_path):
    assert "ZeroDivisionError" in mpiexec_fails(SCRIPT, "breakage", tmp_path)


@POSIX
def test_what_would_end_rank_0_ends_it_when_all_have_heard_of_it():
    where = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", TERMINATED],
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": where},
    )
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "free\n"), done.stderr


class Alone:
    """A communicator of one rank, to which something comes as it is duplicated."""

    def __init__(self, comes=lambda: None):
        self.comes, self.is_free = comes, False

    def Idup(self):
        self.comes()
        return self, self

    def Test(self):
        return True

    def Get_rank(self):
        return 0

    def Get_size(self):
        return 1

    def Free(self):
        self.is_free = True

    iprobe = isend = recv = Abort = None


TERMINATED = """
import signal
from test_no_rank_waits_for_ever import X, Y, Alone, Model, fit_over
class Told(Alone):
    def Free(self):
        print("free", flush=True)
fit_over(Told(), Model(), lambda **given: signal.raise_signal(signal.SIGTERM), X=X, y=Y)
"""


class Model:
    """A model to which something comes as the fit is over."""

    def __init__(self, comes=lambda: None):
        self.comes = comes

    def get_params(self):
        self.comes()
        return {}


def test_ctrl_c_before_the_fit_is_answered_on_every_rank(ctrl_c):
    comm = Alone(comes=ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        fit_over(comm, Model(), lambda **given: pytest.fail("it was interrupted"), X=X, y=Y)
    assert comm.is_free  # which the others do as they have heard of it


def test_ctrl_c_after_the_fit_is_answered_when_all_have_its_model(ctrl_c):
    comm, fitted = Alone(), []
    with pytest.raises(KeyboardInterrupt):
        fit_over(comm, Model(comes=ctrl_c), lambda **given: fitted.append(given), X=X, y=Y)
    assert fitted
    assert comm.is_free


def test_a_launcher_may_tell_of_ctrl_c_twice(ctrl_c):
    reached = []

    def block():
        with signals.deferred():
            ctrl_c()
            ctrl_c()
            reached.append(1)

    with pytest.raises(KeyboardInterrupt):
        block()
    assert reached == [1]


def test_ctrl_c_that_comes_again_later_is_answered_at_once(ctrl_c, monkeypatch):
    monkeypatch.setattr(signals, "AGAIN", 0.05)
    reached = []

    def block():
        with signals.deferred():
            ctrl_c()
            time.sleep(0.1)
            reached.append(1)
            ctrl_c()
            reached.append(2)

    with pytest.raises(KeyboardInterrupt):
        block()
    assert reached == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_within_a_block_that_defers_another_one_answers(ctrl_c):
    reached = []

    def block():
        with signals.deferred() as answered:
            with pytest.raises(KeyboardInterrupt), answered():
                ctrl_c()
            ctrl_c()
            reached.append(1)
            with answered():
                reached.append(2)

    with pytest.raises(KeyboardInterrupt):
        block()
    assert reached == [1]

"""Promise: `softstep sweep --workers N` and `--scheduler` come to the results of one process."""

import importlib.util
import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest
from command import softstep
from only import BETWEEN_PROCESSES
from processes import comes_true, started

from softstep.model.sweep.executor import WorkerError
from softstep.model.sweep.heads import SweepEpoch
from softstep.runs import quiet_processes
from softstep.runs.workers import TasksProgress

SWEEP = ["sweep", "digits", "--lr", "0.01:1:log3", "--epochs", "3", "--cv", "2"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def files(folder):
    """What the results are, without the time they took."""
    return [(folder / name).read_bytes() for name in ("results.csv", "loss_curves.csv")]


def test_processes(capfd, tmp_path):
    before = multiprocessing.active_children()
    assert softstep(capfd, *SWEEP, "--out", tmp_path / "alone")[0] == 0
    code, out, err = softstep(capfd, *SWEEP, "--out", tmp_path / "shared", "--workers", 2)
    assert (code, err) == (0, "")
    assert "\n2 of 2 tasks up to epoch 3/3  18 heads  best score 0." in out
    assert out.count("backend ") == 1  # the workers print nothing
    assert files(tmp_path / "shared") == files(tmp_path / "alone")
    assert set(multiprocessing.active_children()) <= set(before)


def test_processes_that_solve(capfd):
    solve = ["sweep", "digits", "--solver", "lbfgs", "--C", "0.01,0.1", "--workers", 2]
    code, out, _ = softstep(capfd, *solve)
    assert code == 0
    assert "2 heads in " in out
    assert "s and 2 tasks; 2 of the 2 on all rows are proven to be within 1e-06" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--workers", "0"], "--workers must be at least 1, not 0"),
        (["--workers", "2", "--scheduler", "tcp://h:1"], "give one of them"),
        (["--scheduler", "tcp://h:1"], "pip install 'softstep[dask]'"),
    ],
)
def test_what_cannot_be_is_said_before_the_rows_are_read(arguments, said, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    code, _, err = softstep(capsys, "sweep", "no-such-file.csv", *arguments)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


def test_a_worker_that_died_is_told_in_one_line(capsys, monkeypatch):
    def died(*_, **__):
        raise WorkerError("a worker died, in task 1 of 2")

    monkeypatch.setattr("softstep.cli.sweep.fit", died)
    code, _, err = softstep(capsys, *SWEEP, "--workers", 1)
    assert (code, err) == (2, "softstep: a worker died, in task 1 of 2\n")


@BETWEEN_PROCESSES
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_workers_too(number, code, tmp_path):
    command = ["sweep", "digits", "--lr", "0.1,0.2", "--loss", "mse", "--epochs", "200000"]
    elsewhere = {"TMPDIR": str(tmp_path)}
    with started(*command, "--workers", 2, environment=elsewhere) as process:
        have_begun = comes_true(lambda: list(tmp_path.glob("softstep-*/rows")), within=60)
        assert have_begun
        start = time.monotonic()
        if number == signal.SIGINT:  # of a terminal: to all of its processes
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == code
        assert "Traceback" not in err
        assert time.monotonic() - start < 10
        assert list(tmp_path.glob("softstep-*")) == []
        # whatever else it had started
        assert comes_true(lambda: not _is_there(process.pid))


@BETWEEN_PROCESSES
def test_a_worker_that_is_about_to_begin_leaves_ctrl_c_to_the_command():
    worker = quiet_processes.Context().Process(target=quiet_processes.leave_interrupts)
    worker.start()
    os.kill(worker.pid, signal.SIGINT)
    worker.join(60)
    assert worker.exitcode == 0


def _is_there(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_progress_goes_by_the_tasks_that_have_ended(capsys):
    progress = TasksProgress()
    for number, tasks in ((4, (1, 2)), (4, (2, 2)), (9, (1, 1))):
        progress(SweepEpoch(number, 10, 6, None, None, tasks))
    assert progress.rounds == 3
    assert capsys.readouterr().out.splitlines() == [
        "1 of 2 tasks up to epoch 5/10  6 heads",
        "2 of 2 tasks up to epoch 5/10  6 heads",
        "1 of 1 tasks up to epoch 10/10  6 heads",
    ]


def test_a_dask_scheduler(capfd, tmp_path):
    if importlib.util.find_spec("distributed") is None:
        pytest.skip("distributed is not installed")
    done = subprocess.run(
        [sys.executable, "-c", UNDER_DASK, str(tmp_path), *SWEEP],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "shared") == files(tmp_path / "alone")


UNDER_DASK = """
import sys
from distributed import LocalCluster
from softstep.cli import main

if __name__ == "__main__":
    folder, *sweep = sys.argv[1:]
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        code = main([*sweep, "--out", folder + "/shared", "--scheduler", address])
    sys.exit(code or main([*sweep, "--out", folder + "/alone"]))
"""

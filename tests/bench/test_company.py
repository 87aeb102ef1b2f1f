"""Promise: a training gets the same bits in company of threads and processes, and none hangs.

One round of each kind; `python -m softstep.bench.studies.trust.company` runs a hundred.
"""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from softstep.bench.studies.trust import company

pytest.importorskip("joblib")
WAIT = "import time; time.sleep(600)"


@pytest.mark.parametrize("kind", company.KINDS)
def test_a_round_has_the_bits_of_a_training_alone(kind):
    command = [sys.executable, "-W", "ignore", "-m", "softstep.bench.studies.trust.company"]
    done = subprocess.run(
        [*command, "--rounds", "1", "--only", kind],
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| {kind} | 1 | 1 |" in done.stdout


def test_a_round_that_differs_is_told(monkeypatch, capsys):
    monkeypatch.setattr(company, "alone", lambda: ["bits"])
    monkeypatch.setattr(company, "a_round", lambda kind: ["other", "bits"])
    assert company.main(["--rounds", "2", "--only", "threads"]) == 1
    told = capsys.readouterr()
    assert "| threads | 2 | 0 |" in told.out
    assert "threads: ['other', 'bits']" in told.err


def test_a_round_that_hangs_ends_with_all_that_it_has_started(monkeypatch, tmp_path):
    started = tmp_path / "started"
    sleep = f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {WAIT!r}]); "
    sleep += f"open({str(started)!r}, 'w').write(str(p.pid)); p.wait()"
    popen = subprocess.Popen

    def hanging(command, **keywords):
        return popen([sys.executable, "-c", sleep], **keywords)

    monkeypatch.setattr(company.subprocess, "Popen", hanging)
    monkeypatch.setattr(company, "LONGEST", 3.0)
    assert company.a_round("threads") == ["hung for 3 s"]
    monkeypatch.undo()
    if sys.platform == "linux":
        until = time.monotonic() + 10  # a signal takes its time
        while is_running(int(started.read_text())):
            assert time.monotonic() < until


def is_running(number):
    about = Path(f"/proc/{number}/stat")
    return about.exists() and about.read_text().rpartition(")")[2].split()[0] != "Z"  # a zombie

"""Promise: a training gets the same bits in company of threads and processes, and none hangs.

One round of each kind; `python -m softstep.bench.studies.company` runs a hundred.
"""

import subprocess
import sys

import pytest

from softstep.bench.studies import company

pytest.importorskip("joblib")


def test_a_round_of_each_kind_has_the_bits_of_a_training_alone():
    command = [sys.executable, "-W", "ignore", "-m", "softstep.bench.studies.company"]
    done = subprocess.run(
        [*command, "--rounds", "1"], capture_output=True, text=True, check=False, timeout=1800
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for kind in company.KINDS:
        assert f"| {kind} | 1 | 1 |" in done.stdout


@pytest.mark.parametrize("found", [["other bits"], TimeoutError("a minute")])
def test_a_round_that_differs_or_hangs_is_told(found, monkeypatch, capsys):
    def round_of():
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(company, "alone", lambda: ["bits"])
    monkeypatch.setitem(company.KINDS, "threads", round_of)
    assert company.main(["--rounds", "2", "--only", "threads"]) == 1
    told = capsys.readouterr()
    assert "| threads | 2 | 0 |" in told.out
    assert "threads: [" in told.err

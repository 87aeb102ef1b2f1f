"""Promise: on a GPU the study of the roofline times the works that docs/gpu.md calculates.

The path is run here; times of an emulator say nothing.
"""

import pytest

from softstep.bench.studies import roofline
from softstep.bench.studies.roofline import Work


@pytest.fixture(autouse=True)
def small_works(monkeypatch):
    small = {
        "RECIPE": Work(90, 7, 3, 1, 40, 1),
        "DEEP": Work(90, 20, 3, 1, 40, 4),
        "MANY": Work(90, 7, 3, 2, 40, 1),
        "WIDE": Work(90, 20, 5, 2, 40, 2),
        "LOGITS": 3_000,
        "ROUNDS": 2,
    }
    for name, value in small.items():
        monkeypatch.setattr(roofline, name, value)


def test_every_work_is_timed(machine, capsys):
    assert roofline.main(["--measure"]) == 0
    reason, _, _, *lines = capsys.readouterr().out.splitlines()
    assert "stand-in" in reason
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert [name for name, *_ in rows] == [
        "90x7 -> 3, uint8, batch 40: a step, of 3",
        "90x20 -> 3, float32, batch 40: a step, of 3",
        "90x20 -> 2 x 5, float16, batch 40: a step, of 3",
        "90x20 -> 2 x 5, float16, batch 40: evaluate",
        "90x7 -> 2 x 3, uint8, batch 40: evaluate",
        *(f"softmax of {n} x {c}" for n, c in ((300, 10), (30, 100), (3, 1000), (1, 30_000))),
    ]
    assert all(float(launches) >= 0 and float(wall) > 0 for _, launches, wall, _ in rows)
    assert all(bool(speed) == name.startswith("softmax") for name, _, _, speed in rows)


def test_without_a_gpu_it_says_why(capsys, monkeypatch):
    from softstep.kernels import backend

    none = backend.probe("cupy")
    if none.usable:
        pytest.skip("there is a GPU")
    assert roofline.main(["--measure"]) == 2
    assert capsys.readouterr().out == f"{none.reason}\n"

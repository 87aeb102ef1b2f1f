"""Promise: the programs in docs/scaling.md run as they stand, and its calculation is right."""

import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from repository import DOCS

from softstep import SoftmaxSweep
from softstep.model.datasets import load_digits

PAGE = (DOCS / "scaling.md").read_text(encoding="utf-8")
FIRST, WORKSTATION, _dask = re.findall(r"```python\n(.*?)```", PAGE, re.S)


def test_programs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    digits = load_digits()
    np.save("embeddings.npy", digits.X_train)
    grid = {"learning_rate": [0.1, 0.2]}
    given = {"SoftmaxSweep": SoftmaxSweep, "ProcessPoolExecutor": ProcessPoolExecutor, "grid": grid}
    given |= {"multiprocessing": multiprocessing, "X": digits.X_train, "y": digits.y_train}
    exec(FIRST, given)
    expected = SoftmaxSweep(grid, cv=5, random_state=0).fit(digits.X_train, digits.y_train)
    assert np.array_equal(given["sweep"].best_estimator_.coef_, expected.best_estimator_.coef_)
    exec(WORKSTATION, given | {"__name__": "__main__"})
    assert len(list(tmp_path.glob("overnight/checkpoint-*.npz"))) == 2  # one for each task


@pytest.mark.parametrize("bytes_a_second", [1.25e9, 12.5e9])
def test_the_batch_from_which_on_several_machines_would_pay(bytes_a_second):
    p, F, d, K, alpha = 16, 1e12, 784, 400, 50e-6

    def step(B, machines):
        if machines == 1:
            return 4 * B * d * K / F
        summed = 8 * d * K * (machines - 1) / (machines * bytes_a_second)
        return 4 * B * d * K / (machines * F) + alpha * np.log2(machines) + summed

    row = next(line for line in PAGE.splitlines() if f" {bytes_a_second / 1e9:g} GB/s " in line)
    least, efficient = (int(cell) for cell in row.split("|")[3:5])
    assert step(least, p) == pytest.approx(step(least, 1), rel=0.01)
    assert step(efficient, 1) / step(efficient, p) == pytest.approx(0.8 * p, rel=0.01)

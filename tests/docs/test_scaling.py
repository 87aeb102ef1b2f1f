"""Promise: the programs in docs/scaling.md run as they stand, and its calculation is right."""

import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from engines import engine, mpiexec
from repository import DOCS

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.model.datasets import load_digits

PAGE = (DOCS / "scaling.md").read_text(encoding="utf-8")
FIRST, WORKSTATION, _dask, CHUNKS, RANKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)


def test_programs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    digits = load_digits()
    np.save("embeddings.npy", digits.X_train)
    np.save("labels.npy", digits.y_train)
    grid = {"learning_rate": [0.1, 0.2]}
    given = {"SoftmaxSweep": SoftmaxSweep, "ProcessPoolExecutor": ProcessPoolExecutor, "grid": grid}
    given |= {"multiprocessing": multiprocessing, "y": digits.y_train}
    exec(FIRST, given)
    expected = SoftmaxSweep(grid, cv=5, random_state=0).fit(digits.X_train, digits.y_train)
    assert np.array_equal(given["sweep"].best_estimator_.coef_, expected.best_estimator_.coef_)
    exec(WORKSTATION, {"__name__": "__main__"})
    assert str(expected.best_params_) in capsys.readouterr().out
    assert len(list(tmp_path.glob("overnight/checkpoint-*.npz"))) == 2  # one for each task


def test_programs_over_rows(tmp_path, monkeypatch):
    dask = engine("dask")
    monkeypatch.chdir(tmp_path)
    digits = load_digits()
    X, y = np.ascontiguousarray(digits.X_train[::2]), digits.y_train[::2]
    np.save("embeddings.npy", X)
    np.save("labels.npy", y)
    arrays = engine("dask.array")
    arrays.to_npy_stack("embeddings", arrays.from_array(X, chunks=(500, -1)))
    given = {"SoftmaxSweep": SoftmaxSweep, "y": y}
    with dask.config.set(scheduler="threads"):
        exec(CHUNKS, given)
    assert given["sweep"].results_["converged"].all()
    (tmp_path / "fit.py").write_text(RANKS)
    ended = mpiexec(2, "-m", "mpi4py", "fit.py")
    assert ended.returncode == 0, ended.stderr
    fitted = SoftmaxRegression.load("model.npz")
    assert fitted.converged_
    assert fitted.score(X, y) > 0.95
    assert list(tmp_path.glob("on-the-way/checkpoint-*.npz"))


def test_what_a_round_over_rows_takes():
    n, p, F, d, K, alpha, beta = 1e7, 16, 1e12, 784, 400, 50e-6, 1.25e9
    said = re.search(
        r"n = 10⁷ and 16 machines that are ([\d.]+) s and, at 1.25 GB/s, ([\d.]+) s", PAGE
    )
    assert float(said[1]) == pytest.approx(4 * n * d * K / (p * F), rel=0.01)
    there_and_back = 2 * np.log2(p) * (alpha + 8 * d * K / beta)
    assert float(said[2]) == pytest.approx(there_and_back, rel=0.05)


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

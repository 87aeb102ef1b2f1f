"""Promise: the optimum over the rows of MPI ranks is that of all rows; one error on every rank."""

import json
import pickle
from pathlib import Path

import numpy as np
import over_rows
import pytest
from engines import mpiexec, mpiexec_fails
from only import BETWEEN_PROCESSES
from over_rows import MODELS, SWEEPS, X, Y, assert_same_optimum, assert_same_sweep, objective

SCRIPT = Path(over_rows.__file__).with_name("ranks.py")


def run(task, count, folder):
    """What the ranks wrote of this task."""
    ended = mpiexec(count, SCRIPT, task, folder)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return [folder / str(rank) for rank in range(count)]


@pytest.fixture(scope="module", autouse=True)
def alone():
    """The models of one process, which compiles what the ranks then find."""
    models = {name: over_rows.model(name) for name in MODELS}
    return {name: model.fit(**given) for name, (model, given) in models.items()}


@pytest.fixture(scope="module", params=[1, 2, 4])
def found(request, tmp_path_factory):
    """What each of so many ranks ends with."""
    ranks = run("fits", request.param, tmp_path_factory.mktemp("ranks"))
    return [pickle.loads(rank.with_suffix(".pickle").read_bytes()) for rank in ranks]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_over_ranks_is_at_the_optimum_of_all_rows(name, found, alone):
    assert_same_optimum(found[0][name], alone[name])


def test_the_certificate_is_about_all_rows(found):
    fitted = found[0]["plain"]
    assert fitted.objective_ == pytest.approx(objective(fitted, {"X": X, "y": Y}), rel=1e-12)
    assert np.array_equal(
        found[0]["plain again"].coef_, fitted.coef_
    )  # the same rows, the same bits


def test_a_sweep_over_ranks_has_the_folds_of_all_rows(found):
    assert_same_sweep(found[0]["sweep"], over_rows.sweep().fit(X, Y))


@pytest.mark.parametrize("name", SWEEPS)
def test_a_sweep_over_ranks_learns_from_the_rows_that_it_is_to_learn_from(name, found):
    given, _ = SWEEPS[name]
    assert_same_sweep(found[0][name], over_rows.sweep(name).fit(**given))


def test_every_rank_ends_with_the_model_of_the_first(found):
    for other in found[1:]:
        for name in MODELS:
            assert other[name].coef_.tobytes() == found[0][name].coef_.tobytes()
            assert other[name].bound_ == found[0][name].bound_ or np.isnan(other[name].bound_)
            rows = MODELS[name][1]["X"][:9]
            assert np.array_equal(other[name].predict(rows), found[0][name].predict(rows))
        assert other["sweep"].best_params_ == found[0]["sweep"].best_params_
        assert other["told"] == 0  # rank 0 alone calls back
    assert found[0]["told"] > 3


def test_what_is_made_of_the_sums_is_shared_out(tmp_path):
    found = [
        json.loads(path.with_suffix(".json").read_text()) for path in run("shares", 4, tmp_path)
    ]
    assert found[0] == [[rank, 31.0] for rank in (0, 0, 1, 1, 2, 3)]
    assert not any(found[1:])  # it is rank 0 that asked


SAID = {
    "no rows": "ValueError: in what rank 2 gave: X is empty: 0 sample(s) (shape=(0, 10))",
    "width": "ValueError: the rows of rank 2 have 9 features, those of rank 0 have 10: all must "
    "have the same",
    "dtype": "ValueError: the rows of rank 2 have dtype float64, those of rank 0 have float32: all "
    "must have the same",
    "labels": "ValueError: in what rank 2 gave: y has 200 labels, but there are 201 rows",
    "kinds": "ValueError: y of rank 2 is int64 of shape (201,), of rank 0 it is <U7 of shape "
    "(133,): give all alike",
    "masked": "ValueError: y[404] is masked: fill it, or leave its row out",
    "nan": "ValueError: rank 2, in the rows of all ranks: X[404, 3] is nan: X must hold neither "
    "NaN nor inf",
    "nothing": "ValueError: in what rank 2 gave: X is None: each rank gives its own rows",
    "weights": "ValueError: in what rank 2 gave: sample_weight[0] = -1.0 must be finite and >= 0",
    "no weights": "ValueError: rank 2 has no sample_weight, but others have: give it on all ranks",
    "sgd": "ValueError: solver='sgd' takes a step for every few rows",
    "tol": "ValueError: tol must be above 0, not -1",
}


def test_rows_that_cannot_be_meant_are_one_error_on_every_rank(tmp_path):
    first, *others = run("refusals", 3, tmp_path)
    said = json.loads(first.with_suffix(".json").read_text())
    for other in others:
        assert json.loads(other.with_suffix(".json").read_text()) == said
    assert said.keys() == SAID.keys()
    for name, text in SAID.items():
        assert said[name].startswith(text), name


@BETWEEN_PROCESSES
def test_a_rank_that_dies_ends_the_run_and_the_weights_on_their_way_are_kept(tmp_path):
    mpiexec_fails(SCRIPT, "death", tmp_path)
    over_rows.assert_goes_on(tmp_path / "kept")


@BETWEEN_PROCESSES
def test_ctrl_c_of_rank_0_ends_the_fit_on_every_rank(tmp_path):
    stopped = [
        json.loads(rank.with_suffix(".json").read_text()) for rank in run("interrupt", 2, tmp_path)
    ]
    assert stopped[0] == stopped[1]
    converged, n_iter = stopped[0]
    assert not converged
    assert 0 < n_iter < 6

"""What MPI ranks do in a test, `mpiexec -n 4 python ranks.py TASK FOLDER`, and write to FOLDER."""

import functools
import json
import operator
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import over_rows
from mpi4py import MPI
from over_rows import LABELS, MODELS, SHARED, SWEEPS, N, X, Y, dealt

from softstep import SoftmaxRegression, kernels
from softstep.kernels import blas
from softstep.model.shards.ranks import fit_over

COMM = MPI.COMM_WORLD
RANK, SIZE = COMM.rank, COMM.size


def own(given):
    return {name: dealt(array, SIZE)[RANK] for name, array in given.items()}


def fits(folder):
    """Each model, the first one twice, and a sweep; every rank keeps what it ends with."""
    found = {}
    for name in (*MODELS, "plain"):
        model, given = over_rows.model(name)
        again = name in found
        found[name + " again" * again] = model.fit(**own(given), comm=COMM)
    told = []
    found["sweep"] = over_rows.sweep().fit(**own({"X": X, "y": Y}), comm=COMM, callback=told.append)
    found["told"] = len(told)
    for name, (given, _) in SWEEPS.items():
        found[name] = over_rows.sweep(name).fit(**own(given), comm=COMM)
    (folder / f"{RANK}.pickle").write_bytes(pickle.dumps(found))


def refusals(folder):
    """What the ranks say of rows of the last rank that cannot be meant."""
    last, said = RANK == SIZE - 1, {}
    x, y = dealt(X, SIZE)[RANK], dealt(LABELS, SIZE)[RANK]
    bad = x.copy()
    bad[5, 3] = np.nan
    masked = np.ma.array(y, mask=np.arange(len(y)) == 5)
    weights = np.full(len(y), -1.0 if last else 1.0)
    cases = {
        "no rows": ({"X": x[:0], "y": y[:0]}, {}),
        "width": ({"X": x[:, 1:], "y": y}, {}),
        "dtype": ({"X": x.astype(np.float64), "y": y}, {}),
        "labels": ({"X": x, "y": y[1:]}, {}),
        "kinds": ({"X": x, "y": np.arange(len(y))}, {}),
        "masked": ({"X": x, "y": masked}, {}),
        "nan": ({"X": bad, "y": y}, {}),
        "nothing": ({"X": None, "y": y}, {}),
        "weights": ({"X": x, "y": y, "sample_weight": weights}, {}),
        "no weights": ({"X": x, "y": y, "sample_weight": None}, {}),
        "sgd": ({"X": x, "y": y}, {"solver": "sgd"}),
        "tol": ({"X": x, "y": y}, {"tol": -1.0}),
    }
    for name, (given, settings) in cases.items():
        model = SoftmaxRegression(**{**SHARED, **settings})
        mine = given if last else {"X": x, "y": y}
        if "sample_weight" in given:
            mine = {**mine, "sample_weight": weights if name == "weights" or not last else None}
        try:
            model.fit(**mine, comm=COMM)
        except Exception as error:
            said[name] = f"{type(error).__name__}: {error}"
        assert not hasattr(model, "coef_")
    (folder / f"{RANK}.json").write_text(json.dumps(said))


def death(folder):
    """The last rank is killed in the middle of a fit, which keeps its state."""
    if RANK == SIZE - 1:
        calls, gradient = [], kernels.gradient

        @functools.wraps(gradient)
        def killing(*given, **how):
            calls.append(1)
            if len(calls) == 6:
                os.kill(os.getpid(), signal.SIGKILL)
            return gradient(*given, **how)

        kernels.gradient = killing
    model, given = over_rows.model("plain")
    model.fit(**own(given), comm=COMM, checkpoint=folder / "kept", checkpoint_every=0)


def interrupt(folder):
    """Rank 0 is told to stop by Ctrl-C in the middle of a fit."""

    def stop(done):
        if done.number == 3:
            os.kill(os.getpid(), signal.SIGINT)

    model, given = over_rows.model("plain")
    try:
        model.fit(**own(given), comm=COMM, callback=stop)
    except KeyboardInterrupt:
        (folder / f"{RANK}.json").write_text(json.dumps([model.converged_, model.n_iter_]))


def termination(folder):
    """All ranks are told to end in the middle of a fit, rank 0 a second after the others."""
    others = COMM.allgather(os.getpid())[1:]

    def terminate(done):
        if done.number == 3:
            for process in others:
                os.kill(process, signal.SIGTERM)
            time.sleep(1)
            os.kill(os.getpid(), signal.SIGTERM)

    model, given = over_rows.model("plain")
    kept = {"checkpoint": folder / "kept", "checkpoint_every": 1e9}
    model.fit(**own(given), comm=COMM, callback=terminate, **kept)


def its_number(shard):
    return [shard.first]


def quarrel(one, other):
    if len(other) > 1 or one[0] > 0:
        raise ZeroDivisionError(f"{one} and {other}")
    return one + other


def quarrels(folder):
    """What is said of answers of two ranks that cannot be combined."""

    def fit(X, y):
        X.reduced(its_number, combine=quarrel)

    model, given = over_rows.model("plain")
    try:
        fit_over(COMM, model, fit, **own(given))
    except Exception as error:
        (folder / f"{RANK}.json").write_text(json.dumps(f"{type(error).__name__}: {error}"))


def six(shard):
    return np.full(6, 10.0 ** (shard.first > 0))


def whose(entries):
    return [(RANK, entry) for entry in entries]


def shares(folder):
    """Who finishes which of six entries, and what they are."""
    found = []

    def fit(X, y):
        found.extend(X.reduced(six, combine=operator.add, finish=whose))

    fit_over(COMM, over_rows.model("plain")[0], fit, **own({"X": X, "y": Y}))
    (folder / f"{RANK}.json").write_text(json.dumps(found))


def breakage(folder):
    """The last rank cannot find its BLAS, as it begins."""
    if RANK == SIZE - 1:
        blas._libraries = lambda: operator.truediv(1, 0)
    model, given = over_rows.model("plain")
    model.fit(**own(given), comm=COMM)


def absence(folder):
    """The last rank does not come; Ctrl-C is sent to rank 0 twice."""
    if RANK == SIZE - 1:
        time.sleep(100)
        return
    command = f"sleep 1; kill -INT {os.getpid()}; sleep 1; kill -INT {os.getpid()}"
    with subprocess.Popen(["sh", "-c", command]):
        model, given = over_rows.model("plain")
        model.fit(**own(given), comm=COMM)


TASKS = (fits, refusals, death, interrupt, termination, quarrels, shares, breakage, absence)

if __name__ == "__main__":
    assert len(X) == N
    signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
    {task.__name__: task for task in TASKS}[sys.argv[1]](Path(sys.argv[2]))

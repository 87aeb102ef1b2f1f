"""Killed at random moments, does a checkpointed training resume to the same bits?

A train and a sweep (folds, halving, patience) run in a process of their own, which is killed with
SIGKILL after a random time and started again with resume=True, again and again until it is done.
Then its weights and curves are compared with those of the run that nobody killed. POSIX only.
"""

import hashlib
import subprocess
import sys
import tempfile
import time
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.bench.studies import parser

N, D, C = 30_000, 100, 10
HEAD = "| run | kills | that left a checkpoint | while one was written | runs | same bits "
HEAD += "| files left behind | errors |"
HUNG = 600.0  # seconds after which a run that nobody kills is given up
EVERY = 0.05  # seconds between checkpoints: the more, the more often a kill falls into one
GRID: Any = {"learning_rate": [0.003, 0.03, 0.3, 3.0], "loss": ["mse", "cross_entropy"]}


@dataclass
class Tally:
    """What became of the runs of one kind."""

    kills: int = 0
    kept: int = 0  # of the kills, those that left a checkpoint
    writing: int = 0  # and those while one was written
    runs: int = 0
    same: int = 0
    leftovers: int = 0
    errors: int = 0


def rows() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    y = rng.integers(C, size=N)
    centres = rng.standard_normal((C, D))
    return (centres[y] + 3 * rng.standard_normal((N, D))).astype(np.float32), y


def train(**keeping: Any) -> list[Any]:
    """The arrays that a train ends with."""
    X, y = rows()
    settings: dict[str, Any] = {"momentum": 0.9, "schedule": "cosine", "patience": 5}
    model = SoftmaxRegression(epochs=60, random_state=0, **settings)
    model.fit(X[2000:], y[2000:], X_val=X[:2000], y_val=y[:2000], **keeping)
    return [model.coef_, model.intercept_, model.loss_curve_]


def sweep(**keeping: Any) -> list[Any]:
    """The arrays that a sweep ends with."""
    settings: dict[str, Any] = {"cv": 3, "halving": True, "patience": 2, "schedule": "cosine"}
    model = SoftmaxSweep(GRID, epochs=12, random_state=0, **settings).fit(*rows(), **keeping)
    tables = [np.array(values) for name, values in model.results_.items() if name != "params"]
    best = model.best_estimator_
    return [best.coef_, best.intercept_, model.loss_curves_, *tables]


KINDS = {"train": train, "sweep": sweep}


def digest(arrays: list[Any]) -> str:
    """Of the bits of all arrays."""
    hashed = hashlib.sha256()
    for array in arrays:
        hashed.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return hashed.hexdigest()


def start(kind: str, *folder: str) -> subprocess.Popen[str]:
    """A process that has begun a training, checkpointed if there is a folder, and prints its
    digest."""
    command = [sys.executable, "-m", __spec__.name, "--child", kind, *folder]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def survive(kind: str, kills: int, longest: float, rng: np.random.Generator, tally: Tally) -> str:
    """The digest of a run that is killed until it is done, or was killed so often."""
    with tempfile.TemporaryDirectory() as name:
        before, folder = tally.kills, Path(name)
        while True:
            process = start(kind, name)
            kill = tally.kills - before < kills
            try:
                out, _ = process.communicate(timeout=rng.uniform(0, longest) if kill else HUNG)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                if not kill:
                    tally.errors += 1
                    return "hung"
                tally.kills += 1
                tally.kept += any(folder.glob("checkpoint-*"))
                tally.writing += any(folder.glob(".checkpoint-*"))
                continue
            tally.errors += process.returncode != 0
            tally.leftovers += len(list(folder.glob(".*")))
            return out.strip()


def main(argv: list[str] | None = None) -> int:
    """Print a table; 1 if a run did not end with the same bits."""
    options = parser("trust.kill", __doc__)
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument(
        "--child", nargs="+", metavar="KIND", help="the run itself; for this study"
    )
    given = options.parse_args(argv)
    if given.child:
        kind, *folder = given.child
        print("begun", flush=True)
        keeping: dict[str, Any] = {"checkpoint_every": EVERY, "resume": True}
        print(digest(KINDS[kind](**(keeping | {"checkpoint": folder[0]} if folder else {}))))
        return 0
    rng = np.random.default_rng(given.seed)
    tallies = {kind: Tally() for kind in KINDS}
    for kind, tally in tallies.items():
        start(kind).communicate()  # compiles
        process, began = start(kind), time.monotonic()
        expected = process.communicate()[0].strip()
        longest = 1.2 * (time.monotonic() - began)
        share = given.kills // len(KINDS)
        while tally.kills < share:
            tally.runs += 1
            found = survive(kind, share - tally.kills, longest, rng, tally)
            tally.same += found == expected != ""
    print(f"{HEAD}\n{'|---' * 8}|")
    for kind, t in tallies.items():
        print(f"| {kind} | {' | '.join(map(str, astuple(t)))} |")
    return int(any(t.same < t.runs or t.leftovers or t.errors for t in tallies.values()))


if __name__ == "__main__":
    raise SystemExit(main())

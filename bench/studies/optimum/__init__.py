"""Every head to its optimum: softstep against scikit-learn, and torch.

Everybody has all cores, and is given the same rows in float32 (LogisticRegressionCV makes float64
of them). softstep stops when each head is proven to be within 1e-6 of the least objective, relative
to it. The others are ended, by a callback of SciPy's minimizer or by hand, at the first iterate
whose objective is not more than 1e-6 above softstep's: their times are those of fits that knew when
to stop. The loop of LogisticRegression is run on the features as they are, and with their means
taken off, as torch's are: the objective is the same and needs fewer rounds, but one has to know
it. Of LogisticRegressionCV two of the five folds are run, on two processes, and the time scaled to
five; the heads on all rows, which softstep's sweep has too, take it the time of the loop.
Accuracies on the test rows are compared, and it is said at which C they are farthest apart.

What SGD gets to on the same rows of MNIST is beside it (`sgd`). Each work runs in a process of its
own; what is done is kept in the file of --out, work by work and line by line, so that a run may be
cut short and its works run one at a time with --only. With --enough whoever has taken a tenth more
than the goal is broken off; the line says after how many C, and compares those.

--proofs puts 200 problems to SciPy instead; --evaluations counts, for each choice of curvature, how
often the objective is evaluated, which noise does not touch; --accuracies lets the loop go on to
its end on MNIST, and compares accuracies at each C, more closely where they are apart.
"""

import functools
import sys
import time
from pathlib import Path

import numpy as np

from softstep.bench.measure import clocked
from softstep.bench.peers import installed
from softstep.bench.problems import Array
from softstep.bench.studies import parser, proofs, run_apart
from softstep.bench.studies.optimum import ours, theirs
from softstep.bench.studies.optimum.accuracies import print_accuracies
from softstep.bench.studies.optimum.evaluations import print_evaluations
from softstep.bench.studies.optimum.results import GOALS, Results
from softstep.bench.studies.optimum.works import FOLDS, WORKS, Work

MORE = 1.1  # than the goal, of what is enough
REPEATS = 21  # of a fit that takes milliseconds


def tell(line: str) -> None:
    """A line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def measure(key: str, quick: bool, results: Results, enough: bool = False) -> None:
    """Everybody's part of this work."""
    work = WORKS[key](quick)
    tell(work.name)
    if key == "digits":
        _one_head(work, results)
        return
    if key == "sgd":
        seconds, accuracy = ours.by_sgd(work)
        note = f"SGD, {ours.EPOCHS} epochs, best accuracy {accuracy:.4f}"
        results.put(key, "softstep", work=work.name, seconds=seconds, note=note)
        return
    solved = ours.solve(work)
    tell(f"softstep: {solved.seconds:.1f} s, {solved.bytes_above / 1e9:.2f} GB above X")
    for line in solved.said:
        tell(line)
    put = functools.partial(results.put, key, work=work.name)
    accuracies = work.accuracies(solved.whole.W, solved.whole.b)
    note = f"{solved.rounds} rounds, {solved.bytes_above / 1e9:.2f} GB above X"
    note += f", best accuracy {accuracies.max():.4f}"
    note += "".join(f"; {line}" for line in solved.said)
    put("softstep", seconds=solved.seconds, note=note, accuracies=accuracies.tolist())

    def most(who: str) -> float:
        return MORE * GOALS[key, who][0] * solved.seconds if enough else np.inf

    if key == "folds":
        _folds(work, quick, solved, results, most("scikit-learn"))
        return
    least = work.objectives(solved.whole.W, solved.whole.b, work.C)

    def compare(who: str, heads: ours.Heads, seconds: float, done: Array) -> None:
        W, b = heads.W[done], heads.b[done]
        above = work.objectives(W, b, work.C[done]) / least[done] - 1
        apart = abs(work.accuracies(W, b) - accuracies[done])
        off = {"apart": float(apart.max()), "at": float(work.C[done][apart.argmax()])}
        note = broken_off(len(done), len(work.C))
        put(who, seconds=seconds, above=float(above.max()), note=note, **off)
        tell(f"{who}: {seconds:.1f} s {note}")

    if key == "embeddings" and installed("torch"):
        compare("torch", *torch_heads(work, least, most("torch")))
    for centred, who in ((False, "scikit-learn"), (True, "scikit-learn, features centred")):
        goals, seconds = theirs.goals_of(least), most("scikit-learn")
        heads, seconds = theirs.loop(work, goals, tell, centred=centred, most_seconds=seconds)
        compare(who, heads, seconds, np.arange(len(heads.W)))


def broken_off(done: int, count: int) -> str:
    """A note on who was not let go on after so many C of `count`."""
    return "" if done == count else f"broken off after {done} of {count} C"


def torch_heads(
    work: Work, least: Array, most_seconds: float = np.inf
) -> tuple[ours.Heads, float, Array]:
    """All heads by one stacked L-BFGS, its seconds, and which heads got there in `most_seconds`."""
    from softstep.bench.peers.torch_lbfgs import stacked

    l2 = 1 / (work.C * len(work.X))

    def solve(rows: slice, goals: Array) -> tuple[Array, Array]:
        X = work.X[rows]
        return stacked(X - X.mean(axis=0), work.y[rows], work.classes, l2, goals, most_seconds)

    solve(slice(ours.FEW_ROWS), np.full(len(l2), np.inf))  # what is loaded at first use
    (theta, left), seconds = clocked(lambda: solve(slice(None), theirs.goals_of(least)))
    heads = ours.Heads(theta[:, :-1], theta[:, -1]).uncentred(work.X)
    return heads, seconds, np.flatnonzero(~left)


def _one_head(work: Work, results: Results) -> None:
    head = ours.Heads.of([ours.one_head(work)])
    least = work.objectives(head.W, head.b, work.C)
    put = functools.partial(results.put, "digits", work=work.name)
    put("softstep", seconds=ours.seconds_of_one_head(work, REPEATS))
    goals = theirs.goals_of(least)
    seconds, above = theirs.one_fit(work, goals, REPEATS)
    put("scikit-learn", seconds=seconds, above=above)


def _folds(
    work: Work, quick: bool, solved: ours.Solved, results: Results, most_seconds: float
) -> None:
    goals = []
    for (learn, _), heads in zip(work.folds, solved.folds, strict=True):
        goals.append(theirs.goals_of(work.objectives(heads.W, heads.b, work.C, learn)))
    seconds, above, done = theirs.cross_validated(quick, goals, most_seconds)
    tell(f"LogisticRegressionCV: {seconds:.1f} s, {done} C")
    note = f"LogisticRegressionCV, {theirs.SIDE_BY_SIDE} folds of {FOLDS} run"
    if done < len(work.C):
        note += f", {broken_off(done, len(work.C))}"
    all_rows = results.parts.get("mnist", {}).get("scikit-learn")
    if all_rows is not None:
        note += f"; {all_rows['seconds']:.4g} s of it the loop on all rows"
        seconds += all_rows["seconds"]
    results.put("folds", "scikit-learn", work=work.name, seconds=seconds, above=above, note=note)


def main(argv: list[str] | None = None) -> int:
    """Measure what is asked for, and print the table of all there is."""
    options = parser("optimum", __doc__)
    options.add_argument("--quick", action="store_true", help="small sizes")
    options.add_argument("--only", choices=WORKS, action="append", help="this work alone")
    options.add_argument("--out", type=Path, help="a .json that keeps what is done")
    options.add_argument("--enough", action="store_true", help="break off who is slow enough")
    options.add_argument("--proofs", action="store_true", help="200 problems against SciPy")
    options.add_argument("--evaluations", action="store_true", help="count evaluations")
    options.add_argument("--accuracies", action="store_true", help="compare them at each C")
    given = options.parse_args(argv)
    if given.proofs:
        print(proofs.table(12 if given.quick else 200))
        return 0
    if given.evaluations:
        print_evaluations(given.quick)
        return 0
    if given.accuracies:
        print_accuracies(WORKS["mnist"](given.quick), tell)
        return 0
    keys = given.only or list(WORKS)
    if len(keys) == 1:
        results = Results(given.out)
        measure(keys[0], given.quick, results, given.enough)
        print(results.table())
        return 0
    path = given.out or Path("optimum.json")
    rest = ["--out", str(path), *["--quick"][: given.quick], *["--enough"][: given.enough]]
    failed = [key for key in keys if run_apart("optimum", "--only", key, *rest)]
    print(Results(path).table())
    return int(bool(failed))

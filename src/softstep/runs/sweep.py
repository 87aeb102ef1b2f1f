"""A run of `softstep sweep`: the rows that judge, the training with its progress, the files."""

import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from softstep.model import SoftmaxRegression, SoftmaxSweep, datasets, inputs
from softstep.model.optimum.problem import is_provable
from softstep.model.optimum.solve import Round
from softstep.model.sweep import grid
from softstep.model.sweep.heads import SweepEpoch
from softstep.runs import record, results
from softstep.runs.folder import save_at
from softstep.runs.progress import Progress
from softstep.runs.workers import TasksProgress

EVALUATIONS = 10  # of the held-out rows during training, for the best score so far
FEW_ROWS = 300  # on which the kernels are compiled
MODEL, *_ = record.PARTS["sweep"]
FILES = (*record.PARTS["sweep"], record.NAME, "report.html")


@dataclass(frozen=True)
class Rows:
    """The rows X, y to learn from, and those that judge, as `SoftmaxSweep.fit` takes them.

    held_out: X_val and y_val; empty if folds judge. judged: a sentence on it.
    """

    X: Any
    y: Any
    held_out: dict[str, Any]
    judged: str


def rows(data: datasets.Dataset, cv: int | None, seed: int) -> Rows:
    """All training rows if `cv` folds judge; else four fifths, and the fifth that judges.

    Raises:
        ValueError: some class has no row left to learn from.
    """
    if cv is not None:
        inputs.integer("--cv", cv, least=2)
        judged = f"judged by {cv} folds of {len(data.X_train)} rows"
        return Rows(data.X_train, data.y_train, {}, judged)
    train = datasets.Dataset(data.name, data.X_train, data.y_train, None, None)
    split = datasets.hold_out(train, fraction=0.2, seed=seed)
    assert split.X_test is not None
    assert split.y_test is not None
    lost = np.setdiff1d(split.y_test, split.y_train)
    if lost.size:
        raise ValueError(
            f"all rows of class {lost[0]} are among the fifth held out: judge by folds, --cv N"
        )
    judged = (
        f"judged on {len(split.X_test)} of the training rows, a fifth; all models, the saved one "
        f"too, learned from the other {len(split.X_train)}"
    )
    held_out = {"X_val": split.X_test, "y_val": split.y_test}
    return Rows(split.X_train, split.y_train, held_out, judged)


def fit(sweep: SoftmaxSweep, rows: Rows, **how: Any) -> str:
    """Fit the sweep and show the progress; returns a sentence on the time it took.

    The time does not include compiling the kernels. how: the arguments of `fit` on checkpoints and
    the executor.
    """
    if sweep.solver == "lbfgs":
        return _solve(sweep, rows, **how)
    sweep.set_params(eval_every=max(1, sweep.epochs // EVALUATIONS))
    _compile(sweep, rows, max_steps=1)
    start = time.perf_counter()
    certified, in_tasks = certifies(sweep), how.get("executor") is not None
    watch: SweepProgress | TasksProgress
    watch = TasksProgress() if in_tasks else SweepProgress(str(sweep.refit), certified)
    with watch as progress:
        sweep.fit(rows.X, rows.y, **rows.held_out, callback=progress, **how)
    seconds = time.perf_counter() - start
    since = " since the run was resumed" if how.get("resume") else ""
    alone = _seconds_an_epoch_alone(sweep.best_estimator_, rows.X, rows.y)
    heads_each = 1 + (sweep.cv or 0)
    epochs = int(sweep.results_["epochs"].sum()) * heads_each  # without those of dropped heads
    times = (
        f"{len(sweep.results_['rank']) * heads_each} heads in {progress.seconds:.2f} s{since}; "
        f"one head alone takes about {alone:.3f} s an epoch, so the {epochs} epochs they ran would "
        f"take {epochs * alone:.1f} s one after another"
    )
    if certified:
        times += f"; the certificates took another {seconds - progress.seconds:.1f} s"
    return times


def _solve(sweep: SoftmaxSweep, rows: Rows, **how: Any) -> str:
    """As `fit`, of a sweep that goes to the optimum."""
    _compile(sweep, rows, max_iter=1)
    watch: SolveProgress | TasksProgress
    watch = SolveProgress(sweep.tol) if how.get("executor") is None else TasksProgress()
    with watch as progress:
        sweep.fit(rows.X, rows.y, **rows.held_out, callback=progress, **how)
    results, heads_each = sweep.results_, 1 + (sweep.cv or 0)
    seconds = time.perf_counter() - progress.start
    return (
        f"{len(results['rank']) * heads_each} heads in {seconds:.2f} s and {progress.rounds} "
        f"{progress.ROUNDS}; {_reached(results, sweep.tol)}"
    )


def _reached(results: dict[str, Any], tol: float) -> str:
    """How many of the heads on all rows are where they were to go."""
    count, has_bound = len(results["bound"]), np.isfinite(results["bound"])
    proven = int((results["converged"] & has_bound).sum())
    stationary = int((results["converged"] & ~has_bound).sum())
    said = f"{proven} of the {count} on all rows are proven to be within {tol:g} of the optimum, "
    said += "relative to it"
    if not stationary:
        return said
    flat = f"{stationary} of the {count} on all rows have come to a stationary point, of which "
    flat += "there is no bound"
    return f"{said}; {flat}" if proven else flat


def honest(sweep: SoftmaxSweep) -> list[str]:
    """A sentence on how good the best is without the luck of having been chosen, if it is known."""
    if not hasattr(sweep, "best_score_"):
        return []
    (low, high), wins = sweep.best_score_interval_, sweep.best_wins_
    return [
        f"{sweep.refit} of the best on rows that had no part in choosing it "
        f"{sweep.best_score_:.4f} ({low:.4f} to {high:.4f}); it was the best in {wins:.0%} of "
        "1000 bootstraps"
    ]


# Settings with a best value somewhere between two ends: what they are called, and their options.
ORDERED = {"learning_rate": ("rate", "--lr"), "l2": ("l2", "--l2"), "C": ("C", "--C")}


def at_an_end(sweep: SoftmaxSweep) -> list[str]:
    """A sentence for each setting of which the best has the smallest or the largest value tried
    with the same loss on the same features: a better one may lie beyond. Not below an l2 of 0."""
    best, said = sweep.best_params_, []
    names = "loss", "features", "scaling"
    same = [p for p in sweep.results_["params"] if all(p.get(n) == best.get(n) for n in names)]
    for name, (what, option) in ORDERED.items():
        values = sorted({p[name] for p in same if name in p})
        if len(values) < 2 or best[name] not in (values[0], values[-1]) or best[name] == 0:
            continue
        end, way = ("smallest", "down") if best[name] == values[0] else ("largest", "up")
        said.append(
            f"the best {what}, {best[name]:.4g}, is the {end} tried: extend {option} {way}wards"
        )
    return said


def _compile(sweep: SoftmaxSweep, rows: Rows, **least: int) -> None:
    """Compile what training, judging and certifying this bank takes, by a little of it.

    least: settings with which it is over soon.
    """
    X, y, held_out = _few(rows, sweep.cv or 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is so little and so soon over
        SoftmaxSweep(**sweep.get_params() | least).fit(X, y, **held_out)


def _few(rows: Rows, each: int) -> tuple[Any, Any, dict[str, Any]]:
    """The first of the rows, or all if they are few, with labels of every class, `each` or more."""
    classes = np.unique(rows.y)
    n = max(FEW_ROWS, each * len(classes))
    if n >= len(rows.y):
        return rows.X, rows.y, rows.held_out
    X, y = rows.X[:n], classes[np.arange(n) % len(classes)]
    return X, y, {"X_val": X, "y_val": y} if rows.held_out else {}


def certifies(sweep: SoftmaxSweep) -> bool:
    """Whether some setting gets a certificate."""
    return any(
        is_provable(np.array([setting["loss"]]), np.array([setting["l2"]]))[0]
        for setting in grid.configurations(sweep.param_grid, sweep.solver)
    )


def save(
    folder: Path,
    sweep: SoftmaxSweep,
    about: dict[str, Any],
    accuracy: float,
    notes: list[str],
    stale: Iterable[Path],
) -> dict[str, Any]:
    """Write what was found, the model first, the record last; returns the record.

    about: the command's record, to which settings, results and notes are added.
    accuracy: of the best model on the test rows.
    stale: the page and the pictures of an earlier run, which are removed with its record.
    """
    settings = sweep.get_params()
    about |= {
        "settings": settings | settings.pop("param_grid"),
        "origin": sweep.origin_,
        "results": {"best": sweep.best_params_, "test_accuracy": accuracy},
        "notes": notes,
    }
    for file in (folder / record.NAME, *stale):
        file.unlink(missing_ok=True)
    save_at(folder / MODEL, sweep.best_estimator_.save)
    results.write(folder, sweep.results_, sweep.loss_curves_)
    record.write(folder, about)
    return about


def _seconds_an_epoch_alone(model: SoftmaxRegression, X: Any, y: Any) -> float:
    """How long one epoch of this model alone takes."""
    lone = SoftmaxRegression(**model.get_params() | {"epochs": 1})
    SoftmaxRegression(**lone.get_params() | {"max_steps": 1}).fit(X, y)  # compiles
    start = time.perf_counter()
    lone.fit(X, y)
    return time.perf_counter() - start


class SweepProgress(Progress):
    """Shows the heads alive, the best score so far and the time left.

    seconds: from the start to the end of the last epoch.
    """

    def __init__(self, refit: str, certifies: bool) -> None:
        super().__init__()
        self.refit: str = refit
        self.certifies: bool = certifies
        self.start: float = time.perf_counter()
        self.seconds: float = 0.0
        self.alive: int | None = None
        self.head_epochs: int = 0

    def __call__(self, epoch: SweepEpoch) -> None:
        done, of = epoch.number + 1, epoch.epochs
        self.seconds = time.perf_counter() - self.start
        # Time is proportional to the heads that train: those alive before the epoch.
        self.head_epochs += epoch.alive if self.alive is None else self.alive
        self.alive = epoch.alive
        left = self.seconds / max(1, self.head_epochs) * epoch.alive * (of - done)
        best = "" if epoch.score is None else f"  best {self.refit} {epoch.score:.4f}"
        text = f"epoch {done:>{len(str(of))}}/{of}  {epoch.alive} heads{best}  {left:.0f} s left"
        if done == of and self.certifies:
            text += ", and the certificates"
        self.tell(text, done, of)


class SolveProgress(Progress):
    """Shows the heads still going, the largest of their bounds and the time left.

    rounds: how many there were. The bound falls by about as many decades in each second, so that
    the decades that are left tell the time; of parts of the heads, which go one after another, each
    is taken to last as long.
    """

    PARTS, ROUNDS = 100, "rounds"

    def __init__(self, tol: float) -> None:
        super().__init__()
        self.tol: float = tol
        self.part: int = -1
        self.first: float = 10 * tol  # the largest bound of this part
        self.share: float = 0.0
        self.rounds: int = 0
        self.start: float = time.perf_counter()

    def __call__(self, done: Round) -> None:
        self.rounds = done.number + 1
        if not done.going:
            return
        if done.part != self.part:
            self.part, self.first = done.part, 10 * self.tol
        bound = max(min(done.bound, 1.0), self.tol)
        self.first = max(self.first, bound)
        of_part = float(np.log(self.first / bound) / np.log(self.first / self.tol))
        share = (done.part + of_part) / done.parts
        self.share = max(self.share, share)  # a bound may rise for a while
        seconds, share = time.perf_counter() - self.start, self.share
        left = f"{seconds * (1 - share) / share:.0f} s left" if share > 0 else "just begun"
        text = f"round {self.rounds}  {done.going} heads  bound {done.bound:.1e}  {left}"
        self.tell(text, int(self.PARTS * share), self.PARTS)

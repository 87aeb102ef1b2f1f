"""How long do the scores of 300 heads take on 10000 held-out rows of 10 classes, and are they
scikit-learn's? And the out-of-fold probabilities of 60000 rows?

The time of a score is that of a sweep which takes it of heads in memory: logits, probabilities, and
the score; for means over rows the sums of 1000 bootstraps too. scikit-learn is given the
probabilities, and takes some of the heads; its time is scaled to all of them. All cores; of three
rounds the fastest counts.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from softstep import SoftmaxSweep
from softstep.bench.measure import clocked
from softstep.bench.problems import Array
from softstep.bench.studies import parser
from softstep.model.scores import SCORES, Score
from softstep.model.sweep.heads import Heads
from softstep.model.sweep.scoring import Draws, Judged
from softstep.model.sweep.scoring.passes import of_all_rows, summed
from softstep.model.trainer import Rows, SGDSettings
from softstep.model.views import Part

HEADS, ROWS, COLUMNS, CLASSES = 300, 10_000, 64, 10
FOLDS, LEARNED, PIXELS = 5, 60_000, 784  # of the sweep whose rows have out-of-fold probabilities
THEIRS = 5  # heads that scikit-learn takes
ROUNDS = 3  # of which the fastest counts


def problem(heads: int = HEADS, rows: int = ROWS) -> Judged:
    """Heads whose weights are about those of the classes, some nearer than others."""
    rng = np.random.default_rng(0)
    y = rng.integers(CLASSES, size=rows)
    centres = rng.standard_normal((CLASSES, COLUMNS)) / 8
    X = (centres[y] + rng.standard_normal((rows, COLUMNS))).astype(np.float32)
    noise = rng.standard_normal((heads, COLUMNS, CLASSES)) * np.linspace(0, 1, heads)[:, None, None]
    W = (centres.T + 0.1 * noise).astype(np.float32)
    of = np.arange(heads)
    none = np.zeros(heads, np.int64)
    loss = np.full(heads, "cross_entropy")
    return Judged(
        heads=Heads(of, none - 1, none, none, loss, none, none, none, none),
        W=W,
        b=np.zeros((heads, CLASSES), np.float32),
        data=Rows(X, y[None]),
        judge=None,
        parts=(Part((0, COLUMNS)),),
        classes=(CLASSES,),
        sgd=SGDSettings("cross_entropy", 0.1, 100),
        layout=None,
    )


def scored(judged: Judged, score: Score) -> Array:
    """The score of each head."""
    if score.kind == "all":
        return of_all_rows(judged, {score.name: score})[score.name]
    draws = Draws(0, len(judged.b), [score.name], score.name) if score.is_mean else None
    return summed(judged, {score.name: score}, draws)[score.name]


def theirs() -> dict[str, Callable[[Array, Array], Any]]:
    """scikit-learn's, of labels and probabilities."""
    from sklearn import metrics

    return {
        "accuracy": lambda y, P: metrics.accuracy_score(y, P.argmax(axis=1)),
        "balanced_accuracy": lambda y, P: metrics.balanced_accuracy_score(y, P.argmax(axis=1)),
        "top_k_accuracy": lambda y, P: metrics.top_k_accuracy_score(y, P),
        "neg_log_loss": lambda y, P: -metrics.log_loss(y, P),
        "brier": metrics.brier_score_loss,
        "macro_f1": lambda y, P: metrics.f1_score(y, P.argmax(axis=1), average="macro"),
        "roc_auc_ovr": lambda y, P: metrics.roc_auc_score(y, P, multi_class="ovr"),
        "average_precision": metrics.average_precision_score,
    }


def probabilities(judged: Judged, heads: Array) -> Array:
    """Of these heads, (len(heads), n, c)."""
    (group,) = judged.groups(heads)
    n = len(judged.data.X)
    answers = judged.answers(judged.data.X, 0, np.arange(n), group, heads)
    return answers.probabilities.transpose(1, 0, 2)


def _of_each(peer: Callable[[Array, Array], Any], y: Array, P: Array) -> list[Any]:
    return [peer(y, p) for p in P]


def table(judged: Judged) -> str:
    """Markdown: of each score the seconds, and how far it is from scikit-learn's."""
    lines = ["| score | softstep, s | scikit-learn, s | farthest apart |", "|---|---|---|---|"]
    some = np.linspace(0, len(judged.b) - 1, THEIRS).astype(int)
    P, y, peers = probabilities(judged, some), judged.data.y[0], theirs()
    for name, score in SCORES.items():
        runs = [clocked(partial(scored, judged, score)) for _ in range(ROUNDS)]
        found, seconds = runs[0][0], min(time for _, time in runs)
        if name not in peers:
            lines.append(f"| {name} | {seconds:.2f} | | |")
            continue
        values, time = clocked(partial(_of_each, peers[name], y, P))
        apart = np.abs(found[some] - values).max()
        time *= len(judged.b) / THEIRS
        lines.append(f"| {name} | {seconds:.2f} | {time:.1f} | {apart:.0e} |")
    return "\n".join(lines)


def out_of_fold(rows: int = LEARNED) -> str:
    """A sentence on how long they take after a sweep on so many rows."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, PIXELS), dtype=np.float32)
    y = rng.integers(CLASSES, size=rows)
    sweep = SoftmaxSweep({"loss": "cross_entropy"}, cv=FOLDS, max_steps=1, random_state=0).fit(X, y)
    runs = [clocked(partial(sweep.out_of_fold, X)) for _ in range(1 + ROUNDS)]  # the first compiles
    seconds = min(time for _, time in runs[1:])
    work = f"{rows} x {PIXELS} float32, {CLASSES} classes, {FOLDS} folds"
    return f"out-of-fold probabilities of {work}: {seconds:.3f} s"


def main(argv: list[str] | None = None) -> int:
    parser("scoring", __doc__).parse_args(argv)
    judged = problem()
    for score in SCORES.values():
        scored(problem(heads=2, rows=1000), score)  # compiles
    print(table(judged))
    print(f"\n{out_of_fold()}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

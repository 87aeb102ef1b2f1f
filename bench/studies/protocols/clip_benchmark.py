"""CLIP_benchmark's linear probe: 97 strengths of regularisation, the best on rows held out."""

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np

from softstep.bench.measure import clocked
from softstep.bench.peers import installed
from softstep.bench.studies.protocols.choosing import Chosen, Rows, chosen, proven
from softstep.bench.studies.protocols.results import OURS, Put

STRENGTHS = np.geomspace(1e-6, 1e2, 97)
APART = 16  # places of the strengths that are tried first
BATCH_SIZE, EPOCHS, RATE = 64, 10, 0.1


def searched(accuracy: Callable[[int], float], count: int = len(STRENGTHS)) -> int:
    """The place of the best of `count` strengths: of every 16th the best, then of those 8, 4, 2 and
    1 places from the best and itself, each trained anew."""

    def best_of(places: Iterable[int]) -> int:
        return max(places, key=accuracy)

    best, span = best_of(range(0, count, APART)), APART // 2
    while span:
        best = best_of((max(best - span, 0), best, min(best + span, count - 1)))
        span //= 2
    return best


def trainings(rows: Rows, epochs: int) -> Chosen:
    """The search in torch: AdamW on rows of unit length, with the strength as weight decay."""
    from softstep.bench.studies.protocols.torch_ import adamw

    X, X_test = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (rows.X, rows.X_test))
    train = partial(adamw, classes=10, batch_size=BATCH_SIZE, epochs=epochs, rate=RATE)
    judged: dict[int, float] = {}

    def accuracy(place: int) -> float:
        predict = train(X[rows.learn], rows.y[rows.learn], float(STRENGTHS[place]))
        judged[place] = float((predict(X[rows.judge]) == rows.y[rows.judge]).mean())
        return judged[place]

    best = searched(accuracy)
    predict = train(X, rows.y, float(STRENGTHS[best]))
    test = float((predict(X_test) == rows.y_test).mean())
    return Chosen(float(STRENGTHS[best]), judged[best], test)


def measure(quick: bool, put: Put) -> None:
    rows = Rows.of_digits(*((300, 16) if quick else (10_000, 1024)), choosing=0.2, test=0.5)
    strengths = STRENGTHS[::APART] if quick else STRENGTHS
    grid = {"l2": strengths.tolist(), "scaling": "l2"}
    sweep = partial(chosen, name="l2", grid=grid)
    sweep(rows.few())  # compiles
    (ours, heads), seconds = clocked(partial(sweep, rows))
    work = f"{len(strengths)} strengths, {rows.name}"
    put(OURS, seconds, f"λ {ours}; {proven(heads)}", work=work)
    if installed("torch"):
        trainings(rows.few(), epochs=1)
        theirs, seconds = clocked(partial(trainings, rows, epochs=1 if quick else EPOCHS))
        put("torch, 19 trainings by AdamW", seconds, f"weight decay {theirs}")

"""Sparse rows: the kernels on CSR beside scikit-learn's SGDClassifier, and beside dense blocks.

The first table is a matrix of the shape of 20 newsgroups, made on the spot. SGDClassifier(loss=
"log_loss") trains for some epochs; softstep, with the same l2, until its loss is as low on the rows
it learned from and on held-out ones. The loss is the mean -log of the probability of the right
class. Below it stands an epoch of the same rows made dense in blocks. The second table is one epoch
on rows of several densities, read as they are stored or made dense in blocks: up to which density
the former wins.

Everybody has one thread. Times are of the processor, so that others on the machine do not count.
"""

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from softstep import SoftmaxRegression, SoftmaxSweep
from softstep.bench.studies import parser
from softstep.bench.studies.sparse.corpus import corpus
from softstep.model.inputs import sparse as door

SHAPE = 11_314, 130_000, 20
WORDS = 138  # of a text: about 130 of them differ, 0.1 % of the columns
HELD_OUT = 2_000
PENALTIES = 1e-4, 1e-5  # the first is SGDClassifier's default
EPOCHS = 1, 2, 5, 10
OURS: Any = {"loss": "cross_entropy", "learning_rate": 100, "schedule": "cosine", "batch_size": 20}
DENSITIES = {"numba": (0.01, 0.03, 0.1, 0.2, 0.4), "numpy": (0.001, 0.003, 0.01, 0.03)}
BATCH, ROWS, COLUMNS = 100, 2_000, 4_000
ROUNDS = 3


def seconds(call: Callable[[], Any], rounds: int = ROUNDS) -> float:
    """Processor time of the call: the median of some."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times)


def losses(model: Any, rows: Any) -> list[float]:
    """Mean -log p of the right class, on each of these X, y."""
    found = []
    for X, y in rows:
        right = np.asarray(model.predict_proba(X), np.float64)[np.arange(len(y)), y]
        found.append(float(-np.log(np.maximum(right, 1e-300)).mean()))
    return found


def beside_sgd_classifier(shape: Any, words: int) -> list[str]:
    """The lines of the first table."""
    from sklearn.linear_model import SGDClassifier

    n, d, c = shape
    X, y = corpus(n + HELD_OUT, d, c, words)
    rows = (X[:n], y[:n]), (X[n:], y[n:])
    SoftmaxRegression(**OURS, max_steps=2, n_threads=1).fit(*rows[0])  # compiles
    lines = [
        f"{n} x {d}, {X.nnz / (len(y) * d):.2%} stored, {c} classes",
        "",
        "| l2 | SGDClassifier: epochs | seconds | loss | held-out | softstep: epochs | seconds "
        "| loss | held-out | times as fast |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for l2 in PENALTIES:
        for epochs in EPOCHS:
            theirs = SGDClassifier(
                loss="log_loss", alpha=l2, max_iter=epochs, tol=None, random_state=0
            )
            their_time = seconds(partial(theirs.fit, *rows[0]))
            goal = losses(theirs, rows)
            count, found = 0, [np.inf]
            while any(mine > other for mine, other in zip(found, goal, strict=False)):
                count += 1
                ours = SoftmaxRegression(
                    **OURS, l2=l2, epochs=count, random_state=0, n_threads=1
                ).fit(*rows[0])
                found = losses(ours, rows)
            our_time = seconds(partial(ours.fit, *rows[0]))
            cells = l2, epochs, their_time, *goal, count, our_time, *found, their_time / our_time
            lines.append(
                "| {:g} | {} | {:.3f} | {:.3f} | {:.3f} | {} | {:.3f} | {:.3f} | {:.3f} | {:.1f} |"
                "".format(*cells)
            )
    epoch = SoftmaxRegression(**OURS, epochs=1, random_state=0, n_threads=1)
    with read_as_stored(0.0):
        dense = seconds(partial(epoch.fit, *rows[0]), 1)
    return [*lines, "", f"softstep, one epoch of rows made dense in blocks: {dense:.2f} s"]


@contextlib.contextmanager
def read_as_stored(densest: float) -> Iterator[None]:
    """Within this block rows are read as they are stored up to this density, else made dense."""
    default = door.densest_csr
    door.densest_csr = lambda argument=None: densest
    try:
        yield
    finally:
        door.densest_csr = default


def epoch_seconds(X: Any, y: Any, heads: int, densest: float, backend: str) -> float:
    """One epoch of a bank."""
    rates: Any = {"learning_rate": np.geomspace(0.01, 1, heads).tolist()}
    options: Any = {
        "backend": backend,
        "epochs": 1,
        "batch_size": BATCH,
        "random_state": 0,
        "n_threads": 1,
    }
    sweep = SoftmaxSweep(rates, **options)
    held_out: Any = {"X_val": X[:50], "y_val": y[:50]}
    with read_as_stored(densest):
        sweep.fit(X, y, **held_out)  # compiles
        return seconds(lambda: sweep.fit(X, y, **held_out))


def beside_blocks(rows: int, columns: int) -> list[str]:
    """The lines of the second table."""
    from scipy.sparse import random_array

    lines = [
        f"{rows} x {columns}, 10 classes, batches of {BATCH}",
        "",
        "| backend | heads | stored | as stored, ms | made dense, ms | times as fast |",
        "|---|---|---|---|---|---|",
    ]
    rng, y = np.random.default_rng(0), np.arange(rows) % 10
    for backend, densities in DENSITIES.items():
        for heads in (1, 8):
            for density in densities:
                X = random_array((rows, columns), density=density, rng=rng, dtype=np.float32)
                given = X.tocsr(), y, heads
                stored, dense = (1e3 * epoch_seconds(*given, at, backend) for at in (1.0, 0.0))
                lines.append(
                    f"| {backend} | {heads} | {density:.1%} | {stored:.1f} | {dense:.1f} "
                    f"| {dense / stored:.2f} |"
                )
    return lines


def main(argv: list[str] | None = None) -> int:
    options = parser("sparse", __doc__)
    options.add_argument("--quick", action="store_true", help="small matrices, to try it")
    quick = options.parse_args(argv).quick
    tables: list[Callable[[], list[str]]] = [
        partial(beside_sgd_classifier, (600, 5_000, 5) if quick else SHAPE, WORDS),
        partial(beside_blocks, 200 if quick else ROWS, COLUMNS),
    ]
    for table in tables:
        print(*table(), "", sep="\n", flush=True)
    return 0

"""DINOv2's linear evaluation: 13 learning rates on each of four ranges of the features."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from softstep import SoftmaxSweep
from softstep.bench import memory
from softstep.bench.measure import clocked
from softstep.bench.peers import installed
from softstep.bench.problems import Array
from softstep.bench.studies.optimum.works import hundred_classes
from softstep.bench.studies.protocols.features import SEED, Images
from softstep.bench.studies.protocols.results import MODULES, OURS, STACKED, Put

RATES = [*np.outer(10.0 ** np.arange(-5, -1), (1, 2, 5)).ravel().tolist(), 0.1]
OF_BATCH = 256  # rows of the batch that these rates are for: they grow with it
MOMENTUM = 0.9
# In blocks: the last of them, or all four, without and with the pooled one, which comes fifth.
VIEWS = {"last": (3, 4), "last, pooled": (3, 5), "all": (0, 4), "all, pooled": (0, 5)}


@dataclass(frozen=True)
class Probe:
    """X (n, 5 d): four blocks of d columns and a pooled one; labels y (n,) in [0, classes); rows to
    judge by; how to train."""

    X: Array
    y: Array
    X_val: Array
    y_val: Array
    d: int
    classes: int
    batch_size: int
    epochs: int

    @property
    def rates(self) -> list[float]:
        return [rate * self.batch_size / OF_BATCH for rate in RATES]

    @property
    def heads(self) -> list[tuple[str, float]]:
        """The view and the rate of each."""
        return [(view, rate) for view in VIEWS for rate in self.rates]

    def columns(self, view: str) -> tuple[int, int]:
        start, stop = VIEWS[view]
        return start * self.d, stop * self.d

    @property
    def steps(self) -> int:
        return self.epochs * -(-len(self.X) // self.batch_size)

    def batches(self) -> Iterator[Array]:
        """The rows of each step, in the order that softstep takes."""
        for epoch in range(self.epochs):
            order = np.random.default_rng((SEED, 1, epoch)).permutation(len(self.X))
            yield from np.split(order, range(self.batch_size, len(order), self.batch_size))

    def few(self) -> "Probe":
        """Some steps of it, on rows of all classes."""
        n = max(2 * self.batch_size, 10 * self.classes)
        return replace(self, X=self.X[:n], y=self.y[:n], epochs=1)


def probe(n: int, d: int, batch_size: int, epochs: int) -> tuple[Probe, str]:
    """On n images and a fifth as many to judge by, or as many as there are; and which they are."""
    images = Images.found(n + n // 5)
    rng = np.random.default_rng(SEED)
    X = images.blocks(d, rng)
    y = hundred_classes(images.pixels, images.digits, rng)
    n = len(X) * 5 // 6
    found = Probe(X[:n], y[:n], X[n:], y[n:], d, 100, batch_size, epochs)
    work = f"{len(found.heads)} heads, {images.name} {n}x{X.shape[1]}->100, {epochs} epochs"
    return found, work


def sweep(of: Probe) -> Array:
    """The accuracy of each head on the rows that judge, in the order of `of.heads`."""
    grid = {
        "features": {view: of.columns(view) for view in VIEWS},
        "learning_rate": of.rates,
        "loss": "cross_entropy",
        "momentum": MOMENTUM,
    }
    heads = SoftmaxSweep(
        grid,
        batch_size=of.batch_size,
        epochs=of.epochs,
        schedule="cosine",
        random_state=SEED,
    )
    heads.fit(of.X, of.y, X_val=of.X_val, y_val=of.y_val)
    accuracies: Array = heads.results_["mean_val_accuracy"]
    return accuracies


def measure(quick: bool, put: Put) -> None:
    of, work = probe(*((1_000, 16, 256, 2) if quick else (20_000, 1024, 1024, 3)))
    sweep(of.few())  # compiles
    accuracies, above, seconds = memory.peak_above(partial(sweep, of))
    share = above / of.X.nbytes
    put(OURS, seconds, f"{_best(of, accuracies)}; {share:.2f} X of memory besides X", work=work)
    if not installed("torch"):
        return
    from softstep.bench.studies.protocols import torch_

    for who, train in ((STACKED, torch_.banks), (MODULES, torch_.modules)):
        train(of.few())
        found, seconds = clocked(partial(train, of))
        apart = np.abs(found - accuracies).max()
        put(who, seconds, f"{_best(of, found)}; accuracies apart from ours by {apart:.1e} at most")


def _best(of: Probe, accuracies: Array) -> str:
    view, rate = of.heads[int(accuracies.argmax())]
    return f"best validation accuracy {accuracies.max():.4f} ({view}, rate {rate:.2g})"

"""How long each side of suite (h) has to train: finds the constants of the suite and its peer.

softstep: for some learning rates, the fewest steps, in tens, after which 92% of MNIST's test rows
are right with each of five seeds, so that luck plays no part. scikit-learn: the fewest iterations
of L-BFGS, which uses no random numbers. The suite checks both again before it times them.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from softstep import kernels
from softstep.bench.problems import SEED
from softstep.bench.studies import parser
from softstep.bench.suites import BACKEND, ENOUGH, LOSS
from softstep.model import datasets, trainer
from softstep.model.inputs.scale import PIXEL_SCALE

RATES = (0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
EVERY, BATCH_SIZE, EPOCHS = 10, 100, 6
SEEDS = range(SEED, SEED + 5)
ITERATIONS = range(15, 61)


def accuracies(data: datasets.Dataset, rate: float, seed: int) -> Iterator[float]:
    """The share of the test rows that are right, every few steps."""
    d = data.X_train.shape[1]
    W, b = np.zeros((1, d, 10), np.float32), np.zeros((1, 10), np.float32)
    settings: dict[str, Any] = {"loss": LOSS, "feature_scale": PIXEL_SCALE, "backend": BACKEND}
    for e in range(EPOCHS):
        order = trainer.row_order(seed, e, len(data.X_train))
        for part in np.split(order, len(order) // (EVERY * BATCH_SIZE)):
            kernels.train(
                data.X_train, data.y_train, part, BATCH_SIZE, W, b, learning_rate=rate, **settings
            )
            _, right = kernels.evaluate(data.X_test, data.y_test, W, b, **settings)
            yield float(right[0])


def main(argv: list[str] | None = None) -> int:
    """Print the budgets."""
    from softstep.bench.peers.sklearn_ import fit

    parser("budgets", __doc__).parse_args(argv)
    data: Any = datasets.load_mnist()
    for rate in RATES:
        together = zip(*(accuracies(data, rate, seed) for seed in SEEDS), strict=True)
        least = (min(figures) for figures in together)
        first = next((i for i, right in enumerate(least, 1) if right >= ENOUGH), None)
        print(f"softstep, rate {rate}: {first * EVERY if first else 'more'} steps", flush=True)
    X_test = data.X_test * np.float32(PIXEL_SCALE)
    for count in ITERATIONS:
        (regression,) = fit(data, count)()
        right = regression.score(X_test, data.y_test)
        print(f"LogisticRegression, {count} iterations: {100 * right:.2f}%", flush=True)
        if right >= ENOUGH:
            break
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

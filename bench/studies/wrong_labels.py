"""Which loss suffers least from wrong labels: MNIST with some training labels replaced by others.

The learning rate of each loss is chosen on held-out rows with as many wrong labels as there are
among the rows it learns from; all test labels are right.
"""

from typing import Any

import numpy as np

from softstep import SoftmaxSweep
from softstep.bench.studies import parser
from softstep.model.datasets import load_mnist

FRACTIONS = (0.0, 0.2, 0.4)
SEEDS = (0, 1, 2)
RATES = {
    "mse": np.geomspace(0.1, 10, 9),
    "cross_entropy": np.geomspace(0.01, 1, 9),
    "gce": np.geomspace(0.1, 10, 9),
}
EPOCHS = 10


def replaced(y: Any, fraction: Any, seed: Any) -> Any:
    """y (n,) with that fraction of its labels replaced by one of the other nine."""
    rng = np.random.default_rng(seed)
    wrong = rng.permutation(len(y))[: round(fraction * len(y))]
    noisy = y.copy()
    noisy[wrong] = (y[wrong] + rng.integers(1, 10, size=len(wrong))) % 10
    return noisy


def test_accuracy(data: Any, fraction: Any, loss: Any, seed: Any) -> Any:
    """Test accuracy of the model with the best learning rate, and that rate."""
    y = replaced(data.y_train, fraction, seed)
    sweep = SoftmaxSweep(
        {"loss": loss, "learning_rate": RATES[loss].tolist()}, epochs=EPOCHS, random_state=seed
    )
    sweep.fit(data.X_train[:50000], y[:50000], X_val=data.X_train[50000:], y_val=y[50000:])
    best = sweep.best_estimator_
    return best.score(data.X_test, data.y_test), best.learning_rate


def main(argv: list[str] | None = None) -> int:
    parser("wrong_labels", __doc__).parse_args(argv)
    data = load_mnist()
    for fraction in FRACTIONS:
        for loss in RATES:
            found = [test_accuracy(data, fraction, loss, seed) for seed in SEEDS]
            accuracies, rates = np.array(found).T
            print(
                f"{fraction:.0%} wrong, {loss}: test accuracy {accuracies.mean():.4f} "
                f"({accuracies.min():.4f} to {accuracies.max():.4f}), rates "
                + ", ".join(f"{rate:.3g}" for rate in rates),
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

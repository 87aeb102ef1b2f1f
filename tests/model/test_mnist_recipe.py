"""Promise: the original recipe reaches its accuracy on MNIST, on every backend."""

import os
import statistics
from pathlib import Path

import pytest

from softstep import SoftmaxRegression
from softstep.model import datasets


@pytest.fixture(scope="module")
def mnist():
    given = os.environ.get("SOFTSTEP_DATA")
    if not given or not list(Path(given).glob("**/train-images-idx3-ubyte*")):
        pytest.skip("the MNIST files are not there: set SOFTSTEP_DATA to the folder of mnist/")
    return datasets.load_mnist()


def accuracies(mnist, seeds, **settings):
    models = (SoftmaxRegression(random_state=seed, **settings) for seed in seeds)
    return [m.fit(mnist.X_train, mnist.y_train).score(mnist.X_test, mnist.y_test) for m in models]


@pytest.mark.parametrize(("backend", "seeds"), [("numpy", 1), ("numba", 5)])
def test_mse_at_rate_02_reaches_0913_in_20_epochs_with_every_seed(mnist, backend, seeds):
    assert min(accuracies(mnist, range(seeds), backend=backend)) >= 0.913


CROSS_ENTROPY = {"loss": "cross_entropy", "learning_rate": 0.5, "max_steps": 1000}


def test_cross_entropy_at_rate_05_reaches_0916_in_1000_steps(mnist):
    # The last step of a descent at this rate is noisy: over seeds 0…99 a plain float64 loop has
    # median 0.9176, and 6 of them under 0.914, the lowest at 0.9108.
    found = accuracies(mnist, range(20), backend="numba", **CROSS_ENTROPY)
    assert statistics.median(found) >= 0.916
    assert min(found) >= 0.910
    assert sum(accuracy >= 0.914 for accuracy in found) >= 0.85 * len(found)


def test_numpy_and_numba_agree_on_cross_entropy(mnist):
    by_numpy = accuracies(mnist, range(2), backend="numpy", **CROSS_ENTROPY)
    by_numba = accuracies(mnist, range(2), backend="numba", **CROSS_ENTROPY)
    for one, other in zip(by_numpy, by_numba, strict=True):
        assert abs(one - other) <= 0.0005  # five rows of 10000, where two logits all but tie

"""Convergence: two epochs of the digits give numpy's losses at every step, on both paths."""

import numpy as np
import pytest
from train_cases import FLOATS, PATHS

from softstep.kernels.verify import parity
from softstep.model.datasets import load_digits

RATES = {"mse": 2.0, "cross_entropy": 0.5, "gce": 1.0}


def two_epochs(loss, dtype, train):
    """Losses of all steps, weights and bias, from zeros."""
    digits = load_digits()
    X, n = digits.X_train.astype(dtype), len(digits.X_train)
    assert X.shape == (1437, 64)
    W, b = np.zeros((1, 64, 10), dtype), np.zeros((1, 10), dtype)
    losses = []
    for epoch in range(2):
        order = np.random.default_rng((0, 1, epoch)).permutation(n)
        options = {"loss": loss, "learning_rate": RATES[loss]}
        loss_of_steps, _, W, b = train(((X, digits.y_train, order, 100, W, b), options))
        losses.append(loss_of_steps)
    return np.concatenate(losses), W, b


def relative(found, truth):
    """The largest error, in units of the largest entry; inf for NaN."""
    error = np.abs(found - truth).max() / np.abs(truth).max()
    return np.inf if np.isnan(error) else error


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("loss", RATES)
def test_two_epochs_of_digits_give_the_same_losses_and_weights(loss, dtype, path, run_on):
    losses, W, b = two_epochs(loss, dtype, lambda arguments: run_on(path, arguments))
    truth, W_truth, b_truth = two_epochs(
        loss, dtype, lambda arguments: parity.run("train", arguments, "numpy")
    )
    assert len(losses) == 30
    worst = np.abs(losses / truth - 1).max()
    print(f"{loss}, {dtype}, {path}: losses {worst:.1e}, W {relative(W, W_truth):.1e}")
    assert parity.worst(losses, truth, 1e-5 * truth) <= 1
    assert relative(W, W_truth) <= 1e-5
    assert relative(b, b_truth) <= 1e-5
    assert truth[-1] < 0.95 * truth[0]  # it learns
    for wrong in (0, np.nan):
        assert parity.worst(wrong * losses, truth, 1e-5 * truth) > 1
        assert relative(wrong * W, W_truth) > 1e-5

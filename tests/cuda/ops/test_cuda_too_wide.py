"""More columns than a grid can have are refused in the user's words, before anything is written."""

import numpy as np
import pytest

from softstep import kernels
from softstep.kernels._cupy import launch

N, D, C, H = 3, 2, 40, 5
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, D)).astype(np.float32)
Y = RNG.integers(0, C, N)


@pytest.fixture(autouse=True)
def two_blocks_high(machine, monkeypatch):
    """A GPU whose grids have two blocks along y: 128 columns instead of 4,194,240."""
    monkeypatch.setattr(launch, "MAX_GRID", (2**31 - 1, 2, 65_535))


def bank(h, c):
    return np.zeros((h, D, c), np.float32), np.zeros((h, c), np.float32)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: kernels.predict(X, *bank(H, C), backend="cupy"), "5 heads of 40 classes"),
        (
            lambda: kernels.evaluate(X, Y, *bank(H, C), loss="mse", backend="cupy"),
            "5 heads of 40 classes",
        ),
        (
            lambda: kernels.linear_forward(X, *(a[0] for a in bank(1, 2000)), backend="cupy"),
            "2,000 classes",
        ),
        (
            lambda: kernels.linear_backward(np.ones((N, 2000), np.float32), X, backend="cupy"),
            "2,000 classes",
        ),
    ],
    ids=["predict", "evaluate", "linear_forward", "linear_backward"],
)
def test_too_many_columns_are_refused_in_the_users_words(call, words):
    with pytest.raises(ValueError, match=f"^{words}: too many columns for one call of the cupy"):
        call()


def test_a_bank_that_is_too_wide_is_not_trained():
    W, b = bank(H, C)
    options = {"loss": "mse", "learning_rate": 1.0, "backend": "cupy"}
    with pytest.raises(ValueError, match="5 heads of 40 classes: too many columns for one call"):
        kernels.train(X, Y, np.arange(N), N, W, b, **options)
    assert not W.any()
    W, b = bank(2, C)
    kernels.train(X, Y, np.arange(N), N, W, b, **options)
    assert W.any()

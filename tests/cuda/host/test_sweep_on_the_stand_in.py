"""Promise: a sweep of arrays that are on the GPU finds what it finds of the same arrays here."""

import numpy as np
import pytest

from softstep import SoftmaxSweep, kernels
from softstep.kernels._cupy.arrays import asarray

N, D, C = 60, 5, 3
RNG = np.random.default_rng(0)
Y = RNG.integers(C, size=N)
X = (RNG.standard_normal((C, D))[Y] + RNG.standard_normal((N, D))).astype(np.float32)
SOFT = RNG.dirichlet(np.ones(C), N).astype(np.float32)


@pytest.mark.parametrize("y", [Y, SOFT, np.stack([Y, Y[::-1]], 1)], ids=["y", "soft", "two sets"])
@pytest.mark.parametrize("judge", ["folds", "rows"])
def test_what_is_on_the_gpu_gives_the_same_sweep(machine, y, judge):
    grid = {"learning_rate": [0.1, 0.5], "l2": 0.1, "loss": ["mse", "cross_entropy"]}
    settings = {"epochs": 2, "batch_size": 20, "random_state": 0, "l2_bias": True}
    settings |= {"cv": 2} if judge == "folds" else {}

    def fitted(move, backend):
        held_out = {} if judge == "folds" else {"X_val": move(X), "y_val": move(y)}
        sweep = SoftmaxSweep(grid, backend=backend, **settings)
        return sweep.fit(move(X), move(y), **held_out)

    there, here = fitted(asarray, None), fitted(np.asarray, "cupy")
    for name, values in here.results_.items():
        if name != "params":
            np.testing.assert_array_equal(there.results_[name], values)
    for i in range(4):
        assert np.array_equal(there.estimator(i).coef_, here.estimator(i).coef_)
    assert np.isfinite(here.results_["bound"]).sum() == np.size(here.results_["bound"]) // 2


def test_features_of_the_other_byte_order_give_the_same_sweep(machine):
    def coefficients(X):
        sweep = SoftmaxSweep({"learning_rate": [0.1, 0.5]}, epochs=2, cv=2, random_state=0)
        with kernels.use_backend("cupy"):
            return sweep.fit(X, Y).estimator(1).coef_

    assert np.array_equal(coefficients(X.astype(">f4")), coefficients(X))

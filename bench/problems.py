"""What the competitors are given: the data of a piece of work, made from a seed."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from softstep.bench import workloads
from softstep.bench.workloads import Size

Array = np.ndarray[Any, Any]
SEED = 0


@dataclass(frozen=True)
class Epoch:
    """One pass of gradient descent over the rows in `order`, from zero weights.

    X (n, d), y (n,) in [0, c), order (n,) a whole number of batches; a head for each of the rates
    (h,). Results: W (h, d, c), b (h, c).
    """

    X: Array
    y: Array
    order: Array
    batch_size: int
    c: int
    rates: Array
    loss: str
    feature_scale: float

    @property
    def size(self) -> Size:
        n, d = self.X.shape
        return Size(n, d, self.c, len(self.rates))

    @property
    def arguments(self) -> workloads.Arguments:
        """Of `train`."""
        h, d, c = len(self.rates), self.X.shape[1], self.c
        W, b = np.zeros((h, d, c), np.float32), np.zeros((h, c), np.float32)
        options = {
            "loss": self.loss,
            "learning_rate": self.rates,
            "feature_scale": self.feature_scale,
        }
        return (self.X, self.y, self.order, self.batch_size, W, b), options


@dataclass(frozen=True)
class Layer:
    """A linear layer both ways: X (n, d), W (d, c), b (c,), dV (n, c)."""

    X: Array
    W: Array
    b: Array
    dV: Array

    def arguments(self, op: str) -> workloads.Arguments:
        forward = op == "linear_forward"
        return (self.X, self.W, self.b) if forward else (self.dV, self.X), {}


@dataclass(frozen=True)
class Model:
    """Rows and the weights that label them: X (n, d), y (n,), W (d, c), b (c,)."""

    X: Array
    y: Array
    W: Array
    b: Array

    def arguments(self, op: str) -> workloads.Arguments:
        if op == "predict":
            return (self.X, self.W, self.b), {}
        return (self.X, self.y, self.W[None], self.b[None]), {"loss": "cross_entropy"}


def recipe(n: int, dtype: Any) -> Epoch:
    """The original recipe: pixels, 10 classes, batches of 100, MSE through softmax, rate 0.2."""
    workload = workloads.seed_workload(dtype, Size(n, 784, 10))
    (X, y, order, batch_size, _, _), options = workload.arguments(SEED)
    scale = options["feature_scale"]
    return Epoch(X, y, order, batch_size, 10, np.full(1, 0.2, np.float32), "mse", scale)


def bank(size: Size, batch_size: int) -> Epoch:
    """Normal features, cross-entropy, h heads with rates from 0.001 to 0.01."""
    X, y = (
        workloads.features(size.n, size.d, np.float32, SEED),
        workloads.labels(size.n, size.c, SEED),
    )
    order = np.random.default_rng((SEED, 6)).permutation(size.n)
    rates = np.geomspace(0.01, 0.001, size.h).astype(np.float32)
    return Epoch(X, y, order, batch_size, size.c, rates, "cross_entropy", 1.0)


def layer(size: Size) -> Layer:
    W, b = workloads.weights(1, size.d, size.c, np.float32, SEED)
    X = workloads.features(size.n, size.d, np.float32, SEED)
    return Layer(X, W[0], b[0], workloads.gradients(size.n, size.c, np.float32, SEED))


def model(size: Size) -> Model:
    W, b = workloads.weights(1, size.d, size.c, np.float32, SEED)
    X = workloads.features(size.n, size.d, np.float32, SEED)
    return Model(X, workloads.labels(size.n, size.c, SEED), W[0], b[0])

"""The peers of `train`: the seed workload's epoch as a good user of another library writes it.

A peer trains one softmax regression on MSE with plain gradient descent, from copies of W (d, c) and
b (c,), and returns them. It may skip the losses and counts that `train` reports beside.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Peer:
    """One row of the table: what it is called, what it needs, what it runs."""

    name: str
    module: str
    epoch: Callable[..., tuple[np.ndarray, np.ndarray]]

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self.module) is not None


def numpy_loop(X, y, order, batch_size, W, b, *, learning_rate, feature_scale):
    # X (n, d), y (n,), order (m,), W (d, c), b (c,) -> W, b
    W, b = W.copy(), b.copy()
    c = len(b)
    Y = np.eye(c, dtype=W.dtype)[y]
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        x = X[rows]
        if x.dtype != W.dtype:
            x = x * W.dtype.type(feature_scale)
        V = x @ W + b
        P = np.exp(V - V.max(axis=1, keepdims=True))
        P /= P.sum(axis=1, keepdims=True)
        dP = 2 / (c * len(rows)) * (P - Y[rows])
        dV = P * (dP - (dP * P).sum(axis=1, keepdims=True))
        W -= learning_rate * (x.T @ dV)
        b -= learning_rate * dV.sum(axis=0)
    return W, b


PEERS = (Peer("NumPy loop", "numpy", numpy_loop),)

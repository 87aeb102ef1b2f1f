"""NumPy, with plain float32 arithmetic and `@`."""

import operator
from typing import Any

import numpy as np

from softstep.kernels.losses import GCE_Q


def _mse_gradient(P, Y):
    dV = P - Y
    dV *= 2 / P.shape[2]
    dV -= (dV * P).sum(axis=2, keepdims=True)
    dV *= P
    return dV


def _gce_gradient(P, Y):
    return (P * Y).sum(axis=2, keepdims=True) ** GCE_Q * (P - Y)


# dV (n, h, c) from P (n, h, c) and one-hot Y (n, 1, c)
LOGIT_GRADIENTS: Any = {"mse": _mse_gradient, "cross_entropy": operator.sub, "gce": _gce_gradient}


def epoch(e: Any, xp: Any = np) -> Any:
    """The epoch in NumPy, or in another library `xp` that has its functions."""
    # X (n, d), y (n,) -> W (h, d, c), b (h, c); the heads side by side, W (h·c, d)
    d, c, h = e.X.shape[1], e.c, len(e.rates)
    logit_gradient = LOGIT_GRADIENTS[e.loss]
    X, y, order, rates = map(xp.asarray, (e.X, e.y, e.order, np.repeat(e.rates, c)))
    Y = xp.eye(c, dtype=np.float32)[y][:, None]

    def call():
        W, b = xp.zeros((h * c, d), np.float32), xp.zeros(h * c, np.float32)
        for start in range(0, len(order), e.batch_size):
            rows = order[start : start + e.batch_size]
            x = X.take(rows, axis=0)
            if x.dtype != W.dtype:
                x = x * np.float32(e.feature_scale)
            P = x @ W.T
            P += b
            P = P.reshape(len(rows), h, c)
            P -= P.max(axis=2, keepdims=True)
            xp.exp(P, out=P)
            P /= P.sum(axis=2, keepdims=True)
            dV = logit_gradient(P, Y[rows]).reshape(len(rows), h * c)
            dV *= rates / np.float32(len(rows))
            W -= dV.T @ x
            b -= dV.sum(axis=0)
        return W.reshape(h, c, d).transpose(0, 2, 1), b.reshape(h, c)

    return call


def forward(layer: Any) -> Any:
    return lambda: (layer.X @ layer.W + layer.b,)


def backward(layer: Any) -> Any:
    return lambda: (layer.X.T @ layer.dV, layer.dV.sum(axis=0))


def softmax(V: Any) -> Any:
    def call():
        P = V - V.max(axis=1, keepdims=True)
        np.exp(P, out=P)
        P /= P.sum(axis=1, keepdims=True)
        return (P,)

    return call


def predict(model: Any) -> Any:
    return lambda: ((model.X @ model.W + model.b).argmax(axis=1),)


def evaluate(model: Any) -> Any:
    rows = np.arange(len(model.y))

    def call():
        V = model.X @ model.W + model.b
        correct = V.argmax(axis=1) == model.y
        V -= V.max(axis=1, keepdims=True)
        losses = np.log(np.exp(V).sum(axis=1)) - V[rows, model.y]
        return np.array([losses.mean()], float), np.array([correct.mean()])

    return call


def gradient(heads: Any) -> Any:
    # W (h, d, c) -> Σ L (h,), dW (h, d, c), db (h, c): the heads side by side, in one product
    h, d, c = heads.W.shape
    W, b = np.ascontiguousarray(heads.W.transpose(1, 0, 2)).reshape(d, h * c), heads.b.reshape(-1)
    rows = np.arange(len(heads.X))

    def call():
        V = (heads.X @ W + b).reshape(-1, h, c)
        V -= V.max(axis=2, keepdims=True)
        at_label = V[rows, :, heads.y]
        np.exp(V, out=V)
        total = V.sum(axis=2)
        V /= total[:, :, None]
        V[rows, :, heads.y] -= 1
        dW = heads.X.T @ V.reshape(-1, h * c)
        losses = (np.log(total) - at_label).sum(axis=0, dtype=np.float64)
        return losses, dW.reshape(d, h, c).transpose(1, 0, 2), V.sum(axis=0)

    return call

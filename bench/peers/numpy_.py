"""NumPy, with plain float32 arithmetic and `@`."""

import numpy as np


def _mse_gradient(P, Y):
    dV = P - Y
    dV *= 2 / P.shape[2]
    dV -= (dV * P).sum(axis=2, keepdims=True)
    dV *= P
    return dV


# dV (n, h, c) from P (n, h, c) and one-hot Y (n, 1, c)
LOGIT_GRADIENTS = {"mse": _mse_gradient, "cross_entropy": np.subtract}


def epoch(e):
    # X (n, d), y (n,) -> W (h, d, c), b (h, c); the heads side by side, W (h·c, d)
    d, c, h = e.X.shape[1], e.c, len(e.rates)
    logit_gradient = LOGIT_GRADIENTS[e.loss]
    Y = np.eye(c, dtype=np.float32)[e.y][:, None]
    rates = np.repeat(e.rates, c)

    def call():
        W, b = np.zeros((h * c, d), np.float32), np.zeros(h * c, np.float32)
        for start in range(0, len(e.order), e.batch_size):
            rows = e.order[start : start + e.batch_size]
            x = e.X.take(rows, axis=0)
            if x.dtype != W.dtype:
                x = x * np.float32(e.feature_scale)
            P = x @ W.T
            P += b
            P = P.reshape(len(rows), h, c)
            P -= P.max(axis=2, keepdims=True)
            np.exp(P, out=P)
            P /= P.sum(axis=2, keepdims=True)
            dV = logit_gradient(P, Y[rows]).reshape(len(rows), h * c)
            dV *= rates / np.float32(len(rows))
            W -= dV.T @ x
            b -= dV.sum(axis=0)
        return W.reshape(h, c, d).transpose(0, 2, 1), b.reshape(h, c)

    return call


def forward(layer):
    return lambda: (layer.X @ layer.W + layer.b,)


def backward(layer):
    return lambda: (layer.X.T @ layer.dV, layer.dV.sum(axis=0))


def softmax(V):
    def call():
        P = V - V.max(axis=1, keepdims=True)
        np.exp(P, out=P)
        P /= P.sum(axis=1, keepdims=True)
        return (P,)

    return call


def predict(model):
    return lambda: ((model.X @ model.W + model.b).argmax(axis=1),)


def evaluate(model):
    rows = np.arange(len(model.y))

    def call():
        V = model.X @ model.W + model.b
        correct = V.argmax(axis=1) == model.y
        V -= V.max(axis=1, keepdims=True)
        losses = np.log(np.exp(V).sum(axis=1)) - V[rows, model.y]
        return np.array([losses.mean()], float), np.array([correct.mean()])

    return call

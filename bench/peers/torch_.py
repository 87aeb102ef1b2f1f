"""PyTorch: autograd, the gradients by hand, torch.compile, DataLoader."""

import numpy as np
import torch
from torch.nn import functional


class _Data:
    """An epoch's data as tensors; the heads side by side, W (d, h·c)."""

    def __init__(self, e):
        self.e, self.c, self.h, self.d = e, e.c, len(e.rates), e.X.shape[1]
        self.X, self.y = torch.from_numpy(e.X), torch.from_numpy(e.y)
        self.order = torch.from_numpy(e.order)
        self.Y = functional.one_hot(self.y, e.c).float()
        self.rates = torch.from_numpy(e.rates).repeat_interleave(e.c)

    def weights(self, requires_grad):
        columns = self.h * self.c
        return (
            torch.zeros(self.d, columns, requires_grad=requires_grad),
            torch.zeros(columns, requires_grad=requires_grad),
        )

    def features(self, x):
        return x if x.is_floating_point() else x.float() * self.e.feature_scale

    def batches(self):
        for rows in self.order.split(self.e.batch_size):
            yield self.features(self.X.index_select(0, rows)), self.y[rows]

    def loss(self, x, y, W, b):
        """Summed over the heads, the mean over the rows."""
        V = torch.addmm(b, x, W).view(-1, self.c)
        y = y.repeat_interleave(self.h) if self.h > 1 else y
        if self.e.loss == "cross_entropy":
            return functional.cross_entropy(V, y, reduction="sum") / len(x)
        Y = functional.one_hot(y, self.c)
        return ((torch.softmax(V, 1) - Y) ** 2).sum() / (len(x) * self.c)

    def descend(self, batches, loss):
        W, b = self.weights(requires_grad=True)
        for x, y in batches:
            loss(x, y, W, b).backward()
            with torch.no_grad():
                W -= self.rates * W.grad
                b -= self.rates * b.grad
                W.grad = b.grad = None
        return self.results(W.detach(), b.detach())

    def results(self, W, b):
        W = W.view(self.d, self.h, self.c).permute(1, 0, 2)
        return W.numpy(), b.view(self.h, self.c).numpy()


def autograd(e):
    data = _Data(e)
    return lambda: data.descend(data.batches(), data.loss)


def compiled(e):
    data = _Data(e)
    loss = torch.compile(data.loss)
    return lambda: data.descend(data.batches(), loss)


def dataloader(e):
    data = _Data(e)
    rows = torch.utils.data.TensorDataset(data.X, data.y)
    loader = torch.utils.data.DataLoader(rows, e.batch_size, sampler=e.order.tolist())
    return lambda: data.descend(((data.features(x), y) for x, y in loader), data.loss)


def head_by_head(e):
    """A descent for each head, one after the other."""
    epochs = [autograd(_with_rate(e, rate)) for rate in e.rates]

    def call():
        weights = [epoch() for epoch in epochs]
        return tuple(np.concatenate(arrays) for arrays in zip(*weights, strict=True))

    return call


def _with_rate(e, rate):
    return type(e)(**{**vars(e), "rates": np.full(1, rate, np.float32)})


def by_hand(e):
    data = _Data(e)
    h, c = data.h, data.c

    def call():
        W, b = data.weights(requires_grad=False)
        for rows in data.order.split(e.batch_size):
            x = data.features(data.X.index_select(0, rows))
            P = torch.softmax(torch.addmm(b, x, W).view(len(rows), h, c), 2)
            dV = P - data.Y[rows].unsqueeze(1)
            if e.loss == "mse":
                dV.mul_(2 / c)
                dV = P * (dV - (dV * P).sum(2, keepdim=True))
            dV = dV.view(len(rows), h * c).mul_(data.rates / len(rows))
            W.addmm_(x.T, dV, alpha=-1)
            b -= dV.sum(0)
        return data.results(W, b)

    return call


def forward(layer):
    X, W, b = map(torch.from_numpy, (layer.X, layer.W, layer.b))
    return lambda: (torch.addmm(b, X, W).numpy(),)


def backward(layer):
    X, dV = torch.from_numpy(layer.X), torch.from_numpy(layer.dV)
    return lambda: ((X.T @ dV).numpy(), dV.sum(0).numpy())


def softmax(V):
    V = torch.from_numpy(V)
    return lambda: (torch.softmax(V, 1).numpy(),)


def predict(model):
    X, W, b = map(torch.from_numpy, (model.X, model.W, model.b))
    return lambda: (torch.addmm(b, X, W).argmax(1).numpy(),)


def evaluate(model):
    X, y, W, b = map(torch.from_numpy, (model.X, model.y, model.W, model.b))

    def call():
        V = torch.addmm(b, X, W)
        loss = functional.cross_entropy(V, y)
        return np.float64(loss.item()), np.float64((V.argmax(1) == y).double().mean().item())

    return call

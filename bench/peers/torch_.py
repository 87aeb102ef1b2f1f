"""PyTorch: autograd, the gradient by hand, the whole step compiled, DataLoader."""

from typing import Any

import numpy as np
import torch
from torch.nn import functional


def _mse(V, y):
    # V (n, h, c), one-hot y (n, 1, c) -> the mean over the rows, summed over the heads
    return ((torch.softmax(V, 2) - y) ** 2).sum() / (len(V) * V.shape[2])


def _cross_entropy(V, y):
    # V (n, h, c), labels y (n,)
    n, h, c = V.shape
    y = y.repeat_interleave(h) if h > 1 else y
    return functional.cross_entropy(V.view(-1, c), y, reduction="sum") / n


def _mse_gradient(P, Y):
    dV = P - Y
    dV *= 2 / P.shape[2]
    return P * (dV - (dV * P).sum(2, keepdim=True))


LOSSES: Any = {"mse": _mse, "cross_entropy": _cross_entropy}
LOGIT_GRADIENTS: Any = {"mse": _mse_gradient, "cross_entropy": torch.sub}


class _Data:
    """An epoch's data as tensors. The heads side by side, W (h·c, d), b (h·c,), as in nn.Linear."""

    def __init__(self, e):
        self.loss_of, self.logit_gradient = LOSSES[e.loss], LOGIT_GRADIENTS[e.loss]
        self.e, self.c, self.h, self.d = e, e.c, len(e.rates), e.X.shape[1]
        self.X, self.y = torch.from_numpy(e.X), torch.from_numpy(e.y)
        self.order = torch.from_numpy(e.order)
        self.Y = functional.one_hot(self.y, e.c).float().unsqueeze(1)  # (n, 1, c)
        self.rates = torch.from_numpy(e.rates).repeat_interleave(e.c)
        self.targets = {"mse": self.Y, "cross_entropy": self.y}[e.loss]

    def weights(self, requires_grad=False):
        rows = self.h * self.c
        return (
            torch.zeros(rows, self.d, requires_grad=requires_grad),
            torch.zeros(rows, requires_grad=requires_grad),
        )

    def features(self, x):
        return x if x.is_floating_point() else x.float().mul_(self.e.feature_scale)

    def logits(self, x, W, b):
        return functional.linear(x, W, b).view(len(x), self.h, self.c)

    def batches(self, targets):
        for rows in self.order.split(self.e.batch_size):
            yield self.X.index_select(0, rows), targets.index_select(0, rows)

    def loss(self, x, y, W, b):
        """Summed over the heads, the mean over the rows."""
        return self.loss_of(self.logits(self.features(x), W, b), y)

    def descend(self, batches):
        """The epoch by autograd."""
        W, b = self.weights(requires_grad=True)
        for x, y in batches:
            self.loss(x, y, W, b).backward()
            with torch.no_grad():
                W -= self.rates[:, None] * W.grad
                b -= self.rates * b.grad
                W.grad = b.grad = None
        return self.results(W.detach(), b.detach())

    def step(self, x, Y, W, b):
        """A step with the gradient written out; W and b change in place."""
        x = self.features(x)
        dV = self.logit_gradient(torch.softmax(self.logits(x, W, b), 2), Y)
        dV = dV.view(len(x), self.h * self.c) * (self.rates / len(x))
        W.addmm_(dV.T, x, alpha=-1)
        b.sub_(dV.sum(0))

    def walk(self, step):
        """The epoch by such steps."""
        W, b = self.weights()
        with torch.inference_mode():
            for x, Y in self.batches(self.Y):
                step(x, Y, W, b)
        return self.results(W, b)

    def results(self, W, b):
        W = W.view(self.h, self.c, self.d).permute(0, 2, 1)
        return W.numpy(), b.view(self.h, self.c).numpy()


def autograd(e: Any) -> Any:
    data = _Data(e)
    return lambda: data.descend(data.batches(data.targets))


def by_hand(e: Any) -> Any:
    data = _Data(e)
    return lambda: data.walk(data.step)


def compiled(e: Any) -> Any:
    """The whole step as one compiled function; the rows are gathered before it, which is faster."""
    data = _Data(e)
    step = torch.compile(data.step)
    return lambda: data.walk(step)


def dataloader(e: Any) -> Any:
    """DataLoader(TensorDataset(...), batch_size): the rows are fetched one by one and stacked."""
    data = _Data(e)
    rows = torch.utils.data.TensorDataset(data.X, data.targets)
    loader = torch.utils.data.DataLoader(rows, e.batch_size, sampler=e.order.tolist())
    return lambda: data.descend(loader)


def dataloader_batches(e: Any) -> Any:
    """A BatchSampler in place of the sampler: a batch is fetched by one list of indices."""
    data = _Data(e)
    rows = torch.utils.data.TensorDataset(data.X, data.targets)
    batches = torch.utils.data.BatchSampler(e.order.tolist(), e.batch_size, drop_last=False)
    loader = torch.utils.data.DataLoader(rows, batch_size=None, sampler=batches)
    return lambda: data.descend(loader)


def head_by_head(e: Any) -> Any:
    """A descent for each head, one after the other."""
    epochs = [autograd(_with_rate(e, rate)) for rate in e.rates]

    def call():
        weights = [epoch() for epoch in epochs]
        return tuple(np.concatenate(arrays) for arrays in zip(*weights, strict=True))

    return call


def _with_rate(e, rate):
    return type(e)(**{**vars(e), "rates": np.full(1, rate, np.float32)})


def forward(layer: Any) -> Any:
    X, W, b = map(torch.from_numpy, (layer.X, layer.W, layer.b))
    return lambda: (torch.addmm(b, X, W).numpy(),)


def backward(layer: Any) -> Any:
    X, dV = torch.from_numpy(layer.X), torch.from_numpy(layer.dV)
    return lambda: ((X.T @ dV).numpy(), dV.sum(0).numpy())


def softmax(V: Any) -> Any:
    V = torch.from_numpy(V)
    return lambda: (torch.softmax(V, 1).numpy(),)


def predict(model: Any) -> Any:
    X, W, b = map(torch.from_numpy, (model.X, model.W, model.b))
    return lambda: (torch.addmm(b, X, W).argmax(1).numpy(),)


def evaluate(model: Any) -> Any:
    X, y, W, b = map(torch.from_numpy, (model.X, model.y, model.W, model.b))

    def call():
        V = torch.addmm(b, X, W)
        loss = functional.cross_entropy(V, y)
        accuracy = (V.argmax(1) == y).double().mean()
        return np.array([loss.item()]), np.array([accuracy.item()])

    return call


def gradient(heads: Any) -> Any:
    """Loss and gradient over all rows, by hand: the heads side by side, as in nn.Linear."""
    h, d, c = heads.W.shape
    X, y = torch.from_numpy(heads.X), torch.from_numpy(heads.y)
    W = torch.from_numpy(heads.W).permute(0, 2, 1).reshape(h * c, d).contiguous()
    b = torch.from_numpy(heads.b).reshape(-1)
    labels = y[:, None, None].expand(-1, h, 1)

    def call():
        with torch.inference_mode():
            log_p = functional.linear(X, W, b).view(-1, h, c).log_softmax(2)
            losses = -log_p.gather(2, labels).sum(0, dtype=torch.float64)[:, 0]
            dV = log_p.exp_().scatter_add_(2, labels, torch.tensor(-1.0).expand(labels.shape))
            dW = dV.view(-1, h * c).T @ X
            db = dV.sum(0)
        return losses.numpy(), dW.view(h, c, d).permute(0, 2, 1).numpy(), db.numpy()

    return call

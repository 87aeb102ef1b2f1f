"""PyTorch: heads with different losses, as a loop of models and as one product."""

from typing import Any

import numpy as np
import torch
from torch.nn import functional

# Of one model: logits V (n, c), labels y (n,), one-hot Y (n, c) -> the mean over the rows.
MODEL_LOSSES: Any = {
    "mse": lambda V, y, Y: functional.mse_loss(V.softmax(dim=1), Y),
    "cross_entropy": lambda V, y, Y: functional.cross_entropy(V, y),
}
# Of some heads: V (n, h, c), Y (n, 1, c) -> the means over the rows, summed over the heads.
BANK_LOSSES: Any = {
    "mse": lambda V, Y: ((V.softmax(dim=2) - Y) ** 2).mean(dim=(0, 2)).sum(),
    "cross_entropy": lambda V, Y: -(V.log_softmax(dim=2) * Y).sum(dim=2).mean(dim=0).sum(),
}


class _Data:
    """An epoch's data as tensors: pixels in [0, 1], labels, one-hot targets, batches of rows."""

    def __init__(self, e):
        self.X = torch.from_numpy(e.X).float() * e.feature_scale
        self.y = torch.from_numpy(e.y)
        self.Y = functional.one_hot(self.y, e.c).float()
        self.batches = torch.from_numpy(e.order).split(e.batch_size)


def loop_of_models(e: Any) -> Any:
    """A model for each head, one after the other: nn.Linear, autograd, SGD."""
    data, (h, d, c) = _Data(e), (len(e.rates), e.X.shape[1], e.c)
    losses = [MODEL_LOSSES[name] for name in e.loss]

    def descend(loss, rate):
        model = torch.nn.Linear(d, c)
        torch.nn.init.zeros_(model.weight)
        torch.nn.init.zeros_(model.bias)
        optimizer = torch.optim.SGD(model.parameters(), lr=float(rate))
        for rows in data.batches:
            optimizer.zero_grad()
            loss(model(data.X[rows]), data.y[rows], data.Y[rows]).backward()
            optimizer.step()
        return model.weight.detach().numpy().T, model.bias.detach().numpy()

    def call():
        W, b = np.empty((h, d, c), np.float32), np.empty((h, c), np.float32)
        for k in range(h):
            W[k], b[k] = descend(losses[k], e.rates[k])
        return W, b

    return call


def stacked(e: Any) -> Any:
    """All heads as one matrix product (batch, d) (d, h·c), and autograd through it."""
    data, (h, d, c) = _Data(e), (len(e.rates), e.X.shape[1], e.c)
    names = np.array(e.loss)
    heads = [(BANK_LOSSES[name], torch.from_numpy(names == name)) for name in np.unique(names)]
    by_head = torch.from_numpy(e.rates).float()
    by_column = by_head.repeat_interleave(c)

    def call():
        W, b = torch.zeros(d, h * c, requires_grad=True), torch.zeros(h, c, requires_grad=True)
        for rows in data.batches:
            V = (data.X[rows] @ W).view(-1, h, c) + b
            Y = data.Y[rows][:, None]
            total = sum(loss(V[:, own], Y) for loss, own in heads)
            dW, db = torch.autograd.grad(total, (W, b))
            with torch.no_grad():
                W -= by_column * dW
                b -= by_head[:, None] * db
        weights = W.detach().numpy().reshape(d, h, c).transpose(1, 0, 2)
        return np.ascontiguousarray(weights), b.detach().numpy()

    return call

"""The loops of the protocols in PyTorch, written anew after what the originals do."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from softstep.bench.problems import Array
from softstep.bench.studies.protocols.dinov2_linear import MOMENTUM, VIEWS, Probe


def modules(probe: Probe) -> Array:
    """A module for each head, which joins the blocks that it sees, and one optimiser for all; the
    accuracy of each."""
    X, y = torch.from_numpy(probe.X), torch.from_numpy(probe.y)
    views = [VIEWS[view] for view, _ in probe.heads]
    heads = [nn.Linear((b - a) * probe.d, probe.classes) for a, b in views]
    for head in heads:
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)

    def outputs(x: Any) -> Iterator[Any]:
        blocks = x.split(probe.d, dim=1)
        for (start, stop), head in zip(views, heads, strict=True):
            yield head(torch.cat(blocks[start:stop], dim=1))

    rates = [rate for _, rate in probe.heads]
    groups = [{"params": h.parameters(), "lr": r} for h, r in zip(heads, rates, strict=True)]
    optimizer = torch.optim.SGD(groups, momentum=MOMENTUM)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, probe.steps)
    for batch in probe.batches():
        rows = torch.from_numpy(batch)
        labels = y[rows]
        loss = sum(functional.cross_entropy(V, labels) for V in outputs(X[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.inference_mode():
        found = [V.argmax(dim=1).numpy() for V in outputs(torch.from_numpy(probe.X_val))]
    accuracies: Array = (np.stack(found) == probe.y_val).mean(axis=1)
    return accuracies


def banks(probe: Probe) -> Array:
    """The heads of each view side by side in one product, which reads the columns of X where they
    are; the gradient written out, updates in place. The accuracy of each."""
    X, y = torch.from_numpy(probe.X), torch.from_numpy(probe.y)
    c, h = probe.classes, len(probe.rates)
    views = [probe.columns(view) for view in VIEWS]
    # Weights and momentum, as (outputs, inputs), of each view
    weights = [torch.zeros(2, h * c, stop - start) for start, stop in views]
    biases = [torch.zeros(2, h * c) for _ in views]
    rates = torch.tensor(probe.rates, dtype=torch.float32).repeat_interleave(c)

    def step(x: Any, Y: Any, W: Any, b: Any, rates: Any) -> None:
        P = torch.addmm(b[0], x, W[0].T).view(len(x), h, c).softmax(dim=2)
        P = P.sub_(Y).div_(len(x)).view(len(x), h * c)
        W[1].addmm_(P.T, x, beta=MOMENTUM)
        b[1].mul_(MOMENTUM).add_(P.sum(dim=0))
        W[0].addcmul_(rates[:, None], W[1], value=-1)
        b[0].addcmul_(rates, b[1], value=-1)

    with torch.inference_mode():
        for t, batch in enumerate(probe.batches()):
            rows = torch.from_numpy(batch)
            x, Y = X.index_select(0, rows), functional.one_hot(y[rows], c).unsqueeze(1)
            now = rates * ((1 + np.cos(np.pi * t / probe.steps)) / 2)
            for (start, stop), W, b in zip(views, weights, biases, strict=True):
                step(x[:, start:stop], Y, W, b, now)
        X_val, found = torch.from_numpy(probe.X_val), []
        for (start, stop), W, b in zip(views, weights, biases, strict=True):
            V = torch.addmm(b[0], X_val[:, start:stop], W[0].T).view(len(X_val), h, c)
            found.append(V.argmax(dim=2).T.numpy())
    accuracies: Array = (np.concatenate(found) == probe.y_val).mean(axis=1)
    return accuracies


def adamw(
    X: Array, y: Array, decay: float, *, classes: int, batch_size: int, epochs: int, rate: float
) -> Callable[[Array], Array]:
    """Train a linear layer by AdamW with a falling rate; what gives the labels of rows."""
    torch.manual_seed(0)
    rows, labels = torch.from_numpy(X), torch.from_numpy(y)
    layer = nn.Linear(X.shape[1], classes)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=rate, weight_decay=decay)
    steps = epochs * -(-len(X) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(rows)).split(batch_size):
            loss = functional.cross_entropy(layer(rows[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()

    def predict(x: Array) -> Array:
        with torch.inference_mode():
            found: Array = layer(torch.from_numpy(x)).argmax(dim=1).numpy()
        return found

    return predict

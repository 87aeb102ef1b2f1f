"""PyTorch: the loss at points of a plane of weights, see `softstep.bench.problems.Plane`."""

from typing import Any

import numpy as np
import torch
from torch.nn import functional

from softstep.kernels.losses import GCE_Q


def _mse(V, y):
    return functional.mse_loss(V.softmax(dim=1), functional.one_hot(y, V.shape[1]).float())


def _gce(V, y):
    log_p = V.log_softmax(dim=1).gather(1, y[:, None])
    return (-torch.expm1(GCE_Q * log_p) / GCE_Q).mean()


LOSSES: Any = {"mse": _mse, "cross_entropy": functional.cross_entropy, "gce": _gce}


def _tensors(plane):
    X = torch.from_numpy(plane.X).float() * plane.feature_scale
    y = torch.from_numpy(plane.y)
    return X, y, [tuple(map(torch.from_numpy, head)) for head in plane.heads]


def product_at_each_point(plane: Any) -> Any:
    """As one would write it: the weights are moved, and all logits computed, at each point."""
    loss, (X, y, ((W, b), (dW1, db1), (dW2, db2))) = LOSSES[plane.loss], _tensors(plane)

    def call():
        return (
            np.array(
                [
                    float(loss(X @ (W + p * dW1 + q * dW2) + (b + p * db1 + q * db2), y))
                    for p, q in plane.points
                ]
            ),
        )

    return call


def three_products(plane: Any) -> Any:
    """The products are taken once, as softstep does; a point is a sum of their logits."""
    loss, (X, y, heads) = LOSSES[plane.loss], _tensors(plane)

    def call():
        V0, V1, V2 = (X @ W + b for W, b in heads)
        return (np.array([float(loss(V0 + p * V1 + q * V2, y)) for p, q in plane.points]),)

    return call

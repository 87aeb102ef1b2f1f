"""Promise: the landscape's benchmark compares equals."""

import pytest

from softstep import SoftmaxRegression
from softstep.bench import landscape
from softstep.model.datasets import load_digits
from softstep.model.landscape import loss_surface


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("name", landscape.PEERS)
def test_a_peer_has_the_losses_of_the_surface(name, loss):
    torch = pytest.importorskip("torch")
    digits = load_digits()
    X, y = digits.X_train, digits.y_train
    model = SoftmaxRegression(loss=loss, epochs=3, random_state=0).fit(X, y)
    surface = loss_surface(model, X, y, steps=7)
    at = landscape.points(steps=7, every=4)
    assert at[:3] == [(0, 0), (0, 4), (1, 1)]
    losses = landscape.PEERS[name](model, torch.from_numpy(X), torch.from_numpy(y), surface, at)
    assert landscape.agrees(losses, surface, at)
    swapped = [(j, i) for i, j in at]
    assert not landscape.agrees(losses, surface, swapped)

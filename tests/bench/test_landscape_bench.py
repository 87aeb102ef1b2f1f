"""Promise: the landscape study compares equal work."""

import numpy as np
import pytest

from softstep import SoftmaxRegression
from softstep.bench import measure, peers
from softstep.bench.measure import OURS, Pace, Row
from softstep.bench.studies import landscape
from softstep.kernels.losses import LOSSES
from softstep.model.datasets import load_digits
from softstep.model.landscape import loss_surface


def surface_and_plane(loss):
    digits = load_digits()
    X, y = digits.X_train, digits.y_train
    model = SoftmaxRegression(loss=loss, epochs=3, random_state=0).fit(X, y)
    surface = loss_surface(model, X, y, steps=7)
    at = landscape.places(steps=7, every=4)
    return surface, at, landscape.plane(model, X, y, surface, at, scale=1)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("peer", peers.SURFACE, ids=lambda p: p.name)
def test_a_peer_has_the_losses_of_the_surface(peer, loss):
    pytest.importorskip("torch")
    surface, at, problem = surface_and_plane(loss)
    assert at[:3] == [(0, 0), (0, 4), (1, 1)]
    losses = peer.prepare(problem)()
    assert landscape.judged(losses, surface, at)[1]
    swapped = [(j, i) for i, j in at]
    assert not landscape.judged(losses, surface, swapped)[1]


def test_some_points_are_scaled_to_all(monkeypatch):
    """Three products take 1 s, and each point 0.1 s."""
    _, at, problem = surface_and_plane("mse")
    times = {"one": [1.1], "some": [1 + 0.1 * len(at)]}
    monkeypatch.setattr(measure, "interleaved", lambda calls, pace: times)
    monkeypatch.setattr(peers.Peer, "prepare", lambda peer, problem: None)
    found = landscape.seconds_for_the_grid(peers.SURFACE[0], problem, Pace(1, 0, 0))
    assert found == pytest.approx(1 + 0.1 * landscape.STEPS**2)


def test_a_peer_with_other_losses_is_not_timed(monkeypatch):
    surface, at, problem = surface_and_plane("mse")
    monkeypatch.setattr(landscape, "places", lambda: at)
    monkeypatch.setattr(peers, "installed", lambda module: True)
    ours = Row("landscape", "mse", 1, OURS, wall=2.0)
    expected = np.array([surface.loss[i, j] for i, j in at])
    monkeypatch.setattr(landscape, "seconds_for_the_grid", lambda peer, problem, pace: 6.0)
    for losses, ratio in ((expected, 3.0), (1.01 * expected, None)):
        monkeypatch.setattr(peers.Peer, "prepare", lambda *given, found=losses: lambda: (found,))
        row = landscape.row_of_peer(peers.SURFACE[0], problem, surface, ours, Pace(1, 0, 0))
        assert (row.agrees, row.ratio) == (ratio is not None, ratio)

"""Promise: the sweep's benchmarks compare equals, and their inputs are what they say."""

import numpy as np
import pytest

from softstep.bench import grid_search, sweep, wrong_labels
from softstep.bench.workloads import Size
from softstep.model.datasets import load_digits

TINY = Size(n=230, d=12, c=4)


@pytest.mark.parametrize("name", sweep.PEERS)
def test_every_peer_ends_with_the_weights_of_the_bank(name):
    if "torch" in name:
        pytest.importorskip("torch")
    given = sweep.arguments(TINY)
    expected = sweep.bank(*given)
    found = sweep.PEERS[name](*given)
    assert [f.shape for f in found] == [(40, 12, 4), (40, 4)]
    assert sweep.agrees(found, expected)
    assert not sweep.agrees([0 * f for f in found], expected)


def test_the_sweep_has_forty_heads_and_counts_their_operations():
    assert len(sweep.arguments(TINY)[3]) == 40
    assert sweep.flop() == 40 * sweep.seed_workload(np.uint8).flop
    assert sweep.flop() == pytest.approx(76e9, rel=0.02)


def test_a_fifth_of_the_labels_is_wrong_and_from_the_seed():
    y = np.arange(1000) % 10
    spoilt = wrong_labels.replaced(y, 0.2, seed=1)
    assert np.count_nonzero(spoilt != y) == 200
    assert set(spoilt) == set(range(10))
    assert np.array_equal(spoilt, wrong_labels.replaced(y, 0.2, seed=1))


def test_both_searches_try_the_same_penalties_and_count_their_fits():
    pytest.importorskip("sklearn")
    X, y = load_digits().X_train[:120], load_digits().y_train[:120]
    learning = 4_000  # rows that a fold of the benchmark learns from
    np.testing.assert_allclose(grid_search.penalties() * grid_search.CS * learning, 1)
    model, fits = grid_search.by_sweep(X, y, 3)
    assert model.score(X, y) > 0.9
    assert fits == 8 * 5 * 6
    model, fits = grid_search.by_grid_search(X / 16, y, 3)
    assert model.score(X / 16, y) > 0.9
    assert fits == 8 * 5 + 1

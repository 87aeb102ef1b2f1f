"""Promise: the sweep's benchmarks compare equals, and their inputs are what they say."""

import numpy as np
import pytest

from softstep.bench import sweep, wrong_labels
from softstep.bench.workloads import Size

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

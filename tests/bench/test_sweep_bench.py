"""Promise: the studies of sweeps compare equal work, and their inputs are as described."""

import numpy as np
import pytest

from softstep.bench import measure, peers
from softstep.bench.measure import OURS, Pace
from softstep.bench.studies import grid_search, scoring, sweep, wrong_labels
from softstep.kernels.losses import LOSSES
from softstep.kernels.verify.cases import Size
from softstep.model.datasets import load_digits
from softstep.model.scores import SCORES

TINY = Size(n=230, d=12, c=4)


@pytest.mark.parametrize("peer", peers.SWEEP, ids=lambda p: p.name)
def test_every_peer_ends_with_the_weights_of_the_bank(peer):
    pytest.importorskip(peer.library)
    epoch = sweep.problem(TINY)
    found = peer.prepare(epoch)()
    assert [f.shape for f in found] == [(40, 12, 4), (40, 4)]
    right = sweep.judge(epoch)
    assert right(found)[1]
    assert not right(tuple(0 * f for f in found))[1]
    assert not right(tuple(f[::-1] for f in found))[1]  # each head has its rate and its loss


def test_softstep_and_every_peer_take_their_turn():
    rows = measure.measure(sweep.case(TINY), Pace(rounds=1, pause=0, burst=0))
    assert [row.competitor for row in rows] == [
        OURS,
        sweep.ONE_BY_ONE,
        *(peer.name for peer in peers.SWEEP),
    ]
    assert all(row.not_run or (row.agrees and row.wall > 0) for row in rows)


def test_the_sweep_has_forty_heads_and_counts_their_operations():
    assert sweep.problem(TINY).size.h == 40
    assert sweep.flop() == 40 * sweep.seed_workload(np.uint8).flop
    assert sweep.flop() == pytest.approx(76e9, rel=0.02)


def test_a_fifth_of_the_labels_is_wrong_and_from_the_seed():
    y = np.arange(1000) % 10
    spoilt = wrong_labels.replaced(y, 0.2, seed=1)
    assert np.count_nonzero(spoilt != y) == 200
    assert set(spoilt) == set(range(10))
    assert np.array_equal(spoilt, wrong_labels.replaced(y, 0.2, seed=1))


def test_every_loss_is_tried_with_wrong_labels():
    assert wrong_labels.RATES.keys() == LOSSES.keys()


def test_both_searches_try_the_same_penalties_and_count_their_fits():
    joblib = pytest.importorskip("joblib")
    X, y = load_digits().X_train[:120], load_digits().y_train[:120]
    learning = 4_000  # rows that a fold of the benchmark learns from
    np.testing.assert_allclose(grid_search.penalties() * grid_search.CS * learning, 1)
    model, fits = grid_search.by_sweep(X, y, 3)
    assert model.score(X, y) > 0.9
    assert fits == 8 * 5 * 6
    with joblib.parallel_config("threading"):  # the pool of processes of other tests may be gone
        model, fits = grid_search.by_grid_search(X / 16, y, 3)
    assert model.score(X / 16, y) > 0.9
    assert fits == 8 * 5 + 1


def test_the_scores_that_are_timed_are_those_of_scikit_learn():
    pytest.importorskip("sklearn")
    lines = scoring.table(scoring.problem(heads=6, rows=600)).splitlines()[2:]
    assert len(lines) == len(SCORES)
    apart = [float(cells[4]) for line in lines if (cells := line.split("|"))[3].strip()]
    assert len(apart) == len(SCORES) - 2
    assert max(apart) < 1e-6  # float32, which scikit-learn sums


def test_out_of_fold_probabilities_are_timed():
    told, seconds = scoring.out_of_fold(rows=100).removesuffix(" s").rsplit(": ", 1)
    assert told == "out-of-fold probabilities of 100 x 784 float32, 10 classes, 5 folds"
    assert float(seconds) >= 0

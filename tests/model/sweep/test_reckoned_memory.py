"""Promise: the memory that a sweep is said to need counts all that it holds, and little more."""

import numpy as np
import pytest

from softstep import SoftmaxSweep
from softstep.model.optimum import curvature, lbfgs, proof
from softstep.model.sweep import few_shot

N, D, C = 20_000, 10, 3
FLOAT, INTEGER = 4, 8  # bytes


def needs(grid=None, n=N, d=D, c=C, val=0, weighted=False, sample_weight=None, **settings):
    """The bytes that a sweep over n rows is said to need, by its refusal of less."""
    labels, given = np.arange(n) % c, {"cv": 2}
    held_out = {}
    if val:
        given = {}
        held_out = {"X_val": np.zeros((val, d), np.float32), "y_val": np.arange(val) % c}
    if weighted:
        held_out["sample_weight_val"] = np.linspace(1, 2, val)
    sweep = SoftmaxSweep(grid or {}, memory=1, **given | settings)
    with pytest.raises(ValueError, match="this sweep needs") as refused:
        sweep.fit(np.zeros((n, d), np.float32), labels, sample_weight, **held_out)
    return int(str(refused.value).partition("needs ")[2].split()[0])


def rates(count):
    return {"learning_rate": np.geomspace(0.01, 1, count).tolist()}


def test_each_row_of_folds():
    """Its label, its weights in all sets, whether each fold judges it, and what making these takes:
    two numbers and two weights."""
    k = 20
    held = INTEGER + FLOAT * (1 + k + k) + k + 2 * INTEGER + 2 * 8
    per_row = (needs(n=2 * N, cv=k) - needs(cv=k)) / N
    assert held <= per_row < 1.1 * held


def test_each_row_of_held_out_ones():
    assert INTEGER <= (needs(val=2 * N) - needs(val=N)) / N < 1.1 * INTEGER
    weights = (needs(val=N, weighted=True) - needs(val=N)) / N
    assert FLOAT <= weights <= 8


def test_each_row_that_has_a_weight():
    more = needs(val=N, sample_weight=np.linspace(1, 2, N)) - needs(val=N)
    assert FLOAT <= more / N < 1.1 * FLOAT


@pytest.mark.parametrize(("d", "c"), [(500, 10), (50, 40)])
def test_each_head(d, c):
    """Its weights, velocity and best weights, and most again as heads are dropped and packed."""
    bank = (d + 1) * c * FLOAT
    small = {"d": d, "c": c, "batch_size": 1}
    per_head = (needs(rates(30), **small) - needs(rates(20), **small)) / (3 * 10)
    assert 6 * bank <= per_head < 8 * bank


def test_scaled_columns():
    d, h = 3000, 3 * 10
    scaled = rates(10) | {"scaling": ["standard"]}
    more = needs(scaled, n=500, d=d) - needs(rates(10), n=500, d=d)
    moments = 5 * 8 * d * h  # mean, deviation, their sums and the numbers of rows
    assert 16e6 < more - moments < 20e6


def test_rows_that_heads_visit_alone():
    splits = [few_shot(np.arange(N) % C, shots, seeds=4) for shots in (100, 1000)]
    rows = 4 * C * (1000 - 100)
    few, many = (needs(cv=each) for each in splits)
    assert D * FLOAT <= (many - few) / rows < 3 * D * FLOAT


def test_proofs_and_the_optimum():
    h = 3  # two folds and all rows
    convex = {"loss": ["cross_entropy"], "l2": [0.1]}
    trained = needs({"loss": ["cross_entropy"], "l2": [0.0]})
    proven = proof.bytes_needed(N, 1, D, C)  # those of folds are judged, not proven
    assert needs(convex) - trained == proven
    solved = proof.bytes_needed(N, h, D, C) + lbfgs.bytes_needed(N, h, D, C)
    solved += curvature.bytes_needed(N, D, C)
    assert needs(convex, solver="lbfgs") - trained == solved

"""Promise: the optimum takes the memory that is counted for it, and the threads it is given."""

import tracemalloc

import numpy as np
import pytest

from softstep import SoftmaxSweep, kernels
from softstep.model import trainer
from softstep.model.optimum import lbfgs, problem, proof
from softstep.model.optimum.problem import Problem

RNG = np.random.default_rng(0)


def posed(X, y, h=1, **settings):
    common = {"loss": np.array(["cross_entropy"] * h), "l2": np.full(h, 0.1)}
    return Problem(data=trainer.Rows(X, y), **common, l2_bias=False, fit_bias=True, **settings)


def peak_of(work):
    work()  # compiles
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("d", [1, 40])
def test_proofs_of_many_heads_on_few_features_take_little(d, monkeypatch):
    n, h, c = 2000, 240, 10
    for module in (proof, problem):
        monkeypatch.setattr(module, "WIDENED_VALUES", 1 << 17)
    X, y = RNG.standard_normal((n, d)).astype("f4"), np.arange(n) % c
    W, b = RNG.standard_normal((h, d, c)), np.zeros((h, c))
    needed = proof.bytes_needed(n, h, d, c)
    assert needed < 30_000_000  # logits of all rows and heads would be 38 MB
    assert needed / 20 < peak_of(lambda: proof.prove(posed(X, y, h), W, b)) < needed


def test_a_lone_head_takes_as_many_rows_at_once_as_one_among_many():
    """Or its sums would have other bits."""
    X, y = RNG.standard_normal((5000, 2)), np.arange(5000) % 3
    sizes = {h: [len(part.X) for part in posed(X, y, h).rows(np.float64, 3)] for h in (1, 50)}
    assert sizes[1] == sizes[50]


def test_soft_targets_are_not_held_once_more_in_float64(monkeypatch):
    n, c = 200_000, 10
    monkeypatch.setattr(problem, "SOFT_VALUES", 1 << 15)
    X, soft = np.ones((n, 1), "f4"), RNG.dirichlet(np.ones(c), n).astype("f4")
    W, b = np.zeros((1, 1, c), "f4"), np.zeros((1, c), "f4")
    sgd = trainer.SGDSettings(loss="cross_entropy", learning_rate=1.0, batch_size=1)

    def value():
        data = trainer.Rows(X, soft)
        return Problem.of(sgd, data, np.array(["cross_entropy"]), np.array([0.1])).value(W, b)

    assert problem.bytes_of_soft(n, c) < 1_000_000
    assert peak_of(value) < problem.bytes_of_soft(n, c) + 1_000_000  # 16 MB, all of them
    f, _, db = value()
    wide = soft.astype(float) / soft.sum(axis=1, dtype=float, keepdims=True)
    assert f[0] == pytest.approx(np.log(c), rel=1e-6)
    np.testing.assert_allclose(db[0], 1 / c - wide.mean(axis=0), atol=1e-7)


def test_the_memory_that_is_said_to_be_needed_does_for_soft_targets():
    n, c = 10_000, 10
    X, soft = RNG.standard_normal((n, 2)).astype("f4"), RNG.dirichlet(np.ones(c), n).astype("f4")
    grid = {"loss": "cross_entropy", "l2": [1.0]}

    def sweep(memory):
        made = SoftmaxSweep(grid, solver="lbfgs", memory=memory, random_state=0)
        return made.fit(X, soft, X_val=X[:50], y_val=soft[:50])

    with pytest.raises(ValueError, match="needs") as refused:
        sweep(1)
    needed = int(str(refused.value).partition("needs ")[2].split()[0])
    assert peak_of(lambda: sweep(needed)) < needed


def test_proofs_keep_to_the_threads_they_are_given(monkeypatch):
    asked = []
    for name in ("linear_forward", "softmax_forward", "gradient"):
        op = getattr(kernels, name)

        def noting(*arrays, op=op, **keywords):
            asked.append((op.__name__, keywords["n_threads"]))
            return op(*arrays, **keywords)

        monkeypatch.setattr(kernels, name, noting)
    X, y = RNG.standard_normal((50, 2)), np.arange(50) % 3
    proof.prove(posed(X, y, n_threads=1), np.zeros((1, 2, 3)), np.zeros((1, 3)))
    assert {name for name, _ in asked} == {"linear_forward", "softmax_forward", "gradient"}
    assert {n for _, n in asked} == {1}


def test_views_of_every_width_are_reckoned_with(monkeypatch):
    """A wide view has no curvatures of its classes, and may take less than a narrow one."""
    whole, asked = lbfgs.bytes_needed, set()

    def counted(n, h, d, c):
        asked.add(d)
        return whole(n, h, d, c)

    monkeypatch.setattr(lbfgs, "bytes_needed", counted)
    assert whole(50_000, 20, 3000, 10) < whole(50_000, 20, 2048, 10)
    X, y = RNG.standard_normal((60, 6)).astype("f4"), np.arange(60) % 3
    views = {"C": [1.0], "features": [(0, 6), (0, 4)]}
    SoftmaxSweep(views, solver="lbfgs", memory="100 MB", cv=2).fit(X, y)
    assert asked == {6, 4}

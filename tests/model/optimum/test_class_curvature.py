"""Promise: far from zero weights a head goes by the curvature where it is, and takes few steps."""

import numpy as np
import pytest

from softstep.model import trainer
from softstep.model.datasets import load_digits
from softstep.model.optimum import class_curvature, lbfgs
from softstep.model.optimum.absent import ABSENT
from softstep.model.optimum.class_curvature import ClassCurvature
from softstep.model.optimum.curvature import Curvature
from softstep.model.optimum.problem import Problem
from softstep.model.optimum.settings import Optimum
from softstep.model.optimum.solve import solve
from softstep.model.optimum.space import Space

RNG = np.random.default_rng(0)
DIGITS = load_digits()
X, Y = DIGITS.X_train.astype("f4"), DIGITS.y_train
D, C = X.shape[1], 10


def posed(l2, X=X, y=Y, **settings):
    data = trainer.Rows(X, y, sample_weight=settings.pop("sample_weight", None))
    loss = np.array(["cross_entropy"] * len(l2))
    common = {"l2_bias": False, "fit_bias": True, "loss": loss}
    return Problem(data=data, l2=np.asarray(l2), **common | settings)


def solved(problem, start=0.0, **settings):
    h = len(problem.l2)
    W, b = np.zeros((h, D, C), "f4") + start, np.zeros((h, C), "f4")
    return solve(problem, W, b, optimum=Optimum(1e-6, 10_000), **settings)


def common_of(W):
    return np.abs(W.sum(axis=2, dtype="f8")).max()


def second_derivatives(problem, theta, space, j):
    """∂²f/∂θ_j² of the one head, by central differences in float64."""
    size, step = len(theta), 1e-4
    found = np.empty((size, size))
    for i in range(size):
        ends = []
        for sign in (1, -1):
            moved = theta.copy()
            moved[i, j] += sign * step
            _, dW, db = problem.value(*space.weights(moved[None], np.float64))
            ends.append(space.gradient(dW, db)[0, :, j])
        found[i] = (ends[0] - ends[1]) / (2 * step)
    return found


@pytest.fixture
def all_rows(monkeypatch):
    monkeypatch.setattr(class_curvature, "SHARE", 1.0)
    monkeypatch.setattr(class_curvature, "ROWS_PER_FEATURE", 1e9)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"sample_weight": RNG.integers(0, 3, 60).astype("f4")},
        {"y": RNG.dirichlet(np.ones(3), 60)},
        {"l2_bias": True},
        {"fit_bias": False},
    ],
    ids=lambda settings: next(iter(settings), "plain"),
)
def test_it_inverts_the_second_derivatives_of_each_class(settings, all_rows, monkeypatch):
    monkeypatch.setattr(class_curvature, "BLOCK_ROWS", 25)  # three blocks
    monkeypatch.setattr(class_curvature, "GROUP_BYTES", 500)  # of two classes
    monkeypatch.setattr(class_curvature, "INVERTED", 2)
    features, n = RNG.standard_normal((60, 4)).astype("f4"), 60
    problem = posed([0.01], features, **{"y": np.arange(n) % 3} | settings)
    center = features.mean(axis=0) if problem.has_free_bias else np.zeros(4)
    space, theta = Space(center.astype("f8")), RNG.standard_normal((5, 3))
    found = ClassCurvature.at(theta, problem, space)
    for j in range(3):
        inverse = found.inverse[j].astype("f8").T @ found.inverse[j]
        B = second_derivatives(problem, theta, space, j)
        free = slice(None) if problem.fit_bias else slice(-1)
        product = (inverse @ B)[free, free]
        # float32 sums of 60 rows and their square root, against a condition of some 100
        np.testing.assert_allclose(product, np.eye(5)[free, free], atol=60 * 100 * 2**-24)


def test_two_classes_share_one_curvature(all_rows):
    features, n = RNG.standard_normal((60, 4)).astype("f4"), 60
    problem = posed([0.01], features, y=np.arange(n) % 2)
    space, theta = Space(features.mean(axis=0).astype("f8")), RNG.standard_normal((5, 2))
    found = ClassCurvature.at(theta, problem, space)
    assert found.inverse.nbytes == class_curvature.bytes_of_head(4, 2)
    inverse = found.inverse[0].astype("f8").T @ found.inverse[0]
    for j in range(2):
        B = second_derivatives(problem, theta, space, j)
        np.testing.assert_allclose(inverse @ B, np.eye(5), atol=60 * 100 * 2**-24)  # as above
        of_class = np.zeros((5, 2), "f4")
        of_class[j, j] = 1
        size = found.divide(of_class, of_class.copy())
        np.testing.assert_allclose(of_class[:, j], inverse[:, j], rtol=1e-5, atol=1e-5)
        assert not of_class[:, 1 - j].any()
        assert size == pytest.approx(inverse[j, j], rel=1e-5)


def test_few_rows_of_a_class_stand_for_all(monkeypatch):
    theta = RNG.standard_normal((D + 1, C))
    problem, space = posed([1e-6]), Space(X.mean(axis=0).astype("f8"))
    assert len(X) > class_curvature.ROWS_PER_FEATURE * (D + 1)
    W, b = (x[0] for x in space.weights(theta[None], np.float32))
    given = problem, W, b, space.center, slice(None), len(X)

    def blocks():
        return np.array([class_curvature._block(sums, 0) for sums in class_curvature._sums(*given)])

    few = blocks()
    monkeypatch.setattr(class_curvature, "SHARE", 1.0)
    monkeypatch.setattr(class_curvature, "ROWS_PER_FEATURE", 1e9)
    every = blocks()
    traces = (np.trace(B, axis1=1, axis2=2) for B in (few, every))
    np.testing.assert_allclose(*traces, rtol=0.2)
    own, whole = (np.einsum("jii->ji", B)[:, :-1] for B in (few, every))
    assert (own >= whole * (1 - 1e-6)).all()  # of a feature by itself they have what all have


def test_a_step_has_nothing_that_all_classes_have_in_common():
    problem = posed([1e-3], sample_weight=(Y != 4).astype("f4"))
    theta = RNG.standard_normal((1, D + 1, C))
    theta[0, :, 4] = 0
    theta[0, -1, 4] = ABSENT
    center, curvature = Curvature.of(problem, C)
    descent, only = lbfgs.Descent(problem, Space(center), curvature, theta), np.array([0])
    descent.start(only, np.float32)
    while not descent._pairs[0]:
        descent.round(only, np.float32)
    descent._look(0)
    q = descent._direction[0]
    assert descent._looked
    assert np.abs(q).max() > 0
    assert np.abs(q.sum(axis=1)).max() <= C * 2**-24 * np.abs(q).max()
    assert not q[:, 4].any()


def test_a_curvature_that_is_not_finite_is_not_taken():
    theta, space = np.zeros((D + 1, C)), Space(np.zeros(D))
    assert ClassCurvature.at(theta, posed([1.0], X), space) is not None
    assert ClassCurvature.at(theta, posed([1.0], X * np.float32(1e25)), space) is None


def test_a_curvature_that_rounding_makes_negative_is_not_taken(monkeypatch):
    monkeypatch.setattr(class_curvature, "NOISE", -1.0)
    theta, space = np.zeros((D + 1, C)), Space(np.zeros(D))
    assert ClassCurvature.at(theta, posed([1e-9]), space) is None
    assert solved(posed([1e-6])).converged[0]  # by what it began with


@pytest.mark.parametrize("l2", [1e-6, 1e-8])
def test_a_head_with_little_l2_takes_less_than_half_the_steps(l2, monkeypatch):
    steps = solved(posed([l2])).n_iter[0]
    monkeypatch.setattr(lbfgs, "LEAST_STEPS", 10**9)
    assert 0 < steps < solved(posed([l2])).n_iter[0] / 2


def test_heads_that_wait_for_each_other_have_the_bits_of_heads_alone(monkeypatch):
    l2 = [1e-2, 1e-5, 1e-6, 1e-7]
    alone = [solved(posed([value])) for value in l2]
    monkeypatch.setattr(lbfgs, "LOOKED_BYTES", class_curvature.bytes_of_head(D, C))
    assert lbfgs.room(D, C) == 1
    together = solved(posed(l2))
    for k, one in enumerate(alone):
        assert one.n_iter[0] == together.n_iter[k]
        np.testing.assert_array_equal(one.W[0], together.W[k])


def test_what_all_classes_have_in_common_at_the_start_is_gone_at_the_end():
    start = RNG.standard_normal((D, 1)).astype("f4")
    found, zero = solved(posed([1e-4]), start), solved(posed([1e-4]))
    assert found.converged[0]
    assert abs(found.objective[0] / zero.objective[0] - 1) <= 2e-6  # each is within 1e-6
    assert common_of(found.W) <= found.n_iter[0] * C * np.abs(found.W).max() * 2**-24


def test_a_class_without_rows_stays_out(monkeypatch):
    monkeypatch.setattr(lbfgs, "LEAST_STEPS", 2)
    weight = (Y != 4).astype("f4")
    found = solved(posed([1e-5], sample_weight=weight))
    assert found.converged[0]
    assert not found.W[0, :, 4].any()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_large_column_does_not_hide_the_others(dtype, monkeypatch):
    rng = np.random.default_rng(0)
    wild = rng.standard_normal((300, 12)).astype(dtype)
    y = (wild[:, :3] + 0.3 * rng.standard_normal((300, 3))).argmax(axis=1)
    wild[:, 0] *= 1e5
    wild[:, 1] = 37.3  # constant
    W, b = np.zeros((1, 12, 3), dtype), np.zeros((1, 3), dtype)
    how = {"optimum": Optimum(1e-6, 1000)}
    found = solve(posed([1e-6], wild, y=y), W.copy(), b.copy(), **how)
    monkeypatch.setattr(lbfgs, "LEAST_STEPS", 10**9)
    axes = solve(posed([1e-6], wild, y=y), W, b, **how)
    assert found.converged[0]
    assert found.n_iter[0] < axes.n_iter[0]


def test_its_memory_is_counted():
    n, d, c = 60_000, 784, 10
    with_looks = lbfgs.bytes_needed(n, 40, d, c)
    assert lbfgs.room(d, c) == 10
    assert with_looks > 10 * class_curvature.bytes_of_head(d, c) > 2e8
    assert lbfgs.room(4096, 1000) == 0  # one head's would not fit: it has none


def test_what_float32_rounds_is_not_common_to_all_classes_in_the_end():
    """Nothing but l2 would take it back: little, over rows that are fewer than the features."""
    rng = np.random.default_rng(0)
    few, y = rng.standard_normal((8, D)).astype("f4"), np.arange(8) % C
    found = solved(posed([1e-7], few, y=y))
    assert found.converged[0]
    # each step rounds its weights to float32, by half an ULP each
    assert common_of(found.W) <= found.n_iter[0] * C * np.abs(found.W).max() * 2**-24

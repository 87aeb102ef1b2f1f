"""Promise: what float64 rounds is in the bound: where it says more than that, nothing is proven."""

import numpy as np
import pytest

from softstep import SoftmaxRegression, kernels
from softstep.bench.studies import proofs
from softstep.model import trainer
from softstep.model.optimum import proof
from softstep.model.optimum.problem import Problem
from softstep.model.optimum.rounding import Errors, Sizes

REAL = np.longdouble
pytestmark = pytest.mark.skipif(
    np.finfo(REAL).eps > 1e-18, reason="needs a wider number than float64"
)


def problem(x, y, l2=1e-3, weights=None, **settings):
    data = trainer.Rows(x, y, weights)
    common = {"loss": np.array(["cross_entropy"]), "l2": np.array([l2])}
    return Problem(data=data, **common, **{"l2_bias": False, "fit_bias": True} | settings)


def exact(x, y, W, b, l2, weights):
    """f and its gradients by W and b, in extended precision; W (d, c), b (c,)."""
    x, W, b = x.astype(REAL), W.astype(REAL), b.astype(REAL)
    w, rows = weights.astype(REAL) / len(x), np.arange(len(x))
    V = x @ W + b
    e = np.exp(V - V[rows, y][:, None])
    e[rows, y] = 0
    others = e.sum(axis=1)
    dv = e / (1 + others)[:, None]
    dv[rows, y] = -others / (1 + others)
    f = w @ np.log1p(others) + REAL(l2) / 2 * (W**2).sum()
    return f, x.T @ (w[:, None] * dv) + REAL(l2) * W, w @ dv


def norm(values):
    return float(np.sqrt((values**2).sum()))


KINDS = {
    "plain": {},
    "sure": {"size": 30.0},
    "far from 0": {"offset": 1e6},
    "very far from 0": {"offset": 1e9, "size": 1e-2},
    "large": {"scale": 1e5, "size": 1e-4},
    "weighted": {"weighted": True},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [{}, {"l2_bias": True}, {"fit_bias": False}])
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_what_is_computed_is_not_farther_off_than_is_said(kind, bias, backend):
    rng = np.random.default_rng(len(kind))
    n, d, c = 700, 6, 3
    offset, scale, size = (KINDS[kind].get(k, v) for k, v in zip(
        ("offset", "scale", "size"), (0.0, 1.0, 1.0), strict=True
    ))  # fmt: skip
    y = rng.integers(c, size=n)
    x = scale * (rng.standard_normal((n, d)) + np.eye(c, d)[y]) + offset
    weights = rng.choice([0.0, 0.5, 2.0], n) if "weighted" in KINDS[kind] else np.ones(n)
    W = size * (rng.standard_normal((d, c)) + np.eye(d, c))
    b = rng.standard_normal(c) - x.mean(axis=0) @ W
    posed = problem(x, y, weights=weights, backend=backend, **bias)
    f, dW, db = (value[0] for value in posed.value(W[None], b[None]))
    center = x.mean(axis=0) if posed.has_free_bias else np.zeros(d)
    sizes = Sizes.of(posed, W[None], center)
    errors = sizes.errors(posed, np.array([f]), b[None], center, d)
    right, right_dW, right_db = exact(x, y, W, b, 1e-3, weights)
    if bias.get("l2_bias"):
        right, right_db = right + REAL(1e-3) / 2 * (b.astype(REAL) ** 2).sum(), right_db + 1e-3 * b
    if not posed.fit_bias:
        right_db = 0 * right_db
    assert 0 <= float(abs(f - right)) <= errors.f[0] < 1e-3 * max(1, offset / 1e6) * f
    if posed.has_free_bias:
        off = dW - np.outer(center, db) - (right_dW - np.outer(center.astype(REAL), right_db))
        assert norm(off) <= errors.gradient[0]
        assert float(np.abs(db - right_db).sum()) <= errors.of_bias[0]
    else:
        off = norm(np.concatenate([(dW - right_dW).ravel(), db - right_db]))
        assert off <= errors.gradient[0]


def test_the_curvature_keeps_its_figures_where_rows_are_sure():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 2)), np.arange(50) % 3
    W, b = rng.standard_normal((1, 2, 3)), np.array([[40.0, 0.0, -5.0]])
    found, mass, spread = proof._curvature(problem(x, y), W, b, np.zeros(2))
    V = x.astype(REAL) @ W[0].astype(REAL) + b[0]
    P = np.exp(V - V.max(axis=1, keepdims=True))
    P /= P.sum(axis=1, keepdims=True)
    right = -P.T @ P / 50
    np.fill_diagonal(right, 0)
    np.fill_diagonal(right, -right.sum(axis=1))
    np.testing.assert_allclose(found[0], right.astype(float), rtol=1e-12)
    np.testing.assert_allclose(mass[0], P.mean(axis=0).astype(float), rtol=1e-12)
    traces = np.minimum(0.5, (P * (1 - P)).sum(axis=1))
    right_spread = (traces * (x**2).sum(axis=1)).mean()
    assert spread[0] == pytest.approx(float(right_spread), rel=1e-12)


def test_a_class_that_all_rows_are_sure_of_is_not_left_out():
    """p is exactly 1 and 0: there is no curvature to go by, so nothing is proven."""
    y = np.arange(20) % 2
    x = np.where(y, 1.0, -1.0)[:, None]
    W = np.array([[[-400.0, 400.0]]])
    assert kernels.softmax_forward(x @ W[0]).max() == 1
    found = proof.prove(problem(x, y, 1e-12), W, np.zeros((1, 2)))
    assert found.least[0] == -np.inf


def test_where_logits_mean_nothing_nothing_is_proven():
    y = np.arange(20) % 2
    x = np.where(y, 1.0, -1.0)[:, None] + 1e16
    W, b = np.array([[[-1.0, 1.0]]]), np.array([[1e16, -1e16]])
    for settings in ({}, {"l2_bias": True}):
        found = proof.prove(problem(x, y, **settings), W, b)
        assert np.isnan(found.bound[0])


def extreme(number):
    return next(p for i, p in enumerate(proofs.extremes(number + 1)) if i == number)


@pytest.mark.parametrize(
    ("number", "tol"), [*((k, 1e-6) for k in range(6)), (7, 1e-12), (15, 1e-12)]
)
def test_the_bound_holds_where_float64_is_in_the_way(number, tol):
    pytest.importorskip("scipy.optimize")
    found = proofs.check(extreme(number), tol)
    assert found.holds
    assert not found.converged


def without_rounding(self, problem, f, b, center, d):
    zero = np.zeros(len(f))
    return Errors(zero, zero, zero, zero, np.sqrt(self.spread))


def test_without_what_is_rounded_it_would_not_hold(monkeypatch):
    pytest.importorskip("scipy.optimize")
    monkeypatch.setattr(Sizes, "errors", without_rounding)
    found = proofs.check(extreme(5), 1e-12)
    assert found.converged
    assert not found.holds


def test_a_tol_beyond_float64_is_not_reached_by_rounding():
    posed = next(proofs.posed(1))
    settings = {"loss": "cross_entropy", "solver": "lbfgs", "l2": 1e-3, "random_state": 0}
    model = SoftmaxRegression(**settings, tol=1e-15)
    with pytest.warns(UserWarning, match="stopped short of tol=1e-15"):
        model.fit(posed.X.astype(float), posed.y)
    assert not model.converged_
    assert 1e-15 * model.objective_ < model.bound_ < 1e-10 * model.objective_


def test_what_rounding_leaves_of_newtons_way_takes_no_pass(monkeypatch):
    """It ends where a step is no longer known, though what is added is not small beside it."""
    passes = []
    value = Problem.value
    monkeypatch.setattr(Problem, "value", lambda *given: passes.append(1) or value(*given))
    x, y = np.random.default_rng(0).standard_normal((40, 2)), np.arange(40) % 2
    found = proof.prove(problem(x, y, 1e-3), np.zeros((1, 2, 2)), np.array([[0.3, -0.3]]))
    assert len(passes) < proof.MOST_PASSES / 2
    assert np.isfinite(found.least[0])

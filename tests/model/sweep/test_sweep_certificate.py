"""Promise: the certificate of a sweep bounds how far each head is from the exact optimum."""

import numpy as np
import pytest

from softstep import SoftmaxSweep
from softstep.model import trainer
from softstep.model.datasets import load_digits
from softstep.model.optimum.problem import Problem

U = 2**-53
DIGITS = load_digits()
X, Y = DIGITS.X_train[::2], DIGITS.y_train[::2]
WEIGHTS = np.random.default_rng(0).uniform(0.5, 2, len(X))
L2 = (1e-3, 1e-2, 1e-1)


def objective(theta, l2, weights, fit_bias=True, l2_bias=True):
    """f and its gradient, written out anew, at theta = W (64, 10) and b (10,)."""
    W, b = theta[:640].reshape(64, 10), theta[640:] * fit_bias
    x = X.astype(np.float64)
    V = x @ W + b
    V -= V.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(V).sum(axis=1))
    w = weights / len(X)
    f = w @ (log_sum - V[np.arange(len(X)), Y]) + l2 / 2 * (np.sum(W**2) + l2_bias * np.sum(b**2))
    dV = np.exp(V - log_sum[:, None])
    dV[np.arange(len(X)), Y] -= 1
    dV *= w[:, None]
    db = (dV.sum(axis=0) + l2_bias * l2 * b) * fit_bias
    return f, np.concatenate([(x.T @ dV + l2 * W).ravel(), db])


@pytest.fixture(scope="module")
def least():
    """least(l2, weights, fit_bias): the least value, by SciPy's L-BFGS in float64."""
    optimize = pytest.importorskip("scipy.optimize")

    def find(l2, weights, fit_bias=True):
        found = optimize.minimize(
            objective,
            np.zeros(650),
            (l2, weights, fit_bias),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 5000, "maxfun": 20000, "ftol": 1e-16, "gtol": 1e-10},
        )
        # The optimum is known to within its own certificate, far below the gaps of SGD.
        assert np.sum(found.jac**2) / (2 * l2) < 1e-11
        return found.fun

    return find


@pytest.fixture(scope="module")
def least_with_free_bias():
    """least(l2, weights): the same with the bias not penalised."""
    optimize = pytest.importorskip("scipy.optimize")

    def find(l2, weights):
        found = optimize.minimize(
            objective,
            np.zeros(650),
            (l2, weights, True, False),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 5000, "maxfun": 20000, "ftol": 1e-16, "gtol": 1e-10},
        )
        return found.fun

    return find


def sweep(**settings):
    shared = {"epochs": 30, "random_state": 0, "l2_bias": True, "batch_size": 50}
    grid = {"loss": "cross_entropy", "learning_rate": [0.03, 0.1, 0.3, 1.0], "l2": list(L2)}
    grid |= settings.pop("grid", {})
    return SoftmaxSweep(grid, **shared | settings)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_bound_holds_for_every_head(schedule, weighted, least):
    weights = WEIGHTS / WEIGHTS.mean() if weighted else np.ones(len(X))
    fitted = sweep(schedule=schedule, epochs=60).fit(
        X, Y, X_val=DIGITS.X_test, y_val=DIGITS.y_test, sample_weight=WEIGHTS if weighted else None
    )
    results = fitted.results_
    optima = {l2: least(l2, weights) for l2 in L2}
    ratios = []
    for i, params in enumerate(results["params"]):
        head = fitted.estimator(i)
        theta = np.concatenate([head.coef_.T.ravel(), head.intercept_]).astype(np.float64)
        f, gradient = objective(theta, params["l2"], weights)
        # float32 row weights of the training are within 2^-24 of these
        assert results["objective"][i] == pytest.approx(f, rel=2**-22)
        assert results["gradient_norm"][i] == pytest.approx(np.linalg.norm(gradient), abs=1e-6)
        gap = results["objective"][i] - optima[params["l2"]]
        assert gap >= -1e-10
        assert gap <= results["bound"][i] + 1e-10
        ratios.append(results["bound"][i] / gap)
    assert len(ratios) == 12
    print(
        f"{schedule}, {weighted=}: bound/gap {min(ratios):.1f} to {max(ratios):.1f}, bound "
        f"{min(results['bound']):.1e} to {max(results['bound']):.1e}"
    )


def test_schedules_make_the_bound_small():
    bounds = {
        schedule: sweep(schedule=schedule, grid={"learning_rate": 0.3, "l2": 0.1})
        .fit(X, Y, X_val=DIGITS.X_test, y_val=DIGITS.y_test)
        .results_["bound"][0]
        for schedule in ("constant", "cosine", "step")
    }
    assert bounds["cosine"] < bounds["constant"] / 10
    assert bounds["step"] < bounds["constant"] / 10


def test_without_a_bias_it_is_no_parameter(least):
    fitted = sweep(fit_intercept=False, l2_bias=False, grid={"l2": 1e-2})
    results = fitted.fit(X, Y, X_val=DIGITS.X_test, y_val=DIGITS.y_test).results_
    gaps = results["objective"] - least(1e-2, np.ones(len(X)), fit_bias=False)
    assert (gaps > 0).all()
    assert (gaps <= results["bound"]).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"grid": {"loss": "mse"}},
        {"grid": {"l2": 0.0}},
        {"grid": {"learning_rate": 1e30, "l2": [0.1]} | {"loss": ["cross_entropy"]}},
    ],
    ids=["mse", "no l2", "diverged"],
)
def test_where_it_does_not_apply_it_is_nan(settings):
    if settings.get("grid", {}).get("learning_rate") == 1e30:
        settings = {"grid": settings["grid"] | {"learning_rate": [1e30, 0.1]}}
        expected = [True, False]
    else:
        settings = {"epochs": 1} | settings
        expected = None
    results = sweep(**settings).fit(X, Y, X_val=DIGITS.X_test, y_val=DIGITS.y_test).results_
    for name in ("objective", "gradient_norm", "bound"):
        missing = np.isnan(results[name])
        assert missing.tolist() == (expected or [True] * len(missing))


def test_float64_training_comes_to_the_optimum(least):
    fitted = SoftmaxSweep(
        {"loss": "cross_entropy", "learning_rate": 0.5, "l2": 0.1},
        l2_bias=True,
        batch_size=len(X),
        epochs=400,
        random_state=0,
    ).fit(X.astype(np.float64), Y, X_val=DIGITS.X_test, y_val=DIGITS.y_test)
    results = fitted.results_
    assert results["bound"][0] < 1e-12
    assert abs(results["objective"][0] - least(0.1, np.ones(len(X)))) < 1e-10


@pytest.mark.parametrize("weighted", [False, True])
def test_a_free_bias_has_a_bound_too(weighted, least_with_free_bias):
    weights = WEIGHTS / WEIGHTS.mean() if weighted else np.ones(len(X))
    fitted = sweep(l2_bias=False, grid={"learning_rate": [0.1, 0.3]}).fit(
        X, Y, X_val=DIGITS.X_test, y_val=DIGITS.y_test, sample_weight=WEIGHTS if weighted else None
    )
    results = fitted.results_
    gaps = results["objective"] - [
        least_with_free_bias(params["l2"], weights) for params in results["params"]
    ]
    assert (gaps > -1e-9).all()
    assert (gaps <= results["bound"] + 1e-9).all()
    assert (results["bound"] < 0.3 * results["objective"]).any()


def test_the_objective_and_its_gradient_are_those_of_soft_targets_too():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((40, 3)), rng.dirichlet(np.ones(4), 40)
    W, b, l2 = rng.standard_normal((2, 3, 4)), rng.standard_normal((2, 4)), np.array([0.1, 0.3])
    rows = trainer.Rows(x, y, rng.uniform(0, 2, (2, 40)), 0.5, weight_index=np.arange(2))
    problem = Problem(
        data=rows, loss=np.array(["cross_entropy"] * 2), l2=l2, l2_bias=True, fit_bias=True
    )
    _, dW, db = problem.value(W, b)
    h = 1e-5
    for k, i, j in [(0, 1, 2), (1, 2, 3)]:
        step = np.zeros_like(W)
        step[k, i, j] = h
        difference = (problem.value(W + step, b)[0] - problem.value(W - step, b)[0])[k] / (2 * h)
        assert dW[k, i, j] == pytest.approx(difference, rel=1e-7)
    step = np.zeros_like(b)
    step[1, 2] = h
    difference = (problem.value(W, b + step)[0] - problem.value(W, b - step)[0])[1] / (2 * h)
    assert db[1, 2] == pytest.approx(difference)

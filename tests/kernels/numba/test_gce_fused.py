"""Promise: Numba's fused kernels compute gce within its rounding errors, in any bank of any losses.

The bounds are derived here as in docs/numerics.md, for one step of training from given weights.
"""

import dataclasses
import itertools

import numpy as np
import pytest

from softstep import kernels
from softstep.kernels.errors import BackendError
from softstep.kernels.losses import GCE_Q, LOSSES
from softstep.kernels.verify import cases, parity
from softstep.kernels.verify.bounds import Arithmetic, one_hot, softmax

DTYPES = ("float32", "float64", "float16", "uint8")
KINDS = (1, 1000)  # columns: narrow kernels and wide ones
N, D, C, H = 230, 37, 5, 4
RATE, L2 = 0.5, 0.01


def problem(dtype, margin=1.0):
    """Features, their scale, labels, row weights and a bank; `margin` stretches the logits."""
    X, y = cases.features(N, D, dtype, 0), cases.labels(N, C, 0)
    W, b = cases.weights(H, D, C, cases.weight_dtype(dtype), 0)
    w = np.random.default_rng(1).uniform(0, 2, N)
    return X, cases.feature_scale(dtype), y, w, W * W.dtype.type(margin), b


def doubles(X):
    return X.astype(np.float64)


@dataclasses.dataclass
class Errors:
    """What gce is of each row (n,), its gradient (n, c), and how far both may be off."""

    loss: np.ndarray
    loss_error: np.ndarray
    dV: np.ndarray
    dV_error: np.ndarray

    @classmethod
    def of_head(cls, a, X, scale, y, W, b):
        """From W (d, c), b (c,) and features, all float64; the arithmetic rounds as `a` says."""
        x = scale * X
        size = np.abs(x) @ np.abs(W) + np.abs(b)
        return cls.of_logits(a, x @ W + b, a.gamma(len(W) + 2) * size.max(axis=1), y)

    @classmethod
    def of_logits(cls, a, V, V_error, y):
        """From logits (n, c) that are off by up to V_error (n,)."""
        c, P, Y = V.shape[1], softmax(V), one_hot(y, V.shape[1])
        E = V_error + 2 * a.u * np.abs(V).max(axis=1)  # v - max v is rounded
        entropy = kernels.cross_entropy_forward(V, y, backend="numpy")
        loss = kernels.gce_forward(V, y, backend="numpy")
        factor = np.exp(-GCE_Q * entropy)  # p_y^q
        entropy_error = 2 * E + a.gamma(c + 12) * entropy
        loss_error = factor * np.exp(entropy_error) * entropy_error + a.gamma(8) * loss
        P_error = P * (np.expm1(2 * E) + a.gamma(c + 8))[:, None]
        # q and the exponent -q CE are rounded
        growth = np.expm1(GCE_Q * entropy_error) + a.gamma(8) * (1 + GCE_Q * entropy)
        g = np.abs(P - Y)
        dV_error = factor[:, None] * (P_error + a.gamma(4) * g)
        dV_error += (factor * growth)[:, None] * (g + P_error)
        return cls(loss, loss_error, factor[:, None] * (P - Y), dV_error)


def both(dtype):
    """The roundings of the arithmetic, and those of the oracle in float64."""
    mine = Arithmetic.of(cases.weight_dtype(dtype))
    return Arithmetic(mine.u + Arithmetic.of(np.float64).u, mine.tiny)


def step(X, scale, y, w, W, b, loss, **options):
    """One step over all rows: losses (1, h), W, b."""
    W, b = W.copy(), b.copy()
    losses, _ = kernels.train(
        *(X, y, np.arange(len(X)), len(X), W, b),
        loss=loss,
        learning_rate=RATE,
        l2=L2,
        sample_weight=w,
        feature_scale=scale,
        **options,
    )
    return losses, W, b


@pytest.mark.parametrize("margin", [1, 30])
@pytest.mark.parametrize("columns", KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_step_is_within_the_bound_and_no_step_of_another_loss_is(dtype, columns, margin):
    X, scale, y, w, W, b = problem(dtype, margin)
    a, wide = both(dtype), [doubles(p) for p in (X, W, b)]
    truth = step(wide[0], scale, y, w, *wide[1:], "gce", backend="numpy")
    found = step(X, scale, y, w, W, b, "gce", columns=columns, backend="numba")
    other = step(X, scale, y, w, W, b, "cross_entropy", columns=columns, backend="numba")
    for k in range(H):
        e = Errors.of_head(a, wide[0], scale, y, wide[1][k], wide[2][k])
        x, mean = np.abs(scale * wide[0]), (w / N)[:, None]
        dV, dV_error = mean * np.abs(e.dV), mean * e.dV_error
        dW_error = x.T @ dV_error + a.gamma(N + 6) * (x.T @ dV)
        db_error = dV_error.sum(axis=0) + a.gamma(N + 4) * dV.sum(axis=0)
        size = np.abs(wide[1][k])
        bounds = (
            w @ e.loss_error / N + a.gamma(8) * w @ e.loss / N,
            RATE * (dW_error + 3 * a.u * L2 * size) + 4 * a.u * (size + RATE * x.T @ dV),
            RATE * db_error + 4 * a.u * (np.abs(wide[2][k]) + RATE * dV.sum(axis=0)),
        )
        for f, o, t, bound in zip(found, other, truth, bounds, strict=True):
            f, o, t = (r[0, k] if r is found[0] or len(r) == 1 else r[k] for r in (f, o, t))
            assert parity.worst(f, t, bound) <= 1
            assert parity.worst(o, t, bound) > 1
            assert parity.worst(np.zeros_like(t), t, bound) > 1


@pytest.mark.parametrize("margin", [1, 30])
@pytest.mark.parametrize("dtype", DTYPES)
def test_evaluate_is_within_the_bound(dtype, margin):
    X, scale, y, w, W, b = problem(dtype, margin)
    a, wide = both(dtype), [doubles(p) for p in (X, W, b)]
    options = {"loss": "gce", "sample_weight": w, "feature_scale": scale}
    found, accuracy = kernels.evaluate(X, y, W, b, backend="numba", **options)
    truth, _ = kernels.evaluate(wide[0], y, *wide[1:], backend="numpy", **options)
    _, same = kernels.evaluate(X, y, W, b, backend="numba", **{**options, "loss": "mse"})
    np.testing.assert_array_equal(accuracy, same)
    for k in range(H):
        e = Errors.of_head(a, wide[0], scale, y, wide[1][k], wide[2][k])
        bound = w @ (e.loss_error + a.gamma(8) * e.loss) / w.sum()
        assert parity.worst(found[k], truth[k], bound) <= 1
        assert bound < truth[k] / 100


@pytest.mark.parametrize("columns", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_head_of_any_loss_gets_the_same_bits_beside_heads_of_other_losses(dtype, columns):
    X, scale, y, w, W, b = problem(dtype)
    names = [name for _, name in zip(range(H), itertools.cycle(LOSSES), strict=False)]
    options = {"columns": columns, "backend": "numba"}
    losses, *ends = step(X, scale, y, w, W, b, names, **options)
    mean_loss, _ = kernels.evaluate(X, y, W, b, loss=names, backend="numba")
    for k, name in enumerate(names):
        one = slice(k, k + 1)
        alone, *end = step(X, scale, y, w, W[one], b[one], name, **options)
        np.testing.assert_array_equal(alone, losses[:, one])
        for together, single in zip(ends, end, strict=True):
            np.testing.assert_array_equal(single, together[one])
        single, _ = kernels.evaluate(X, y, W[one], b[one], loss=name, backend="numba")
        assert single[0] == mean_loss[k]


@pytest.mark.parametrize("columns", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_many_steps_stay_close_to_the_oracle_in_float64(dtype, columns):
    """45 steps, errors relative to the largest entry."""
    X, scale, y, w, W, b = problem(dtype)
    order = np.tile(np.random.default_rng(2).permutation(N), 4)[:900]
    settings = {"loss": "gce", "learning_rate": 0.5, "momentum": 0.5, "sample_weight": w}
    results = []
    for backend, kind in (("numba", W.dtype), ("numpy", np.float64)):
        V, c = W.astype(kind), b.astype(kind)
        more = {"columns": columns, "feature_scale": scale, "backend": backend}
        losses, _ = kernels.train(X.astype(kind), y, order, 20, V, c, **settings, **more)
        results.append((losses, V, c))
    for f, t in zip(*results, strict=True):
        assert np.abs(f - t).max() <= (1e-5 if dtype == "float32" else 1e-13) * np.abs(t).max()


@pytest.mark.parametrize("columns", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "uint8"])
def test_the_number_of_threads_changes_no_bit(dtype, columns):
    X, y = cases.features(1500, 301, dtype, 0), cases.labels(1500, 7, 0)
    start = cases.weights(3, 301, 7, cases.weight_dtype(dtype), 0)
    options = {
        "loss": list(LOSSES),
        "feature_scale": cases.feature_scale(dtype),
        "backend": "numba",
    }
    results = []
    for n_threads in (1, 2, 3, 7):
        W, b = (p.copy() for p in start)
        more = {"learning_rate": 0.1, "columns": columns, "n_threads": n_threads}
        figures = kernels.train(X, y, np.arange(1500)[::-1], 250, W, b, **options, **more)
        means = kernels.evaluate(X, y, W, b, n_threads=n_threads, **options)
        results.append([*figures, W, b, *means])
    for result in results[1:]:
        for f, e in zip(result, results[0], strict=True):
            assert f.tobytes() == e.tobytes()


# Sure rows, hopeless rows, rows that are not finite.


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 2e-6), ("float64", 4e-15)])
@pytest.mark.parametrize("margin", [5, 20, 40])
def test_the_loss_of_a_sure_row_keeps_its_figures(dtype, rtol, margin):
    """L is about e^-margin, not 0."""
    X, y = np.ones((1, 1), dtype), np.array([0])
    W, b = np.array([[[margin, 0]]], dtype), np.zeros((1, 2), dtype)
    expected = -np.expm1(-GCE_Q * np.log1p(np.exp(-margin))) / GCE_Q
    loss, _ = kernels.evaluate(X, y, W, b, loss="gce", backend="numba")
    np.testing.assert_allclose(loss[0], expected, rtol=rtol)
    V = W[0]
    found, _ = kernels.surface_forward(V, 0 * V, 0 * V, y, [0], [0], loss="gce", backend="numba")
    np.testing.assert_allclose(found[0, 0], expected, rtol=rtol)


def test_a_row_beyond_doubt_wrong_loses_1_over_q_and_teaches_nothing():
    X, y = np.ones((1, 1), np.float32), np.array([1])
    start = np.array([[[400, 0]]], np.float32)
    for columns in KINDS:
        W, b = start.copy(), np.zeros((1, 2), np.float32)
        losses, correct = kernels.train(
            *(X, y, [0], 1, W, b), loss="gce", learning_rate=1, columns=columns, backend="numba"
        )
        assert losses[0, 0] == pytest.approx(1 / GCE_Q)
        assert correct[0, 0] == 0
        np.testing.assert_array_equal(W, start)


def test_a_sure_row_loses_exactly_nothing_where_its_loss_underflows():
    X, y = np.ones((1, 1), np.float32), np.array([0])
    W, b = np.array([[[400, 0]]], np.float32), np.zeros((1, 2), np.float32)
    loss, _ = kernels.evaluate(X, y, W, b, loss="gce", backend="numba")
    assert loss.tobytes() == np.zeros(1).tobytes()  # and not -0


@pytest.mark.parametrize("bias", [[0, -np.inf], [np.nan, 0], [np.inf, 0], [-np.inf, -np.inf]])
def test_logits_that_are_not_finite_give_what_the_oracle_gives(bias):
    X, y = np.ones((20, 1), np.float32), np.arange(20) % 2
    W, b = np.zeros((1, 1, 2), np.float32), np.array([bias], np.float32)
    found, expected = (
        kernels.evaluate(X, y, W, b, loss="gce", backend=backend) for backend in ("numba", "numpy")
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6)


# The surface.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_point_of_a_surface_is_within_the_bound(dtype):
    y, w = problem(dtype)[2:4]
    a, V = both(dtype), [cases.logits(N, C, dtype, seed) for seed in range(3)]
    offsets = np.linspace(-1, 1, 9), np.linspace(-2, 1.5, 7)
    options = {"loss": "gce", "sample_weight": w}
    found, hits = kernels.surface_forward(*V, y, *offsets, backend="numba", **options)
    V64 = [v.astype(np.float64) for v in V]
    truth, right = kernels.surface_forward(*V64, y, *offsets, backend="numpy", **options)
    for (i, t), (j, x) in itertools.product(enumerate(offsets[1]), enumerate(offsets[0])):
        V0, V1, V2 = V64[0], x * V64[1], t * V64[2]
        size = (np.abs(V0) + np.abs(V1) + np.abs(V2)).max(axis=1)
        e = Errors.of_logits(a, V0 + V1 + V2, a.gamma(8) * size, y)
        bound = w @ (e.loss_error + a.gamma(8) * e.loss)
        assert parity.worst(found[i, j], truth[i, j], bound) <= 1
        assert bound < truth[i, j] / 100
    np.testing.assert_allclose(hits, right, rtol=1e-6)
    for n_threads in (2, 5):
        more = {"backend": "numba", "n_threads": n_threads}
        again, _ = kernels.surface_forward(*V, y, *offsets, **options, **more)
        assert again.tobytes() == found.tobytes()


def test_a_row_that_is_not_finite_makes_a_surface_nan():
    V = np.zeros((20, 3), np.float32)
    V[7, 1] = np.inf
    found, _ = kernels.surface_forward(
        *(V, 0 * np.nan_to_num(V), 0 * np.nan_to_num(V), np.zeros(20, int), [0, 1], [0]),
        loss="gce",
        backend="numba",
    )
    assert np.isnan(found).all()


# A loss without kernels.


@pytest.mark.parametrize("op", ["train", "evaluate", "surface_forward"])
def test_a_loss_that_the_table_has_and_no_kernel_is_refused(op, monkeypatch):
    fake = dataclasses.replace(LOSSES["gce"], name="fake", code=max(7, len(LOSSES)))
    monkeypatch.setitem(LOSSES, "fake", fake)
    X, _, y, _, W, b = problem("float32")
    V = np.zeros((N, C), np.float32)
    call = {
        "train": lambda **o: kernels.train(X, y, [0, 1], 2, W, b, learning_rate=0.1, **o),
        "evaluate": lambda **o: kernels.evaluate(X, y, W, b, **o),
        "surface_forward": lambda **o: kernels.surface_forward(V, V, V, y, [0], [0], **o),
    }[op]
    with pytest.raises(BackendError, match="does not compute the loss 'fake'"):
        call(loss="fake", backend="numba")
    before = W.copy()
    if op != "surface_forward":
        with pytest.raises(BackendError, match="fake"):
            call(loss=["gce", "fake", "mse", "gce"], backend="numba")
    np.testing.assert_array_equal(W, before)

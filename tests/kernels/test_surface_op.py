"""Promise: `surface_forward` is `evaluate` at every point of the grid, on any number of threads."""

import numpy as np
import pytest

from softstep import kernels
from softstep.kernels.losses import GCE_Q, LOSSES
from softstep.kernels.verify import cases

BACKENDS = ("numpy", "numba")
X_OFFSETS, Y_OFFSETS = np.linspace(-1, 1, 9), np.linspace(-2, 1.5, 7)


def layer(n=500, d=20, c=10, dtype=np.float32):
    """Features and labels, a head that tells some of them right, and two directions."""
    X, y = cases.features(n, d, dtype, 0), cases.labels(n, c, 0)
    heads = [[a[0] for a in cases.weights(1, d, c, dtype, seed)] for seed in range(3)]
    return X, y, heads


def logits(X, heads):
    return [kernels.linear_forward(X, W, b, backend="numpy") for W, b in heads]


def single_evaluation(X, y, heads, x, t, loss):
    """The oracle, in float64, with the weights moved."""
    W, b = (p0 + x * p1 + t * p2 for p0, p1, p2 in zip(*map(wide, heads), strict=True))
    loss, accuracy = kernels.evaluate(X.astype("f8"), y, W, b, loss=loss, backend="numpy")
    return loss[0], accuracy[0]


def wide(head):
    return [a.astype(np.float64) for a in head]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_point_equals_a_single_evaluation_by_the_oracle_to_1e_6(dtype, loss, backend):
    X, y, heads = layer(dtype=dtype)
    V = logits(X, heads)
    losses, hits = kernels.surface_forward(*V, y, X_OFFSETS, Y_OFFSETS, loss=loss, backend=backend)
    assert losses.shape == hits.shape == (7, 9)
    for i, t in enumerate(Y_OFFSETS):
        for j, x in enumerate(X_OFFSETS):
            expected, accuracy = single_evaluation(X, y, heads, x, t, loss)
            assert abs(losses[i, j] / len(X) - expected) <= 1e-6 * expected
            assert hits[i, j] / len(X) == pytest.approx(accuracy, abs=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_at_zero_logits_the_first_class_is_right_as_in_evaluate(backend):
    y = np.array([0, 1, 2, 0])
    zeros = [np.zeros((4, 3), np.float32)] * 3
    losses, hits = kernels.surface_forward(*zeros, y, [0, 1], [0], loss="cross_entropy",
                                           backend=backend)  # fmt: skip
    assert hits.tolist() == [[2, 2]]
    np.testing.assert_allclose(losses, 4 * np.log(3), rtol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_logits_far_apart_give_the_losses_of_their_margins(backend):
    V = np.array([[0, 200.0], [300, 0]], np.float32)
    nothing = [np.zeros_like(V)] * 2
    losses, hits = kernels.surface_forward(V, *nothing, [0, 1], [0], [0], loss="cross_entropy",
                                           backend=backend)  # fmt: skip
    assert losses[0, 0] == 500
    assert hits[0, 0] == 0
    (mse,), _ = kernels.surface_forward(V, *nothing, [0, 1], [0], [0], loss="mse", backend=backend)
    assert mse[0] == 2


def test_losses_of_certain_rows_keep_their_figures_on_numba():
    """A margin of 40: the loss is about e^-40, or its square, not 0."""
    V, q = np.array([[40.0, 0.0]]), np.exp(-40)
    exact = {
        "mse": q**2 / (1 + q) ** 2,
        "cross_entropy": np.log1p(q),
        "gce": -np.expm1(-GCE_Q * np.log1p(q)) / GCE_Q,
    }
    for loss in LOSSES:
        found, _ = kernels.surface_forward(V, 0 * V, 0 * V, [0], [0], [0], loss=loss,
                                           backend="numba")  # fmt: skip
        np.testing.assert_allclose(found, exact[loss], rtol=1e-14)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss", LOSSES)
def test_sums_over_blocks_of_rows_add_up(loss, backend):
    X, y, heads = layer()
    V, w = logits(X, heads), np.linspace(0, 2, 500)
    rest = (X_OFFSETS, Y_OFFSETS)
    whole = kernels.surface_forward(*V, y, *rest, loss=loss, sample_weight=w, backend=backend)
    parts = [
        kernels.surface_forward(
            *(v[rows] for v in V), y[rows], *rest, loss=loss, sample_weight=w[rows],
            backend=backend,
        )
        for rows in (slice(0, 17), slice(17, 500))
    ]  # fmt: skip
    for k in (0, 1):
        np.testing.assert_allclose(parts[0][k] + parts[1][k], whole[k], rtol=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_number_of_threads_does_not_change_a_bit(loss):
    X, y, heads = layer(n=4000)
    args = (*logits(X, heads), y, X_OFFSETS, Y_OFFSETS)
    found = [
        kernels.surface_forward(*args, loss=loss, backend="numba", n_threads=threads)
        for threads in (1, 2, 5)
    ]
    for other in found[1:]:
        for f, e in zip(other, found[0], strict=True):
            np.testing.assert_array_equal(f, e)


def test_a_row_that_is_not_finite_makes_the_loss_nan_and_is_no_hit():
    X, y, heads = layer(n=50)
    V = logits(X, heads)
    for k, bad in ((0, np.nan), (1, np.inf), (2, -np.inf)):
        spoilt = [v.copy() for v in V]
        spoilt[k][7, 3] = bad
        good = np.delete(np.arange(50), 7)
        _, expected = kernels.surface_forward(
            *(v[good] for v in V), y[good], X_OFFSETS, Y_OFFSETS, loss="mse", backend="numpy"
        )
        for backend in BACKENDS:
            losses, hits = kernels.surface_forward(
                *spoilt, y, X_OFFSETS, Y_OFFSETS, loss="mse", backend=backend
            )
            assert np.isnan(losses).all()
            np.testing.assert_array_equal(hits, expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("offset", [-1e6, 1e6, 1e12])
def test_one_logit_far_from_the_others_takes_nothing_from_their_figures(offset, loss, backend):
    X, y, heads = layer(n=200)
    V0 = logits(X, heads)[0]
    V1 = np.zeros_like(V0)
    V1[:, 3] = 1
    far = V0.astype(np.float64)
    far[:, 3] += np.float32(offset)
    of = {"V": far, "P": kernels.softmax_forward(far, backend="numpy")}[LOSSES[loss].forward_input]
    expected = getattr(kernels, LOSSES[loss].forward)(of, y, backend="numpy").sum()
    found, _ = kernels.surface_forward(V0, V1, V1, y, [offset], [0], loss=loss, backend=backend)
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("c", [1, 2, 5])
def test_of_equal_logits_the_first_is_the_answer(c, dtype):
    """Small whole numbers: most rows have ties, at each place of the label."""
    rng = np.random.default_rng(c)
    for n in (1, 7, 69):
        V = rng.integers(-1, 2, (3, n, c)).astype(dtype)
        y = rng.integers(0, c, n)
        args = (*V, y, [-1, 0, 2], [0, 1])
        found, expected = (
            kernels.surface_forward(*args, loss="mse", backend=backend) for backend in BACKENDS
        )
        np.testing.assert_array_equal(found[1], expected[1])
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-6)

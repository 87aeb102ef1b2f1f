"""Each mistake named in docs/derivation.md differs from the truth as much as the page says."""

import numpy as np
import pytest
from repository import DOCS

from softstep import kernels
from softstep.model.datasets import load_digits

PAGE = (DOCS / "derivation.md").read_text(encoding="utf-8")
U = np.finfo(np.float64).eps / 2


def forward(X, W, b):
    V = kernels.linear_forward(X, W, b, backend="numpy")
    return kernels.softmax_forward(V, backend="numpy")


def backward(X, dV):
    return kernels.linear_backward(dV / len(X), X, backend="numpy")


def whole_jacobian(dP, P):
    return kernels.softmax_backward(dP, P, backend="numpy")


def diagonal_only(dP, P):
    return dP * P * (1 - P)


def right_slope(P, y):
    return kernels.mse_backward(P, y, backend="numpy")


def five_times_y_minus_p(P, y):
    return 5 * (np.eye(P.shape[1])[y] - P)


def weight_gradient(X, y, W, b, *, slope=right_slope, jacobian=whole_jacobian):
    P = forward(X, W, b)
    return backward(X, jacobian(slope(P, y), P))


def true_weight_gradient(X, y, W, b):
    """dW of the mean MSE by complex-step differentiation, exact but for rounding."""
    Y, dW = np.eye(W.shape[1])[y], np.empty(W.shape)
    for index in np.ndindex(W.shape):
        moved = W.astype(complex)
        moved[index] += 1e-30j
        e = np.exp(X @ moved + b)
        dW[index] = np.mean((Y - e / e.sum(axis=1, keepdims=True)) ** 2).imag / 1e-30
    return dW


def mean_loss(X, y, W, b, loss="mse"):
    return kernels.evaluate(X, y, W, b, loss=loss, backend="numpy")[0][0]


def accuracy(X, y, W, b):
    return np.mean(kernels.predict(X, W, b, backend="numpy") == y)


def descend(X, y, gradient, rate, epochs, watch=lambda epoch, W, b: None):
    """Weights after `epochs` of batches of 100 from zero; `watch` sees them before each epoch."""
    W, b = np.zeros((X.shape[1], 10)), np.zeros(10)
    for epoch in range(epochs):
        watch(epoch, W, b)
        order = np.random.default_rng((0, 1, epoch)).permutation(len(X))
        for start in range(0, len(X), 100):
            rows = order[start : start + 100]
            dW, db = gradient(X[rows], y[rows], W, b)
            W -= rate * dW
            b -= rate * db
    watch(epochs, W, b)
    return W, b


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    X, X_test = data.X_train.astype(np.float64), data.X_test.astype(np.float64)
    return X, data.y_train, X_test, data.y_test


@pytest.fixture(scope="module")
def problem():
    """A seeded problem of ten classes with weights away from zero."""
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((30, 7)), rng.integers(10, size=30)
    return X, y, rng.standard_normal((7, 10)), rng.standard_normal(10)


def error(gradient, truth):
    """The largest error, relative to the largest entry of the truth."""
    return np.abs(gradient - truth).max() / np.abs(truth).max()


# Rounding alone: sums of 30 rows, 10 classes and 7 features, on both sides, some 100 u in all; a
# gradient of zeros has error 1.
RIGHT = 1e-13


# 1. The slope of MSE as 5(y - p).
def test_five_times_y_minus_p_is_minus_25_times_the_slope(problem):
    X, y, W, b = problem
    P = forward(X, W, b)
    h = 1e-30j
    truth = np.array(
        [
            [
                np.mean((np.eye(10)[k] - (p + h * np.eye(10)[i])) ** 2).imag / 1e-30
                for i in range(10)
            ]
            for p, k in zip(P, y, strict=True)
        ]
    )
    # Three roundings a side at most, a few more in the mean of the truth.
    assert (np.abs(right_slope(P, y) - truth) <= 20 * U * np.abs(truth)).all()
    wrong = five_times_y_minus_p(P, y)
    assert (np.abs(wrong - -25 * truth) <= 20 * U * np.abs(25 * truth)).all()
    assert error(wrong, truth) == pytest.approx(26)


def test_five_times_y_minus_p_climbs_where_the_right_slope_descends(digits):
    X, y, _, _ = digits
    start = mean_loss(X, y, np.zeros((64, 10)), np.zeros(10))
    assert start == pytest.approx(0.09)
    right = descend(X, y, weight_gradient, 0.2, 2)
    wrong = descend(
        X, y, lambda *batch: weight_gradient(*batch, slope=five_times_y_minus_p), 0.2, 2
    )
    assert mean_loss(X, y, *right) < start < mean_loss(X, y, *wrong) / 1.5


def test_five_times_p_minus_y_at_rate_0_2_is_the_right_slope_at_rate_5(problem):
    X, y, W, b = problem
    flipped = weight_gradient(X, y, W, b, slope=lambda P, y: -five_times_y_minus_p(P, y))[0]
    right = weight_gradient(X, y, W, b)[0]
    assert error(0.2 * flipped, 5 * right) <= RIGHT


# 2. The softmax derivative with its diagonal only.
def test_the_whole_jacobian_gives_the_true_gradient_and_the_diagonal_does_not(problem):
    X, y, W, b = problem
    truth = true_weight_gradient(X, y, W, b)
    assert error(weight_gradient(X, y, W, b)[0], truth) <= RIGHT
    assert error(weight_gradient(X, y, W, b, jacobian=diagonal_only)[0], truth) > 0.5


def test_at_zero_weights_the_diagonal_is_only_a_tenth_too_short(digits):
    X, y, _, _ = digits
    start = np.zeros((64, 10)), np.zeros(10)
    right = weight_gradient(X, y, *start)[0]
    wrong = weight_gradient(X, y, *start, jacobian=diagonal_only)[0]
    # γ_k(|X|ᵀ|dV|) of both, k = 1437 rows and some roundings in dV.
    bound = 2 * 1500 * U * (X.T @ (0.02 * np.abs(0.1 - np.eye(10)[y]))) / len(X)
    assert (np.abs(wrong - 0.9 * right) <= bound).all()
    assert np.abs(right).max() > 1e6 * bound.max()


@pytest.fixture(scope="module")
def diagonal_table(digits):
    """Epochs -> error of dW along the right path, test accuracy of the right form, of the wrong."""
    X, y, X_test, y_test = digits
    table = {epochs: [] for epochs in (0, 1, 10, 100)}

    def watch_right(epoch, W, b):
        if epoch in table:
            wrong = weight_gradient(X, y, W, b, jacobian=diagonal_only)[0]
            table[epoch] += [error(wrong, weight_gradient(X, y, W, b)[0])]
            table[epoch] += [accuracy(X_test, y_test, W, b)]

    def watch_wrong(epoch, W, b):
        if epoch in table:
            table[epoch] += [accuracy(X_test, y_test, W, b)]

    descend(X, y, weight_gradient, 2.0, 100, watch_right)
    descend(X, y, lambda *b: weight_gradient(*b, jacobian=diagonal_only), 2.0, 100, watch_wrong)
    return table


def test_the_page_shows_the_error_and_the_accuracies_of_the_diagonal(diagonal_table):
    for epochs, (wrong_by, right_form, wrong_form) in diagonal_table.items():
        assert f"| {epochs} | {wrong_by:.2f} | {right_form:.3f} | {wrong_form:.3f} |" in PAGE


def test_the_diagonal_still_trains_but_ends_behind_the_whole_jacobian(diagonal_table):
    _, right_form, wrong_form = diagonal_table[100]
    assert wrong_form > 0.8
    assert right_form > wrong_form + 0.05


# 3. A sum over the features that stops at 748, with the bias inside.
def logits_up_to_748(x, W, b):
    v = np.zeros(W.shape[1])
    for k in range(748 + 1):
        v += x[k] * W[k] + b
    return v


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(6)
    return rng.random(784), rng.standard_normal((784, 10)), rng.standard_normal(10)


def test_the_sum_up_to_748_drops_35_pixels_and_adds_the_bias_749_times(image):
    x, W, b = image
    right = kernels.linear_forward(x[None], W, b, backend="numpy")[0]
    difference = x[749:] @ W[749:] - 748 * b
    assert len(x[749:]) == 35
    # γ_k of both sums, k at most 784 + 749 terms.
    bound = 2 * (784 + 749) * U * (np.abs(x) @ np.abs(W) + 749 * np.abs(b))
    assert (np.abs(right - logits_up_to_748(x, W, b) - difference) <= bound).all()
    assert (np.abs(difference) > 1e6 * bound).all()


def test_the_sum_up_to_748_never_sees_the_last_pixels(image):
    x, W, b = image
    other = np.concatenate([x[:749], 1 - x[749:]])
    assert (logits_up_to_748(other, W, b) == logits_up_to_748(x, W, b)).all()
    right = kernels.linear_forward(np.stack([x, other]), W, b, backend="numpy")
    assert (right[0] != right[1]).all()


def test_a_bias_inside_the_sum_takes_a_step_in_v_561001_times_as_long(image):
    x, W, _ = image
    dv = np.linspace(-1, 1, 10)
    slope = logits_up_to_748(x, 0 * W, np.ones(10))  # dv_i/db_i of the wrong sum
    assert (slope == 749).all()
    step = slope * (slope * dv)  # db = slope dv, and v moves by slope db
    _, db = backward(x[None], dv[None])
    assert np.allclose(step, 561001 * db, rtol=4 * U, atol=0)


# 4. W as a column and as a number.
def number_for_a_column(X, y, W, b):
    P = forward(X, W, b)
    dV = whole_jacobian(right_slope(P, y), P)
    return X.sum(axis=1) @ dV / len(X), dV.mean(axis=0)


def test_the_derivative_of_the_number_is_the_sum_of_the_right_column(problem):
    X, y, W, b = problem
    truth = true_weight_gradient(X, y, W, b)
    number, _ = number_for_a_column(X, y, W, b)
    assert number.shape == (10,)
    assert np.abs(number - truth.sum(axis=0)).max() <= RIGHT * np.abs(truth).sum(axis=0).max()
    assert error(weight_gradient(X, y, W, b)[0], truth) <= RIGHT
    assert error(np.broadcast_to(number, W.shape), truth) > 1


def test_with_the_number_all_pixels_keep_the_same_weight_and_nothing_is_learned(digits):
    X, y, X_test, y_test = digits

    def spread(*batch):
        number, db = number_for_a_column(*batch)
        return number / 64, db

    W, b = descend(X, y, spread, 2.0, 20)
    assert np.ptp(W, axis=0).max() == 0
    assert (W[0] != 0).all()
    assert accuracy(X_test, y_test, W, b) < 0.25
    assert accuracy(X_test, y_test, *descend(X, y, weight_gradient, 2.0, 20)) > 0.85


# 5. A zero slope taken for a minimum.
def test_a_saturated_wrong_answer_has_zero_slope_at_the_highest_loss():
    v, label = np.array([[800.0, 0.0, 0.0]]), [1]
    assert (kernels.softmax_mse_backward(v, label, backend="numpy") == 0).all()
    P = kernels.softmax_forward(v, backend="numpy")
    worst = kernels.mse_forward(P, label, backend="numpy")[0]
    assert abs(worst - 2 / 3) <= 2 * U
    assert kernels.mse_forward(np.full((1, 3), 1 / 3), label, backend="numpy")[0] < worst / 2
    ce = kernels.cross_entropy_backward(v, label, backend="numpy")[0]
    assert (ce == [1, -1, 0]).all()


# Rows x = 1, 1 of class 0 and x = 3 of class 1, once for each of two features.
X_LINE = np.array([[1.0, 0.0], [1.0, 0.0], [3.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 3.0]])
Y_LINE = np.array([0, 0, 1, 0, 0, 1])


def line_loss(w, rows=slice(0, 3), loss="mse"):
    """Mean loss at W = (w, -w), one w for each feature."""
    W = np.stack([w, -np.asarray(w)], axis=1)
    return mean_loss(X_LINE[rows], Y_LINE[rows], W, np.zeros(2), loss)


def line_slope(w, rows=slice(0, 3), loss="mse"):
    W = np.stack([w, -np.asarray(w)], axis=1)
    V = kernels.linear_forward(X_LINE[rows], W, np.zeros(2), backend="numpy")
    logit_gradient = {
        "mse": kernels.softmax_mse_backward,
        "cross_entropy": kernels.cross_entropy_backward,
    }[loss]
    return backward(X_LINE[rows], logit_gradient(V, Y_LINE[rows], backend="numpy"))[0]


def zero_slope(low, high):
    """The w between low and high where the slope changes its sign, by bisection."""
    negative_first = line_slope([low, 0.0])[0, 0] < 0
    for _ in range(60):
        middle = (low + high) / 2
        if (line_slope([middle, 0.0])[0, 0] < 0) == negative_first:
            low = middle
        else:
            high = middle
    return low


@pytest.fixture(scope="module")
def flat():
    """The two places where the slope is zero: the minimum and the maximum."""
    return zero_slope(-1.5, 0.0), zero_slope(0.0, 2.0)


def test_of_two_places_with_zero_slope_one_is_a_minimum_and_one_a_maximum(flat):
    at_minimum, at_maximum = flat
    for w, sign in ((at_minimum, 1), (at_maximum, -1)):
        # The slope sums three terms of at most 3 · 1/6 each; bisection leaves w one ulp off.
        assert np.abs(line_slope([w, 0.0])).max() <= 20 * U
        for side in (-0.1, 0.1):
            assert sign * (line_loss([w + side, 0.0]) - line_loss([w, 0.0])) > 1e-3
        assert f"w = {w:.4f}$ (loss {line_loss([w, 0.0]):.4f})" in PAGE


def test_a_saddle_has_zero_slope_and_a_way_down(flat):
    at_minimum, at_maximum = flat
    saddle, rows = np.array([at_maximum, at_minimum]), slice(0, 6)
    assert np.abs(line_slope(saddle, rows)).max() <= 20 * U
    here = line_loss(saddle, rows)
    for side in (-0.1, 0.1):
        assert line_loss(saddle + np.array([side, 0]), rows) < here - 5e-4
        assert line_loss(saddle + np.array([0, side]), rows) > here + 5e-4


def test_the_slope_of_cross_entropy_only_grows_along_the_line_so_its_zero_is_the_minimum():
    w = np.linspace(-3, 3, 61)
    slopes = [line_slope([value, 0.0], loss="cross_entropy")[0, 0] for value in w]
    assert (np.diff(slopes) > 0).all()
    assert slopes[0] < 0 < slopes[-1]
    mse_slopes = [line_slope([value, 0.0])[0, 0] for value in w]
    assert not (np.diff(mse_slopes) > 0).all()

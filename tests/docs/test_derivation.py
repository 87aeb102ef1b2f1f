"""Promise: in docs/derivation.md the blocks print what is shown, and links and claims are right."""

import importlib
import re

import numpy as np
import pages
import pytest
from pages import blocks
from repository import DOCS

from softstep import kernels

PAGE = DOCS / "derivation.md"
TEXT = PAGE.read_text(encoding="utf-8")
WORKED = TEXT[: TEXT.index("\n## Cross-entropy")]
U = np.finfo(np.float64).eps / 2


def execute(text):
    return pages.execute(text, PAGE)


def complex_step(function, point):
    """d function / d point, entry by entry: Im f(x + ih) / h, exact but for rounding."""
    gradient = np.empty(point.shape)
    for index in np.ndindex(point.shape):
        moved = point.astype(complex)
        moved[index] += 1e-30j
        gradient[index] = function(moved).imag / 1e-30
    return gradient


def softmax(v):
    e = np.exp(v)
    return e / e.sum(axis=-1, keepdims=True)


def test_every_block_prints_what_the_page_shows():
    _, printed = execute(TEXT)
    shown = [output for _, output in blocks(TEXT)]
    assert sum(map(bool, shown)) >= 9
    assert printed == shown


def test_no_block_of_the_page_is_left_out():
    assert TEXT.count("```python") == len(blocks(TEXT))
    assert TEXT.count("```text") == sum(bool(output) for _, output in blocks(TEXT))
    assert TEXT.count("```") == 2 * (TEXT.count("```python") + TEXT.count("```text"))


def test_the_comparison_notices_one_changed_digit():
    changed = WORKED.replace("0.332225", "0.332226")
    assert changed != WORKED
    assert execute(changed)[1] != [output for _, output in blocks(changed)]


def test_the_worked_gradients_are_the_complex_step_ones():
    names, _ = execute(WORKED)
    X, W, b, Y = names["X"], names["W"], names["b"], np.eye(3)[names["y"]]

    def loss(W, b):
        return np.mean((Y - softmax(X @ W + b)) ** 2)

    for gradient, truth in [
        (names["dW"], complex_step(lambda W: loss(W, b), W)),
        (names["db"], complex_step(lambda b: loss(W, b), b)),
    ]:
        # Fewer than 100 roundings lead to an entry.
        assert np.abs(gradient - truth).max() <= 100 * U * np.abs(truth).max()


def test_the_worked_jacobian_is_the_complex_step_one():
    names, _ = execute(WORKED)
    v, J = names["V"][0], names["J"]
    truth = np.array([complex_step(lambda v, j=j: softmax(v)[j], v) for j in range(3)])
    assert np.abs(J - truth).max() <= 20 * U * np.abs(truth).max()


def test_every_relative_link_leads_to_a_file():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", TEXT)
    assert len(targets) >= 15
    missing = [target for target in targets if not (PAGE.parent / target).exists()]
    assert not missing


def test_every_function_named_is_in_the_file_it_links_to():
    named = re.findall(r"\[`(\w+)`\]\(\.\./kernels/_numpy/(\w+)\.py\)", TEXT)
    for function, file in named:
        assert callable(
            getattr(importlib.import_module(f"softstep.kernels._numpy.{file}"), function)
        )
    of_the_network = {
        "linear_forward",
        "linear_backward",
        "softmax_forward",
        "softmax_backward",
        "mse_forward",
        "mse_backward",
        "cross_entropy_forward",
        "cross_entropy_backward",
        "softmax_mse_backward",
        "gce_forward",
        "gce_backward",
        "train",
    }
    assert of_the_network <= {function for function, _ in named}


def test_generalised_cross_entropy_lies_between_cross_entropy_and_the_mean_absolute_error():
    names, _ = execute(WORKED)
    V, y, Y = names["V"], names["y"], np.eye(3)[names["y"]]

    def slope(q):
        return complex_step(lambda V: ((1 - (softmax(V) * Y).sum(axis=1) ** q) / q).sum(), V)

    def mean_absolute_error(V):
        p = softmax(V)
        return ((1 - 2 * Y) * (p - Y)).sum() / 2  # |p - y|: only at the label is p below y

    assert np.allclose(slope(1e-6), softmax(V) - Y, rtol=1e-5, atol=0)
    assert np.allclose(slope(1), complex_step(mean_absolute_error, V), rtol=1e-14, atol=0)
    assert np.allclose(slope(0.7), kernels.gce_backward(V, y, backend="numpy"), rtol=1e-14, atol=0)


# What the learning rate does: three rows of class 0 and one of class 1, one feature.
def descend(loss, rate, steps, x=1.0):
    W, b = np.zeros((1, 1, 2)), np.zeros((1, 2))
    losses, _ = kernels.train(
        np.full((4, 1), x),
        [0, 0, 0, 1],
        np.tile(np.arange(4), steps),
        4,
        W,
        b,
        loss=loss,
        learning_rate=rate,
        fit_bias=False,
        backend="numpy",
    )
    return losses[:, 0], W[0, 0]


ENTROPY = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))


@pytest.mark.parametrize(
    ("rate", "settles"), [(5.0, True), (5.2, True), (5.5, False), (8.0, False)]
)
def test_the_border_of_the_learning_rate_is_two_over_the_curvature(rate, settles):
    assert (rate < 2 / (3 / 8)) == settles
    losses, _ = descend("cross_entropy", rate, 1000)
    distance = losses[-100:] - ENTROPY
    assert (np.abs(distance).max() < 1e-12) if settles else (distance.max() > 1e-3)


def test_a_rate_near_one_over_the_curvature_settles_fastest():
    left = {rate: descend("cross_entropy", rate, 6)[0][-1] - ENTROPY for rate in (0.1, 1, 8 / 3, 5)}
    assert min(left, key=left.get) == 8 / 3
    assert f"{ENTROPY:.6f}" == "0.562335"


def test_a_small_rate_lowers_the_loss_at_every_step_but_has_most_of_the_way_ahead():
    losses, _ = descend("cross_entropy", 0.1, 12)
    assert (np.diff(losses) < 0).all()
    assert losses[-1] - ENTROPY > (losses[0] - ENTROPY) / 3


def test_mse_at_a_huge_rate_stays_where_the_softmax_is_saturated():
    losses, w = descend("mse", 100.0, 12)
    best = 0.25 * 0.75
    assert (losses[1:] - best > 0.06).all()
    dv = kernels.softmax_mse_backward(np.tile(w, (4, 1)), [0, 0, 0, 1], backend="numpy").mean(
        axis=0
    )
    step = 100.0 * abs(dv[0] - dv[1])
    assert 0 < step < 1e-8  # more than 10⁸ steps to move the margin by 1


def test_features_255_times_larger_need_a_rate_65025_times_smaller():
    losses, _ = descend("cross_entropy", 2.5, 12)
    scaled, _ = descend("cross_entropy", 2.5 / 65025, 12, x=255.0)
    too_fast, _ = descend("cross_entropy", 2.5, 12, x=255.0)
    assert np.allclose(scaled, losses, rtol=1e-12, atol=0)
    assert too_fast.max() > 1000


# Why MSE at rate 0.2 starts like cross-entropy at 0.004.
def seeded_rows(n=100, d=64, c=10):
    rng = np.random.default_rng(20)
    y = rng.integers(c, size=n)
    return rng.random((c, d))[y] + 0.5 * rng.random((n, d)), y


def test_at_zero_weights_the_mse_gradient_is_two_over_c_squared_of_cross_entropys():
    X, y = seeded_rows()
    W, b = np.zeros((2, 64, 10)), np.zeros((2, 10))
    losses, rates = ["mse", "cross_entropy"], [0.2, 0.2 * 2 / 10**2]
    kernels.train(X, y, range(100), 100, W, b, loss=losses, learning_rate=rates, backend="numpy")
    # γ_k(|X|ᵀ|dV|) of each sum of k = 100 terms, some 20 roundings in each dV and in the step.
    dV = np.abs(0.1 - np.eye(10)[y])
    bound = 2 * (100 + 20) * U * 0.004 * (X.T @ dV) / 100
    assert (np.abs(W[0] - W[1]) <= bound).all()
    assert (np.abs(b[0] - b[1]) <= 2 * 120 * U * 0.004 * dV.mean(axis=0)).all()
    assert not (np.abs(W[1]) <= bound).any()  # weights left at zero would not pass


def test_the_two_paths_stay_close_for_ten_steps_and_then_part():
    X, y = seeded_rows()
    W, b = np.zeros((2, 64, 10)), np.zeros((2, 10))
    settings = {"loss": ["mse", "cross_entropy"], "learning_rate": [0.2, 0.004]}
    apart = []
    for steps in (1, 9, 990):
        order = np.tile(np.arange(100), steps)
        kernels.train(X, y, order, 100, W, b, **settings, backend="numpy")
        apart.append(np.linalg.norm(W[0] - W[1]) / np.linalg.norm(W[1]))
    assert apart[0] < 1e-13
    assert 1e-4 < apart[1] < 0.05
    assert apart[2] > 0.2

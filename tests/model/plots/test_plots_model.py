"""Promise: the pictures of a model show its own weights, mistakes and forward pass."""

from decimal import Decimal

import numpy as np
import pytest

from softstep import SoftmaxRegression
from softstep.kernels.losses import LOSSES
from softstep.model.datasets import load_digits
from softstep.model.plots import confusion, counts, forward, style, weights
from softstep.model.plots.confusion import SHOWN, most_mistaken

pytest.importorskip("matplotlib")
DIGITS = load_digits()
THEMES = pytest.mark.parametrize("theme", ["light", "dark"])


@pytest.fixture(scope="module", params=LOSSES)
def model(request):
    model = SoftmaxRegression(loss=request.param, learning_rate=1.0, epochs=20, random_state=0)
    return model.fit(DIGITS.X_train, DIGITS.y_train)


@THEMES
def test_each_class_has_an_image_of_its_weights(model, theme):
    figure = weights(model.coef_, model.classes_, (8, 8), theme=theme)
    *images, bar = figure.axes
    assert [axes.get_title() for axes in images] == [str(k) for k in range(10)]
    most = np.abs(model.coef_).max()
    for axes, row in zip(images, model.coef_, strict=True):
        (image,) = axes.images
        np.testing.assert_array_equal(image.get_array(), row.reshape(8, 8))
        assert image.get_clim() == (-most, most)  # one scale, the ground is 0
    assert "weight" in bar.get_xlabel()


def test_weights_that_are_no_such_images_are_refused(model):
    with pytest.raises(ValueError, match=r"\(10, 64\) are no 10 images of \(8, 9\)"):
        weights(model.coef_, model.classes_, (8, 9))
    with pytest.raises(ValueError, match="are no 3 images"):
        weights(model.coef_, [0, 1, 2], (8, 8))


def test_seven_classes_have_seven_images_the_last_row_in_the_middle():
    figure = weights(np.eye(7, 16), list("abcdefg"), (4, 4))
    *shown, _ = figure.axes
    assert [axes.get_title() for axes in shown] == list("abcdefg")
    assert all(axes.images for axes in shown)
    first, last = (
        np.mean([a.get_position().intervalx for a in row]) for row in (shown[:5], shown[5:])
    )
    assert first == pytest.approx(0.5)
    assert last == pytest.approx(0.5)


@THEMES
def test_the_confusion_matrix_has_every_count(model, theme):
    answers = model.predict(DIGITS.X_test)
    matrix = counts(DIGITS.y_test, answers, model.classes_)
    for i in range(10):
        for j in range(10):
            assert matrix[i, j] == ((DIGITS.y_test == i) & (answers == j)).sum()
    axes, *key = confusion(matrix, model.classes_, theme=theme).axes
    written = {tuple(map(int, text.get_position())): text.get_text() for text in axes.texts}
    assert written == {(j, i): str(matrix[i, j]) for i, j in np.argwhere(matrix)}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("answer", "true class")
    right, wrong = (image.get_array()[..., 3] for image in axes.images)
    assert (right[~np.eye(10, dtype=bool)] == 0).all()
    assert ((wrong > 0) == (matrix * (1 - np.eye(10)) > 0)).all()
    assert f"{np.trace(matrix)} of 360 right" in axes.get_title(loc="left")
    assert [bar.get_title(loc="left") for bar in key] == ["right answers", "mistakes"]


@pytest.mark.parametrize(("share", "top"), [(0.1, 0.25), (0.45, 0.5), (0.9, 1.0)])
def test_mistakes_are_as_strong_as_the_key_says_and_never_all_alike(share, top):
    matrix = np.array([[1000 * (1 - share), 1000 * share], [100 * share, 100 * (1 - share)]])
    axes, right_key, wrong_key = confusion(matrix.round().astype(int), ["no", "yes"]).axes
    right, wrong = (image.get_array()[..., 3] for image in axes.images)
    strongest = right_key.images[0].get_array()[0, -1, 3]
    assert wrong_key.images[0].get_array()[0, -1, 3] == strongest
    np.testing.assert_allclose(right.diagonal(), strongest * (1 - share))
    np.testing.assert_allclose([wrong[0, 1], wrong[1, 0]], strongest * share / top)
    assert [t.get_text() for t in right_key.get_xticklabels()] == ["0", "100% of its row"]
    assert [t.get_text() for t in wrong_key.get_xticklabels()] == ["0", f"{top:.0%} of its row"]


def test_counts_too_wide_for_their_cells_are_rounded_or_left_out():
    matrix = np.full((10, 10), 12_345) + np.diag(np.full(10, 987_654 - 12_345))
    written = [t.get_text() for t in confusion(matrix, range(10)).axes[0].texts]
    assert sorted(set(written)) == ["12345", "988k"]
    matrix = np.full((30, 30), 8) + np.diag(np.full(30, 900))
    written = [t.get_text() for t in confusion(matrix, range(30)).axes[0].texts]
    assert written == ["8"] * 30 * 29


def test_lists_will_do_for_the_confusion():
    matrix = counts(["a", "b", "b"], ["a", "a", "b"], ["a", "b"])
    assert matrix.tolist() == [[1, 0], [1, 1]]
    axes = confusion(matrix.tolist(), ["a", "b"]).axes[0]
    assert axes.get_title(loc="left") == "2 of 3 right (66.7%)"


def test_a_matrix_of_other_classes_is_refused():
    with pytest.raises(ValueError, match=r"3 classes must be \(3, 3\), not \(2, 2\)"):
        confusion(np.eye(2, dtype=int), ["a", "b", "c"])


def test_rows_of_unknown_classes_are_left_out_of_the_counts():
    matrix = counts(np.array(["a", "b", "z"]), np.array(["b", "b", "a"]), np.array(["a", "b"]))
    assert matrix.tolist() == [[0, 1], [0, 1]]


def test_of_many_classes_the_most_mistaken_are_shown():
    matrix = np.diag(np.full(SHOWN + 5, 9))
    matrix[3, 4] = 2
    matrix[SHOWN + 4, 0] = 1
    shown = most_mistaken(matrix)
    assert len(shown) == SHOWN
    assert {3, SHOWN + 4} <= set(shown)
    assert (np.diff(shown) > 0).all()


def test_of_many_classes_the_score_and_the_shares_are_of_all():
    matrix = np.diag(np.full(SHOWN + 5, 9))
    matrix[:SHOWN, SHOWN + 4] = 9  # half of each row is taken for a class that is not drawn
    figure = confusion(matrix, np.arange(SHOWN + 5))
    right, hits = matrix.sum(), np.trace(matrix)
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == f"{hits} of {right} right ({hits / right:.1%})"
    assert len(axes.get_xticklabels()) == SHOWN
    opacity = axes.images[0].get_array()[..., 3].diagonal()
    np.testing.assert_allclose(opacity, opacity.max())
    whole = confusion(np.diag(np.full(3, 9)), range(3)).axes[0].images[0].get_array()
    assert opacity[0] == pytest.approx(whole[0, 0, 3] / 2)


def test_answers_that_are_no_class_do_not_count():
    assert counts([0, 1, 9], [5, 5, 9], [0, 1, 9]).tolist() == np.diag([0, 0, 1]).tolist()
    assert counts([0, 1, 9], [10, 1, 0], [0, 1, 9]).sum() == 2


@THEMES
def test_the_forward_pass_has_the_numbers_of_the_row(model, theme):
    x, label = DIGITS.X_test[11], int(DIGITS.y_test[11])
    W = np.ascontiguousarray(model.coef_.T)
    figure = forward(x, label, W, model.intercept_, (8, 8), loss=model.loss, theme=theme)
    image, logits, powers, shares, end = figure.axes
    np.testing.assert_array_equal(image.images[0].get_array(), x.reshape(8, 8))
    v = model.decision_function(x[None])[0]
    p = model.predict_proba(x[None])[0]
    np.testing.assert_allclose([bar.get_width() for bar in logits.patches], v, rtol=1e-5)
    np.testing.assert_allclose([bar.get_width() for bar in shares.patches], p, rtol=1e-5)
    assert [text.get_text() for text in logits.texts] == [
        f"{value:+.2f}".replace("-", "−") for value in v
    ]
    assert [text.get_text() for text in shares.texts] == [f"{value:.4f}" for value in p]
    written = [number(text.get_text()) for text in powers.texts]
    np.testing.assert_allclose(written, np.exp(v), rtol=1e-3)
    assert number(powers.get_xlabel().split("= ")[1]) == pytest.approx(np.exp(v).sum(), rel=1e-3)
    loss = {
        "mse": np.mean((np.eye(10)[label] - p) ** 2),
        "cross_entropy": -np.log(p[label]),
        "gce": (1 - p[label] ** 0.7) / 0.7,
    }[model.loss]
    assert number(end.get_xlabel().split("= ")[1]) == pytest.approx(loss, rel=1e-3)
    assert end.get_title() == f"loss\n${LOSSES[model.loss].formula}$"
    assert [text.get_text() for text in end.texts] == {
        "mse": [f"({int(k == label)} − {share:.4f})²" for k, share in enumerate(p)],
        "cross_entropy": [f"−log {style.power_of_e(np.log(p[label]))}"],
        "gce": [f"$p_y$ = {style.power_of_e(np.log(p[label]))}"],
    }[model.loss]
    assert len(figure.artists) == 4  # the arrows
    assert style.png(figure).startswith(b"\x89PNG")


def scientific(text):
    """5.08·10⁻⁴ as 5.08e-4."""
    return text.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")).replace("·10", "e")


def number(text):
    return float(scientific(text))


def test_exponentials_that_overflow_are_written_all_the_same():
    for log in (-1000.0, -7.5, -1e-4, 0.0, 3.2, 9.2103, 9.2104, 1000.0):
        exact = Decimal(log).exp()
        assert abs(Decimal(scientific(style.power_of_e(log))) / exact - 1) < 1e-3
    assert style.power_of_e(np.log(1e5) - 1e-9) == "1.000·10⁵"


def test_huge_logits_keep_their_loss():
    W = np.array([[1000.0, -1000.0, 0.0]])
    figure = forward(np.ones(1), 1, W, np.zeros(3), (1, 1), loss="cross_entropy")
    _, logits, powers, shares, end = figure.axes
    assert [t.get_text() for t in logits.texts] == ["+1000.00", "−1000.00", "+0.00"]
    assert [t.get_text() for t in powers.texts] == ["1.970·10⁴³⁴", "5.076·10⁻⁴³⁵", "1"]
    assert powers.get_xlabel() == r"$\Sigma$ = 1.970·10⁴³⁴"
    assert [t.get_text() for t in shares.texts] == ["1.0000", "0.0000", "0.0000"]
    assert [t.get_text() for t in end.texts] == ["−log 2.577·10⁻⁸⁶⁹"]
    assert end.get_xlabel() == "L = 2000"


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"loss": "xx"}, ValueError, "unknown loss 'xx': choose one of mse, cross_entropy, gce"),
        ({"label": 3}, ValueError, "label must be below 3"),
        ({"label": -1}, ValueError, "label must be at least 0"),
        ({"label": 1.0}, TypeError, "label must be an integer"),
        ({"shape": (2, 3)}, ValueError, r"x of shape \(4,\) is no image of \(2, 3\)"),
        ({"shape": (-2, -2)}, ValueError, "is no image"),
        ({"x": np.ones((2, 2))}, ValueError, "is no image"),
        ({"names": ["a", "b"]}, ValueError, "there are 2 names for 3 classes"),
        ({"b": np.array([1, np.inf, 0])}, ValueError, "finite"),
    ],
)
def test_a_forward_pass_of_nonsense_is_refused(wrong, error, message):
    sane = {"x": np.ones(4), "label": 1, "W": np.eye(4, 3), "b": np.zeros(3), "shape": (2, 2)}
    assert forward(**sane, loss="mse")
    with pytest.raises(error, match=message):
        forward(**{"loss": "mse", **sane, **wrong})


def test_pixels_as_bytes_are_scaled_as_the_model_scales_them():
    x = np.arange(64, dtype=np.uint8)
    W, b = np.ones((64, 3), np.float32), np.zeros(3, np.float32)
    figure = forward(x, 1, W, b, (8, 8), loss="mse", feature_scale=1 / 255)
    assert figure.axes[1].patches[0].get_width() == pytest.approx(x.sum() / 255, rel=1e-6)


def test_names_with_dollars_are_names_and_no_formulas():
    classes = np.array(["$x_{$", "a$b", "plain"])
    one = confusion(np.eye(3, dtype=int), classes)
    two = weights(np.eye(3, 4), classes, (2, 2))
    three = forward(np.ones(4), 0, np.eye(4, 3), np.zeros(3), (2, 2), loss="mse", names=classes)
    for figure in (one, two, three):
        assert style.png(figure).startswith(b"\x89PNG")
    assert one.axes[0].get_xticklabels()[0].get_text() == r"\$x_{\$"  # drawn without the \

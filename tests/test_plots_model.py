"""Promise: the pictures of a model show its own weights, mistakes and forward pass."""

import numpy as np
import pytest

from softstep import SoftmaxRegression
from softstep.model.datasets import load_digits
from softstep.model.plots import confusion, counts, forward, style, weights
from softstep.model.plots.confusion import SHOWN, most_mistaken

pytest.importorskip("matplotlib")
DIGITS = load_digits()
THEMES = pytest.mark.parametrize("theme", ["light", "dark"])


@pytest.fixture(scope="module", params=["mse", "cross_entropy"])
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
    assert "weight" in bar.get_ylabel()


def test_weights_that_are_no_such_images_are_refused(model):
    with pytest.raises(ValueError, match=r"\(10, 64\) are no 10 images of \(8, 9\)"):
        weights(model.coef_, model.classes_, (8, 9))
    with pytest.raises(ValueError, match="are no 3 images"):
        weights(model.coef_, [0, 1, 2], (8, 8))


def test_some_places_stay_empty_with_few_classes():
    figure = weights(np.eye(7, 16), list("abcdefg"), (4, 4))
    shown = [axes for axes in figure.axes[:-1] if axes.images]
    assert [axes.get_title() for axes in shown] == list("abcdefg")


@THEMES
def test_the_confusion_matrix_has_every_count(model, theme):
    answers = model.predict(DIGITS.X_test)
    matrix = counts(DIGITS.y_test, answers, model.classes_)
    for i in range(10):
        for j in range(10):
            assert matrix[i, j] == ((DIGITS.y_test == i) & (answers == j)).sum()
    (axes,) = confusion(matrix, model.classes_, theme=theme).axes
    written = {tuple(map(int, text.get_position())): text.get_text() for text in axes.texts}
    assert written == {(j, i): str(matrix[i, j]) for i, j in np.argwhere(matrix)}
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("answer", "true class")
    right, wrong = (image.get_array()[..., 3] for image in axes.images)
    assert (right[~np.eye(10, dtype=bool)] == 0).all()
    assert ((wrong > 0) == (matrix * (1 - np.eye(10)) > 0)).all()
    assert f"{np.trace(matrix)} of 360 right" in axes.get_title(loc="left")


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
    np.testing.assert_allclose(
        [float(text.get_text()) for text in powers.texts], np.exp(v), rtol=1e-3
    )
    assert float(powers.get_xlabel().split("= ")[1]) == pytest.approx(np.exp(v).sum(), rel=1e-3)
    loss = np.mean((np.eye(10)[label] - p) ** 2) if model.loss == "mse" else -np.log(p[label])
    assert float(end.get_xlabel().split("= ")[1]) == pytest.approx(loss, rel=1e-3)
    assert len(end.texts) == (10 if model.loss == "mse" else 1)
    assert len(figure.artists) == 4  # the arrows
    assert style.png(figure).startswith(b"\x89PNG")


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

"""Promise: `softstep explain` tells a row's passes, all numbers right, in text and as a page."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from command import softstep

from softstep import SoftmaxRegression
from softstep.kernels.losses import LOSSES
from softstep.model import explain as explanation
from softstep.model.datasets import load_digits
from softstep.report import explain_steps

DIGITS = load_digits()
INDEX = 7


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOFTSTEP_BACKEND", raising=False)


def a_model(loss="mse"):
    model = SoftmaxRegression(loss=loss, learning_rate=0.5, epochs=5, random_state=0)
    return model.fit(DIGITS.X_train, DIGITS.y_train)


def passes(model, x, label):
    """v, p, loss, dv, dW by formulas of this test, in float64."""
    W, b = model.coef_.T.astype(float), model.intercept_.astype(float)
    v = x.astype(float) @ W + b
    p = np.exp(v) / np.exp(v).sum()
    y = np.eye(len(b))[label]
    if model.loss == "mse":
        dv = (np.diag(p) - np.outer(p, p)) @ (2 / len(p) * (p - y))
        return v, p, np.mean((y - p) ** 2), dv, np.outer(x, dv)
    if model.loss == "cross_entropy":
        return v, p, -np.log(p[label]), p - y, np.outer(x, p - y)
    assert model.loss == "gce"
    dv = p[label] ** 0.7 * (p - y)
    return v, p, (1 - p[label] ** 0.7) / 0.7, dv, np.outer(x, dv)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_numbers_are_those_of_the_formulas(loss):
    model, x, label = a_model(loss), DIGITS.X_test[INDEX], DIGITS.y_test[INDEX]
    e = explanation.explain(model, x, label)
    v, p, value, dv, dW = passes(model, x, label)
    for found, expected in ((e.v, v), (e.p, p), (e.loss, value), (e.dv, dv), (e.dW, dW)):
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-15)
        assert np.any(expected)
    np.testing.assert_array_equal(e.db, e.dv)
    assert (e.dp is None) == (loss != "mse")
    moved = model.coef_.T - 0.5 * e.dW, model.intercept_ - 0.5 * e.db
    model.coef_, model.intercept_ = moved[0].T, moved[1]
    assert e.loss_after == pytest.approx(passes(model, x, label)[2], rel=1e-9)
    assert e.loss_after < e.loss


def test_a_gradient_that_is_no_outer_product_is_refused(monkeypatch):
    right = explanation.kernels.linear_backward

    def wrong(dV, X):
        dW, db = right(dV, X)
        dW[20, 3] *= 1 + 1e-9
        return dW, db

    model = a_model()
    assert DIGITS.X_test[INDEX][20] != 0
    monkeypatch.setattr(explanation.kernels, "linear_backward", wrong)
    with pytest.raises(ArithmeticError, match="not the outer product"):
        explanation.explain(model, DIGITS.X_test[INDEX], DIGITS.y_test[INDEX])


def test_bytes_are_read_as_the_model_reads_them():
    X = (DIGITS.X_train * 255).astype(np.uint8)
    model = SoftmaxRegression(epochs=2, random_state=0).fit(X, DIGITS.y_train)
    e = explanation.explain(model, X[0], DIGITS.y_train[0])
    np.testing.assert_allclose(e.x, X[0] / 255, rtol=1e-15)
    np.testing.assert_allclose(e.p, model.predict_proba(X[:1])[0], rtol=1e-5)


def test_a_label_the_model_does_not_know_is_refused():
    with pytest.raises(ValueError, match="11 is not one of the model's classes"):
        explanation.explain(a_model(), DIGITS.X_test[0], 11)


def test_names_of_classes_stand_as_they_are(capsys, tmp_path):
    odd = ["iris_a-1", "is_b-2", "x^(2)"]  # is_b would be a symbol with an index
    names = np.array(odd)[DIGITS.y_train % 3]
    SoftmaxRegression(epochs=2, random_state=0).fit(DIGITS.X_train, names).save("named.npz")
    lines = [f"{','.join(map(str, DIGITS.X_train[i]))},{names[i]}" for i in range(4)]
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n")
    code, out, err = softstep(
        capsys, "explain", "rows.csv", "--index", 0, "--model", "named.npz", "--html", "e.html"
    )
    assert (code, err) == (0, "")
    for text in (out, (tmp_path / "e.html").read_text(encoding="utf-8")):
        for name in odd:
            assert text.count(name) > 5
            assert name.replace("-", "−") not in text or "-" not in name
        for mangled in ("iris<sub>", "is<sub>", "<sup>2"):
            assert mangled not in text
    assert "v<sub>i</sub>" in (tmp_path / "e.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(("loss", "last"), [("mse", 8), ("cross_entropy", 6), ("gce", 6)])
def test_the_terminal_shows_formulas_and_numbers(capsys, tmp_path, loss, last):
    model = a_model(loss)
    model.save(tmp_path / "model.npz")
    code, out, err = softstep(capsys, "explain", "--index", INDEX, "--model", "model.npz")
    assert (code, err) == (0, "")
    assert f"Row {INDEX} of digits, class {DIGITS.y_test[INDEX]}" in out
    assert re.findall(r"^(\d)\. ", out, re.M) == [str(k + 1) for k in range(last)]
    for op in ("linear_forward", "softmax_forward", f"{loss}_forward", "linear_backward"):
        assert f"[{op}]" in out
    row = LOSSES[loss]
    assert f"3. Loss: {row.meaning}\n    {row.formula_text}    [{row.forward}]\n" in out
    assert f"    {row.gradient_text}    [{row.input_backward}]\n" in out
    e = explanation.explain(model, DIGITS.X_test[INDEX], DIGITS.y_test[INDEX])
    factor = {"mse": "2/c = 0.2.", "gce": f"p_y^(0.7) = {e.p[e.label] ** 0.7:.6g}."}
    assert factor.get(loss, "4. ") in out
    for values, sign in ((e.v, "+"), (e.p, ""), (e.dv, "+")):
        for value in values:
            assert explain_steps._fixed(value, sign) in out
    for value in [*e.dW[e.x == 1].flat, *([] if e.dp is None else e.jacobian().flat)]:
        assert f" {explain_steps._number('{:+.3g}', value)} " in out.replace("\n", " ")
    assert f"L = {explain_steps._number('{:.9g}', e.loss)}" in out
    assert out.count("◂") >= 4
    image = [line for line in out.splitlines() if line.startswith("│")]
    assert len(image) == 8
    assert {len(line) for line in image} == {18}
    dark = np.array([[pair != "  " for pair in re.findall("..", row[1:-1])] for row in image])
    ink = DIGITS.X_test[INDEX].reshape(8, 8)
    assert dark[ink > 0.2].all()
    assert not dark[ink == 0].any()


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.loads, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.loads += [value for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_is_whole_and_needs_nothing_else(capsys, tmp_path):
    code, out, _ = softstep(capsys, "explain", "digits", "--index", INDEX, "--html", "row.html")
    assert code == 0
    assert "epoch 300/300" in out
    assert "\ntest accuracy 0.9" in out
    assert out.endswith("saved to row.html\n")
    text = (tmp_path / "row.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.loads == []
    assert "url(" not in text
    assert "prefers-color-scheme: dark" in text
    pictures = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert [p["aria-label"] for p in pictures] == [
        "the pixels x",
        *(f"class {k}" for k in range(10)),
    ]
    told = "".join(page.text)
    for number in (found := re.findall(r"[+−]\d\.\d{6}|[+−]\d\.\d+·10[⁻⁰-⁹]+", out)):
        assert number in told
    assert len(found) > 50
    assert "v<sub>i</sub> = Σ<sub>k</sub> x<sub>k</sub> W<sub>ki</sub> + b<sub>i</sub>" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--index", "360"], "there is no test row 360: there are 360"),
        (["--index", "-1"], "--index must be at least 0"),
        (["--model", "none.npz"], "none.npz"),
        (["--model", "none.npz", "--loss", "mse"], "a model has its own loss"),
        (["nothing"], "neither a data set"),
        (["--html", "."], "is a folder: name a file in it"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(options, message, capsys):
    code, _, err = softstep(capsys, "explain", *options)
    assert code == 2
    assert err.startswith("softstep: ")
    assert message in err
    assert err.count("\n") == 1


def test_features_that_are_no_image_are_told_without_one(capsys, tmp_path):
    np.savez(tmp_path / "rows.npz", X=DIGITS.X_test, y=DIGITS.y_test)  # 64 features: a square
    a_model().save("model.npz")
    asked = ["explain", "rows.npz", "--model", "model.npz", "--html", "row.html"]
    code, out, err = softstep(capsys, *asked)
    assert (code, err) == (0, "")
    page = (tmp_path / "row.html").read_text(encoding="utf-8")
    for text in (out, page):
        assert "a weighted sum of the features" in text
        assert "pixel" not in text
    assert "│" not in out
    assert "<svg" not in page


def test_images_of_a_file_are_told_with_one(capsys, tmp_path):
    images = (DIGITS.X_test[:, :48] * 255).astype(np.uint8)
    header = b"".join(n.to_bytes(4, "big") for n in (2051, len(images), 6, 8))
    (tmp_path / "rows.idx").write_bytes(header + images.tobytes())
    np.save(tmp_path / "y.npy", DIGITS.y_test)
    SoftmaxRegression(epochs=2, random_state=0).fit(images, DIGITS.y_test).save("model.npz")
    code, out, _ = softstep(
        capsys, "explain", "rows.idx", "--labels", "y.npy", "--model", "model.npz"
    )
    assert code == 0
    assert "a weighted sum of the pixels" in out
    image = [line for line in out.splitlines() if line.startswith("│")]
    assert (len(image), {len(line) for line in image}) == (6, {18})


@pytest.mark.filterwarnings("ignore:the columns of X")
def test_tiny_features_and_huge_logits_keep_their_figures(capsys, tmp_path):
    X = np.array([[1.5e-6, -2e-6], [3e-6, 1e-6]] * 5)
    np.savez("tiny.npz", X=X, y=[0, 1] * 5)
    model = SoftmaxRegression(epochs=1, random_state=0).fit(X, [0, 1] * 5)
    model.coef_ = np.array([[1e9, 0.0], [0.0, 0.0]])
    model.save("huge.npz")
    code, out, err = softstep(capsys, "explain", "tiny.npz", "--model", "huge.npz")
    assert (code, err) == (0, "")
    assert re.search(r"x_1 = (1|−2)·10⁻⁶ ", out)
    logit, power = re.search(r"\+(\d{4}\.\d{6})  (\S+)", out.partition("2. ")[2]).groups()
    number, exponent = power.translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")).split("·10")
    found = np.log(float(number)) + int(exponent) * np.log(10)
    assert found == pytest.approx(float(logit), abs=1e-5)
    assert f"Σ_j e^(v_j) = {power}." in out
    assert " inf" not in out


def test_a_label_that_no_training_row_has_is_named_plainly(capsys):
    np.savez("absent.npz", X_train=DIGITS.X_train, y_train=DIGITS.y_train % 3,
             X_test=DIGITS.X_test, y_test=DIGITS.y_test % 3 + 3)  # fmt: skip
    code, _, err = softstep(capsys, "explain", "absent.npz", "--index", INDEX)
    assert code == 2
    assert err == f"softstep: {DIGITS.y_test[INDEX] % 3 + 3} is not one of the model's classes\n"


def test_a_terminal_without_unicode_gets_escapes(tmp_path):
    a_model().save(tmp_path / "model.npz")
    command = [sys.executable, "-m", "softstep", "explain", "--model", "model.npz"]
    said = subprocess.run(
        [*command, "--html", "row.html"], cwd=tmp_path, capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert said.returncode == 0
    assert rb"v_i = \u03a3_k x_k W_ki + b_i" in said.stdout
    assert "Σ" in (tmp_path / "row.html").read_text(encoding="utf-8")


def test_the_page_overwrites_neither_model_nor_rows(capsys):
    a_model().save("model.npz")
    np.savez("rows.npz", X=DIGITS.X_test, y=DIGITS.y_test)
    for file in ("model.npz", "rows.npz"):
        code, _, err = softstep(
            capsys, "explain", "rows.npz", "--model", "model.npz", "--html", f"./{file}"
        )
        assert code == 2
        assert f"{file} exists and is not an .html file: name another one" in err
    SoftmaxRegression.load("model.npz")


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.000000"), (1e-4, "0.000100"), (9.99e-5, "9.99·10⁻⁵"), (1.5e-300, "1.50·10⁻³⁰⁰")],
)
def test_no_number_but_zero_reads_as_zero(value, text):
    assert explain_steps._fixed(value) == text
    assert explain_steps._signed(-value or 0.0) == ("−" if value else "+") + text

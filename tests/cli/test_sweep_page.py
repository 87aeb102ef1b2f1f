"""Promise: the report of a sweep needs nothing else, shows every setting, and is part of that which
`softstep report` makes of its folder."""

import base64
import re
import sys
from html.parser import HTMLParser

import pytest
from command import softstep

from softstep import SoftmaxRegression
from softstep.model import plots
from softstep.model.datasets import load_digits
from softstep.model.plots import style
from softstep.report import figures as report_figures
from softstep.report.picture import Picture
from softstep.runs import results as run_results

DIGITS = load_digits()
SWEEP = ["sweep", "digits", "--lr", "0.01:10:log4", "--epochs", "4", "--out", "found"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOFTSTEP_BACKEND", raising=False)
    monkeypatch.setattr(style, "DPI", 30)  # what is drawn is tested elsewhere; small is quick


@pytest.fixture
def matplotlib():
    return pytest.importorskip("matplotlib")


class Page(HTMLParser):
    """Counts tags, and what they load from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.images, self.loads, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if tag in ("img", "source") and name in ("src", "srcset"):
                kind, _, data = value.partition(",")
                assert kind == "data:image/png;base64"
                self.images.append(base64.b64decode(data))
            elif name in ("src", "href", "srcset"):
                self.loads.append(value)
        if tag not in ("meta", "img", "source"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def text_of(tmp_path):
    return (tmp_path / "found" / "report.html").read_text(encoding="utf-8")


def all_settings(text):
    """The table of a page."""
    return text.partition("All settings</h2>")[2].partition("</section>")[0]


def pngs(draw, *data):
    """A figure as a page holds it, dark and light."""
    return [style.png(draw(*data, theme=theme)) for theme in ("dark", "light")]


@pytest.mark.usefixtures("matplotlib")
def test_the_report_needs_nothing_else_and_shows_every_setting(capsys, tmp_path):
    code, out, err = softstep(capsys, *SWEEP, "--lr", "0.1,1,1e39")
    assert (code, err) == (0, "")
    assert "no figures" not in out
    text = text_of(tmp_path)
    page = Page(text)
    assert page.open == page.loads == []
    assert "url(" not in text
    assert "script" not in page.tags
    assert re.findall("<h2>(.*?)</h2>", text) == [
        "Accuracy and loss against learning rate",
        "Confusion matrix",
        "All settings",
        "Settings",
        "Versions",
    ]
    results, curves = run_results.read(tmp_path / "found")
    model = SoftmaxRegression.load(tmp_path / "found" / "best.npz")
    matrix = plots.counts(DIGITS.y_test, model.predict(DIGITS.X_test), model.classes_)
    assert page.images == [
        *pngs(plots.sweep, results, curves),
        *pngs(plots.confusion, matrix, model.classes_),
    ]
    table = all_settings(text)
    assert re.findall(r"<tr><th>(\d)</th>", table) == list("123455")
    assert table.count("<td>True</td>") == 2  # diverged
    assert "nan" not in re.sub(r"<style>.*?</style>|base64,[^\"]*", "", text, flags=re.S).lower()


@pytest.mark.usefixtures("matplotlib")
def test_the_report_says_what_is_best_and_what_all_settings_share(capsys, tmp_path):
    options = ["--refit", "loss", "--loss", "mse", "--seed", 3, "--schedule", "cosine"]
    _, out, _ = softstep(capsys, *SWEEP, *options, "--cv", 2, "--halving")
    text = text_of(tmp_path)
    assert "<p>The best of 4 settings: l2 0, learning_rate 10, loss mse, momentum 0.</p>" in text
    assert (
        "<p>All settings: 4 epochs in batches of 100, cosine learning rate, seed 3, best by loss, "
        "the worse half dropped again and again.</p>"
    ) in text
    assert "<p>Judged by 2 folds of 1437 rows.</p>" in text
    (times,) = re.findall(r"^12 heads in .*$", out, re.M)
    assert f"<p>{times}.</p>" in text
    accuracy = re.search(r"^test accuracy of the best (.*)$", out, re.M)[1]
    assert f"the 360 test rows of digits: {accuracy};" in text


def test_without_matplotlib_the_report_has_no_figures_and_says_so(capsys, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, out, err = softstep(capsys, *SWEEP)
    assert (code, err) == (0, "")
    (said,) = [line for line in out.splitlines() if line.startswith("no figures in the report: ")]
    assert said.endswith("pip install 'softstep[plot]'")
    text = text_of(tmp_path)
    assert Page(text).images == []
    assert text.count("pip install") == 1
    assert f"There are {said}." in text.replace("&#x27;", "'")
    assert all_settings(text).count("<tr>") == 1 + 8
    code, _, err = softstep(capsys, *SWEEP, "--figures", "png")  # asked for by name: an error
    assert code == 2
    assert err.count("\n") == 1


@pytest.mark.usefixtures("matplotlib")
def test_the_folder_s_report_is_the_sweep_s_with_more_figures(capsys, tmp_path, monkeypatch):
    pytest.importorskip("plotly")
    quick = Picture("momentum", "Momentum", "the same in every report")
    monkeypatch.setattr(report_figures, "_momentum", lambda: quick)
    assert softstep(capsys, *SWEEP)[0] == 0
    own = text_of(tmp_path)
    assert softstep(capsys, "report", "found")[0] == 0
    more = text_of(tmp_path)
    parts = re.findall(r"<section>.*?</section>|<p>.*?</p>", own, re.S)
    assert [part for part in parts if part not in more] == [
        "<p><code>softstep report</code> on this folder adds figures of the best model.</p>"
    ]
    assert len(parts) > 8
    assert more.count("<section>") > own.count("<section>")

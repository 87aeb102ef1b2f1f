"""Promise: `softstep sweep` shows how it goes, and leaves a table, the best model and a report."""

import csv
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep, cli, cli_sweep
from softstep.model.datasets import load_digits
from softstep.model.heads import SweepEpoch

DIGITS = load_digits()
SWEEP = ["sweep", "digits", "--lr", "0.01:10:log4", "--epochs", "4"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOFTSTEP_BACKEND", raising=False)


def softstep(capsys, *arguments):
    """Exit code, standard output, standard error."""
    code = cli.main([str(a) for a in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_progress_the_ten_best_and_the_times_are_printed(capsys):
    code, out, err = softstep(capsys, *SWEEP, "--l2", "0,1e-4", "--cv", 3)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("backend numba (auto")
    progress = [line for line in lines if line.startswith("epoch")]
    assert len(progress) == 4
    assert all(
        re.fullmatch(r"epoch \d/4  64 heads  best 0\.\d{4}  \d+ s left", line) for line in progress
    )
    table = lines.index("rank  accuracy      loss  settings") + 1
    ranks = [int(line.split()[0]) for line in lines[table : table + 10]]
    assert ranks == sorted(ranks)
    assert ranks[0] == 1
    assert re.match(r"64 heads in \d+\.\d\d s; one head alone takes about \d", lines[table + 10])
    assert float(re.search(r"^test accuracy of the best (.*)$", out, re.M)[1]) > 0.9
    assert lines[-1] == (
        "results.csv, loss_curves.csv, best.npz, run.json and report.html saved to "
        "runs/digits-sweep"
    )


def test_what_is_saved_is_what_the_sweep_found(capsys, tmp_path):
    code, out, _ = softstep(capsys, *SWEEP, "--cv", 3, "--seed", 2, "--out", tmp_path / "found")
    assert code == 0
    grid = {
        "learning_rate": [0.01, 0.1, 1.0, 10.0],
        "loss": ["mse", "cross_entropy"],
        "l2": [0.0],
        "momentum": [0.0],
    }
    fitted = SoftmaxSweep(grid, cv=3, epochs=4, random_state=2).fit(DIGITS.X_train, DIGITS.y_train)
    with (tmp_path / "found" / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [name for name in fitted.results_ if name != "params"]
    for name in ("param_learning_rate", "mean_val_accuracy", "mean_val_loss", "rank"):
        found = np.array([float(row[name]) for row in rows])
        np.testing.assert_allclose(found, fitted.results_[name], rtol=1e-15)
    assert rows[0]["bound"] == ""  # no l2: no certificate
    model = SoftmaxRegression.load(tmp_path / "found" / "best.npz")
    assert np.array_equal(model.coef_, fitted.best_estimator_.coef_)
    accuracy = model.score(DIGITS.X_test, DIGITS.y_test)
    assert f"test accuracy of the best {accuracy:.4f}" in out


def test_on_a_terminal_one_line_is_rewritten(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    progress = cli_sweep.Progress()
    progress(SweepEpoch(0, 2, 40, None, None))
    progress(SweepEpoch(1, 2, 7, 3, 0.91234))
    progress.close()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    first, second = captured.err.split("\r")[1:]
    assert first.startswith("epoch 1/2  40 heads  ")
    assert second == "epoch 2/2  7 heads  best 0.9123  0 s left\x1b[K\n"


class Page(HTMLParser):
    """Counts tags, and what they load from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.loads, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "path", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("path", "circle"):
            assert self.open.pop() == tag


def test_the_report_needs_nothing_else_and_shows_every_setting(capsys, tmp_path):
    assert softstep(capsys, *SWEEP, "--lr", "0.1,1,1e39", "--out", tmp_path / "found")[0] == 0
    text = (tmp_path / "found" / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert page.loads == []
    assert "url(" not in text
    assert "script" not in page.tags
    assert page.tags.count("svg") == 2
    assert page.tags.count("polyline") == 4
    assert "2 diverged and are not shown." in text
    model = SoftmaxRegression.load(tmp_path / "found" / "best.npz")
    predicted = model.predict(DIGITS.X_test)
    for i in range(10):
        for j in range(10):
            count = ((DIGITS.y_test == i) & (predicted == j)).sum()
            assert f">{count}</td>" in text
    assert "nan" not in re.sub(r"<style>.*?</style>", "", text, flags=re.S).lower()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5", [0.5]),
        ("1,2e-1", [1.0, 0.2]),
        ("1e-2:1:log3", [0.01, 0.1, 1.0]),
        ("0,1:100:log2", [0.0, 1.0, 100.0]),
        ("3:3:log1", [3.0]),
    ],
)
def test_numbers_are_read(text, expected):
    assert cli_sweep.numbers(text) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "option",
    [
        "--lr=fast",
        "--lr=1:2",
        "--lr=1:2:lin3",
        "--lr=0:1:log3",
        "--lr=1:2:log0",
        "--lr=",
        "--loss=hinge",
        "--l2=1:inf:log2",
        "--cv=two",
        "--refit=f1",
        "--schedule=linear",
    ],
)
def test_options_that_make_no_sense_are_refused(option, capsys):
    with pytest.raises(SystemExit) as refused:
        cli.main([*SWEEP, option])
    assert refused.value.code == 2
    assert option.partition("=")[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cv=1"], "cv must be at least 2"),
        (["--lr=-1"], "learning_rate must be above 0"),
        (["--epochs=0"], "epochs must be at least 1"),
        (["--lr=1e39"], "every setting diverged"),
        (["--refit=loss"], "needs one loss in the grid"),
        (["--labels=none"], "give no labels file"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_sentence(options, message, capsys):
    code, _, err = softstep(capsys, *SWEEP, *options)
    assert code == 2
    assert err.startswith("softstep: ")
    assert message in err
    assert err.count("\n") == 1

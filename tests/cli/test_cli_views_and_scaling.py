"""Promise: train and sweep take `--features` and `--scaling`, landscape takes the latter; they say
which way to go on.

Reports have no figures here, which is quicker.
"""

import csv
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from command import softstep

from softstep import SoftmaxRegression, cli
from softstep.cli import landscape
from softstep.model.datasets import load_digits
from softstep.model.landscape import Surface
from softstep.report import sweep as report
from softstep.runs import results
from softstep.runs.sweep import at_an_end

DIGITS = load_digits()
SWEEP = ("sweep", "digits", "--loss", "cross_entropy", "--epochs", 2)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOFTSTEP_BACKEND", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def test_train_sees_these_columns_scaled(capsys):
    options = ("--features", "8:40", "--scaling", "standard", "--lr", 0.1, "--epochs", 2)
    code, out, err = softstep(capsys, "train", "digits", *options, "--out", "model.npz")
    assert (code, err) == (0, "")
    model = SoftmaxRegression.load("model.npz")
    expected = SoftmaxRegression(
        learning_rate=0.1, epochs=2, features=(8, 40), scaling="standard", random_state=0
    ).fit(DIGITS.X_train, DIGITS.y_train)
    assert (model.features_, model.scaling, model.coef_.shape) == ((8, 40), "standard", (10, 32))
    assert np.array_equal(model.coef_, expected.coef_)
    assert f"test accuracy {expected.score(DIGITS.X_test, DIGITS.y_test):.4f}" in out


def test_a_landscape_is_that_of_the_model_on_scaled_rows(capsys, monkeypatch):
    monkeypatch.setattr(landscape.extras, "load", lambda *_, **__: None)
    monkeypatch.setattr(landscape, "_draw", lambda *_: 0)
    options = ("--scaling", "standard", "--epochs", 1, "--steps", 3, "--out", "around")
    code, _, err = softstep(capsys, "landscape", "digits", *options)
    assert (code, err) == (0, "")
    model, surface = SoftmaxRegression.load("around/model.npz"), Surface.load("around/surface.npz")
    assert model.scaling == "standard"
    off = np.eye(10)[DIGITS.y_train] - model.predict_proba(DIGITS.X_train)
    assert surface.path_loss[-1] == pytest.approx(np.mean(off**2), rel=1e-5)


def test_sweep_goes_through_ranges_and_scalings(capsys):
    given = ("--features", "0:32,32:64,0:32", "--scaling", "none,standard,l2", "--lr", "0.1,1")
    code, out, err = softstep(capsys, *SWEEP, *given, "--out", "found")
    assert (code, err) == (0, "")
    assert "\n12 heads in " in out
    assert "features 0:32  " in out
    assert "scaling none" in out
    with Path("found/results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    settings = {(row["param_features"], row["param_scaling"]) for row in rows}
    assert settings == {(f, s) for f in ("0:32", "32:64") for s in ("none", "standard", "l2")}
    assert all(row["features_name"] == row["param_features"] for row in rows)
    best = min(rows, key=lambda row: int(row["rank"]))
    model = SoftmaxRegression.load("found/best.npz")
    assert ":".join(map(str, model.features)) == best["param_features"]
    assert results.in_words(model.scaling) == best["param_scaling"]
    assert len({row["mean_val_loss"] for row in rows}) == 12  # no setting trains as another


def test_what_is_read_back_are_the_settings_themselves(capsys):
    given = ("--features", "0:32,32:64", "--scaling", "none,l2+standard", "--lr", 1)
    assert softstep(capsys, *SWEEP, *given, "--out", "found")[0] == 0
    table, _ = results.read(Path("found"))
    assert table["param_features"].tolist() == [(0, 32), (0, 32), (32, 64), (32, 64)]
    assert table["param_scaling"].tolist() == 2 * [None, "l2+standard"]
    shown = report.table(table)
    assert "<td>0:32</td>" in shown
    assert "<td>none</td>" in shown
    code, out, _ = softstep(capsys, "describe", "found")
    assert code == 0
    assert "[32, 64]" in out


def test_the_optimum_takes_them_too(capsys):
    given = ("--features", "0:32", "--scaling", "standard", "--C", "0.01,0.1")
    code, out, _ = softstep(capsys, "sweep", "digits", "--solver", "lbfgs", *given)
    assert code == 0
    assert "2 of the 2 on all rows are proven" in out


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--features=32", "give columns as START:STOP, such as 0:768"),
        ("--features=a:b", "give columns as START:STOP, such as 0:768"),
        ("--scaling=minmax", "choose from"),
    ],
)
@pytest.mark.parametrize("command", ["train", "sweep"])
def test_options_that_make_no_sense_are_refused(command, option, message, capsys):
    with pytest.raises(SystemExit) as refused:
        cli.main([command, "digits", option])
    assert refused.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "sweep"])
@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("40:8", "features=(40, 8) is reversed"),
        ("8:8", "is empty"),
        ("0:65", "features=(0, 65) reaches beyond the 64 columns of X, 0 to 63"),
    ],
)
def test_columns_that_are_not_there_are_refused_in_one_sentence(command, columns, message, capsys):
    code, _, err = softstep(capsys, command, "digits", "--features", columns)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "values", "best", "said"),
    [
        (
            "learning_rate",
            (0.1, 1.0, 10.0),
            10.0,
            "the best rate, 10, is the largest tried: extend --lr upwards",
        ),
        (
            "learning_rate",
            (0.1, 1.0, 10.0),
            0.1,
            "the best rate, 0.1, is the smallest tried: extend --lr downwards",
        ),
        ("l2", (0.0, 1e-4), 1e-4, "the best l2, 0.0001, is the largest tried: extend --l2 upwards"),
        (
            "l2",
            (1e-6, 1e-4),
            1e-6,
            "the best l2, 1e-06, is the smallest tried: extend --l2 downwards",
        ),
        ("C", (1.0, 1e4), 1e4, "the best C, 1e+04, is the largest tried: extend --C upwards"),
        ("learning_rate", (0.1, 1.0, 10.0), 1.0, None),
        ("l2", (0.0, 1e-4), 0.0, None),
        ("C", (1.0,), 1.0, None),
    ],
)
def test_the_best_at_an_end_says_which_way_to_go_on(name, values, best, said):
    params = [{"loss": "mse", name: value} for value in values]
    beyond = {"loss": "mse", "features": (0, 3), name: 1e9}  # of other features
    sweep = SimpleNamespace(
        best_params_={"loss": "mse", name: best}, results_={"params": [*params, beyond]}
    )
    assert at_an_end(sweep) == [said] * (said is not None)


def test_the_report_says_so_too(capsys):
    _, out, _ = softstep(capsys, *SWEEP, "--lr", "1e-4,1e-3", "--out", "found")
    said = "the best rate, 0.001, is the largest tried: extend --lr upwards"
    assert f"{said}\n" in out
    page = Path("found/report.html").read_text(encoding="utf-8")
    assert said[1:] in page


def test_features_far_from_unit_scale_are_told_the_option(capsys):
    np.savez("far.npz", X_train=1000 * DIGITS.X_train, y_train=DIGITS.y_train)
    with pytest.warns(UserWarning, match=r'give scaling="standard" \(--scaling standard\)'):
        assert softstep(capsys, "train", "far.npz", "--epochs", 1)[0] == 0
    scaled = ("--epochs", 1, "--scaling", "standard", "--out", "scaled.npz")
    assert softstep(capsys, "train", "far.npz", *scaled)[0] == 0  # a warning would be an error

"""Promise: `softstep sweep` shows its progress and leaves a table, the best model and a report.

tests/cli/test_sweep_page.py is about the report; here it has no figures, which is quicker.
"""

import contextlib
import csv
import re
import sys
import time

import numpy as np
import pytest
from command import softstep

from softstep import SoftmaxRegression, SoftmaxSweep, cli
from softstep.cli import sweep as cli_sweep
from softstep.kernels.losses import LOSSES
from softstep.model.datasets import load_digits
from softstep.model.sweep.heads import SweepEpoch
from softstep.runs import folder as run_folder
from softstep.runs.sweep import SweepProgress

DIGITS = load_digits()
SWEEP = ["sweep", "digits", "--lr", "0.01:10:log4", "--epochs", "4"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOFTSTEP_BACKEND", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def test_progress_the_ten_best_and_the_times_are_printed(capsys):
    code, out, err = softstep(capsys, *SWEEP, "--l2", "0,1e-4", "--cv", 3)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("backend numba (auto")
    progress = [line for line in lines if line.startswith("epoch")]
    assert len(progress) == 4
    assert all(
        re.match(r"epoch \d/4  64 heads  best accuracy 0\.\d{4}  \d+ s left(, and|$)", line)
        for line in progress
    )
    table = next(i for i, line in enumerate(lines) if line.startswith("rank ")) + 1
    assert re.match(r" +1 +0\.\d{4} ±0\.\d+ +0\.\d+ ±\S+ +l2 ", lines[table])
    ranks = [int(line.split()[0]) for line in lines[table : table + 10]]
    assert ranks == sorted(ranks)
    assert ranks[0] == 1
    said = (
        r"64 heads in \d+\.\d\d s; one head alone takes about \d\.\d+ s an epoch, so the 256 "
        r"epochs they ran would take \d+\.\d s one after another; the certificates took another \d"
    )
    assert re.match(said, lines[table + 10])
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


def test_what_cannot_be_written_is_known_before_the_training(capsys, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")

    def never(*arguments, **keywords):
        raise AssertionError("trained in vain")

    monkeypatch.setattr(SoftmaxSweep, "fit", never)
    code, _, err = softstep(capsys, *SWEEP, "--out", tmp_path / "file" / "found")
    assert code == 2
    assert err.startswith("softstep: ")

    def refuse(*arguments, **keywords):
        raise PermissionError("read-only")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    code, _, err = softstep(capsys, *SWEEP, "--out", tmp_path / "deep" / "found")
    assert (code, err) == (2, "softstep: read-only\n")
    assert not (tmp_path / "deep").exists()


def test_a_sweep_that_is_interrupted_leaves_no_folder(tmp_path, monkeypatch):
    def interrupt(*arguments, **keywords):
        assert (tmp_path / "new" / "found").is_dir()
        raise KeyboardInterrupt

    monkeypatch.setattr(SoftmaxSweep, "fit", interrupt)
    with contextlib.suppress(KeyboardInterrupt):
        cli.main([*SWEEP, "--out", str(tmp_path / "new" / "found")])
    assert not (tmp_path / "new").exists()


def test_a_report_that_fails_does_not_take_the_model_with_it(capsys, tmp_path, monkeypatch):
    written = run_folder.write_text

    def disk_full(path, text):
        if path.name == "report.html":
            raise OSError("the disk is full")
        written(path, text)

    monkeypatch.setattr(run_folder, "write_text", disk_full)
    code, _, err = softstep(capsys, *SWEEP, "--epochs", 1, "--out", tmp_path / "found")
    assert (code, err) == (2, "softstep: the disk is full\n")
    found = sorted(path.name for path in (tmp_path / "found").iterdir())
    assert found == ["best.npz", "loss_curves.csv", "results.csv", "run.json"]


def test_the_time_is_that_of_the_training_alone(capsys, monkeypatch):
    """Compiling and certificates are not in it; heads that halving dropped count their epochs."""
    fit, calls = SoftmaxSweep.fit, []

    def slow(self, *arguments, callback=None, **keywords):
        if callback is None:
            time.sleep(1.5)  # as compiling does
        fitted = fit(self, *arguments, callback=callback, **keywords)
        if callback is not None:
            time.sleep(1.5)  # as certificates do
        calls.append(self)
        return fitted

    monkeypatch.setattr(SoftmaxSweep, "fit", slow)
    options = ["--loss", "cross_entropy", "--l2", "0.1", "--l2-bias", "--halving", "--cv", "2"]
    _, out, _ = softstep(capsys, *SWEEP, *options)
    said = re.search(
        r"^12 heads in (\S+) s; .* (\d+) epochs they ran would take .* one after another; "
        r"the certificates took another (\S+) s$",
        out,
        re.M,
    )
    assert len(calls) == 2
    assert float(said[3]) >= 1.5
    assert int(said[2]) == 3 * calls[1].results_["epochs"].sum() < 12 * 4
    progress = [line for line in out.splitlines() if line.startswith("epoch")]
    assert progress[-1].endswith(" s left, and the certificates")
    assert not progress[0].endswith("certificates")


def test_the_time_left_follows_the_heads_that_are_left(capsys, monkeypatch):
    clock = iter([0.0, 10.0, 20.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    progress = SweepProgress("accuracy", False)
    progress(SweepEpoch(0, 10, 40, None, None))
    progress(SweepEpoch(1, 10, 20, None, None))  # half of the heads, half of the time
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith("90 s left")
    assert out[1].endswith("40 s left")


def test_ten_lines_at_most_are_printed(capsys):
    for epochs in (1, 9, 10, 11, 19, 20, 101):
        progress = SweepProgress("accuracy", False)
        for number in range(epochs):
            progress(SweepEpoch(number, epochs, 4, None, None))
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) <= 10
        assert lines[-1].startswith(f"epoch {epochs}/{epochs} ")


def test_on_a_terminal_one_line_is_rewritten(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    progress = SweepProgress("accuracy", False)
    progress(SweepEpoch(0, 2, 40, None, None))
    progress(SweepEpoch(1, 2, 7, 3, 0.91234))
    progress.__exit__()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    first, second = captured.err.split("\r")[1:]
    assert first.startswith(f"[{10 * '#'}{10 * '.'}] epoch 1/2  40 heads  ")
    assert second.rstrip() == f"[{20 * '#'}] epoch 2/2  7 heads  best accuracy 0.9123  0 s left"
    assert len(second) > len(first)  # nothing of the longer line is left beside it
    assert "\x1b" not in captured.err


def test_what_fell_away_and_an_end_of_the_span_are_said(capsys):
    _, out, _ = softstep(capsys, *SWEEP, "--loss", "mse", "--lr", "1,10,0.1,1e39", "--halving")
    assert re.search(r"^ +4 +- +- .*learning_rate 1e\+39 .*  diverged$", out, re.M)
    assert re.search(r"  dropped after \d epochs$", out, re.M)
    assert "the largest tried" not in out  # a larger one diverged
    _, out, _ = softstep(capsys, *SWEEP, "--loss", "mse", "--lr", "0.1,1,10")
    assert "the best rate, 10, is the largest tried: extend --lr upwards\n" in out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.5", [0.5]),
        ("1,2e-1", [1.0, 0.2]),
        ("1e-2:1:log3", [0.01, 0.1, 1.0]),
        ("0,1:100:log2", [0.0, 1.0, 100.0]),
        ("3:3:log1", [3.0]),
        ("1,1,1:100:log3", [1.0, 10.0, 100.0]),
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
        "--schedule=linear",
    ],
)
def test_options_that_make_no_sense_are_refused(option, capsys):
    with pytest.raises(SystemExit) as refused:
        cli.main([*SWEEP, option])
    assert refused.value.code == 2
    assert option.partition("=")[0] in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--lr=1:2", "--l2=0:1:log3", "--lr=,", "--momentum=1:2:3:4"])
def test_numbers_that_are_none_are_answered_with_the_form_they_have(option, capsys):
    with pytest.raises(SystemExit):
        cli.main([*SWEEP, option])
    assert "give numbers, such as 0.1,0.2, or FROM:TO:logN" in capsys.readouterr().err


def test_every_loss_can_be_swept(capsys, tmp_path):
    names = ",".join(LOSSES)
    code, out, _ = softstep(capsys, *SWEEP, "--loss", names, "--out", tmp_path / "found")
    assert code == 0
    assert re.search(rf"^{4 * len(LOSSES)} heads in ", out, re.M)
    with (tmp_path / "found" / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["param_loss"] for row in rows} == set(LOSSES)
    assert len({row["mean_val_loss"] for row in rows}) == len(rows)  # no loss trains as another


def test_a_loss_named_twice_is_trained_once(capsys):
    _, out, _ = softstep(capsys, *SWEEP, "--loss", "mse,mse", "--lr", "1,1", "--epochs", 1)
    assert re.search(r"^1 heads in ", out, re.M)


def test_a_class_with_too_few_rows_to_hold_out_is_told_to_use_folds(capsys, tmp_path):
    y = np.where(np.arange(50) == 0, 7, np.arange(50) % 2)
    seed = next(s for s in range(50) if 0 in np.random.default_rng((s, 3)).permutation(50)[:10])
    x = np.random.default_rng(0).standard_normal((50, 3)).astype(np.float32)
    np.savez(tmp_path / "own.npz", X_train=x, y_train=y, X_test=x, y_test=y)
    own = ["sweep", tmp_path / "own.npz", "--lr", "0.1", "--epochs", 1, "--seed", seed]
    code, _, err = softstep(capsys, *own)
    assert code == 2
    assert "class 7 are among the fifth held out: judge by folds, --cv N" in err
    with pytest.warns(UserWarning, match="a class has 1 rows"):
        assert softstep(capsys, *own, "--cv", 2)[0] == 0


def test_it_says_how_many_rows_the_saved_model_learned_from(capsys):
    _, out, _ = softstep(capsys, *SWEEP, "--lr", "0.1", "--epochs", 1)
    assert "judged on 287 of the training rows, a fifth; all models, the saved one too, " in out
    assert "learned from the other 1150" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cv=1"], "cv must be at least 2"),
        (["--lr=-1"], "learning_rate must be above 0"),
        (["--epochs=0"], "epochs must be at least 1"),
        (["--lr=1e39"], "every setting diverged"),
        (["--refit=loss"], "needs one loss in the grid"),
        (["--refit=f1"], "refit must be one of 'accuracy', 'loss', not 'f1'"),
        (["--refit=ece"], "refit='ece' is not computed: name it in scoring too"),
        (["--scoring=auc"], "scoring has 'auc', which is no scorer of scikit-learn"),
        (["--scoring=roc_auc"], "('ovo', 'ovr'): raised by scoring='roc_auc'"),
        (["--scoring=top10"], "scoring='top10' is 1 for any model of 10 classes"),
        (["--labels=none"], "give no labels file"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_one_sentence(options, message, capsys):
    code, _, err = softstep(capsys, *SWEEP, *options)
    assert code == 2
    assert err.startswith("softstep: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("judged", [[], ["--cv", 2]])
def test_scores_are_printed_and_saved_and_choose_the_best(judged, capsys, tmp_path):
    options = ["--scoring", "brier,ece,top3,brier", "--refit", "brier", "--loss", "mse"]
    code, out, err = softstep(capsys, *SWEEP, *options, *judged, "--out", tmp_path / "found")
    assert (code, err) == (0, "")
    assert re.search(r"^epoch 4/4 .* best brier 0\.\d{4} ", out, re.M)
    table = out.splitlines().index(next(n for n in out.splitlines() if n.startswith("rank ")))
    head, best, *_ = out.splitlines()[table:]
    assert head.split() == ["rank", "accuracy", "loss", "brier", "ece", "top3", "settings"]
    spread = r" ±\S+" if judged else ""
    assert re.match(rf" +1( +0\.\d+{spread}){{5}}  l2 ", best)
    with (tmp_path / "found" / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    brier = [float(row["mean_val_brier"]) for row in rows]
    assert [int(row["rank"]) for row in rows] == [1 + sorted(brier).index(b) for b in brier]
    assert float(rows[0]["low_val_top3"]) <= float(rows[0]["mean_val_top3"])
    said = re.search(
        r"^brier of the best on rows that had no part in choosing it (\S+) \((\S+) to (\S+)\); it "
        r"was the best in \d+% of 1000 bootstraps$",
        out,
        re.M,
    )
    low, high = float(said[2]), float(said[3])
    assert low < float(said[1]) < high
    assert low < min(brier) < high
    text = (tmp_path / "found" / "report.html").read_text(encoding="utf-8")
    assert said[0][1:] in text
    assert "best by brier" in text
    assert text.count("<th>mean_val_ece</th>") == 1


def test_without_refit_the_first_score_chooses(capsys):
    _, out, _ = softstep(capsys, *SWEEP, "--scoring", "roc_auc_ovr,ece", "--loss", "mse")
    assert re.search(r"^epoch 4/4 .* best roc_auc_ovr 0\.\d{4} ", out, re.M)
    assert "bootstraps" not in out  # it is no mean over rows

"""Promise: `softstep sweep --solver lbfgs` goes to the optimum for each C, and says how near."""

import json
import re

import numpy as np
import pytest

from softstep import SoftmaxRegression, SoftmaxSweep, cli
from softstep.model import plots
from softstep.runs import results
from softstep.runs.sweep import SolveProgress

SWEEP = ("sweep", "digits", "--solver", "lbfgs", "--C", "1e-3:10:log3", "--cv", "2")


def softstep(capsys, *arguments):
    code = cli.main([*map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The folder of such a sweep, and what was printed."""
    import contextlib
    import io

    folder, printed = tmp_path_factory.mktemp("sweep"), io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert cli.main([*SWEEP, "--out", str(folder), "--figures", str(folder)]) == 0
    return folder, printed.getvalue()


def test_the_bounds_are_printed_and_how_many_are_proven(found):
    _, out = found
    assert "3 of the 3 on all rows are proven to be within 1e-06 of the optimum" in out
    assert re.search(r"^9 heads in \S+ s and \d+ rounds;", out, re.M)
    assert len(re.findall(r"C \S+  loss cross_entropy  bound \d", out)) == 3
    assert "the best C, 10, is the largest tried: extend --C upwards\n" in out


@pytest.mark.parametrize("loss", ["mse", "mse,cross_entropy"])
def test_heads_of_which_there_is_no_bound_are_not_told_to_lack_a_proof(loss, capsys, tmp_path):
    command = ("sweep", "digits", "--solver", "lbfgs", "--C", 1, "--loss", loss)
    code, out, _ = softstep(capsys, *command, "--out", tmp_path / "run")
    assert code == 0
    flat = "on all rows have come to a stationary point, of which there is no bound"
    assert f"rounds; 1 of the 1 {flat}\n" in out or loss != "mse"
    proven = "rounds; 1 of the 2 on all rows are proven to be within 1e-06 of the optimum"
    assert f"{proven}, relative to it; 1 of the 2 {flat}\n" in out or loss == "mse"


def test_the_folder_holds_the_path_the_model_and_a_report(found):
    folder, _ = found
    table, curves = results.read(folder)
    np.testing.assert_allclose(table["param_C"], [1e-3, 0.1, 10])
    assert table["converged"].all()
    assert table["n_iter"].dtype == np.int64
    assert (np.diff(table["weight_norm"]) > 0).all()
    assert len(curves) == table["n_iter"].max()
    model = SoftmaxRegression.load(folder / "best.npz")
    assert (model.solver, model.C) == ("lbfgs", 10.0)
    assert json.loads((folder / "run.json").read_text())["settings"]["C"] == [1e-3, 0.1, 10.0]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Solved by L-BFGS" in page or "solved by L-BFGS" in page
    assert (folder / "path.png").stat().st_size > 10_000


@pytest.mark.filterwarnings("ignore:2 of 2 heads stopped short")
def test_no_report_says_that_heads_are_at_the_optimum_which_stopped_short(capsys, tmp_path):
    command = ("sweep", "digits", "--solver", "lbfgs", "--C", "1,10", "--max-iter", 2)
    assert softstep(capsys, *command, "--out", tmp_path / "run")[0] == 0
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "0 of the 2 on all rows are proven to be within 1e-06 of the optimum" in page
    assert page.count("the optimum") == 1  # and nothing else is said of it


def test_the_path_figure_has_a_point_for_each_C(found):
    table, _ = results.read(found[0])
    figure = plots.regularisation(table)
    accuracy, loss, size = figure.axes
    for axes, name in (
        (accuracy, "mean_val_accuracy"),
        (loss, "mean_val_loss"),
        (size, "weight_norm"),
    ):
        line = axes.lines[0]
        np.testing.assert_array_equal(line.get_xdata(), table["param_C"])
        np.testing.assert_array_equal(line.get_ydata(), table[name])
    assert size.get_xlabel() == "C"


def test_each_range_of_features_has_its_line(found):
    table, _ = results.read(found[0])
    both = {name: np.concatenate([column, column]) for name, column in table.items()}
    both["param_features"] = np.fromiter([(0, 32), (32, 64)] * 3, object, 6)
    accuracy, *_ = plots.regularisation(both).axes
    *lines, _ = accuracy.lines  # the last one marks the best
    assert [line.get_xdata().tolist() for line in lines] == 2 * [table["param_C"].tolist()]
    assert len(accuracy.get_legend_handles_labels()[1]) == 1


def test_along_l2_the_axis_runs_backwards(found):
    table, _ = results.read(found[0])
    table["param_l2"] = 1 / (1437 * table.pop("param_C"))
    size = plots.regularisation(table, theme="dark").axes[2]
    first, last = size.get_xlim()
    assert first > last
    assert size.get_xlabel() == "l2"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--lr", "0.1"), "--lr does not go with --solver lbfgs"),
        (("--momentum", "0.9"), "--momentum does not go with --solver lbfgs"),
        (("--l2", "0.1"), "--C and --l2 both set the weight of ‖W‖²: give one of them"),
        (("--epochs", "3"), "epochs is a setting of solver='sgd': leave it out with 'lbfgs'"),
        (("--halving",), "halving is a setting of solver='sgd': leave it out with 'lbfgs'"),
        (("--solver", "sgd"), "--C does not go with --solver sgd"),
        (("--C", "0"), "C must be above 0, not 0"),
        (("--C", "nan"), "C must be finite, not nan"),
        (("--solver", "sgd", "--tol", "1e-3"), "--tol does not go with --solver sgd"),
        (("--solver", "sgd", "--max-iter", "9"), "--max-iter does not go with --solver sgd"),
        (("--tol", "0"), "tol must be above 0, not 0"),
        (("--max-iter", "0"), "max_iter must be at least 1, not 0"),
        (
            ("--checkpoint", "kept", "--workers", "2"),
            "checkpoint does not go with solver='lbfgs' by an executor: leave one of them out",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_before_the_rows_are_read(
    options, said, capsys, tmp_path
):
    code, out, err = softstep(capsys, *SWEEP, *options, "--out", tmp_path / "found")
    assert (code, err) == (2, f"softstep: {said}\n")
    assert "judged" not in out
    assert not (tmp_path / "found").exists()


def test_the_time_left_goes_by_the_decades_of_the_bound(capsys, monkeypatch):
    from softstep.model.optimum.solve import Round

    clock = iter([0.0, 10.0, 20.0, 30.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    progress = SolveProgress(1e-6)
    progress(Round(0, 40, np.inf))
    progress(Round(1, 40, 1e-2))  # two of six decades in 20 s
    progress(Round(2, 7, 1e-4))
    first, second = capsys.readouterr().out.splitlines()
    assert first == "round 2  40 heads  bound 1.0e-02  40 s left"
    assert second == "round 3  7 heads  bound 1.0e-04  15 s left"


def test_each_part_of_the_heads_has_its_share_of_the_time(capsys, monkeypatch):
    from softstep.model.optimum.solve import Round

    clock = iter([0.0, 10.0, 20.0, 30.0, 40.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    progress = SolveProgress(1e-6)
    progress(Round(0, 9, 1.0, 0, 3))
    progress(Round(1, 6, 1e-6, 0, 3))  # a third of the work in 20 s
    progress(Round(2, 6, 1.0, 1, 3))
    progress(Round(3, 6, 1e-3, 1, 3))  # half of it in 40 s
    second, fourth = capsys.readouterr().out.splitlines()
    assert second.endswith("40 s left")
    assert fourth.endswith("40 s left")


def test_tol_and_the_most_steps_can_be_given(capsys, tmp_path):
    code, out, _ = softstep(
        capsys, *SWEEP, "--tol", "1e-2", "--max-iter", "70", "--out", tmp_path / "found"
    )
    assert code == 0
    assert "3 of the 3 on all rows are proven to be within 0.01 of the optimum" in out
    settings = json.loads((tmp_path / "found" / "run.json").read_text())["settings"]
    assert (settings["tol"], settings["max_iter"]) == (1e-2, 70)


@pytest.mark.parametrize(
    "options",
    [
        ("--solver", "lbfgs", "--C", "0.1,1"),
        ("--lr", "0.1,1", "--loss", "cross_entropy", "--l2", "0.1", "--epochs", "2"),
    ],
)
@pytest.mark.parametrize("judge", [(), ("--cv", "2")])
def test_what_compiles_is_a_few_rows(options, judge, capsys, monkeypatch, tmp_path):
    fit, read = SoftmaxSweep.fit, []

    def noting(self, X, y, **keywords):
        read.append((len(X), len(np.unique(y)), self.cv, "X_val" in keywords))
        return fit(self, X, y, **keywords)

    monkeypatch.setattr(SoftmaxSweep, "fit", noting)
    code, _, err = softstep(capsys, "sweep", "digits", *options, *judge, "--out", tmp_path / "out")
    assert (code, err) == (0, "")
    few, whole = read
    assert (few[0], few[1:]) == (300, whole[1:])
    assert whole[0] > 1000

"""Promise: `softstep report` makes one page of a model, a sweep or a landscape."""

import base64
import contextlib
import hashlib
import json
import os
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

from softstep import SoftmaxRegression, __version__, cli
from softstep.kernels.losses import LOSSES
from softstep.model import checkpoint
from softstep.model.datasets import load_digits
from softstep.model.plots import style
from softstep.report import figures as report_figures
from softstep.report import page as report
from softstep.report import subject as report_subject
from softstep.runs import record as run_record
from softstep.runs.recipe import load_rows

pytest.importorskip("matplotlib")
pytest.importorskip("plotly")
DIGITS = load_digits()
OF_A_MODEL = ["forward", "weights", "confusion", "surface", "contours", "line"]
OF_A_DESCENT = ["surface", "contours", "gradient", "line"]
ALWAYS = ["learning-rate", "momentum"]
SWEEP = ["sweep", "digits", "--lr", "0.1,1,1e39", "--epochs", "3", "--seed", "4"]


@pytest.fixture(scope="module")
def momentum():
    """The figure is the same in every report: it is looked for once."""
    return report_figures._momentum()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch, momentum):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report_figures, "_momentum", lambda: momentum)
    monkeypatch.setattr(style, "DPI", 30)  # what is drawn is tested elsewhere; small is quick


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.titles, self.images, self.loads, self.in_title = [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.in_title = tag in ("h1", "h2")
        for name, value in attrs:
            if tag in ("img", "source") and name in ("src", "srcset"):
                self.images.append(value)
            elif name in ("src", "href", "srcset"):
                self.loads.append(value)

    def handle_data(self, data):
        if self.in_title:
            self.titles.append(data)
        self.in_title = False


def report_of(capsys, *arguments):
    """The page that was made, and its text."""
    assert cli.main(["report", *map(str, arguments)]) == 0
    path = capsys.readouterr().out.strip().rpartition("saved to ")[2]
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        text = file.read()
    page = Page(text)
    assert page.loads == []
    assert all(image.startswith("data:image/png;base64,") for image in page.images)
    return path, page, text


def test_a_model_shows_all_figures_settings_and_versions(capsys, tmp_path):
    model = SoftmaxRegression(loss="cross_entropy", learning_rate=0.25, epochs=20, random_state=0)
    model.fit(DIGITS.X_train, DIGITS.y_train).save("kept.npz")
    path, page, text = report_of(capsys, "kept.npz", "--figures", "png")
    assert path == "kept-report.html"
    assert page.titles[0] == "kept.npz on digits"
    assert page.titles[1] == "Interactive loss surface"
    assert page.titles[-2:] == ["Settings", "Versions"]
    files = {file.name: file.read_bytes() for file in (tmp_path / "png").iterdir()}
    names = [*OF_A_MODEL, *ALWAYS]
    assert set(files) == {f"{name}{dark}.png" for name in names for dark in ("", "-dark")}
    shown = [base64.b64decode(image.partition(",")[2]) for image in page.images]
    assert shown == [files[f"{name}{dark}.png"] for name in names for dark in ("-dark", "")]
    assert "0.25" in text
    assert f"<th>softstep</th><td>{__version__}</td>" in text
    assert f"the 360 test rows of digits: {model.score(DIGITS.X_test, DIGITS.y_test):.4f}" in text
    assert f"the 1437 training rows: {model.score(DIGITS.X_train, DIGITS.y_train):.4f}" in text
    assert "cross-entropy of 1437 training rows" in text
    assert text.count('Plotly.react("loss-surface", theme.data, theme.layout);') == 1


def test_a_sweep_shows_its_settings_and_its_best_model(capsys, tmp_path):
    assert cli.main([*SWEEP, "--out", "found"]) == 0
    record = run_record.read(tmp_path / "found")
    assert (record["command"], record["data"], record["source"], record["seed"]) == (
        "sweep",
        "digits",
        "digits",
        4,
    )
    best = SoftmaxRegression.load("found/best.npz")
    path, page, text = report_of(capsys, "found")
    assert path == "found/report.html"
    assert page.titles[0] == "Sweep of digits"
    assert "Accuracy and loss against learning rate" in page.titles
    assert "All settings" in page.titles
    assert f"rows of digits: {best.score(DIGITS.X_test, DIGITS.y_test):.4f}" in text
    assert text.count("<td>cross_entropy</td>") == 3
    assert len(page.images) == 2 * (1 + len(OF_A_MODEL) + len(ALWAYS))


@pytest.mark.parametrize("loss", LOSSES)
def test_a_landscape_shows_the_plane_and_the_rows_it_was_made_of(loss, capsys, tmp_path):
    command = ["landscape", "digits", "--epochs", "3", "--steps", "7", "--rows", "test"]
    assert cli.main([*command, "--loss", loss, "--out", "land"]) == 0
    assert f"{LOSSES[loss].title} of 360 test rows: " in capsys.readouterr().out
    _, page, text = report_of(capsys, "land", "--out", "page.html", "--figures", "png")
    assert page.titles[0] == "Landscape of digits"
    names = [*OF_A_MODEL[:3], *OF_A_DESCENT, *ALWAYS]
    assert len(page.images) == 2 * len(names)
    for name in OF_A_DESCENT:  # drawn anew, from what the folder holds, they are the same
        for file in (f"{name}.png", f"{name}-dark.png"):
            assert (tmp_path / "png" / file).read_bytes() == (tmp_path / "land" / file).read_bytes()
    assert f"{LOSSES[loss].title} of 360 test rows" in text
    assert f"trained on the {LOSSES[loss].title} loss" in text


def test_a_name_of_data_shows_the_recipe_and_its_descent(capsys):
    path, page, text = report_of(capsys, "digits", "--seed", 3)
    assert path == "runs/digits-recipe-report.html"
    assert page.titles[0] == "The recipe on digits"
    model = SoftmaxRegression(learning_rate=2.0, epochs=300, random_state=3)
    model.fit(DIGITS.X_train, DIGITS.y_train)
    assert f"rows of digits: {model.score(DIGITS.X_test, DIGITS.y_test):.4f}" in text
    assert "MSE of 1437 training rows" in text
    assert "PC 1 of the path" in text
    assert len(page.images) == 2 * (3 + len(OF_A_DESCENT) + len(ALWAYS))


def test_a_sweep_s_figure_is_drawn_by_the_sweep_too(capsys, tmp_path):
    assert cli.main([*SWEEP, "--out", "found", "--figures", "png"]) == 0
    report_of(capsys, "found", "--figures", "again")
    for file in ("sweep.png", "sweep-dark.png"):
        drawn = (tmp_path / "png" / file).read_bytes()
        assert drawn == (tmp_path / "again" / file).read_bytes()
    assert len(list((tmp_path / "png").iterdir())) == 2


def test_features_that_are_no_image_and_words_as_labels(capsys, tmp_path):
    X, y = DIGITS.X_train[:, :30], np.array(["even", "odd"])[DIGITS.y_train % 2]
    np.savez("rows.npz", X=X, y=y)
    assert cli.main(["train", "rows.npz", "--epochs", "5", "--out", "words.npz"]) == 0
    _, page, _ = report_of(capsys, "words.npz", "--data", "rows.npz")
    assert page.titles[0] == "words.npz on rows.npz"
    assert len(page.images) == 2 * (len(OF_A_MODEL) - 2 + len(ALWAYS))


def test_a_file_of_rows_is_found_again_from_anywhere(tmp_path, monkeypatch):
    np.savez("rows.npz", X=DIGITS.X_train, y=DIGITS.y_train)
    command = ["sweep", "rows.npz", "--lr", "1", "--loss", "mse", "--epochs", "2"]
    assert cli.main([*command, "--out", "found"]) == 0
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    subject = report_subject.read(str(tmp_path / "found"), None, None, None, None)
    assert subject.title == "Sweep of rows.npz"
    assert len(subject.data.X_train) + len(subject.data.X_test) == len(DIGITS.X_train)


def test_where_no_rates_are_found_the_page_says_so(monkeypatch):
    model = SoftmaxRegression(epochs=1, max_steps=1, random_state=0)
    model.fit(DIGITS.X_train, DIGITS.y_train)
    refuse = "no good and too large rates from offset -3"

    def none(*_):
        raise ValueError(refuse)

    monkeypatch.setattr(report_figures.plots, "three_rates", none)
    subject = report_subject.Subject("a model", model, DIGITS, {}, {})
    part = report._drawn(report_figures._learning_rate(subject), None)
    assert f"Not drawn: {refuse}." in part
    assert "<img" not in part


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.npz"], "nothing.npz: no such model, folder or data set (digits, mnist, "),
        (["digits", "--data", "digits"], "digits determines the data: leave out --data"),
        (["."], "has no run.json"),
        ([".", "--data", "digits"], ". determines the data: leave out --data"),
        (["thin.npz"], "the model takes 10 features, but digits has 64: name its own"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_sentence(arguments, message, capsys):
    thin = SoftmaxRegression(epochs=1, random_state=0)
    thin.fit(DIGITS.X_train[:, 20:30], DIGITS.y_train).save("thin.npz")
    assert cli.main(["report", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("softstep: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_record_of_another_format_is_refused(tmp_path):
    (tmp_path / "run.json").write_text('{"format": "softstep run 9"}')
    with pytest.raises(ValueError, match=re.escape("another format than 'softstep run 2'")):
        run_record.read(tmp_path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A sweep and a landscape, to be damaged."""
    folder = tmp_path_factory.mktemp("runs")
    quick = ["--epochs", "2"]
    assert cli.main(["sweep", "digits", "--lr", "1,2", *quick, "--out", str(folder / "s")]) == 0
    land = ["landscape", "digits", "--steps", "5", *quick, "--out", str(folder / "l")]
    assert cli.main(land) == 0
    return folder


def cut(path):
    path.write_bytes(path.read_bytes()[:200])


def first_line(path):
    path.write_text(path.read_text().splitlines()[0] + "\n")


def without(field):
    def change(path):
        record = json.loads(path.read_text())
        del record[field]
        path.write_text(json.dumps(record))

    return change


def forge(folder):
    """The digests that the record has become those of what is there: they are not what tells."""
    with contextlib.suppress(ValueError, KeyError, AttributeError, RecursionError):
        about = json.loads((folder / "run.json").read_text())
        for name in about["parts"]:
            if (folder / name).exists():
                content = (folder / name).read_bytes()
                about["parts"][name] = hashlib.sha256(content).hexdigest()
        (folder / "run.json").write_text(json.dumps(about))


def of_other_rows(path):
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rows": "all"}))


def nothing(path):
    path.write_text("")


def with_values(**values):
    """Change arrays or settings of an .npz file; those that are None are taken away."""

    def change(path):
        with np.load(path) as file:
            arrays = dict(file)
        settings = json.loads(str(arrays.pop("softstep")))
        del settings["sha256"]  # written anew: it is not the digest that is to tell
        for name, value in values.items():
            (settings if name in settings else arrays)[name.replace("D1_", "D1.")] = value
        arrays = {name: array for name, array in arrays.items() if array is not None}
        checkpoint.save(path, arrays, settings)

    return change


def with_other_classes(path):
    parts = {f"D{k}.{part}": np.eye(9)[k : k + 1] for k in (1, 2) for part in "W"}
    parts |= {f"D{k}.b": np.zeros(9) for k in (1, 2)}
    with_values(**parts)(path)


def with_text(old, new):
    return lambda path: path.write_text(path.read_text().replace(old, new))


def with_a_huge_rank(path):
    head, first, *rest = path.read_text().splitlines()
    cells = first.split(",")
    cells[head.split(",").index("rank")] = str(10**24)
    path.write_text("\n".join([head, ",".join(cells), *rest]) + "\n")


def with_a_wide_cell(path):
    path.write_text(path.read_text() + "9" * 200_000)


def no_text(path):
    path.write_bytes(b"\xff\xfe" + path.read_bytes())


NO_SURFACE = "is not a surface, or damaged"
DAMAGES = [
    ("s", "run.json", nothing, "is damaged"),
    ("s", "run.json", lambda path: path.write_text("{"), "is damaged"),
    ("s", "run.json", without("seed"), "is damaged: its 'seed' is missing"),
    ("s", "results.csv", nothing, "is damaged: it holds no setting"),
    ("s", "results.csv", first_line, "is damaged: it holds no setting"),
    ("s", "results.csv", lambda path: path.write_text("a,b\n1,2\n"), "it has no column rank"),
    ("s", "results.csv", cut, "is damaged"),
    ("s", "loss_curves.csv", nothing, "is damaged: it is not a table of 4 columns"),
    ("s", "loss_curves.csv", lambda path: path.write_text("a,b,c,d\n"), "is damaged"),
    ("l", "surface.npz", cut, "is not a surface saved by softstep, or damaged"),
    ("s", "best.npz", cut, "is not a model saved by softstep, or damaged"),
    ("l", "line.npz", lambda path: path.unlink(), "No such file"),
    ("l", "surface.npz", with_values(loss_name="bogus"), NO_SURFACE),
    ("l", "surface.npz", with_values(explained_variance=None), NO_SURFACE),
    ("l", "surface.npz", with_values(explained_variance=[1, 2, 3]), NO_SURFACE),
    ("l", "surface.npz", with_values(path_loss=None), NO_SURFACE),
    ("l", "surface.npz", with_values(path=np.empty((0, 2))), NO_SURFACE),
    ("l", "surface.npz", with_values(loss=np.full((5, 5), "x")), NO_SURFACE),
    ("l", "surface.npz", with_values(loss=np.full((5, 5), 1j)), NO_SURFACE),
    ("l", "surface.npz", with_values(loss=np.full((5, 5), np.nan)), NO_SURFACE),
    ("l", "surface.npz", with_values(D1_W=np.zeros((64, 10)), D1_b=np.zeros(10)), NO_SURFACE),
    ("l", "surface.npz", with_values(x=np.arange(5.0)[::-1]), NO_SURFACE),
    ("l", "surface.npz", with_values(explained_variance=["0.5", "0.4"]), NO_SURFACE),
    ("l", "surface.npz", with_values(path=None, path_loss=None, path_steps=None), NO_SURFACE),
    ("l", "surface.npz", with_values(y=np.arange(3.0), loss=np.eye(3, 5)), NO_SURFACE),
    ("l", "surface.npz", with_other_classes, "belongs to another model than the folder's"),
    ("l", "line.npz", with_values(loss_name="bogus"), "is not a line, or damaged"),
    ("l", "line.npz", with_values(x=np.zeros(5)), "is not a line, or damaged"),
    ("s", "run.json", lambda path: path.write_text("[" * 100_000), "is damaged"),
    ("s", "run.json", with_text('"sweep"', "[]"), "is damaged: its command is none of"),
    ("s", "run.json", with_text('"sweep"', '"dance"'), "is damaged: its command is none of"),
    ("s", "results.csv", with_text("cross_entropy", "bogus"), "is damaged: param_loss must be"),
    ("s", "results.csv", with_a_wide_cell, "is damaged: field larger than"),
    ("s", "results.csv", no_text, "is damaged"),
    ("s", "results.csv", with_a_huge_rank, "is damaged: int too big"),
    ("s", "loss_curves.csv", no_text, "is damaged"),
    ("l", "run.json", without("rows"), "is damaged: its 'rows' is missing"),
    ("l", "run.json", of_other_rows, "is damaged: there are no 'all' rows"),
]


@pytest.mark.parametrize(("run", "name", "damage", "message"), DAMAGES)
def test_a_damaged_run_is_refused_and_the_file_named(
    runs, run, name, damage, message, tmp_path, capsys
):
    shutil.copytree(runs / run, tmp_path / "run")
    damage(tmp_path / "run" / name)
    forge(tmp_path / "run")
    assert cli.main(["report", "run"]) == 2
    error = capsys.readouterr().err
    assert name in error
    assert message in error
    assert error.count("\n") == 1


def test_a_page_that_cannot_be_written_is_refused_before_the_work(capsys, tmp_path):
    model = SoftmaxRegression(epochs=1, random_state=0).fit(DIGITS.X_train, DIGITS.y_train)
    model.save("kept.npz")
    assert cli.main(["report", "kept.npz", "--out", str(tmp_path)]) == 2
    said = capsys.readouterr()
    assert "is a folder: name a file in it" in said.err
    assert said.out == ""
    _, page, _ = report_of(capsys, "kept.npz", "--out", "new/folder/page.html")
    assert page.images


@pytest.mark.parametrize(
    ("stored", "shown"),
    [("f4", "f8"), ("f8", "f4"), ("f4", "f2"), ("f4", "i8"), ("f4", "?")],
)
def test_rows_of_another_dtype_than_the_model_learned_from_are_shown(stored, shown, capsys):
    X, y = DIGITS.X_train * 16 > 7 if shown == "?" else DIGITS.X_train * 16, DIGITS.y_train
    model = SoftmaxRegression(epochs=5, learning_rate=0.01, random_state=0)
    model.fit(X.astype(stored), y).save("kept.npz")
    np.savez("rows.npz", X=X.astype(shown), y=y)
    _, page, text = report_of(capsys, "kept.npz", "--data", "rows.npz")
    assert len(page.images) == 2 * (len(OF_A_MODEL) - 2 + len(ALWAYS))
    assert "Not drawn" not in text


def test_labels_that_the_model_does_not_know_are_left_out_of_its_pictures(capsys):
    known = DIGITS.y_train < 8
    model = SoftmaxRegression(epochs=20, random_state=0)
    model.fit(DIGITS.X_train[known], DIGITS.y_train[known]).save("eight.npz")
    _, _, text = report_of(capsys, "eight.npz")
    share = model.score(DIGITS.X_train, DIGITS.y_train)
    assert f"on the 1437 training rows: {share:.4f}" in text
    assert f"MSE of {known.sum()} training rows" in text
    unknown = (DIGITS.y_test >= 8).sum()
    assert f"{unknown} test rows have a label that the model does not know: left out." in text


def test_a_loss_that_is_flat_leaves_the_other_pictures(capsys):
    X = np.repeat([[1e4, -1e4], [-1e4, 1e4]], 20, axis=0)
    np.savez("apart.npz", X=X, y=np.repeat([0, 1], 20))
    with pytest.warns(UserWarning, match="standard deviations up to"):
        assert cli.main(["train", "apart.npz", "--epochs", "3", "--out", "sure.npz"]) == 0
    _, page, text = report_of(capsys, "sure.npz", "--data", "apart.npz")
    assert "Not drawn: the loss is 0 everywhere on this plane" in text
    assert page.images


def test_a_model_without_a_plane_has_the_other_pictures(capsys):
    model = SoftmaxRegression(epochs=1, random_state=0).fit(DIGITS.X_train, DIGITS.y_train)
    model.coef_[:], model.intercept_[:] = 0, 0
    model.save("zero.npz")
    _, page, text = report_of(capsys, "zero.npz")
    assert "Not drawn: the model's weights are all zero" in text.replace("&#x27;", "'")
    assert len(page.images) >= 2 * 4


def test_labels_of_two_dimensions_are_refused(capsys):
    np.savez("two.npz", X=DIGITS.X_test, y=np.stack([DIGITS.y_test] * 2, axis=1))
    for command in ("train", "explain", "sweep"):
        assert cli.main([command, "two.npz"]) == 2
        assert "y must be labels, one for each row, not of shape (360, 2)" in (
            capsys.readouterr().err
        )


def test_a_name_of_data_is_that_of_the_data_also_beside_a_folder_of_that_name(capsys, tmp_path):
    (tmp_path / "digits").mkdir()
    assert cli.main(["report", "digits/"]) == 2
    assert "digits has no run.json" in capsys.readouterr().err
    assert cli.main(["report", "digits/", "--seed", "1"]) == 2
    assert "determines the seed: leave out --seed" in capsys.readouterr().err
    path, page, _ = report_of(capsys, "digits")
    assert (path, page.titles[0]) == ("runs/digits-recipe-report.html", "The recipe on digits")


def test_a_page_does_not_overwrite_its_model_and_folders_are_tried_first(capsys, tmp_path):
    model = SoftmaxRegression(epochs=1, random_state=0).fit(DIGITS.X_train, DIGITS.y_train)
    model.save("kept.npz")
    assert cli.main(["report", "kept.npz", "--out", "./kept.npz"]) == 2
    assert "exists and is not an .html file: name another one" in capsys.readouterr().err
    SoftmaxRegression.load("kept.npz")
    (tmp_path / "file").write_text("")
    for command in (["report", "digits"], SWEEP):
        assert cli.main([*command, "--figures", "file"]) == 2
        said = capsys.readouterr()
        assert "file is a file, not a folder" in said.err
        assert "epoch" not in said.out
    assert not (tmp_path / "runs").exists()  # what was made for nothing is gone
    assert cli.main(["landscape", "digits", "--out", "file"]) == 2
    said = capsys.readouterr()
    assert "file is a file, not a folder" in said.err
    assert "epoch" not in said.out


def test_names_of_files_that_are_no_unicode_are_no_obstacle(capsys, tmp_path):
    rows = os.fsdecode(b"rows\xff.npz")
    np.savez(rows, X=DIGITS.X_train, y=DIGITS.y_train)
    model = SoftmaxRegression(epochs=1, random_state=0).fit(DIGITS.X_train, DIGITS.y_train)
    model.save("kept.npz")
    assert cli.main(["report", "kept.npz", "--data", rows]) == 0
    assert b"rows\xff.npz" in (tmp_path / "kept-report.html").read_bytes()


def test_progress_is_told_figure_by_figure(capsys):
    model = SoftmaxRegression(epochs=1, random_state=0).fit(DIGITS.X_train, DIGITS.y_train)
    model.save("kept.npz")
    assert cli.main(["report", "kept.npz"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "drawing: Weights of each class" in said
    assert len(said) == 1 + len(OF_A_MODEL) + len(ALWAYS) + 1


def test_a_test_row_of_a_class_without_training_rows_is_not_the_one_shown(monkeypatch):
    monkeypatch.setattr(report_figures, "SURE", 0)  # no row is worth more than another
    labels = np.append(DIGITS.y_train[:100], np.arange(10, 25))
    np.savez("rare.npz", X=DIGITS.X_train[:115], y=labels)
    assert cli.main(["train", "rare.npz", "--epochs", "1", "--lr", "1e-6", "--out", "m.npz"]) == 0
    model = SoftmaxRegression.load("m.npz")
    data = load_rows("rare.npz", None, None, 0)
    data.y_test[0] = 99  # a class of its own is the first
    subject = report_subject.Subject("m", model, data, {}, {})
    picture = report_figures._forward(subject, (8, 8))
    assert f"Test row {int(np.isin(data.y_test, model.classes_).argmax())}:" in picture.caption
    assert style.png(picture.draw("light")).startswith(b"\x89PNG")

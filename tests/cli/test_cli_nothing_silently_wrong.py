"""Promise: a command reads what it was given as it was meant, and no work it has done is lost."""

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command import softstep
from only import DEV_FULL, POSIX

from softstep import SoftmaxRegression
from softstep.model import datasets

RNG = np.random.default_rng(0)
Y = np.arange(60) % 2
X = RNG.standard_normal((60, 3)) + 3 * np.eye(3)[Y]
NAMES = ["a", "b", "c"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SOFTSTEP_BACKEND", raising=False)


def write(name, columns, label_at=None):
    """A table with these columns, and the label where it is wanted."""
    rows = [[f"{row[NAMES.index(n)]}" for n in columns] for row in X]
    header = list(columns)
    if label_at is not None:
        header.insert(label_at, "kind")
        for row, label in zip(rows, Y, strict=True):
            row.insert(label_at, ("cat", "dog")[label])
    Path(name).write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n")


@pytest.fixture
def trained(capsys):
    write("pets.csv", NAMES, 3)
    code, out, _ = softstep(capsys, "train", "pets.csv", "--out", "pets.npz", "--epochs", 30)
    assert code == 0
    assert (
        "pets.csv: 60 rows of 3 features; header in line 1; label in column 4, 'kind', the last; "
        "2 classes: cat, dog\n"
    ) in out
    return SoftmaxRegression.load("pets.npz")


def test_predict_puts_columns_in_the_order_of_the_model(capsys, trained):
    assert trained.feature_names_in_.tolist() == NAMES
    _, expected, _ = softstep(capsys, "predict", "pets.npz", "pets.csv")
    for columns, label_at in ((["c", "a", "b"], 1), (["b", "c", "a"], None), (["c", "b", "a"], 0)):
        write("other.csv", columns, label_at)
        code, out, err = softstep(capsys, "predict", "pets.npz", "other.csv")
        assert (code, out) == (0, expected)
        assert ("accuracy" in err) == (label_at is not None)


def test_other_commands_know_the_names_too(capsys, trained):
    for command in (
        ("explain", "pets.csv", "--model", "pets.npz"),
        ("sweep", "pets.csv", "--lr", "0.5", "--epochs", 1, "--cv", 2),
    ):
        assert softstep(capsys, *command)[0] == 0  # a warning would be an error


def test_explain_compares_the_names_of_columns(capsys, trained):
    write("other.csv", ["c", "a", "b"], 3)
    code, _, err = softstep(capsys, "explain", "other.csv", "--model", "pets.npz")
    assert code == 2
    assert "must be in the same order as they were in fit" in err


def test_predict_refuses_labels_that_are_none_of_the_classes(capsys, trained):
    Path("other.csv").write_text("Id,a,b,c\n" + "".join(f"{i},1,2,3\n" for i in range(5, 9)))
    code, out, err = softstep(capsys, "predict", "pets.npz", "other.csv")
    assert (code, out) == (2, "")
    assert "its labels, such as 5, are none of the model's classes (cat, dog …): say with" in err
    rows = [f"{y},{a},{b},{c}\n" for y, (a, b, c) in zip(Y, X, strict=True)]
    Path("plain.csv").write_text("".join(rows))
    assert softstep(capsys, "train", "plain.csv", "--label", 0, "--out", "p.npz")[0] == 0
    code, _, err = softstep(capsys, "predict", "p.npz", "plain.csv")
    assert code == 2
    assert "--label" in err
    code, out, err = softstep(capsys, "predict", "p.npz", "plain.csv", "--label", 0)
    assert code == 0
    assert len(out.splitlines()) == len(Y)


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_predict_asks_for_the_label_column_that_the_model_was_trained_with(ending, capsys):
    """The last column holds numbers that are classes too."""
    rows = [f"{y},{i % 5},{y * 2 + i % 2},{i % 2}" for i, y in enumerate(Y)]
    content = ("\n".join(rows) + "\n").encode()
    Path(f"plain.{ending}").write_bytes(gzip.compress(content) if "gz" in ending else content)
    Path("alone.csv").write_text("".join(row[2:] + "\n" for row in rows))
    np.savez("arrays.npz", X=np.ones((4, 3)), y=Y[:4])
    train = ("train", f"plain.{ending}", "--label", "0", "--epochs", 60, "--out", "m.npz")
    assert softstep(capsys, *train)[0] == 0
    predict = ("predict", "m.npz", f"plain.{ending}")
    code, out, err = softstep(capsys, *predict)
    assert (code, out) == (2, "")
    assert "the model was trained with --label 0: say here too which column" in err
    code, out, err = softstep(capsys, *predict, "--label", 0)
    assert (code, "accuracy 1.0000" in err) == (0, True)
    assert softstep(capsys, "predict", "m.npz", "alone.csv")[:2] == (0, out)
    assert softstep(capsys, "predict", "m.npz", "arrays.npz")[0] == 0
    for last in ("-1", "3"):
        train = ("train", f"plain.{ending}", "--label", last, "--epochs", 1, "--out", "m.npz")
        assert softstep(capsys, *train)[0] == 0
        assert softstep(capsys, *predict)[0] == 0


def test_predict_names_a_column_that_is_missing_or_too_many(capsys, trained):
    write("other.csv", ["a", "b"], 0)
    code, out, err = softstep(capsys, "predict", "pets.npz", "other.csv")
    assert (code, out) == (2, "")
    assert "line 1 has no column 'c', which the model learned from" in err
    Path("other.csv").write_text("a,b,c,d,kind\n1,2,3,4,cat\n")
    code, _, err = softstep(capsys, "predict", "pets.npz", "other.csv", "--label", "kind")
    assert code == 2
    assert "column 4, 'd', is no feature of the model" in err


def test_the_label_column_is_the_one_that_is_named(capsys):
    write("pets.csv", NAMES, 0)
    for label in ("kind", "0"):
        code, out, _ = softstep(
            capsys, "train", "pets.csv", "--label", label, "--epochs", 30, "--out", "m.npz"
        )
        assert code == 0
        assert "label in column 1, 'kind'; 2 classes: cat, dog" in out
        assert SoftmaxRegression.load("m.npz").classes_.tolist() == ["cat", "dog"]
    code, _, err = softstep(capsys, "train", "digits", "--label", "0")
    assert code == 2
    assert "no label column" in err


def test_a_sweep_remembers_its_label_column_for_the_report(capsys):
    pytest.importorskip("plotly")
    write("pets.csv", NAMES, 1)
    command = ("sweep", "pets.csv", "--label", "kind", "--lr", "0.5,1", "--epochs", 2)
    assert softstep(capsys, *command, "--out", "run")[0] == 0
    assert softstep(capsys, "report", "run")[0] == 0


# Before the work, not after.


@pytest.fixture
def unread(monkeypatch):
    """No data may be read, and nothing trained."""

    def fail(*args, **kwargs):
        raise AssertionError("the data were read")

    monkeypatch.setattr(datasets, "load", fail)


BAD = {
    "a rate of zero": ("sweep", "digits", "--lr", "0,1"),
    "a negative l2": ("sweep", "digits", "--l2", "-1"),
    "too much momentum": ("sweep", "digits", "--momentum", "1"),
    "losses that do not compare": ("sweep", "digits", "--refit", "loss"),
    "a scale of nothing": ("train", "digits", "--feature-scale", "0"),
    "an infinite scale": ("sweep", "digits", "--feature-scale", "inf"),
    "one fold": ("sweep", "digits", "--cv", "1"),
    "no epochs": ("sweep", "digits", "--epochs", "0"),
    "a rate of zero in train": ("train", "digits", "--lr", "0"),
    "no steps": ("train", "digits", "--max-steps", "0"),
    "no batch": ("landscape", "digits", "--batch-size", "0"),
    "a place that cannot be written": ("train", "digits", "--out", "taken/m.npz"),
    "a name that is too long": ("train", "digits", "--out", "m" * 240),
    "a folder that cannot be made": ("sweep", "digits", "--out", "taken/run"),
    "no span": ("landscape", "digits", "--span", "0"),
    "one offset": ("landscape", "digits", "--steps", "1"),
    "checkpoints that go back in time": ("train", "digits", "--checkpoint-every", "-1"),
    "checkpoints in a file": ("train", "digits", "--checkpoint", "taken"),
    "checkpoints to resume in a file": ("sweep", "digits", "--checkpoint", "taken", "--resume"),
    "nothing to resume": ("sweep", "digits", "--resume"),
    "a row before the first": ("explain", "digits", "--index", "-1"),
    "a model that is not there": ("explain", "digits", "--model", "absent.npz"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.usefixtures("unread")
def test_what_is_wrong_without_the_data_is_said_before_they_are_read(case, capsys):
    Path("taken").write_text("a file")
    code, _, err = softstep(capsys, *BAD[case])
    assert code == 2
    assert err.startswith("softstep: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("link", [False, True])
def test_a_file_that_is_read_is_not_overwritten(link, capsys):
    np.savez("own.npz", X=X, y=Y)
    np.save("X.npy", X)
    np.save("y.npy", Y)
    Path("run").mkdir()
    Path("shards").mkdir()
    np.save("shards/part-0.npy", X)
    Path("run/results.csv").write_text("1,2,3\n4,5,6\n")
    before = {path: path.read_bytes() for path in Path().glob("**/*.*")}
    out = "own.npz"
    if link:
        Path("linked.npz").symlink_to("own.npz")
        out = "linked.npz"
    for command in (
        ("train", "own.npz", "--out", out),
        ("train", "X.npy", "--labels", "y.npy", "--out", "y.npy"),
        ("train", "X.npy", "--labels", "y.npy", "--out", "./X.npy"),
        ("sweep", "run/results.csv", "--out", "run"),
        ("train", "shards", "--labels", "y.npy", "--out", "shards/part-0.npy"),
        ("train", "digits", "--val", "own.npz", "--out", out),
    ):
        code, _, err = softstep(capsys, *command)
        assert code == 2
        assert "is what was given to read: write somewhere else" in err
    assert {path: path.read_bytes() for path in before} == before


def test_a_model_takes_the_place_of_a_model_alone(capsys):
    np.savez("own.npz", X=X, y=Y)
    Path("thesis.txt").write_text("years of work")
    command = ("train", "own.npz", "--epochs", 1, "--out")
    for other in ("thesis.txt", "X.npz"):
        np.savez("X.npz", X=X)
        before = Path(other).read_bytes()
        code, _, err = softstep(capsys, *command, other)
        assert code == 2
        assert f"{other} exists and is no model that softstep saved" in err
        assert Path(other).read_bytes() == before
    for _ in range(2):
        assert softstep(capsys, *command, "m.npz")[0] == 0


@pytest.mark.parametrize(
    ("command", "others"),
    [
        (("sweep", "--lr", "1", "--loss", "mse"), ("results.csv", "report.html", "best.npz")),
        (("landscape", "--steps", "2"), ("run.json", "surface.npz", "surface.png", "model.npz")),
    ],
)
def test_a_run_takes_the_place_of_a_run_alone(command, others, capsys):
    np.savez("own.npz", X=X, y=Y)
    name, *options = command
    command = (name, "own.npz", *options, "--epochs", 2, "--out")
    for other in others:
        path = Path(f"of-{other}") / other
        path.parent.mkdir()
        path.write_text("years of work")
        code, _, err = softstep(capsys, *command, path.parent)
        assert code == 2
        assert f"{path} exists, and no model of a run of softstep is beside it" in err
        assert [*path.parent.iterdir()] == [path]
        assert path.read_text() == "years of work"
    for broken_off in (False, True):
        assert softstep(capsys, *command, "run")[0] == 0
        if broken_off:
            (Path("run") / "run.json").unlink()
    assert softstep(capsys, *command, "run")[0] == 0


def test_a_place_that_fails_after_the_training_does_not_lose_the_model(capsys, monkeypatch):
    np.savez("own.npz", X=X, y=Y)
    save = SoftmaxRegression.save

    def full(model, path):
        if Path(path).name == path.name and Path(path).parent == Path():
            raise OSError(28, "No space left on device", str(path))
        save(model, path)

    monkeypatch.setattr(SoftmaxRegression, "save", full)
    code, _, err = softstep(capsys, "train", "own.npz", "--epochs", 1, "--out", "m.npz")
    assert code == 2
    assert "m.npz: No space left on device; it was saved to " in err
    spare = err.partition("saved to ")[2].partition(" instead")[0]
    assert SoftmaxRegression.load(spare).coef_.any()


def test_a_class_that_was_held_out_whole_is_said(capsys):
    labels = np.arange(50) % 2
    labels[-1] = 7
    for seed in range(20):  # some seed holds the only row of class 7 out
        np.savez("rare.npz", X=X[:50], y=labels)
        code, out, _ = softstep(capsys, "train", "rare.npz", "--epochs", 1, "--seed", seed)
        assert code == 0
        known = 7 in SoftmaxRegression.load("runs/rare.npz.npz").classes_
        said = "the model cannot learn 1 of the classes, whose rows are all test rows: 7" in out
        assert known != said
        if said:
            return
    raise AssertionError("no seed held it out")


def test_columns_that_are_not_scaled_are_one_line(capsys):
    np.savez("raw.npz", X=100 * X, y=Y)
    with pytest.warns(UserWarning, match="standard deviations up to"):
        softstep(capsys, "train", "raw.npz", "--epochs", 1)
    command = [sys.executable, "-m", "softstep", "train", "raw.npz", "--epochs", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    (line,) = done.stderr.splitlines()
    assert line.startswith("softstep: the columns of X have standard deviations up to")


@pytest.mark.parametrize(
    "command",
    [
        ("train", "--lr", "1", "--epochs", "60", "--out", "m.npz"),
        ("sweep", "--lr", "1", "--epochs", "60", "--loss", "mse", "--out", "."),
    ],
)
def test_pixels_of_a_table_are_scaled_as_asked(command, capsys):
    """As bytes of an .npz are by themselves: text has no types."""
    pixels = np.clip(40 * X + 60, 0, 255).astype(np.uint8)
    lines = (f"{label},{','.join(map(str, row))}" for row, label in zip(pixels, Y, strict=True))
    Path("pixels.csv").write_text("\n".join(["label,a,b,c", *lines]) + "\n")
    np.savez("pixels.npz", X=pixels, y=Y)
    found = []
    for given in (("pixels.csv", "--feature-scale", "1/255"), ("pixels.npz",)):
        code, _, err = softstep(capsys, command[0], *given, *command[1:])
        assert (code, err) == (0, "")  # a warning would be an error
        found.append(SoftmaxRegression.load("m.npz" if command[0] == "train" else "best.npz"))
    as_text, as_bytes = found
    assert as_text.feature_scale == as_text.feature_scale_ == as_bytes.feature_scale_ == 1 / 255
    np.testing.assert_allclose(as_text.coef_, as_bytes.coef_, rtol=1e-4, atol=1e-6)
    assert np.abs(as_bytes.coef_).max() > 0.1


@pytest.mark.parametrize("factor", ["1/0", "many", "1/2/3", ""])
def test_a_factor_that_is_none_is_refused(factor, capsys):
    with pytest.raises(SystemExit):
        softstep(capsys, "train", "digits", "--feature-scale", factor)
    assert "give a number, or a fraction such as 1/255" in capsys.readouterr().err


# Standard streams that are closed, full or left.


@POSIX
@pytest.mark.parametrize(
    ("command", "streams", "code"),
    [
        ("train", "2>&-", 0),
        ("train", "0<&- 1>&- 2>&-", 0),
        pytest.param("train", "1>/dev/full", 2, marks=DEV_FULL),
        pytest.param("train", "2>/dev/full", 0, marks=DEV_FULL),
        ("sweep", "1>&- 2>&-", 0),
    ],
)
def test_no_stream_loses_the_model(command, streams, code):
    lr = ("--lr", "0.5") if command == "train" else ("--lr", "0.5,1")
    out = "m.npz" if command == "train" else "run"
    arguments = [sys.executable, "-m", "softstep", command, "digits", *lr, "--epochs", "2"]
    script = f'"$@" {streams}'
    done = subprocess.run(
        ["bash", "-c", script, "bash", *arguments, "--out", out], check=False, capture_output=True
    )
    assert done.returncode == code
    SoftmaxRegression.load("m.npz" if command == "train" else "run/best.npz")


@POSIX
@pytest.mark.parametrize("streams", ["2>&-", "2>/dev/full"])
@pytest.mark.parametrize("command", [("predict", "m.npz", "digits"), ("explain", "digits")])
def test_notes_that_cannot_be_said_cost_no_result(command, streams):
    data = datasets.load_digits()
    SoftmaxRegression(epochs=1, random_state=0).fit(data.X_train, data.y_train).save("m.npz")
    more = ["--model", "m.npz"] if command[0] == "explain" else []
    whole = subprocess.run(
        [sys.executable, "-m", "softstep", *command, *more], check=True, capture_output=True
    )
    script = ["bash", "-c", f'"$@" {streams}', "bash", sys.executable, "-m", "softstep"]
    found = subprocess.run([*script, *command, *more], check=True, capture_output=True)
    assert found.stdout == whole.stdout != b""


@POSIX
def test_a_reader_that_leaves_does_not_lose_the_model():
    arguments = [sys.executable, "-m", "softstep", "train", "digits", "--out", "m.npz"]
    script = 'set -o pipefail; "$@" | head -c 1 >/dev/null'
    done = subprocess.run(["bash", "-c", script, "bash", *arguments], check=False)
    assert done.returncode == 141
    SoftmaxRegression.load("m.npz")

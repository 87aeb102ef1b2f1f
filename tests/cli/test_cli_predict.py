"""Promise: predict writes labels and probabilities in three formats, and nothing else to stdout."""

import csv
import io
import json
import sys

import numpy as np
import pytest
from command import softstep

from softstep import SoftmaxRegression
from softstep.model.datasets import load_digits

DIGITS = load_digits()
X = DIGITS.X_test[:20]
WORDS = np.array(["even, or so", "odd"])
READ = "X.npy: 20 rows of 64 features, float32; no labels\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOFTSTEP_BACKEND", "numpy")
    np.save("X.npy", X)
    np.save("y.npy", WORDS[DIGITS.y_test[:20] % 2])
    return tmp_path


@pytest.fixture
def model():
    model = SoftmaxRegression(epochs=2, random_state=0)
    model.fit(DIGITS.X_train, WORDS[DIGITS.y_train % 2]).save("m.npz")
    return model


def assert_is_table(rows, model):
    """Rows as dicts, of values that are text or numbers."""
    P, names = model.predict_proba(X), [f"p_{word}" for word in WORDS]
    assert [row["label"] for row in rows] == model.predict(X).tolist()
    assert list(rows[0]) == ["label", *names]
    found = np.array([[float(row[name]) for name in names] for row in rows], P.dtype)
    assert (found == P).all()


def test_csv_on_standard_output(capsys, model):
    code, out, err = softstep(capsys, "predict", "m.npz", "X.npy", "--proba", "--labels", "y.npy")
    assert code == 0
    assert_is_table(list(csv.DictReader(io.StringIO(out))), model)
    read = READ.replace("no labels", "labels from y.npy, 2 classes: even, or so, odd")
    assert err == f"{read}accuracy {model.score(X, np.load('y.npy')):.4f}\n"


def test_json_on_standard_output(capsys, model):
    code, out, err = softstep(capsys, "predict", "m.npz", "X.npy", "--proba", "--format", "json")
    assert (code, err) == (0, READ)
    assert_is_table(json.loads(out), model)


def test_labels_alone(capsys, model):
    expected = model.predict(X).tolist()
    _, out, _ = softstep(capsys, "predict", "m.npz", "X.npy")
    assert out.splitlines() == expected
    _, out, _ = softstep(capsys, "predict", "m.npz", "X.npy", "--format", "csv")
    assert [row["label"] for row in csv.DictReader(io.StringIO(out))] == expected
    _, out, _ = softstep(capsys, "predict", "m.npz", "X.npy", "--format", "json")
    assert json.loads(out) == [{"label": label} for label in expected]


@pytest.mark.parametrize("name", ["p.csv", "p.json", "p.parquet", "p.txt"])
def test_the_ending_of_the_file_says_its_format(name, capsys, model, folder):
    code, out, err = softstep(capsys, "predict", "m.npz", "X.npy", "--proba", "--out", name)
    assert (code, out, err) == (0, "", f"{READ}20 rows written to {name}\n")
    if name == "p.parquet":
        rows = pytest.importorskip("pyarrow.parquet").read_table(folder / name).to_pylist()
    elif name == "p.json":
        rows = json.loads((folder / name).read_text())
    else:
        rows = list(csv.DictReader(io.StringIO((folder / name).read_text())))
    assert_is_table(rows, model)


def test_whole_number_labels_stay_numbers(capsys):
    SoftmaxRegression(epochs=1, random_state=0).fit(DIGITS.X_train, DIGITS.y_train).save("m.npz")
    _, out, err = softstep(capsys, "predict", "m.npz", "digits", "--proba", "--format", "json")
    rows = json.loads(out)
    assert len(rows) == len(DIGITS.X_test)
    assert {type(row["label"]) for row in rows} == {int}
    assert list(rows[0])[1:] == [f"p_{i}" for i in range(10)]
    assert err.startswith("digits: its test rows\naccuracy 0.")


@pytest.mark.parametrize("name", ["=1+2", "+a", "-a", "@a", "\ta", "\ra"])
def test_no_label_in_csv_is_a_formula_to_a_spreadsheet(name, capsys, folder):
    names = np.array([name, "-5"])
    fitted = SoftmaxRegression(epochs=2, random_state=0)
    fitted.fit(DIGITS.X_train, names[DIGITS.y_train % 2]).save("m.npz")
    softstep(capsys, "predict", "m.npz", "X.npy", "--out", "p.csv")
    with (folder / "p.csv").open(newline="") as file:
        found = [row["label"] for row in csv.DictReader(file)]
    assert found == [f"'{label}" if label == name else "-5" for label in fitted.predict(X)]
    assert set(found) == {f"'{name}", "-5"}
    softstep(capsys, "predict", "m.npz", "X.npy", "--out", "p.json")
    assert {row["label"] for row in json.loads((folder / "p.json").read_text())} == set(names)


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_a_pipe_gets_what_a_file_gets_whatever_is_in_the_labels(kind, capsys, folder):
    names = np.array(["a\x1b[2J", "b\r\x9bc"])
    fitted = SoftmaxRegression(epochs=2, random_state=0)
    fitted.fit(DIGITS.X_train, names[DIGITS.y_train % 2]).save("m.npz")
    command = ("predict", "m.npz", "X.npy", "--proba", "--format", kind)
    assert softstep(capsys, *command, "--out", f"p.{kind}")[0] == 0
    code, out, _ = softstep(capsys, *command)
    assert code == 0
    assert out.encode() == (folder / f"p.{kind}").read_bytes()


def test_on_a_terminal_a_table_has_no_control_characters(capsys, folder, monkeypatch):
    names = np.array(["a\x1b[2J", "b\x9bc"])
    fitted = SoftmaxRegression(epochs=2, random_state=0)
    fitted.fit(DIGITS.X_train, names[DIGITS.y_train % 2]).save("m.npz")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    code, out, _ = softstep(capsys, "predict", "m.npz", "X.npy", "--format", "csv")
    assert code == 0
    assert r"a\x1b[2J" in out
    assert not {"\x1b", "\x9b"} & set(out)


def test_rows_through_standard_input(capsys, model, folder, monkeypatch):
    content = (folder / "X.npy").read_bytes()
    monkeypatch.setattr(sys, "stdin", type("S", (), {"buffer": io.BytesIO(content)}))
    code, out, _ = softstep(capsys, "predict", "m.npz", "-")
    assert code == 0
    assert out.splitlines() == model.predict(X).tolist()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["X.npy", "--format", "parquet"], "--out FILE"),
        (["X.npy", "--out", "X.npy"], "what was given to read"),
        (["X.npy", "--out", "m.npz"], "what was given to read"),
        (["X.npy", "--out", "p.xlsx"], "p.xlsx ends in .xlsx, but what is written is .csv, .json"),
        (["X.npy", "--out", "p.csv.gz"], "or say --format"),
        (["absent.npy", "--out", "p.csv"], "no such file"),
        (["digits", "--label", "0"], "digits has its own labels"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments, words, capsys, model, folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    code, out, err = softstep(capsys, "predict", "m.npz", *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_version_names_the_backends(capsys):
    with pytest.raises(SystemExit) as ended:
        softstep(capsys, "--version")
    assert ended.value.code == 0
    first, *backends = capsys.readouterr().out.splitlines()
    assert first.startswith("softstep ")
    assert [line.split(":")[0].strip() for line in backends] == ["numpy", "numba", "cupy"]


# ---- train --val


@pytest.fixture
def rows(folder):
    np.savez("train.npz", X=DIGITS.X_train, y=DIGITS.y_train)
    np.savez("val.npz", X=X, y=DIGITS.y_test[:20])
    return ("train", "train.npz", "--epochs", "1", "--out", "m.npz", "--val")


def test_rows_to_judge_by(capsys, rows):
    code, out, _ = softstep(capsys, *rows, "val.npz")
    score = SoftmaxRegression.load("m.npz").score(X, DIGITS.y_test[:20])
    assert code == 0
    assert f"test accuracy {score:.4f}\n" in out
    assert "held out" not in out
    assert SoftmaxRegression.load("m.npz").coef_.any()


def test_all_other_rows_are_learned_from(capsys, rows):
    softstep(capsys, *rows, "val.npz")
    found = SoftmaxRegression.load("m.npz")
    alone = SoftmaxRegression(epochs=1, random_state=0).fit(DIGITS.X_train, DIGITS.y_train)
    assert (found.coef_ == alone.coef_).all()


def test_rows_to_judge_by_with_a_file_of_labels(capsys, rows):
    np.save("y.npy", DIGITS.y_test[:20])
    code, out, _ = softstep(capsys, *rows, "X.npy", "--val-labels", "y.npy")
    assert code == 0
    assert "test accuracy " in out


def test_columns_of_rows_to_judge_by_are_found_by_name(capsys, folder):
    (folder / "train.csv").write_text("a,b,kind\n" + "1,0,x\n0,1,y\n" * 20)
    (folder / "val.csv").write_text("kind,b,a\n" + "x,0,1\ny,1,0\n" * 3)
    code, out, _ = softstep(
        capsys, "train", "train.csv", "--val", "val.csv", "--label", "kind", "--out", "m.npz"
    )
    assert code == 0
    assert "test accuracy 1.0000\n" in out


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["X.npy"], "needs labels"),
        (["narrow.npz"], "has 63 features, but train.npz has 64"),
        (["absent.npz"], "no such file"),
    ],
)
def test_rows_that_cannot_be_judged_by_are_refused(given, words, capsys, rows, folder):
    np.savez("narrow.npz", X=X[:, 1:], y=DIGITS.y_test[:20])
    code, _, err = softstep(capsys, *rows, *given)
    assert code == 2
    assert words in err
    assert not (folder / "m.npz").exists()


def test_labels_of_no_rows_are_refused(capsys, rows):
    code, _, err = softstep(capsys, *rows[:-1], "--val-labels", "y.npy")
    assert code == 2
    assert "--val-labels needs --val" in err

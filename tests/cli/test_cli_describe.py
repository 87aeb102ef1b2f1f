"""Promise: what was saved tells how it came to be, and a folder of two runs is refused."""

import json
import os
import platform
import shutil

import numpy as np
import pytest
from command import softstep
from only import POSIX

from softstep import SoftmaxRegression, SoftmaxSweep, __version__
from softstep.kernels import processor
from softstep.model import checkpoint, landscape, writing
from softstep.model.archive import DataError
from softstep.model.datasets import load_digits
from softstep.model.resume import store
from softstep.runs import record, results

pytest.importorskip("matplotlib")
DIGITS = load_digits()
X, Y = DIGITS.X_train, DIGITS.y_train
TRAIN = ("train", "--epochs", 2, "--seed", 4, "--out", "model.npz")
KEEPING = ("--checkpoint", "kept", "--checkpoint-every", 0)
COMMANDS = {
    "swept": ("sweep", "--lr", "0.1,1", "--loss", "mse", "--epochs", 2, "--seed", 4),
    "landscape": ("landscape", "--epochs", 2, "--steps", 3, "--seed", 4),
}
FIELDS = ("versions", "processor", "backend", "threads", "seed", "data", "command", "seconds")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with what each command saves."""
    folder = tmp_path_factory.mktemp("saved")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        from softstep.cli import main

        assert main([*map(str, TRAIN), *map(str, KEEPING)]) == 0
        for name, command in COMMANDS.items():
            assert main([*map(str, command), "--out", name]) == 0
    return folder


@pytest.fixture
def here(saved, tmp_path, monkeypatch):
    """A copy of it, in which the test runs."""
    shutil.copytree(saved, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def described(capsys, path):
    """The titles, and the last value of each name."""
    code, out, err = softstep(capsys, "describe", path)
    assert (code, err) == (0, "")
    lines = out.splitlines()
    titles = [line for line in lines if not line.startswith("  ")]
    fields = [line.split(maxsplit=1) for line in lines if line.startswith("  ")]
    return titles, dict(fields)


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("model.npz", (*TRAIN, *KEEPING)),
        ("swept", (*COMMANDS["swept"], "--out", "swept")),
        ("swept/best.npz", (*COMMANDS["swept"], "--out", "swept")),
        ("landscape", (*COMMANDS["landscape"], "--out", "landscape")),
        ("landscape/model.npz", (*COMMANDS["landscape"], "--out", "landscape")),
        ("landscape/surface.npz", (*COMMANDS["landscape"], "--out", "landscape")),
        ("landscape/line.npz", (*COMMANDS["landscape"], "--out", "landscape")),
    ],
)
def test_all_that_was_saved_tells_its_origin(path, command, here, capsys):
    (title,), fields = described(capsys, path)
    assert title.startswith(f"{path}: ")
    assert fields["origin.versions.softstep"] == __version__
    assert fields["origin.versions.python"] == platform.python_version()
    assert fields["origin.versions.numpy"] == np.__version__
    assert "origin.versions.numba" in fields
    assert fields["origin.processor.name"] == processor.name()
    assert fields["origin.processor.features"] == ", ".join(processor.features())
    assert fields["origin.backend"] == "numba"
    assert int(fields["origin.threads"]) >= 1
    drawn = path.startswith("landscape/") and path != "landscape/model.npz"  # pca: nothing is
    assert fields["origin.seed"] == ("none" if drawn else "4")
    assert len(fields["origin.data.X.rows"]) == len(fields["origin.data.y.values"]) == 64
    assert fields["origin.command"] == " ".join(["softstep", *map(str, command)])
    assert 0 < float(fields["origin.seconds"]) < 1000


def test_the_same_rows_have_the_same_fingerprint_in_a_model_and_a_checkpoint(here, capsys):
    titles, kept = described(capsys, "kept")
    assert [title.partition(":")[0] for title in titles] == [
        f"kept/{file.name}" for file in sorted((here / "kept").iterdir())
    ]
    assert kept["estimator"] == "SoftmaxRegression"
    assert (kept["epoch"], kept["learning_rate"], kept["seed"]) == ("1", "2.0", "4")
    _, model = described(capsys, "model.npz")
    for name in ("X.shape", "X.dtype", "X.rows", "y.values"):
        assert kept[name] == model[f"origin.data.{name}"]


def test_a_model_has_its_origin_as_an_attribute_and_keeps_it(tmp_path):
    model = SoftmaxRegression(epochs=1, random_state=3, n_threads=1).fit(X, Y)
    assert tuple(model.origin_) == FIELDS
    assert (model.origin_["seed"], model.origin_["threads"]) == (3, 1)
    assert model.origin_["command"] is None  # another program's may hold a secret
    model.save(tmp_path / "m.npz")
    again = SoftmaxRegression.load(tmp_path / "m.npz")
    assert again.origin_ == model.origin_
    again.save(tmp_path / "n.npz")
    assert SoftmaxRegression.load(tmp_path / "n.npz").origin_ == model.origin_
    seconds = again.origin_["seconds"]
    again.partial_fit(X, Y)
    assert again.origin_["data"] is None
    assert again.origin_["seconds"] >= seconds
    sweep = SoftmaxSweep({"learning_rate": [0.1, 1.0]}, cv=2, epochs=1).fit(X, Y)
    assert tuple(sweep.origin_) == FIELDS
    assert sweep.best_estimator_.origin_ == sweep.estimator(0, 1).origin_ == sweep.origin_
    random = landscape.loss_surface(model, X, Y, steps=3, random_state=7)
    assert random.origin["seed"] == 7
    assert landscape.loss_line(model, X, Y, random.D1, steps=3).origin["seed"] is None


def test_a_resumed_run_took_the_time_of_all_its_parts(tmp_path):
    SoftmaxRegression(epochs=3, random_state=0).fit(X, Y, checkpoint=tmp_path, checkpoint_every=0)
    newest = sorted(tmp_path.iterdir())[-1]
    arrays, about = checkpoint.load(newest, store.FORMAT)
    assert 0 < arrays["seconds"] < 100
    arrays["seconds"] = np.array(1e6)
    checkpoint.save(newest, arrays, about, store.FORMAT)
    model = SoftmaxRegression(epochs=3, random_state=0).fit(X, Y, checkpoint=tmp_path, resume=True)
    assert 1e6 < model.origin_["seconds"] < 1e6 + 100


def test_a_model_without_an_origin_is_loaded_and_described(here, capsys):
    arrays, settings = checkpoint.load("model.npz")
    del settings["origin"]
    checkpoint.save("model.npz", arrays, settings)
    _, fields = described(capsys, "model.npz")
    assert not [name for name in fields if name.startswith("origin.versions")]
    settings["origin"] = ["none"]
    checkpoint.save("model.npz", arrays, settings)
    code, _, err = softstep(capsys, "describe", "model.npz")
    assert (code, err.count("\n")) == (2, 1)
    assert "its origin is not a JSON object" in err


def test_what_a_stranger_wrote_there_acts_on_no_terminal(here, capsys):
    arrays, settings = checkpoint.load("model.npz")
    settings["origin"] = {
        "a\x1b[2J": "b\nc",
        "command": ["\x07", {"d": 1}],
        "e": [[1], None],
        "f": {},
    }
    settings["origin"]["long"] = "x" * 10_000
    checkpoint.save("model.npz", arrays, settings)
    code, out, _ = softstep(capsys, "describe", "model.npz")
    assert code == 0
    assert not {"\x1b", "\x07"} & set(out)
    assert "b\\x0ac" in out
    assert max(map(len, out.splitlines())) < 600


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("nowhere.npz", "No such file"),
        ("rows.npz", "is not a file saved by softstep"),
        ("text.npz", "is not a file saved by softstep"),
        ("empty", "has neither a run.json nor checkpoints"),
        ("other.npz", "written in a format that is not known here: 'softstep cake 1'"),
        pytest.param("/dev/zero", "a device, not a file", marks=POSIX),
    ],
)
def test_what_softstep_did_not_save_is_refused_in_one_sentence(path, part, here, capsys):
    np.savez("rows.npz", X=X)
    (here / "text.npz").write_text("hello")
    (here / "empty").mkdir()
    checkpoint.save("other.npz", {}, {}, "softstep cake 1")
    code, out, err = softstep(capsys, "describe", path)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert part in err


# a run folder is one thing


@pytest.mark.parametrize("name", ["best.npz", "results.csv", "loss_curves.csv"])
def test_a_part_of_another_run_is_refused(name, here, capsys):
    command = (*COMMANDS["swept"][:-1], 5)
    assert softstep(capsys, *command, "--out", "other")[0] == 0
    shutil.copy(here / "other" / name, here / "swept" / name)
    for what in ("describe", "report"):
        code, _, err = softstep(capsys, what, "swept")
        assert (code, err.count("\n")) == (2, 1)
        assert f"swept/{name} is not the file that run.json tells of" in err


@pytest.mark.parametrize("name", ["model.npz", "surface.npz", "line.npz"])
def test_a_part_that_was_changed_is_refused(name, here):
    with (here / "landscape" / name).open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match=rf"{name} is not the file that run\.json tells of"):
        record.read(here / "landscape")


def test_a_run_that_breaks_off_in_a_full_folder_leaves_no_mixture(here, capsys, monkeypatch):
    write = writing.atomic_write
    for broken in range(1, 4):  # the model, the results, the curves; the record is the last
        written = []

        def until_killed(path, broken=broken, written=written):
            if len(written) == broken:
                raise KeyboardInterrupt
            written.append(path)
            return write(path)

        for module in (checkpoint, writing):
            monkeypatch.setattr(module, "atomic_write", until_killed)
        assert softstep(capsys, *COMMANDS["swept"][:-1], 9, "--out", "swept")[0] == 130
        monkeypatch.undo()
        monkeypatch.chdir(here)
        with pytest.raises(ValueError, match=r"has no run\.json"):
            record.read(here / "swept")
        assert not (here / "swept" / "report.html").exists()
    assert softstep(capsys, *COMMANDS["swept"], "--out", "swept")[0] == 0
    record.read(here / "swept")


@pytest.mark.parametrize("levels", [30, 400, 900])
def test_what_is_nested_deep_is_refused(levels, here, capsys):
    deep = {}
    for _ in range(levels):
        deep = {"a": deep}
    arrays, settings = checkpoint.load("model.npz")
    checkpoint.save("model.npz", arrays, settings | {"origin": deep})
    path = here / "swept" / record.NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | {"origin": deep}))
    for name in ("model.npz", "swept"):
        code, _, err = softstep(capsys, "describe", name)
        assert (code, err.count("\n")) == (2, 1)
        assert "nested too deep" in err


@pytest.mark.parametrize("parts", [None, [], {}, {"best.npz": 3}])
def test_a_record_without_the_digests_is_refused(parts, here):
    path = here / "swept" / record.NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | {"parts": parts}))
    with pytest.raises(ValueError, match=r"its 'parts' is missing|is not the file that"):
        record.read(here / "swept")


def test_a_record_without_an_end_is_refused(here):
    path = here / "swept" / record.NAME
    with path.open("ab") as file:
        file.truncate(checkpoint.LONGEST_JSON + 1)
    with pytest.raises(DataError, match="is damaged: too long"):
        record.read(here / "swept")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_record_with_a_number_that_is_not_finite_is_refused(number, here):
    path = here / "swept" / record.NAME
    path.write_text(path.read_text().replace('"seed": 4', f'"seed": {number}'))
    with pytest.raises(DataError, match=f"is damaged: .*{number} is not finite"):
        record.read(here / "swept")


def test_a_number_that_is_not_finite_becomes_null_in_a_record(here):
    content = record.read(here / "swept")
    content["results"] = {"loss": [np.nan, {"a": np.inf}], "best": (1.5, np.float64(np.nan))}
    record.write(here / "swept", content)
    results = {"loss": [None, {"a": None}], "best": [1.5, None]}
    assert record.read(here / "swept") == content | {"results": results}


def test_a_record_names_no_file_elsewhere(here):
    (here / "secret").write_text("0")
    path = here / "swept" / record.NAME
    content = json.loads(path.read_text())
    assert set(content["parts"]) == {"best.npz", "results.csv", "loss_curves.csv"}
    for name in ("../secret", str(here / "secret"), [], {}, 5):
        path.write_text(json.dumps(content | {"model": name, "surface": name}))
        assert record.read(here / "swept")["parts"] == content["parts"]


@pytest.mark.parametrize("field", [*record.FIELDS, "format", "command"])
@pytest.mark.parametrize("value", [[], 5, {"a": 1}, True, None, "text"])
def test_whatever_a_field_of_a_record_holds_it_is_one_sentence(field, value, here, capsys):
    path = here / "swept" / record.NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    code, _, err = softstep(capsys, "describe", "swept")
    assert code in (0, 2)
    assert (err.count("\n"), "swept/" in err) == ((1, True) if code else (0, False))


@pytest.mark.parametrize("command", COMMANDS.values())
def test_two_runs_cannot_share_a_folder(command, here, capsys, monkeypatch):
    estimator = SoftmaxSweep if command[0] == "sweep" else SoftmaxRegression
    fit, second = estimator.fit, []

    def meanwhile(self, *arguments, **keywords):
        if not second:
            second.append(None)
            second[0] = softstep(capsys, *command, "--out", "shared")
        return fit(self, *arguments, **keywords)

    monkeypatch.setattr(estimator, "fit", meanwhile)
    assert softstep(capsys, *command, "--out", "shared")[0] == 0
    code, _, err = second[0]
    assert (code, err.count("\n")) == (2, 1)
    assert "shared: another softstep command writes its results there" in err
    record.read(here / "shared")
    assert not list((here / "shared").glob(".*"))


def test_no_page_or_picture_of_an_earlier_run_stays_beside_a_new_one(here, capsys, monkeypatch):
    command = (*COMMANDS["swept"], "--out", "swept", "--figures", "drawn")
    assert softstep(capsys, *command)[0] == 0
    assert sorted(path.name for path in (here / "drawn").iterdir()) == [
        "sweep-dark.png",
        "sweep.png",
    ]

    def fails(*arguments, **keywords):
        raise MemoryError

    monkeypatch.setattr("softstep.report.page.sweep_page", fails)
    code, _, err = softstep(capsys, *command)
    assert (code, err) == (2, "softstep: out of memory\n")
    record.read(here / "swept")
    assert not (here / "swept" / "report.html").exists()
    assert not list((here / "drawn").iterdir())


@pytest.mark.parametrize("name", [results.RESULTS, results.CURVES])
def test_a_table_without_an_end_is_refused(name, here, monkeypatch):
    monkeypatch.setattr(results, "LONGEST", 3000)
    with (here / "swept" / name).open("ab") as file:
        file.truncate(3001)
    with pytest.raises(DataError, match=rf"{name} is damaged: it has more than 3,000 bytes"):
        results.read(here / "swept")


def test_a_table_of_too_many_columns_is_refused_before_they_are_split(here, monkeypatch):
    path = here / "swept" / results.RESULTS
    path.write_text("a," * 1000 + "\n")
    monkeypatch.setattr("csv.reader", None)
    with pytest.raises(DataError, match="it has more than 1,000 columns"):
        results.read(here / "swept")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in this system's folders")
@pytest.mark.parametrize("name", [results.RESULTS, results.CURVES])
def test_a_table_that_is_a_pipe_is_not_waited_for(name, here):
    (here / "swept" / name).unlink()
    os.mkfifo(here / "swept" / name)
    with pytest.raises(DataError, match=rf"{name}: a pipe, not a file"):
        results.read(here / "swept")

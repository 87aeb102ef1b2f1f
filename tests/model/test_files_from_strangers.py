"""Promise: a file that cannot be right is refused in one sentence, at once, and takes no memory."""

import ast
import errno
import json
import os
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import hostile
import numpy as np
import pytest
from command import softstep
from only import POSIX
from repository import ROOT

from softstep import SoftmaxRegression
from softstep.model import CheckpointError, archive, checkpoint, writing
from softstep.model.archive import DataError
from softstep.model.datasets import load_features, load_file
from softstep.model.sweep.executor import shipment

FILES = hostile.files_of_rows()
SECONDS, BYTES = 1.0, 200e6
EVERY_FILE = pytest.mark.parametrize("case", FILES)


def write(folder, case):
    name, content = FILES[case]
    path = folder / name
    path.write_bytes(content)
    return path


def refused(load, path, error=DataError):
    """The sentence, which names the file, with what it took held to the limits."""
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(error) as info:
            load()
        took, (_, peak) = time.perf_counter() - start, tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert took < 3 * SECONDS  # tracemalloc slows the reading of lines about threefold
    assert peak < BYTES + path.stat().st_size
    message = str(info.value)
    assert str(path) in message
    assert len(message) < 400
    assert "\n" not in message
    return message


def test_the_corpus_is_large():
    assert len(FILES) >= 80


@EVERY_FILE
def test_a_data_set_is_refused(case, tmp_path):
    path = write(tmp_path, case)
    labels = None
    if path.suffix in (".npy", ".idx", ".gz"):
        labels = tmp_path / "labels.npy"
        np.save(labels, hostile.Y)
    refused(lambda: load_file(path, labels), path)


@EVERY_FILE
def test_features_to_predict_from_are_refused(case, tmp_path):
    path = write(tmp_path, case)
    if case == "csv with one column":
        pytest.skip("a column of features is right")
    refused(lambda: load_features(path, 3 if path.suffix == ".csv" else None), path)


@EVERY_FILE
def test_a_model_is_refused(case, tmp_path):
    path = write(tmp_path, case)
    refused(lambda: SoftmaxRegression.load(path), path, CheckpointError)


@pytest.mark.parametrize(
    "case", [case for case in FILES if FILES[case][0] in ("a.npz", "a.csv", "a.xyz")]
)
def test_the_command_says_one_line_and_ends_with_2(case, tmp_path, capsys):
    path = write(tmp_path, case)
    code, out, err = softstep(capsys, "train", path, "--epochs", "1", "--out", tmp_path / "m.npz")
    assert code == 2
    assert out.startswith("backend ")  # what runs is said first, and nothing more
    assert out.count("\n") == 1
    assert err.count("\n") == 1
    assert err.startswith("softstep: ")
    assert not (tmp_path / "m.npz").exists()


def test_a_file_with_a_flipped_bit_is_refused_or_read_as_it_was(tmp_path):
    whole = archive.read_npz(_written(tmp_path, hostile.GOOD_NPZ))
    outcomes = set()
    for at in range(0, len(hostile.GOOD_NPZ), 3):
        path = _written(tmp_path, hostile.flipped(hostile.GOOD_NPZ, at, at % 8))
        try:
            found = archive.read_npz(path)
        except DataError:
            outcomes.add("refused")
            continue
        outcomes.add("read")
        for name in found.keys() & whole.keys():
            np.testing.assert_array_equal(found[name], whole[name])
    assert outcomes == {"refused", "read"}  # some bits, as dates, have no meaning


def _written(folder, content):
    path = folder / "a.npz"
    path.write_bytes(content)
    return path


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in this system's folders")
@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a.csv", "a.idx", "a.idx.gz"])
def test_what_has_no_end_is_not_waited_for(name, tmp_path):
    pipe, link = tmp_path / name, tmp_path / f"link-{name}"
    os.mkfifo(pipe)
    link.symlink_to("/dev/zero")
    for path in (pipe, link):
        refused(lambda path=path: load_features(path, 3), path)
        refused(lambda path=path: SoftmaxRegression.load(path), path, CheckpointError)


def test_limits_can_be_raised(tmp_path, monkeypatch):
    path = tmp_path / "zeros.npz"
    np.savez_compressed(path, X=np.zeros((300, 1 << 20), np.uint8), y=np.zeros(300, int))
    assert archive.RATIO in refused(lambda: load_file(path), path)
    monkeypatch.setenv(archive.RATIO, "2000")
    assert load_file(path).X_train.shape == (300, 1 << 20)
    monkeypatch.setenv(archive.MEMORY, "1e6")
    assert archive.MEMORY in refused(lambda: load_file(path), path)
    monkeypatch.setenv(archive.MEMORY, "much")
    with pytest.raises(ValueError, match="must be a number above 0"):
        load_file(path)


def peak_of(load):
    """The memory that a call takes at most, in bytes, and its result."""
    tracemalloc.start()
    try:
        found = load()
        return tracemalloc.get_traced_memory()[1], found
    finally:
        tracemalloc.stop()


def test_what_is_not_asked_for_its_ratio_takes_little(tmp_path):
    path, rows = tmp_path / "zeros.npz", (archive.UNSUSPECTED - (1 << 16)) // 1024
    np.savez_compressed(path, X=np.zeros((rows, 1000), np.uint8), y=np.zeros(rows, int))
    peak, found = peak_of(lambda: load_file(path))
    assert found.X_train.shape == (rows, 1000)
    assert peak < BYTES + path.stat().st_size


def test_of_a_large_file_that_is_no_idx_file_little_is_read(tmp_path):
    for name, start in (("a.idx", b"\0\0\x08\x03"), ("b.idx", b"\0\0\x08\x03" + b"\0\0\0\1" * 3)):
        with (tmp_path / name).open("wb") as file:
            file.write(start)
            file.truncate(1 << 30)  # a hole: it takes no room on the disk
        refused(lambda path=tmp_path / name: load_features(path, 3), tmp_path / name)
        assert peak_of(lambda path=tmp_path / name: _fails(load_features, path, 3))[0] < 10e6


def _fails(load, *arguments):
    with pytest.raises(DataError):
        load(*arguments)


def test_an_array_is_hashed_where_it_is(tmp_path):
    path, array = tmp_path / "m.npz", np.zeros(1 << 26, np.uint8)
    peak, _ = peak_of(lambda: checkpoint.save(path, {"W": array}, {}))
    assert peak < array.nbytes / 2
    peak, (arrays, _) = peak_of(lambda: checkpoint.load(path))
    assert np.array_equal(arrays["W"], array)
    assert peak < 1.5 * array.nbytes


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in this system's folders")
def test_what_takes_the_place_of_a_file_as_it_is_opened_is_not_waited_for(tmp_path):
    (tmp_path / "a.npy").write_bytes(hostile.saved(hostile.X))
    code = (
        "import os, pathlib, sys\n"
        "from softstep.model import archive\n"
        "path, look = pathlib.Path(sys.argv[1]), os.stat\n"
        "def swap(given, *more, **named):\n"
        "    found = look(given, *more, **named)\n"
        "    if str(given) == str(path):\n"
        "        path.unlink(); os.mkfifo(path)\n"
        "    return found\n"
        "os.stat = swap\n"
        "try:\n"
        "    print(len(archive.map_npy(path)))\n"
        "except archive.DataError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", code, tmp_path / "a.npy"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() in ("6", f"{tmp_path / 'a.npy'}: a pipe, not a file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in this system's folders")
def test_the_rows_that_workers_are_to_read_have_the_same_door(tmp_path):
    os.mkfifo(tmp_path / "pipe.npy")
    refused(lambda: shipment.opened(tmp_path / "pipe.npy"), tmp_path / "pipe.npy")
    for case, (name, _) in FILES.items():
        if name == "a.npy":
            path = write(tmp_path, case)
            refused(lambda path=path: shipment.opened(path), path)


# ---- pickles

# Who may unpickle, and what.
UNPICKLES = {
    "kernels/_numba/compiling/cache.py": "machine code, whose digest, sources and name are right",
    "model/sweep/executor/shipment.py": "plans, in the workers of the process that pickled them",
    "model/shards/ranks.py": "an error that it has pickled itself",
}
PICKLES = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
READERS = {"np.load", "np.lib.format", "joblib.load", "pd.read_pickle"}


def ways_into_a_pickle(tree):
    """What in a module may unpickle."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {getattr(node, "module", None), *(alias.name for alias in node.names)}
            yield from sorted(PICKLES & names)
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in READERS:
            yield ast.unparse(node)
        elif isinstance(node, ast.Call):
            given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if "allow_pickle" in given:
                yield "allow_pickle"
            if ast.unparse(node.func) == "torch.load" and given.get("weights_only") != "True":
                yield "torch.load"


def test_nothing_that_reads_files_can_unpickle():
    found = {}
    for room in ("kernels", "model", "src/softstep"):
        for file in (ROOT / room).rglob("*.py"):
            if not any(folder.is_symlink() for folder in file.parents):
                ways = list(ways_into_a_pickle(ast.parse(file.read_text(encoding="utf-8"))))
                found[file.relative_to(ROOT).as_posix()] = ways
    assert len(found) > 150
    assert {file for file, ways in found.items() if ways} == set(UNPICKLES)


@pytest.mark.parametrize(
    ("code", "ways"),
    [
        ("import pickle", ["pickle"]),
        ("from pickle import loads", ["pickle"]),
        ("x = np.load(path)", ["np.load"]),
        ("x = np.lib.format.open_memmap(path)", ["np.lib.format"]),
        ("x = read(path, allow_pickle=a)", ["allow_pickle"]),
        ("x = torch.load(path)", ["torch.load"]),
        ("x = torch.load(path, weights_only=True)", []),
    ],
)
def test_ways_into_a_pickle_are_seen(code, ways):
    assert list(ways_into_a_pickle(ast.parse(code))) == ways


# ---- models


@pytest.fixture
def parts(tmp_path):
    """The arrays and settings of a model that is right."""
    model = SoftmaxRegression(epochs=1, momentum=0.5, random_state=0)
    model.fit(np.random.default_rng(0).standard_normal((20, 4)), np.arange(20) % 3)
    model.save(tmp_path / "right.npz")
    return checkpoint.load(tmp_path / "right.npz")


def resaved(folder, arrays, settings):
    path = folder / "model.npz"
    checkpoint.save(path, arrays, settings)
    return path


WRONG_ARRAYS = {
    "weights NaN": lambda a: {"W": a["W"] * np.nan},
    "weights infinite": lambda a: {"W": a["W"] + np.inf},
    "whole numbers as weights": lambda a: {"W": a["W"].astype(np.int64)},
    "complex weights": lambda a: {"W": a["W"] + 1j},
    "text as weights": lambda a: {"W": a["W"].astype(str)},
    "two heads": lambda a: {"W": np.repeat(a["W"], 2, axis=0)},
    "flat weights": lambda a: {"W": a["W"][0]},
    "a bias of another length": lambda a: {"b": a["b"][:, :2]},
    "a bias of another dtype": lambda a: {"b": a["b"].astype(np.float32)},
    "a velocity of another shape": lambda a: {"MW": a["MW"][:, :2]},
    "a velocity that is NaN": lambda a: {"Mb": a["Mb"] * np.nan},
    "a class twice": lambda a: {"classes": np.array([0, 0, 1])},
    "classes unsorted": lambda a: {"classes": np.array([2, 1, 0])},
    "classes in a matrix": lambda a: {"classes": a["classes"][None]},
    "too few classes": lambda a: {"classes": a["classes"][:2]},
    "too many classes": lambda a: {"classes": np.arange(4)},
    "complex classes": lambda a: {"classes": a["classes"] + 1j},
    "a curve in a matrix": lambda a: {"loss_curve": a["loss_curve"][None]},
    "a curve of text": lambda a: {"loss_curve": a["loss_curve"].astype(str)},
}
WRONG_SETTINGS = {
    "no parameters": {"params": None},
    "unknown parameters": {"params": {"colour": 1, "class_weight": None}},
    "a seed of text": {"seed": "0"},
    "a negative seed": {"seed": -1},
    "a scale of text": {"feature_scale": "1"},
    "a scale in a list": {"feature_scale": [1]},
    "fewer columns than it has weights for": {"features": [0, 3]},
}


@pytest.mark.parametrize("case", WRONG_ARRAYS)
def test_a_model_whose_arrays_cannot_be_right_is_refused(case, parts, tmp_path):
    arrays, settings = parts
    path = resaved(tmp_path, arrays | WRONG_ARRAYS[case](arrays), settings)
    refused(lambda: SoftmaxRegression.load(path), path, CheckpointError)


@pytest.mark.parametrize("name", ["W", "b", "MW", "Mb", "classes", "loss_curve"])
def test_a_model_that_lacks_an_array_is_refused(name, parts, tmp_path):
    arrays, settings = parts
    del arrays[name]
    path = resaved(tmp_path, arrays, settings)
    refused(lambda: SoftmaxRegression.load(path), path, CheckpointError)


@pytest.mark.parametrize("case", WRONG_SETTINGS)
def test_a_model_whose_settings_cannot_be_right_is_refused(case, parts, tmp_path):
    arrays, settings = parts
    path = resaved(tmp_path, arrays, settings | WRONG_SETTINGS[case])
    refused(lambda: SoftmaxRegression.load(path), path, CheckpointError)


@pytest.mark.parametrize(
    ("name", "value"),
    [("loss", "hinge"), ("learning_rate", "fast"), ("momentum", 2), ("batch_size", 0)],
)
def test_a_setting_that_fit_would_refuse_is_refused(name, value, parts, tmp_path):
    arrays, settings = parts
    path = resaved(tmp_path, arrays, settings | {"params": settings["params"] | {name: value}})
    assert name in refused(lambda: SoftmaxRegression.load(path), path, CheckpointError)


@pytest.mark.parametrize("case", hostile.json_settings())
def test_settings_that_are_no_json_are_refused(case, parts, tmp_path):
    path = tmp_path / "model.npz"
    np.savez(path, softstep=np.array(hostile.json_settings()[case]), **parts[0])
    refused(lambda: SoftmaxRegression.load(path), path, CheckpointError)


def test_arrays_that_a_model_does_not_have_are_not_hashed(parts, tmp_path, monkeypatch):
    def never(array):
        raise AssertionError("it was hashed")

    path = resaved(tmp_path, *parts)
    with np.load(path) as file:
        np.savez(path, **file, more=np.zeros(3))
    monkeypatch.setattr(checkpoint, "_digest", never)
    refused(lambda: SoftmaxRegression.load(path), path, CheckpointError)


@pytest.mark.parametrize("seconds", ["abc", [1], {}, -1, None, True])
def test_a_model_whose_origin_cannot_be_right_is_refused(seconds, parts, tmp_path):
    arrays, settings = parts
    path = resaved(tmp_path, arrays, settings | {"origin": {"seconds": seconds}})
    assert "seconds" in refused(lambda: SoftmaxRegression.load(path), path, CheckpointError)


def test_the_kind_of_a_file_is_told_without_its_arrays(parts, tmp_path):
    arrays, settings = parts
    path = resaved(tmp_path, arrays | {"W": np.zeros(1 << 24, np.uint8)}, settings)
    peak, kind = peak_of(lambda: checkpoint.kind_of(path))
    assert kind == checkpoint.FORMAT
    assert peak < 1 << 20


def test_a_model_whose_arrays_were_exchanged_is_refused(parts, tmp_path):
    arrays, settings = parts
    path = tmp_path / "model.npz"
    digests = {"W": "0"}
    about = json.dumps({"format": "softstep model 2", "sha256": digests, **settings})
    np.savez(path, softstep=np.array(about), **arrays)
    assert "not those that were saved" in refused(
        lambda: SoftmaxRegression.load(path), path, CheckpointError
    )


# ---- files that are written


@POSIX
def test_a_file_that_is_replaced_keeps_its_permissions(parts, tmp_path):
    path = resaved(tmp_path, *parts)
    path.chmod(0o600)
    resaved(tmp_path, *parts)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_is_on_the_disk_before_it_has_its_name(parts, tmp_path, monkeypatch):
    done = []
    sync, replace = os.fsync, type(tmp_path).replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append("sync"), sync(fd)))
    monkeypatch.setattr(
        type(tmp_path), "replace", lambda a, b: (done.append("rename"), replace(a, b))
    )
    resaved(tmp_path, *parts)
    assert done == ["sync", "rename", "sync"]


@pytest.mark.parametrize("call", ["fsync", "replace", "open"])
def test_an_error_names_the_file_that_was_to_be_written(call, parts, tmp_path, monkeypatch):
    def full(*arguments, **keywords):
        raise OSError(errno.ENOSPC, "No space left on device")

    place = os if call == "fsync" else Path
    monkeypatch.setattr(place, call, full)
    with pytest.raises(OSError, match="No space left on device") as info:
        resaved(tmp_path, *parts)
    assert info.value.filename == str(tmp_path / "model.npz")
    monkeypatch.undo()
    assert not (tmp_path / "model.npz").exists()
    assert not list(tmp_path.glob(".model*"))


@pytest.mark.parametrize(
    ("number", "raised"), [(errno.EIO, True), (errno.EINVAL, False), (errno.ENOTSUP, False)]
)
def test_a_folder_that_cannot_be_synced_is_told_where_it_matters(
    number, raised, parts, tmp_path, monkeypatch
):
    sync = os.fsync

    def of_files_alone(descriptor):
        if not Path(f"/proc/self/fd/{descriptor}").is_dir():
            return sync(descriptor)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", of_files_alone)
    if not raised:
        resaved(tmp_path, *parts)
        return
    with pytest.raises(OSError, match=os.strerror(number)) as info:
        resaved(tmp_path, *parts)
    assert info.value.filename == str(tmp_path / "model.npz")


def test_a_folder_that_is_created_is_in_its_parent_on_the_disk(tmp_path, monkeypatch):
    synced, sync = [], os.fsync

    def noted(descriptor):
        synced.append(Path(f"/proc/self/fd/{descriptor}").resolve())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    folder = tmp_path / "a" / "b"
    X, y = np.random.default_rng(0).standard_normal((20, 4)), np.arange(20) % 3
    SoftmaxRegression(epochs=1).fit(X, y, checkpoint=folder)
    assert {tmp_path, tmp_path / "a"} <= set(synced[:2])


def test_what_a_killed_run_left_of_a_file_is_removed_when_it_is_written_again(parts, tmp_path):
    partial = f".model.npz.{'0123456789abcdef' * 2}"
    others = (f".other.npz.{'0' * 32}", ".model.npz.txt", f".model.npz.{'0' * 31}")
    for name in (partial, *others):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1e9, 1e9))
    fresh = f".model.npz.{'f' * 32}"  # somebody may be writing it
    (tmp_path / fresh).touch()
    resaved(tmp_path, *parts)
    found = {path.name for path in tmp_path.iterdir()}
    assert partial not in found
    assert found >= {fresh, *others, "model.npz"}


def test_a_name_is_tried_as_it_will_be_written(tmp_path):
    longest = 255 - len(".") - len(".") - 32
    writing.try_name(tmp_path / ("a" * longest))
    for length in (longest + 1, 255):
        with pytest.raises(OSError, match="name too long") as info:
            writing.try_name(tmp_path / ("a" * length))
        assert info.value.filename == str(tmp_path / ("a" * length))
    assert not list(tmp_path.iterdir())

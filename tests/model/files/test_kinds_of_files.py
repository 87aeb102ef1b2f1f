"""Promise: every kind of file in the table of docs/interop.md is read, to the same rows."""

import gzip
import io
import re
import struct
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from repository import DOCS

from softstep.model import inputs
from softstep.model.archive import DataError
from softstep.model.datasets import load_features, load_file

X = np.arange(24, dtype=np.float64).reshape(8, 3) / 4
BYTES = np.arange(24, dtype=np.uint8).reshape(8, 3)
Y = np.arange(8) % 3
WORDS = np.array(["cat", "dog", "emu"])[Y]
NAMES = ("a", "b", "c")
PAGE = (DOCS / "interop.md").read_text(encoding="utf-8")


def text(delimiter=",", header=True, quoted=False, label="{}"):
    def cell(value):
        return f'"{value}"' if quoted else str(value)

    lines = [[*map(str, row), label.format(word)] for row, word in zip(X, WORDS, strict=True)]
    lines = [[*NAMES, "kind"], *lines] if header else lines
    return "".join(delimiter.join(map(cell, line)) + "\n" for line in lines).encode()


def write(path, content):
    path.write_bytes(content)
    return path, None


def labels(folder, name="y.npy"):
    np.save(folder / name, Y)
    return folder / name


def npz(folder, **arrays):
    np.savez(folder / "rows.npz", **arrays)
    return folder / "rows.npz", None


def npy(folder):
    np.save(folder / "X.npy", X)
    return folder / "X.npy", labels(folder)


def shards(folder):
    (folder / "shards").mkdir()
    for i, part in ((0, X[:3]), (2, X[3:4]), (10, X[4:])):
        np.save(folder / "shards" / f"part-{i}.npy", part)
    return folder / "shards", labels(folder)


def idx(folder):
    header = struct.pack(">IIII", 2051, 8, 1, 3)
    path, _ = write(folder / "x-idx3-ubyte.gz", gzip.compress(header + BYTES.tobytes()))
    return path, labels(folder)


def frame():
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(X, columns=list(NAMES)).assign(kind=WORDS)


def parquet(folder):
    pytest.importorskip("pyarrow")
    frame().to_parquet(folder / "rows.parquet")
    return folder / "rows.parquet", None


def feather(folder):
    pytest.importorskip("pyarrow")
    frame().to_feather(folder / "rows.feather")
    return folder / "rows.feather", None


def safetensors(folder):
    numpy = pytest.importorskip("safetensors.numpy")
    numpy.save_file({"X": X, "y": Y}, folder / "rows.safetensors")
    return folder / "rows.safetensors", None


def torch(folder, pack=lambda X, y: {"X": X, "y": y}):
    torch = pytest.importorskip("torch")
    torch.save(pack(torch.from_numpy(X), torch.from_numpy(Y)), folder / "rows.pt")
    return folder / "rows.pt", None


KINDS = {
    "`.npz` of X, y": lambda f: npz(f, X=X, y=Y),
    "`.npz` of X_train, y_train": lambda f: npz(f, X_train=X, y_train=Y, X_test=X, y_test=Y),
    "`.npz` of x_train, y_train (Keras)": lambda f: npz(
        f, x_train=BYTES.reshape(8, 1, 3), y_train=Y, x_test=BYTES.reshape(8, 1, 3), y_test=Y
    ),
    "`.npz` of arr_0, arr_1": lambda f: npz(f, arr_0=X, arr_1=Y),
    "`.npy`": npy,
    "a folder of `.npy`": shards,
    "IDX, also `.gz`": idx,
    "`.csv`": lambda f: write(f / "rows.csv", text()),
    "`.csv` without a header": lambda f: write(f / "rows.csv", text(header=False)),
    "`.csv` with quoted cells": lambda f: write(f / "rows.csv", text(quoted=True)),
    "`.csv` split by semicolons": lambda f: write(f / "rows.csv", text(";")),
    "`.csv` split by bars": lambda f: write(f / "rows.csv", text("|")),
    "`.csv` split by blanks": lambda f: write(f / "rows.csv", text("  ", header=False)),
    "`.csv.gz`": lambda f: write(f / "rows.csv.gz", gzip.compress(text())),
    "`.tsv`": lambda f: write(f / "rows.tsv", text("\t")),
    "`.tsv.gz`": lambda f: write(f / "rows.tsv.gz", gzip.compress(text("\t"))),
    "`.parquet`": parquet,
    "`.feather`": feather,
    "`.safetensors`": safetensors,
    "`.pt` of a dict": torch,
    "`.pt` of a tuple": lambda f: torch(f, lambda X, y: (X, y)),
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


def expected_rows(kind):
    return BYTES if "IDX" in kind or "Keras" in kind else X


@EVERY_KIND
def test_rows_to_learn_from(kind, tmp_path):
    path, given = KINDS[kind](tmp_path)
    data = load_file(path, given)
    np.testing.assert_array_equal(data.X_train, expected_rows(kind))
    assert data.X_train.dtype == expected_rows(kind).dtype
    assert data.y_train.tolist() in (Y.tolist(), WORDS.tolist())
    held_out = "_train" in kind
    assert (data.X_test is not None) == held_out


@EVERY_KIND
def test_rows_to_predict_from(kind, tmp_path):
    path, given = KINDS[kind](tmp_path)
    found, y = load_features(path, 3)
    np.testing.assert_array_equal(found, expected_rows(kind))
    assert (y is None) == (given is not None)


@EVERY_KIND
def test_what_was_taken_for_what_is_one_sentence(kind, tmp_path):
    path, given = KINDS[kind](tmp_path)
    said = []
    load_file(path, given, tell=said.append)
    load_features(path, 3, tell=said.append)
    for sentence in said:
        assert re.match(rf"{path.name}: 8 rows of 3 features[,;]", sentence)
        assert "\n" not in sentence
    assert len(said) == 2
    assert "; 3 classes: " in said[0] or ", 3 classes: " in said[0]
    assert ("no label" in said[1]) == (given is not None)


def test_arrays_that_are_not_read_are_named(tmp_path):
    said = []
    more = {f"arr_{i}": np.ones(2) for i in range(12)}
    path, _ = npz(tmp_path, X_train=X, y_train=Y, X=X[:2], y=Y[:2], X_val=X, X_test=X, y_test=Y)
    load_file(path, tell=said.append)
    load_features(path, tell=said.append)
    assert said == [
        "rows.npz: 8 rows of 3 features, float64, from X_train; labels from y_train, 3 classes: "
        "0, 1, 2; held out: X_test, 8 rows; not read: X, y, X_val",
        "rows.npz: 2 rows of 3 features, float64, from X; labels from y, 2 classes: 0, 1; not "
        "read: X_train, y_train, X_val, X_test, y_test",
    ]
    path, _ = npz(tmp_path, X_train=X, y_train=Y, **more)
    load_file(path, tell=said.append)
    assert said[-1].endswith(f"not read: {', '.join(list(more)[:10])}, …")


def test_the_files_of_a_folder_that_become_one_array_are_named(tmp_path):
    for name in ("test", "train"):
        np.save(tmp_path / f"{name}.npy", X)
    said = []
    load_features(tmp_path, tell=said.append)
    (sentence,) = said
    assert sentence.endswith(
        "16 rows of 3 features, float64, from 2 files, test.npy to train.npy; no labels"
    )


class Stdin:
    def __init__(self, content):
        self.buffer = io.BytesIO(content)


@EVERY_KIND
def test_what_comes_through_standard_input(kind, tmp_path, monkeypatch):
    path, given = KINDS[kind](tmp_path)
    if path.is_dir():
        pytest.skip("a folder does not come through a pipe")
    monkeypatch.setattr(sys, "stdin", Stdin(path.read_bytes()))
    data = load_file("-", given)
    np.testing.assert_array_equal(data.X_train, expected_rows(kind))
    assert data.name.startswith("stdin")
    assert np.isfinite(data.X_train.sum())  # its file is gone, its rows are not


def test_the_table_names_every_kind_and_no_other():
    section = PAGE[PAGE.index("## Files") :].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \|", section, re.M)
    assert set(rows) - {"file", "---"} == set(KINDS)


def test_shards_are_one_memory_mapped_array(tmp_path):
    path, given = shards(tmp_path)
    data = load_file(path, given)
    assert isinstance(data.X_train, np.memmap)
    assert not data.X_train.flags.writeable


@pytest.mark.parametrize(
    ("shards", "words"),
    [
        ([], "without .npy"),
        ([np.ones((2, 3)), np.ones((2, 4))], "part-1.npy"),
        ([np.ones((2, 3)), np.ones((2, 3), np.float32)], "float32"),
        ([np.ones((2, 3)), np.float64(1)], "()"),
    ],
)
def test_shards_that_do_not_go_on_are_named(shards, words, tmp_path):
    for i, shard in enumerate(shards):
        np.save(tmp_path / f"part-{i}.npy", shard)
    with pytest.raises(DataError) as info:
        load_features(tmp_path)
    assert words in str(info.value)
    assert str(tmp_path) in str(info.value)


def test_images_keep_their_shape(tmp_path):
    path, _ = npz(tmp_path, x_train=np.zeros((4, 5, 6), np.uint8), y_train=Y[:4])
    data = load_file(path)
    assert (data.X_train.shape, data.image_shape) == ((4, 30), (5, 6))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1,5;2,5;a\n3,5;4,5;b\n", "commas or semicolons"),
        ("1.5;2,5\n", "commas or semicolons"),
        ("a;b;kind\n1;2,5;x\n", "'2,5' is not a number: write decimals with a point"),
        ("1;2;a\n1;2\n", "line 2 has 2 columns"),
        ("1\n2\n", "one column"),
    ],
)
def test_a_text_that_may_be_split_in_two_ways_is_refused(content, words, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=re.escape(words)) as info:
        load_file(path)
    assert str(info.value).startswith(f"{path}: line ")


def test_commas_in_quoted_cells_split_nothing(tmp_path):
    path, _ = write(tmp_path / "rows.csv", b'1;2;"a, b"\n3;4;"c, d"\n')
    assert load_file(path).y_train.tolist() == ["a, b", "c, d"]


def broken(table):
    pa = pytest.importorskip("pyarrow")
    return pa.table(table)


NUMBERS = [1.0, 2.0, 3.0]
WRONG_TABLES = {
    "a gap": ({"a": [1.0, None, 3.0], "y": [0, 1, 0]}, "row 1 (from 0) of the column 'a'"),
    "a label missing": ({"a": NUMBERS, "y": [0, None, 1]}, "'y' is missing"),
    "words": ({"a": ["x", "y", "z"], "b": NUMBERS, "y": [0, 1, 0]}, "'a' holds string"),
    "an index": ({"a": NUMBERS, "__index_level_0__": [5, 6, 7], "y": [0, 1, 0]}, "index=False"),
    "one column": ({"a": NUMBERS}, "one column"),
    "lists as labels": ({"a": NUMBERS, "y": [[1], [2], [3]]}, "the label, 'y'"),
    "a label that is nothing": ({"a": NUMBERS, "y": [1.0, float("nan"), 0.0]}, "row 1"),
    "labels that NumPy would merge": ({"a": NUMBERS, "y": ["x", "x\0", "z"]}, "ends in NUL"),
    "no rows": ({"a": NUMBERS[:0], "y": NUMBERS[:0]}, "no rows"),
}


@pytest.mark.parametrize("ending", ["parquet", "feather"])
@pytest.mark.parametrize("case", WRONG_TABLES)
def test_what_is_wrong_with_a_table_is_said(case, ending, tmp_path):
    content, words = WRONG_TABLES[case]
    found, path = broken(content), tmp_path / f"rows.{ending}"
    if ending == "parquet":
        __import__("pyarrow.parquet").parquet.write_table(found, path)
    else:
        __import__("pyarrow.feather").feather.write_feather(found, path)
    with pytest.raises(DataError) as info:
        load_file(path)
    assert words in str(info.value)
    assert str(info.value).startswith(f"{path}: ")


def test_a_table_keeps_its_types_and_its_columns_come_in_the_order_of_the_model(tmp_path):
    pandas = pytest.importorskip("pandas")
    path = tmp_path / "rows.parquet"
    columns = {"b": np.float32([1, 2]), "kind": pandas.Categorical(["x", "y"]), "a": [True, False]}
    pandas.DataFrame(columns).to_parquet(path)
    found, y = load_features(path, 2, ["a", "b"], "kind")
    assert (found.dtype, found.tolist(), y.tolist()) == (np.float32, [[1, 1], [0, 2]], ["x", "y"])
    assert found.columns == ("a", "b")
    with pytest.raises(DataError, match="no column 'c'"):
        load_features(path, 3, ["a", "b", "c"])


MIXED = {  # types of columns -> whether their numbers may be pixels
    ("uint8", "uint8"): True,
    ("uint8", "bool"): False,
    ("uint8", "int8"): False,
    ("bool", "bool"): False,
    ("int16", "int64"): False,
    ("uint8", "float32"): False,
    ("float32", "float64"): False,
}


@pytest.mark.parametrize("kinds", MIXED, ids="-".join)
def test_a_table_is_the_same_kind_of_features_from_a_file_and_from_memory(kinds, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    values = {f"c{j}": np.array([0, 1, 1, 0]).astype(kind) for j, kind in enumerate(kinds)}
    table = pandas.DataFrame(values)
    table.assign(y=[0, 1, 1, 0]).to_parquet(tmp_path / "rows.parquet")
    read = inputs.features(load_file(tmp_path / "rows.parquet").X_train)
    expected = inputs.features(table)
    np.testing.assert_array_equal(read.X, expected.X)
    assert inputs.Kind.of(read) == inputs.Kind.of(expected)
    assert (inputs.Kind.of(read) == inputs.Kind.PIXELS) == MIXED[kinds]


def test_whole_numbers_of_all_types_keep_their_values(tmp_path):
    pa = pytest.importorskip("pyarrow")
    large = np.array([2**63, 1], np.uint64)
    table = pa.table({"a": large, "b": np.array([-1, 1]), "y": [0, 1]})
    __import__("pyarrow.parquet").parquet.write_table(table, tmp_path / "rows.parquet")
    assert load_file(tmp_path / "rows.parquet").X_train.tolist() == [[2.0**63, -1], [1, 1]]


NEEDS = {"rows.pt": "torch", "rows.parquet": "pyarrow", "rows.feather": "pyarrow"}


def damaged():
    """Files that are cut off, of another kind, or say more than they hold."""
    for ending in ("parquet", "feather", "safetensors", "pt", "csv.gz", "tsv.gz"):
        yield f"rows.{ending}", b""
        yield f"rows.{ending}", b"\xff" * 100
        yield f"rows.{ending}", b"PK\x03\x04" + bytes(100)
    yield "rows.csv.gz", gzip.compress(text(), mtime=0)[:-9]


@pytest.mark.parametrize(("name", "content"), list(damaged()))
def test_a_damaged_file_is_named(name, content, tmp_path):
    pytest.importorskip(NEEDS.get(name, "numpy"))
    path, _ = write(tmp_path / name, content)
    with pytest.raises(DataError) as info:
        load_features(path, 3)
    assert str(info.value).startswith(f"{path}: ")
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("at", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("make", [parquet, feather, safetensors, torch])
def test_a_file_that_is_cut_off_is_named(make, at, tmp_path):
    path, _ = make(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(at * len(content))])
    with pytest.raises(DataError, match=re.escape(str(path))):
        load_features(path, 3)


def test_a_gzip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SOFTSTEP_MAX_MEMORY", "1e6")
    path, _ = write(tmp_path / "rows.csv.gz", gzip.compress(b"1,2,a\n" * 1_000_000))
    with pytest.raises(DataError, match="SOFTSTEP_MAX_MEMORY"):
        load_file(path)


def test_a_parquet_bomb_is_refused(tmp_path, monkeypatch):
    pa = pytest.importorskip("pyarrow")
    monkeypatch.setenv("SOFTSTEP_MAX_MEMORY", "1e6")
    path = tmp_path / "rows.parquet"
    table = pa.table({"a": np.zeros(500_000), "y": np.zeros(500_000, int)})
    __import__("pyarrow.parquet").parquet.write_table(table, path)
    assert path.stat().st_size < 10_000
    with pytest.raises(DataError, match="SOFTSTEP_MAX_MEMORY"):
        load_file(path)


def test_a_pt_runs_no_code(tmp_path):
    torch = pytest.importorskip("torch")

    class Bad:
        def __reduce__(self):
            return (open, (str(tmp_path / "run"), "w"))

    torch.save({"X": Bad()}, tmp_path / "rows.pt")
    with pytest.raises(DataError, match=r"rows\.pt: cannot be read"):
        load_features(tmp_path / "rows.pt")
    assert not (tmp_path / "run").exists()


def test_a_pt_that_claims_more_than_it_holds_or_no_tensors_is_refused(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("SOFTSTEP_MAX_MEMORY", "1e9")
    path = tmp_path / "rows.pt"
    for content, words in [
        (torch.zeros(1).expand(10**6, 10**6), "SOFTSTEP_MAX_MEMORY"),
        ({"X": torch.zeros(2, 2, dtype=torch.float8_e5m2)}, "float8_e5m2: store it as float32"),
        ({"X": torch.zeros(2, 2).to_sparse()}, "float32"),
        ({"X": [1, 2]}, "a tensor"),
        ("hello", "a tensor"),
    ]:
        torch.save(content, path)
        with pytest.raises(DataError, match=words):
            load_features(path)
    torch.save(torch.zeros(2, 2), path, _use_new_zipfile_serialization=False)
    with pytest.raises(DataError, match=r"1\.6"):
        load_features(path)


@pytest.mark.parametrize("stdin", [None, SimpleNamespace(buffer=io.BytesIO())])
def test_a_standard_input_that_holds_nothing_is_said(stdin, monkeypatch):
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(DataError, match="nothing comes"):
        load_file("-")


def test_standard_input_is_bounded_and_named(monkeypatch):
    monkeypatch.setattr(sys, "stdin", Stdin(b"1,2,a\nx,4,b\n"))
    with pytest.raises(DataError, match=r"^stdin\.csv: line 2, column 1: 'x' is not a number"):
        load_file("-")
    monkeypatch.setenv("SOFTSTEP_MAX_MEMORY", "10")
    monkeypatch.setattr(sys, "stdin", Stdin(text()))
    with pytest.raises(DataError, match="limit"):
        load_file("-")

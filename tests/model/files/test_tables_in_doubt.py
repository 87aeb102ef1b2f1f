"""Promise: a table of text is read as it was meant or refused with its line; no guess is silent."""

import gzip
import re

import numpy as np
import pytest

from softstep.model.archive import DataError
from softstep.model.datasets import load_features, load_file

ROWS = ((5.5, 1, "cat"), (6, 0, "dog"), (7.25, 1, "cat"), (8, 0, "dog"))


def text(delimiter=",", end="\n", header=None, rows=ROWS):
    lines = ([header] if header else []) + [list(map(str, row)) for row in rows]
    return "".join(delimiter.join(line) + end for line in lines)


def read(folder, content, name="rows.csv", encoding="utf-8", **given):
    path = folder / name
    path.write_bytes(content.encode(encoding))
    return load_file(path, **given)


def refused(folder, content, words, load=load_file, **given):
    path = folder / "rows.csv"
    path.write_bytes(content.encode())
    with pytest.raises(DataError, match=words) as info:
        load(path, **given)
    assert str(info.value).startswith(f"{path}: line ")
    assert "\n" not in str(info.value)


def assert_is_rows(data):
    assert data.X_train.tolist() == [list(row[:2]) for row in ROWS]
    assert data.y_train.tolist() == [row[2] for row in ROWS]


# Marks, ends of lines, blank lines, encodings.


@pytest.mark.parametrize("header", [None, ["width", "holes", "kind"]])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n", "\n   \n"])
@pytest.mark.parametrize(
    "delimiter", [",", ";", "\t", "|", " ", "  ", ":", "^", "~", "\x01", " ; "]
)
def test_any_mark_splits_and_any_end_ends_a_line(delimiter, end, header, tmp_path):
    assert_is_rows(read(tmp_path, text(delimiter, end, header)))


@pytest.mark.parametrize("name", ["iris.data", "rows.txt", "ROWS.CSV", "rows.txt.gz"])
def test_a_table_by_any_name(name, tmp_path):
    path = tmp_path / name
    content = text().encode()
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    assert_is_rows(load_file(path))


def test_a_mark_of_byte_order_is_no_part_of_the_first_name(tmp_path):
    data = read(tmp_path, text(header=["width", "holes", "kind"]), encoding="utf-8-sig")
    assert data.X_train.columns == ("width", "holes")


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_other_encodings_are_refused_with_the_cure(encoding, tmp_path):
    rows = [(*row[:2], "é" + row[2]) for row in ROWS]
    with pytest.raises(DataError, match=r"rows\.csv: not a text file .*save it as UTF-8"):
        read(tmp_path, text(rows=rows), encoding=encoding)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("1,5;2,5;a\n3,5;4,5;b\n", "line 1 and below may be split by commas or semicolons"),
        ("a;b;kind\n1,5;2;x\n", r"line 2, column 1: '1,5' is not a number: write decimals"),
        ("1:2~3\n", "line 1 and below may be split by"),
        ("1,2,a\n3,4\n", "line 2 has 2 columns"),
        ('1,2,a\n3,"4,b\n5,6,a\n', "line 2: a quotation mark is not closed"),
    ],
)
def test_a_doubt_about_the_marks_names_a_line(content, words, tmp_path):
    refused(tmp_path, content, words)


@pytest.mark.parametrize("mark", [";", "\t", "|", " ", ":", "; "])
@pytest.mark.parametrize("label", ["{}", "cat{}"])
def test_decimal_commas_are_no_marks_whatever_splits_the_cells(mark, label, tmp_path):
    """A comma would split each line alike, and leave the rest of it as the label."""
    for columns in (["{},5"], ["{},5", "3"], ["3", "{},25"]):
        line = mark.join([*columns, label])
        content = "".join(line.format(*[i] * line.count("{}")) + "\n" for i in range(1, 6))
        refused(tmp_path, content, "may be split by commas or|is not a number: write decimals")
    content = "".join(f"{i}.5,{i % 3},{i % 2} stars\n" for i in range(6))
    assert read(tmp_path, content).y_train.tolist() == [f"{i % 2} stars" for i in range(6)]


# Numbers that are none.


@pytest.mark.parametrize("cell", ["", "#DIV/0!", "\u0663"])
@pytest.mark.parametrize("line", [1, 4])
def test_a_feature_that_is_no_number_is_named_by_its_line(cell, line, tmp_path):
    rows = [f"{i}.5,{i % 3},{'ab'[i % 2]}" for i in range(6)]
    rows[line - 1] = f"{cell},1,a"
    words = f"line {line}, column 1: '{cell}' is not a number"
    refused(tmp_path, "\n".join(rows), words)
    refused(tmp_path, "\n".join(rows), words, load_features, n_features=2)


@pytest.mark.parametrize("cell", ["#DIV/0!", "#REF!", "#VALUE!", "#NAME?"])
def test_the_errors_of_a_spreadsheet_are_no_classes(cell, tmp_path):
    words = re.escape(f"line 2: the label, in column 3, is '{cell}', which stands for none")
    refused(tmp_path, f"1,2,a\n3,4,{cell}\n", words)


@pytest.mark.parametrize("sign", ["-", "--", "."])
def test_signs_among_labels_that_are_numbers_stand_for_none(sign, tmp_path):
    content = f"1,2,0\n3,4,{sign}\n5,6,1\n7,8,{sign}\n"
    refused(tmp_path, content, "line 2: the label, in column 3, is '.*', which stands for none")


@pytest.mark.parametrize("place", [0, 2])
def test_a_line_of_totals_is_no_row(place, tmp_path):
    def table(labels):
        rows = [["5", "6"] for _ in labels]
        for row, label in zip(rows, labels, strict=True):
            row.insert(place, str(label))
        return "\n".join(",".join(row) for row in rows)

    numbers = [0, 1] * 6
    words = f"line 13: the label, in column {place + 1}, is 'Total', but all others are numbers"
    refused(tmp_path, table([*numbers, "Total"]), words, label=str(place))
    found = read(tmp_path, table([*numbers, "X", "X"]), label=str(place))
    assert sorted(set(found.y_train)) == ["0", "1", "X"]


@pytest.mark.parametrize("first", [True, False])
def test_a_number_that_is_the_label_of_one_line_alone_is_said(first, tmp_path):
    rows = [f"{i % 5}.5,{i % 3},{i % 2}" for i in range(12)]
    odd = "10,20,30"  # a header of numbers, or totals
    said = []
    read(tmp_path, "\n".join([odd, *rows] if first else [*rows, odd]), tell=said.append)
    assert said[0].endswith(f"; 30 is the label of line {1 if first else 13} alone")
    read(tmp_path, "\n".join(rows), tell=said.append)
    read(tmp_path, "\n".join([*rows, odd, "1,2,31"]), tell=said.append)  # classes may be rare
    assert not any("alone" in sentence for sentence in said[1:])


def test_digits_of_other_scripts_are_text(tmp_path):
    labels = read(tmp_path, "1,2,3\n4,5,\uff13\n6,7,3\n").y_train
    assert labels.tolist() == ["3", "\uff13", "3"]


# Which column is the label.


FIRST = "\n".join(["1,5.5,0,3", "0,6.5,1,2", "1,7.5,0,3", "0,8.5,1,2"]) + "\n"


@pytest.mark.parametrize("label", range(-4, 4))
def test_a_number_is_the_place_of_the_label_whatever_the_first_row_holds(label, tmp_path):
    values = np.array([line.split(",") for line in FIRST.splitlines()], float)
    if label % 4 == 1:
        refused(tmp_path, FIRST, r"line 1: the label, in column 2, is 5\.5", label=str(label))
        return
    data = read(tmp_path, FIRST, label=str(label))
    assert data.y_train.tolist() == values[:, label].tolist()
    assert data.X_train.tolist() == np.delete(values, label % 4, axis=1).tolist()
    X, y = load_features(tmp_path / "rows.csv", 3, label=str(label))
    assert (X.tolist(), y.tolist()) == (data.X_train.tolist(), data.y_train.tolist())


def test_a_number_that_is_a_name_of_another_column_too_is_a_doubt(tmp_path):
    content = "label,0,1,2\n" + "a,1,2,3\nb,4,5,6\n"
    refused(tmp_path, content, "may be column 1, 'label', or column 2, '0': count from", label="0")
    assert read(tmp_path, content, label="-4").y_train.tolist() == ["a", "b"]
    assert read(tmp_path, content, label="label").y_train.tolist() == ["a", "b"]


def test_a_parquet_knows_the_same_doubt(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    table = pandas.DataFrame({"kind": ["a", "b"], "0": [1.0, 2.0], "1": [3.0, 4.0]})
    table.to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match="may be column 1, 'kind', or column 2, '0'"):
        load_file(tmp_path / "rows.parquet", label="0")


@pytest.mark.parametrize("ending", ["parquet", "feather"])
@pytest.mark.parametrize("index", ["id", ["id", "c"]])
def test_an_index_of_pandas_is_no_column(index, ending, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    columns = {"a": [1.0, 2.0, 0.0], "id": [7, 8, 12], "c": [3, 4, 0], "kind": ["x", "y", "x"]}
    table = pandas.DataFrame(columns)
    table = table.set_index(index)
    if ending == "parquet":
        table.to_parquet(tmp_path / "rows.parquet")
    else:
        __import__("pyarrow.feather").feather.write_feather(table, tmp_path / "rows.feather")
    with pytest.raises(DataError, match="the column 'id' is an index, which pandas wrote"):
        load_file(tmp_path / f"rows.{ending}")


@pytest.mark.parametrize("label", ["nan", "", "NA", "None", "<NA>"])
def test_text_that_stands_for_none_is_no_class_in_a_parquet_either(label, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pandas.DataFrame({"a": [1.0, 2.0], "k": ["x", label]}).to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=r"row 1: the label, in column 2, is '.*', which stands"):
        load_file(tmp_path / "rows.parquet")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.array([0.5, 1.0]), r"row 0: the label, in column 2, is 0\.5, .*--label"),
        (np.array([2.0**53, 2.0**53 + 2]), "float64 does not tell apart"),
        (np.float32([2.0**24, 1]), "float32 does not tell apart"),
    ],
)
def test_floats_that_are_no_labels_are_refused_in_a_parquet(values, words, tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pandas.DataFrame({"a": [1.0, 2.0], "k": values}).to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(DataError, match=words):
        load_file(tmp_path / "rows.parquet")


# Headers.


BELOW = "1,2,setosa\n" * 6 + "3,4,virginica\n" * 6


@pytest.mark.parametrize(
    "header", ["400,410,species", "2019,2021,country", "0.5,1.5,Kind", "1,2,kind", "1,2,k9"]
)
def test_a_header_of_numbers_over_labels_that_are_text_is_a_doubt(header, tmp_path):
    refused(tmp_path, f"{header}\n{BELOW}", "line 1 may be a header or a row: its label is")


@pytest.mark.parametrize(("each", "is_doubt"), [(5, True), (4, False)])
def test_it_is_none_over_fewer_than_ten_rows(each, is_doubt, tmp_path):
    content = "400,410,species\n" + "1,2,setosa\n" * each + "3,4,virginica\n" * each
    if is_doubt:
        refused(tmp_path, content, "line 1 may be a header or a row")
    else:
        assert len(read(tmp_path, content).y_train) == 9


def test_two_columns_of_the_name_that_is_asked_for_are_refused(tmp_path):
    content = "kind,x,kind\na,1,b\nc,2,d\n"
    refused(tmp_path, content, "two columns are named 'kind'", label="kind")


def test_a_header_that_counts_up_from_1_is_a_doubt(tmp_path):
    below = "".join(f"{i * i},7,{i % 4},{i % 3},{i % 2}\n" for i in range(12))
    refused(tmp_path, f"1,2,3,4,5\n{below}", "line 1 may be a header or a row: it holds 1, 2, 3")
    assert len(read(tmp_path, f"1,2,3,4,0\n{below}").y_train) == 13


@pytest.mark.parametrize("header", ["# label,x,y", "#x,y,label", "# x,label,y"])
def test_a_header_that_is_marked_as_a_comment_is_a_doubt(header, tmp_path):
    """As np.savetxt(header=...) writes it: its first name would not be that of its column."""
    refused(tmp_path, f"{header}\n1,2,0\n0,3,1\n1,5,0\n", "line 1 begins with '#': take the mark")


@pytest.mark.parametrize("first", ["1,2,setosa", "9,9,setosa"])
def test_a_first_row_whose_label_comes_again_is_a_row(first, tmp_path):
    assert len(read(tmp_path, f"{first}\n{BELOW}").y_train) == 13


def test_names_that_count_up_are_a_header(tmp_path):
    names = ("0", "1", "2")
    rows = [(*row[:2], 7.5, row[2]) for row in ROWS]
    data = read(tmp_path, text(header=[*names, "species"], rows=rows))
    assert data.X_train.columns == names
    assert len(data.y_train) == len(ROWS)


@pytest.mark.parametrize("first", ["-,-,cat", "--,.,cat", "None,?,cat", "NA,NULL,cat"])
def test_a_first_row_of_gaps_is_no_header(first, tmp_path):
    refused(tmp_path, f"{first}\n{text()}", "line 1, column 1: '.*' is not a number")


def test_labels_that_are_signs_are_classes(tmp_path):
    data = read(tmp_path, "1,2,+\n3,4,-\n5,6,+\n")
    assert data.y_train.tolist() == ["+", "-", "+"]


# What looks like an index.


@pytest.mark.parametrize("column", [0, 2])
def test_a_column_that_rises_from_row_to_row_is_said(column, tmp_path):
    rng, told = np.random.default_rng(0), []
    names = ["a", "b", "kind"]
    names.insert(column, "Id")
    lines = [",".join(names)]
    for i in range(40):
        cells = [f"{rng.normal():.3f}", f"{rng.normal():.3f}", "xy"[i // 20]]
        cells.insert(column, str(100 + 2 * i))
        lines.append(",".join(cells))
    read(tmp_path, "\n".join(lines), tell=told.append)
    (sentence,) = told
    assert f"column {column + 1}, 'Id', rises from row to row: take it out if" in sentence
    read(tmp_path, "\n".join(lines[:1] + lines[:0:-1] + lines[1:]), tell=told.append)
    assert "rises" not in told[1]


# Files of arrays.


def test_labels_in_a_column_are_labels(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=np.ones((4, 2)), y_train=np.arange(4)[:, None] % 2)
    assert load_file(tmp_path / "a.npz").y_train.tolist() == [0, 1, 0, 1]


def test_a_column_that_counts_the_rows_is_named_by_its_place(tmp_path):
    rows = [f"{'ab'[i % 2]},{i},{i % 3}.5" for i in range(12)]
    refused(tmp_path, "\n" + "\n".join(rows) + "\n", "line 2, column 2 and below count", label="0")


# Endings in capitals.


@pytest.mark.parametrize("name", ["rows.tsv", "rows.TSV", "rows.Tsv.GZ"])
def test_the_ending_says_that_tabs_split_however_it_is_written(name, tmp_path):
    content = b"1\t2\t0,1\n3\t4\t1,0\n"  # commas would split it as well
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith("GZ") else content)
    data = load_file(path)
    assert (data.X_train.tolist(), data.y_train.tolist()) == ([[1, 2], [3, 4]], ["0,1", "1,0"])

"""Promise: what a table holds is decided by rules that hold to their last case, and the label is
found where the rules say."""

import numpy as np
import pytest

from softstep.model.datasets import load_features, load_file
from softstep.model.datasets.table import label_values

ROWS = "1,2,a\n3,4,b\n"


@pytest.fixture
def table(tmp_path):
    """What writes a table of text."""

    def write(text):
        path = tmp_path / "own.csv"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("label", "X", "y"),
    [
        ("0", [[2, 5], [4, 6]], [1, 3]),
        ("1", [[1, 5], [3, 6]], [2, 4]),
        ("2", [[1, 2], [3, 4]], [5, 6]),
        ("-1", [[1, 2], [3, 4]], [5, 6]),
        ("-3", [[2, 5], [4, 6]], [1, 3]),
        (None, [[1, 2], [3, 4]], [5, 6]),
    ],
)
def test_the_column_of_labels_by_its_number_whatever_the_first_row_holds(label, X, y, table):
    found = load_file(table("1,2,5\n3,4,6\n"), label=label)
    np.testing.assert_array_equal(found.X_train, X)
    np.testing.assert_array_equal(found.y_train, y)
    features, labels = load_features(table("1,2,5\n3,4,6\n"), 2, label=label)
    np.testing.assert_array_equal(features, X)
    np.testing.assert_array_equal(labels, y)


@pytest.mark.parametrize("label", ["3", "-4", "b", "1.0", ""])
def test_no_such_column_of_labels(label, table):
    with pytest.raises(ValueError, match=r"own\.csv: line 1 has"):
        load_file(table("1,2,5\n3,4,6\n"), label=label)


@pytest.mark.parametrize(
    ("header", "place"),
    [
        ("label,x,z", 0),
        ("x,Class,z", 1),
        ("x,z,other", 2),
        ("x, target ,z", 1),
    ],
)
def test_the_column_of_labels_by_a_word(header, place, table):
    found = load_file(table(f"{header}\n1,2,5\n3,4,6\n"))
    np.testing.assert_array_equal(found.y_train, np.array([[1, 2, 5], [3, 4, 6]])[:, place])


def test_as_many_columns_as_features_have_no_labels(table):
    X, y = load_features(table("1,2\n3,4\n"), 2)
    np.testing.assert_array_equal(X, [[1, 2], [3, 4]])
    assert y is None
    for width in (1, 4):
        with pytest.raises(ValueError, match="expected 2 features, or 3 columns"):
            load_features(table(",".join("1" * width) + "\n"), 2)


@pytest.mark.parametrize(("rows", "is_index"), [(9, False), (10, True)])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_column_that_counts_ten_rows_from_0_or_1_is_an_index(rows, is_index, first, table):
    path = table("".join(f"{first + i},7,{i % 2}\n" for i in range(rows)))
    if is_index and first < 2:
        with pytest.raises(ValueError, match="count the rows"):
            load_file(path)
    else:
        assert load_file(path).X_train.shape == (rows, 2)


def test_a_column_that_skips_one_is_no_index(table):
    numbers = [*range(9), 10]
    path = table("".join(f"{i},7,{i % 2}\n" for i in numbers))
    np.testing.assert_array_equal(load_file(path).X_train[:, 0], numbers)


@pytest.mark.parametrize(
    ("first", "is_header"),
    [
        ("0,1,2", True),  # as pandas names columns that have no names
        ("0,1,3", False),
        ("x,1,2", True),
        ("1,2,5", False),
    ],
)
def test_a_first_line_of_numbers_is_a_row_unless_it_counts(first, is_header, table):
    path = table(f"{first}\n7,8,5\n9,7,4\n")
    if first == "x,1,2":
        with pytest.raises(ValueError, match=r"'x' is not a number|header or a row"):
            load_file(path)
        return
    assert len(load_file(path).X_train) == 3 - is_header


@pytest.mark.parametrize("cell", ["na", "N/A", "-NaN", "<NA>", "#n/a", "?", "inf", "-Infinity"])
@pytest.mark.parametrize("line", [1, 2])
def test_a_label_that_stands_for_none_is_refused_in_any_line(cell, line, table):
    lines = ["1,2,a", "3,4,b", "5,6,a"]
    lines[line] = f"1,2,{cell}"
    with pytest.raises(ValueError, match=rf"line {line + 1}: the label, in column 3"):
        load_file(table("\n".join(lines)))


def test_empty_labels_are_refused_in_the_first_line_and_below(table):
    for text, line in (("1,2,\n3,4,b\n", 1), ("1,2,a\n3,4, \n", 2)):
        with pytest.raises(ValueError, match=rf"line {line}: the label, in column 3, is empty"):
            load_file(table(text))


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", "-2", "+3"], np.array([1, -2, 3])),
        (["1", "2.0"], np.array([1, 2])),
        (["a", "1"], np.array(["a", "1"])),
        ([str(2**63 - 1), "0"], np.array([2**63 - 1, 0])),
        ([str(2**63), "0"], np.array([2**63, 0], np.uint64)),
        ([str(2**64 - 1)], np.array([2**64 - 1], np.uint64)),
        ([str(-(2**63))], np.array([-(2**63)])),
        ([str(2**64), "0"], np.array([str(2**64), "0"])),
        ([str(2**63), "-1"], np.array([str(2**63), "-1"])),
        (["9007199254740992.0", "1"], np.array(["9007199254740992.0", "1"])),
        (["9007199254740991.0", "1"], np.array([2**53 - 1, 1])),
        (["1e300", "1"], np.array(["1e300", "1"])),
        (["01", "1"], np.array(["01", "1"])),
        (["0", "-0"], np.array([0, 0])),
        (["1_000", "2"], np.array(["1_000", "2"])),
    ],
)
def test_labels_keep_apart_what_is_apart(cells, expected):
    found = label_values(cells)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_what_was_taken_for_what_is_told(table):
    told = []
    load_file(table("x,y,kind\n" + ROWS), tell=told.append)
    load_file(table("1,2,5\n3,4,6\n"), label="0", tell=told.append)
    load_file(table("".join(f"{i * i % 7},1,{i}\n" for i in range(11))), tell=told.append)
    load_file(table("".join(f"{i * i % 7},1,{i}\n" for i in range(10))), tell=told.append)
    assert told[0].endswith(
        "2 rows of 2 features; header in line 1; label in column 3, 'kind', the last; "
        "2 classes: a, b"
    )
    assert "no header; label in column 1; 2 classes: 1, 3" in told[1]
    assert told[2].endswith("; 11 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, …")
    assert told[3].endswith("; 10 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9")
